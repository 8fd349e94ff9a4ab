# For nginx's ./configure: the rule by which its Makefile builds the module's library.
#
# The module is built against the headers of this very nginx, by the cargo that ./configure
# found, in the module's directory, where cargo finds the crates of a `make dist` tarball. Its
# sources are compared with the date of the last build first, so that `sudo make install` after
# `make` needs no cargo: root may have none. `make LUA_VAR_FEATURES=…` turns features of
# Cargo.toml on, for the test suite.

if [ $HTTP = YES ]; then
    lua_var_sources="$ngx_addon_dir/src $ngx_addon_dir/build.rs \
	$ngx_addon_dir/Cargo.toml $ngx_addon_dir/Cargo.lock"

    cat << END                                                >> $NGX_MAKEFILE

# with an empty recipe, make checks again whether cargo has written the file
$lua_var_lib:	lua_var_cargo
	@:

# the file "built" has the features of the last build, and the date of its beginning
lua_var_cargo:
	@objs="\`cd $NGX_OBJS && pwd\`"; built="\$\$objs/lua_var/built"; \\
	if [ -f "\$\$built" ] && [ -f $lua_var_lib ] \\
		&& [ "\`cat "\$\$built"\`" = "\$(LUA_VAR_FEATURES)" ] \\
		&& [ -z "\`find $lua_var_sources $NGX_OBJS/ngx_auto_config.h \\
			-newer "\$\$built" -print\`" ]; \\
	then \\
		exit 0; \\
	fi; \\
	export NGINX_SOURCE_DIR="\`pwd\`" NGINX_BUILD_DIR="\$\$objs"; \\
	export PATH="`dirname $lua_var_cargo`:\$\$PATH"; \\
	mkdir -p "\$\$objs/lua_var" && echo "\$(LUA_VAR_FEATURES)" > "\$\$built.new" && \\
	cd "$ngx_addon_dir" && \\
	$lua_var_cargo rustc --release --locked --lib --crate-type staticlib \\
		--no-default-features --features "\$(LUA_VAR_FEATURES)" \\
		--target-dir "\$\$objs/lua_var" \\
	|| { echo "ngx_http_lua_var_module is not built: run \\"make\\" before" \\
		"\\"make install\\", as the user who has $lua_var_cargo"; exit 1; }; \\
	mv "\$\$built.new" "\$\$built"

.PHONY:	lua_var_cargo

END

    if [ "$lua_var_link" = DYNAMIC ]; then
        cat << END                                            >> $NGX_MAKEFILE
$NGX_OBJS/ngx_http_lua_var_module$ngx_modext:	$lua_var_lib

END
    fi
fi
