# The two commands of the README, and what they are made of. See CONTRIBUTING.md.

SHELL    := /bin/bash
TREE      = $(shell .ci/nginx-tree path)
SO       := target/release/libngx_http_lua_var_module.so
TEST_SO  := target/testing/release/libngx_http_lua_var_module.so
PROVE    := prove $(if $(TEST_NGINX),-I$(TEST_NGINX)/lib)
T        ?= t

# For cargo, once the tree is there.
BUILD_ENV = NGINX_SOURCE_DIR=$(TREE) NGINX_BUILD_DIR=$(TREE)/objs

.PHONY: all build testing setup demo run test test-hup test-valgrind test-leak test-guard \
        check unit miri fuzz soak bench mutants clean

all: build

# Installs the Debian packages that are missing, and nothing when none is.
setup:
	@.ci/setup

# The module. The headers it is built against follow the nginx that is installed.
build: setup
	@.ci/nginx-tree make
	@$(BUILD_ENV) cargo build --release --locked

# The module with the hooks that some tests need (src/testing.rs).
testing: build
	@$(BUILD_ENV) cargo build --release --locked --features testing --target-dir target/testing

demo: build
	@nginx-conf/demo play

run: build
	@nginx-conf/demo serve

test: build testing unit
	@$(PROVE) -r $(T)

unit:
	@cargo test --quiet --locked --manifest-path t/unit/Cargo.toml

# The same in Miri, for whoever has it. How references alias is followed only where
# there are no slots, for with their thousands of cells it takes hours. The chunks of
# slots are never freed, so that leaks say nothing.
MIRI = cargo +nightly miri test --locked --manifest-path t/unit/Cargo.toml --target-dir target/miri

miri:
	@cargo +nightly miri --version > /dev/null 2>&1 || { \
	    echo 'make miri needs Miri: rustup toolchain install nightly --component miri,rust-src'; \
	    exit 1; }
	@flags='-Zmiri-strict-provenance -Zmiri-ignore-leaks'; \
	    MIRIFLAGS="$$flags -Zmiri-disable-stacked-borrows" $(MIRI) && \
	    MIRIFLAGS="$$flags" $(MIRI) -- names:: scan:: value::

test-hup: build testing
	@TEST_NGINX_USE_HUP=1 $(PROVE) -r $(T)

test-valgrind: build testing
	@TEST_NGINX_USE_VALGRIND=1 $(PROVE) -r $(T)

test-leak: build testing
	@TEST_NGINX_CHECK_LEAK=1 $(PROVE) -r $(T)

test-guard: setup
	@.ci/guard-pages

check: build
	@.ci/check

fuzz: testing
	@t/bin/fuzz

soak: testing
	@t/bin/soak

bench: build
	@t/bin/bench

mutants: setup
	@.ci/mutants

clean:
	rm -rf target t/unit/target
