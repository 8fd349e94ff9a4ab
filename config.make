# For nginx's ./configure: the rule by which its Makefile builds the module's library.
#
# The module is built against the headers of this very nginx. cargo runs each time, because
# only it knows whether anything changed, and in the module's directory, where it finds the
# crates of a `make dist` tarball. `make LUA_VAR_FEATURES=…` turns features of Cargo.toml on,
# for the test suite.

if [ $HTTP = YES ]; then
    cat << END                                                >> $NGX_MAKEFILE

# with an empty recipe, make checks again whether cargo has written the file
$lua_var_lib:	lua_var_cargo
	@:

lua_var_cargo:
	objs="\`cd $NGX_OBJS && pwd\`"; \\
	export NGINX_SOURCE_DIR="\`pwd\`" NGINX_BUILD_DIR="\$\$objs"; \\
	cd "$ngx_addon_dir" && \\
	$lua_var_cargo rustc --release --locked --lib --crate-type staticlib \\
		--no-default-features --features "\$(LUA_VAR_FEATURES)" \\
		--target-dir "\$\$objs/lua_var"

.PHONY:	lua_var_cargo

END

    if [ "$lua_var_link" = DYNAMIC ]; then
        cat << END                                            >> $NGX_MAKEFILE
$NGX_OBJS/ngx_http_lua_var_module$ngx_modext:	$lua_var_lib

END
    fi
fi
