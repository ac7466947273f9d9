# The one entry point. `make demo` and `make test` need nothing set up by hand.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Compiler output lives outside the checkout, so that a fresh clone on the same machine is quick.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ambimesh/target
# Compiled modules are kept: every `ambi` would otherwise spend half a second compiling them anew.
unexport PYTHONDONTWRITEBYTECODE
export MAKE_BEGAN := $(or $(MAKE_BEGAN),$(shell date +%s))
CRATES := types hbone policy state xds tls netns engine proxy testkit
PACKAGES := $(foreach crate,$(CRATES),-p ambimesh-$(crate))
ARGS ?=

.PHONY: help demo test setup tools venv build fmt lint types unit lab rust fuzz bench proto docs clean

help:
	@echo "make demo [ARGS=--once]  show the mesh at work; --once tears it down again"
	@echo "make test                everything that CI runs"
	@echo "make fmt lint types      formatters, linters, type checks"
	@echo "make unit rust lab       parts of the tests;  make fuzz  longer runs of the properties"
	@echo "make proto docs          regenerate what is generated;  make bench  measure"

demo: setup
	@$(BIN)/ambi demo $(ARGS)
	@scripts/timed --total

test: setup
	@scripts/timed "static checks" $(MAKE) --no-print-directory lint types
	@scripts/timed "Rust tests" $(MAKE) --no-print-directory rust
	@scripts/timed "Python tests" $(BIN)/pytest -q $(ARGS)
	@scripts/timed --total

setup: tools venv build

# System programs: installed when we are root, else named in one line to run.
tools:
	@scripts/require-tools nft ip curl kubectl nginx redis-server psql mariadbd nc socat conntrack openssl setpriv

venv: $(VENV)/.locked

$(VENV)/.locked: requirements.lock
	@scripts/timed "Python environment" scripts/make-venv $(VENV)
	@touch $@

build: venv
	@scripts/timed "native module" scripts/build-module $(VENV)

fmt:
	$(BIN)/ruff format src tests scripts bench
	$(BIN)/ruff check --fix-only -q src tests scripts bench
	cargo fmt --all

lint:
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/ruff check src tests scripts
	PYTHONPATH=src $(BIN)/lint-imports
	cargo fmt --all --check
	cargo clippy -q $(PACKAGES) --all-targets -- -D warnings

types:
	$(BIN)/mypy

unit:
	$(BIN)/pytest -q tests/unit tests/golden tests/repository

lab:
	$(BIN)/pytest -q tests/lab tests/interop tests/chaos

rust:
	cargo test -q $(PACKAGES)

fuzz:
	HYPOTHESIS_PROFILE=long $(BIN)/pytest -q tests/unit -k property
	PROPTEST_CASES=20000 cargo test -q --release $(PACKAGES)

proto: venv
	$(BIN)/python scripts/generate_proto.py

docs: venv
	$(BIN)/python scripts/generate_docs.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis src/ambimesh/_core*.so
