#!/usr/bin/env bash
# Builds the fuzz targets, then gives each what is kept in `corpus/` and what it makes of that. usage: run.sh [SECONDS [TARGET...]]
# With Rust's stable compiler and libFuzzer (which takes a C++ compiler to build), on top of what the host's development build
# has built; cargo-fuzz, whose layout this is, would build all dependencies once more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:-15}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cd "$here/targets" && printf '%s\n' *.rs | sed 's/\.rs$//')
work=$root/target/fuzz

# The host's own versions of everything. The few that it lacks are pinned.
cp "$root/Cargo.lock" "$here/Cargo.lock"
export CARGO_TARGET_DIR="$root/target" RUSTC_WRAPPER="$here/rustc.sh"
(cd "$here" && cargo build --quiet --bins)

# What a target finds anew stays below `target/fuzz/TARGET`; what it fails on is named there, and belongs into `corpus/TARGET`.
one() {
  local target=$1 log=$work/$1.log
  mkdir -p "$work/$target"
  if ! "$root/target/debug/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$work/$target-" "$work/$target" "$here/corpus/$target" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzz: $target failed" >&2
    return 1
  fi
  echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
}
export -f one
export root here work seconds
printf '%s\0' "${targets[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'set -euo pipefail; one {}'
