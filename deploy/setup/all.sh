#!/usr/bin/env bash
# Sets a machine up. usage: all.sh [run|test]
#   run   what building and running need (the default)
#   test  the same, the test runner and the clients that tests use
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

steps=(system onnxruntime wasm)
case "$#:${1:-run}" in
  [01]:run) ;;
  1:test) steps+=(nextest clients fuzz) ;;
  *) echo "usage: all.sh [run|test]" >&2; exit 2 ;;
esac

for step in "${steps[@]}"; do
  out=$("$here/$step.sh") || { echo "$step: failed" >&2; exit 1; }
  echo "$step: ${out##*$'\n'}"
done
