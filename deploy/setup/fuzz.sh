#!/usr/bin/env bash
# Installs what fuzzing needs beside cargo: a C++ compiler, which libFuzzer is built with. Of Rust the stable compiler will do,
# and cargo-fuzz is not needed (tests/fuzz/run.sh).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Whatever is called c++ or said to be one; else GNU's.
compiler=${CXX:-c++}
if ! command -v "$compiler" >/dev/null; then
  apt_install g++
  compiler=c++
fi
"$compiler" --version | head -n 1
