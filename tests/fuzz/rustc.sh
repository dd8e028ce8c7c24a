#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for `run.sh`: counts which ways are taken in the project's own crates, and in no others. Those are
# optimised here and are not in the host's own builds, so none is taken for the other; all others are shared.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

flags=()
case "${CARGO_MANIFEST_DIR:-}/:$*" in
  *:*--crate-name\ build_script_*|*:*--crate-type\ proc-macro*) ;; # They run while others are built.
  "$root"/*) flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code --cfg=fuzzing) ;;
esac
exec "$@" "${flags[@]}"
