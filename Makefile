# A thin face over cmake, npm, busted and cxbctl. Every target works alone on a fresh clone of
# Debian 12: missing packages are installed first (root or sudo), then npm's, nothing else.
#
#   make up          the whole platform on this machine, until Ctrl-C
#   make test        everything that can be checked; ends with one line of counts
#   make test-fast   lint, C tests and unit specs
#   make test-core test-api test-dialler test-console    one service's specs
#   make fuzz        a million mutated messages through each wire, under the sanitizers
#   make build asan lint tidy format data bench sweep clean

SHELL := /bin/bash
PORT ?= 8080
WORKERS ?= 4
cmake = cmake -S . -G Ninja

.PHONY: build debug asan-build data up test test-fast test-core test-api test-dialler test-console bench lint tidy format asan fuzz sweep clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

build: build/.models build/.docs
	@$(cmake) -B build -DCMAKE_BUILD_TYPE=Release >build/configure.log || { cat build/configure.log; exit 1; }
	@cmake --build build
	@install -m 0755 deploy/cxbctl.sh build/cxbctl

debug: build/.packages-tests
	@$(cmake) -B build/debug -DCMAKE_BUILD_TYPE=Debug >build/configure.log || { cat build/configure.log; exit 1; }
	@cmake --build build/debug --target c-tests

asan-build: build/.packages-tests
	@$(cmake) -B build/asan -DCMAKE_BUILD_TYPE=Asan >build/configure.log || { cat build/configure.log; exit 1; }
	@cmake --build build/asan --target all c-tests

up: build
	@exec build/cxbctl up --workers $(WORKERS) --port $(PORT)

test: build debug asan-build
	@spec/all

test-fast: build debug
	@spec/all --fast

test-core test-api test-dialler test-console: test-%: build debug
	@spec/all --only $*

# C tests and all specs once more, under the address and undefined-behaviour sanitizers.
asan: build asan-build
	@spec/all --asan

FUZZ_MESSAGES ?= 1000000
fuzz: asan-build
	@CXB_FUZZ_MESSAGES=$(FUZZ_MESSAGES) build/asan/c/test_transport_fuzz

# kill -9 at 2,000 points of calls' lives, about half an hour (spec/soak/fault_sweep.lua).
sweep: build
	@build/cxbrt spec/soak/fault_sweep.lua $(or $(KILLS),2000)

lint: build/.packages-tests
	@spec/all --lint

tidy: debug
	@command -v clang-tidy >/dev/null || { echo "apt-get install clang-tidy first"; exit 1; }
	@find runtime -name '*.c' -print0 | xargs -0 -P 2 -n 4 clang-tidy --quiet -p build/debug 2>/dev/null

format: build/.packages-tests
	@find runtime spec/c spec/bench -name '*.[ch]' -print0 | xargs -0 -r clang-format -i

bench: build build/.packages-tests
	@cmake --build build --target benches
	@spec/bench/all

# Prefixes of numbers and their time zones, from the distribution's libphonenumber data.
data: build/.packages-tests
	@lua/cxb/campaign/data/make

clean:
	rm -rf build

# Debian packages, then the speech models and the page at /docs (npm): remembered by a stamp, checked again when the
# lists change.
build/.packages build/.packages-tests: deploy/packages.txt deploy/install-packages
	@mkdir -p build
	@deploy/install-packages $(if $(findstring tests,$@),--tests)
	@touch $@

build/.models: build/.packages $(wildcard runtime/speech/models/*.*)
	@runtime/speech/models/fetch.sh
	@touch $@

build/.docs: build/.packages $(wildcard api/docs/*.*)
	@api/docs/fetch.sh
	@touch $@
