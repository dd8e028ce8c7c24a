# The only place with commands. `make run` and `make test` set up what they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := target/release/bulkhead
DEV := target/debug/bulkhead

.PHONY: help setup setup-test build plugins plugins-dev run test lint units blackbox readme bench clean

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

test: setup-test lint units blackbox readme ## everything

lint: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cd plugins && cargo fmt --all --check && cargo clippy --all-targets --locked -- -D warnings

units: ## tests within the rooms, and the plugins natively
	cargo nextest run --locked --workspace --exclude bulkhead-tests
	cargo test --locked --doc -p bulkhead-sdk
	cd plugins && cargo test --locked

$(DEV): build-dev

build-dev:
	cargo build --locked -p bulkhead

plugins-dev: build-dev
	$(DEV) plugin build plugins --all --out-dir target/plugins

blackbox: plugins-dev ## tests of the whole, on the real binary
	cargo nextest run --locked -p bulkhead-tests
	deploy/setup/test.sh

readme: ## every command of the README
	tests/readme.sh

bench: plugins ## the performance table
	cargo run --release --locked -p bulkhead-bench -- --bulkhead $(BIN) --plugins target/plugins --demo deploy/demo

clean: ## remove what was built
	cargo clean
	rm -rf plugins/target
