# CONTRIBUTING.md says what each command does.

SHELL    := /bin/bash
.DEFAULT_GOAL := all
PROVE    := prove $(if $(TEST_NGINX),-I$(TEST_NGINX)/lib)
T        ?= t

# Twice as many test files at a time as there are cores, because tests often wait. The slowest
# begin first, so that no core is idle while the last of them runs.
JOBS     ?= $(shell expr 2 \* $$(nproc))
SLOWEST  := $(addprefix t/,layout.t gdb.t finalizers.t nothing.t readme.t) $(wildcard t/harness/*.t)
FILES     = $(if $(filter t,$(T)),$(wildcard $(SLOWEST)) $(filter-out $(SLOWEST),$(wildcard t/*.t)),$(T))

# make … NGINX=/path/to/nginx builds, runs and tests for that nginx instead of the installed
# one. nginx takes an environment variable of this name for a list of sockets to inherit, so
# that NGINX_BIN is exported instead.
unexport NGINX
export NGINX_BIN := $(if $(NGINX),$(abspath $(NGINX)),$(NGINX_BIN))
OF_NGINX  = $(shell NGINX_BIN='$(NGINX_BIN)' NGINX_SOURCE_DIR='$(NGINX_SOURCE_DIR)' \
            NGINX_BUILD_DIR='$(NGINX_BUILD_DIR)' build/nginx-tree $(1))

# A cargo that is not in PATH, with the rustc beside it.
ifdef NGX_CARGO
export PATH := $(dir $(abspath $(NGX_CARGO))):$(PATH)
endif

# cargo's target directory for this nginx, and what is built there.
TARGET    = $(call OF_NGINX,target)
RELEASE   = $(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)release
SO        = $(CURDIR)/$(TARGET)/$(RELEASE)/libngx_http_lua_var_module.so
TEST_SO   = $(CURDIR)/$(TARGET)/testing/$(RELEASE)/libngx_http_lua_var_module.so

# The environment of cargo, when the source tree is there.
BUILD_ENV = NGINX_SOURCE_DIR=$(call OF_NGINX,path) NGINX_BUILD_DIR=$(call OF_NGINX,objs)
# Nothing is built for an nginx that has the module linked in: see .ci/linked-nginx.
CARGO     = build/nginx-tree linked || $(BUILD_ENV) cargo build --release --locked
# The targets that start that nginx.
STARTS   := test test-hup test-valgrind test-leak fuzz soak bench
$(STARTS): export TEST_NGINX_BINARY = $(call OF_NGINX,nginx)
$(STARTS): export TEST_NGINX_MODULE = $(SO)
$(STARTS): export TEST_NGINX_TESTING_MODULE = $(TEST_SO)
bench: export BENCH_SO = $(SO)
demo run: export MODULE_SO = $(SO)
demo run: export DEMO_NGINX = $(call OF_NGINX,nginx)

.PHONY: all build testing setup setup-test install uninstall demo run \
        test test-hup test-valgrind test-leak test-guard test-asan check unit loom miri fuzz differ nothing \
        soak bench matrix mutants dist deb clean

all: build

# Install the Debian packages that are missing: asks first, unless these are what make is to do.
YES = $(if $(filter setup setup-test,$(MAKECMDGOALS)),--yes)

setup:
	@build/packages build $(YES)

setup-test: setup
	@build/packages test $(YES)

# The module, built against the headers of the nginx that is to load it.
build: setup
	@build/nginx-tree make
	@$(CARGO) --target-dir $(TARGET)
	@build/nginx-tree linked && echo 'the module is linked into this nginx' || echo $(SO:$(CURDIR)/%=%)

# The module with the hooks that some tests need (t/hooks/testing.rs). It begins with a copy of
# the other build, so that what both have in common is not compiled again.
testing: setup-test build
	@[ -e $(TARGET)/testing ] || [ ! -e $(TARGET)/release ] || { \
	    mkdir $(TARGET)/testing && cp -a $(TARGET)/release $(TARGET)/testing/; }
	@$(CARGO) --features testing --target-dir $(TARGET)/testing

# Installs what is built and builds nothing, because root may have no cargo. DESTDIR and
# MODULES_DIR say where; without them, in the directory of that nginx's modules.
export DESTDIR MODULES_DIR

install:
	@build/install $(SO)

uninstall:
	@build/install

demo: setup-test build
	@nginx-conf/demo play

run: setup-test build
	@nginx-conf/demo serve

# The whole suite with the unit tests; T=t/fetch.t runs this file only.
test: setup-test
	@$(MAKE) --no-print-directory -j2 testing $(if $(filter t,$(T)),unit)
	@$(PROVE) -j$(JOBS) -r $(FILES)

unit:
	@cargo test --quiet --locked --manifest-path t/unit/Cargo.toml

# The same in Miri. The aliasing of references is checked only in the tests without slots,
# because it takes hours with the thousands of cells of the slots. Leaks are ignored, because
# the memory of slots is never freed.
MIRI = cargo +nightly miri test --locked --manifest-path t/unit/Cargo.toml --target-dir target/miri

miri:
	@cargo +nightly miri --version > /dev/null 2>&1 || { \
	    echo 'make miri needs Miri: rustup toolchain install nightly --component miri,rust-src'; \
	    exit 1; }
	@flags='-Zmiri-strict-provenance -Zmiri-ignore-leaks'; \
	    MIRIFLAGS="$$flags -Zmiri-disable-stacked-borrows" $(MIRI) && \
	    MIRIFLAGS="$$flags" $(MIRI) -- value::

# What processes share, in every order that the memory model allows (loom).
loom:
	@RUSTFLAGS='--cfg loom' cargo test --quiet --locked --release orders \
	    --manifest-path t/unit/Cargo.toml --target-dir t/unit/target/loom

test-hup: build testing
	@TEST_NGINX_USE_HUP=1 $(PROVE) -r $(T)

test-valgrind: build testing
	@TEST_NGINX_USE_VALGRIND=1 $(PROVE) -r $(T)

test-leak: build testing
	@TEST_NGINX_CHECK_LEAK=1 $(PROVE) -r $(T)

test-guard: setup-test
	@.ci/guard-pages

# The module's C is instrumented as well. AddressSanitizer does not use freed memory again.
test-asan: setup-test
	@.ci/asan-nginx make
	@CFLAGS="$$(.ci/asan-nginx cflags)" TEST_NGINX_NO_ADDRESS_REUSE=1 TEST_NGINX_USE_ASAN=1 \
	    $(MAKE) --no-print-directory test NGINX="$$(.ci/asan-nginx path)"

check: setup-test build
	@.ci/check

fuzz: testing
	@t/bin/fuzz

differ: testing
	@t/bin/differ

soak: testing
	@t/bin/soak

# Takes SEED and ROUNDS.
nothing: setup-test build
	@t/bin/nothing $(SEED) $(ROUNDS)

bench: setup-test build
	@t/bin/bench $(BENCH)

# Build and test on other releases of Debian, and with the module linked in: see .ci/matrix.
matrix:
	@.ci/matrix $(ROWS)

# target/dist/…tar.gz, a tarball that builds offline.
dist: setup
	@build/dist make

# target/deb/libnginx-mod-http-lua-var_….deb, for this release of Debian. The -deb rows of
# make matrix install, upgrade and remove it.
deb:
	@build/packages deb
	@build/deb

# FIT=1 only tells which faults no longer fit the source.
mutants: $(if $(FIT),,setup-test)
	@.ci/mutants $(if $(FIT),--fit)

clean:
	rm -rf target t/unit/target
