#!/usr/bin/env bash
# Installs what testing needs beside cargo: the formatter and the linter, which rustup's minimal profile lacks, and the
# test runner, cargo-nextest, from source.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for component in rustfmt clippy; do
  tool=cargo-${component/rustfmt/fmt}
  command -v "$tool" >/dev/null || rustup component add "$component" >&2 || die "no $tool found; install Rust's $component"
done

if ! command -v cargo-nextest >/dev/null && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-nextest" ]; then
  command -v cargo >/dev/null || die "no cargo found; install Rust with rustup"
  # A version known to build with Rust 1.95. Without its self-update: cargo
  # installed it, so cargo replaces it.
  say "building cargo-nextest (ten minutes on two cores)"
  cargo install --quiet --locked --no-default-features \
    --features default-no-update cargo-nextest@0.9.143 >&2
fi
cargo nextest --version | head -n 1
