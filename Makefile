# The only place with commands. `make run` and `make test` set up what they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := target/release/bulkhead
DEV := target/debug/bulkhead

.PHONY: help setup setup-test build build-dev plugins plugins-dev run test lint tests fuzz fallbacks readme bench clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## / - /'

setup: ## install what running needs
	deploy/setup/all.sh run

setup-test: ## install what testing needs
	deploy/setup/all.sh test

build: setup ## the host, with optimisation
	cargo build --release --locked -p bulkhead

plugins: build ## the components, into target/plugins
	$(BIN) plugin build plugins --all --out-dir target/plugins

run: plugins ## start the host with the demo models and show a prediction
	deploy/demo/run.sh $(BIN)

# One selection of packages for every development build: another would have other features, and build half of the
# dependencies again.
test: setup-test lint plugins-dev tests fuzz fallbacks readme ## everything

lint: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd tests/fuzz && cargo fmt --check
	cd plugins && cargo fmt --all --check && cargo clippy --all-targets --locked -- -D warnings

build-dev:
	cargo build --workspace --all-targets --locked

plugins-dev: build-dev
	$(DEV) plugin build plugins --all --out-dir target/plugins

tests: plugins-dev ## unit tests, black-box tests of the real binary, and the plugins natively
	cargo nextest run --workspace --locked
	cargo test --workspace --doc --locked
	cd plugins && cargo test --locked

# What is kept of it (`tests/fuzz/corpus`) is tried by the tests already.
fuzz: build-dev ## each fuzz target for some seconds, FUZZ_SECONDS=600 for more
	deploy/setup/fuzz.sh
	tests/fuzz/run.sh $(or $(FUZZ_SECONDS),15)

fallbacks: ## the ways that set-up takes where the first one is shut
	deploy/setup/test.sh

readme: ## every command of the README
	tests/readme.sh

bench: plugins ## the performance table
	cargo run --release --locked -p bulkhead-bench -- --bulkhead $(BIN) --plugins target/plugins --demo deploy/demo

clean: ## remove what was built
	cargo clean
	rm -rf plugins/target
