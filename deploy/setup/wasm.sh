#!/usr/bin/env bash
# Makes a standard library for WebAssembly guests available and prints, last,
# which way: "rustup" (the target is installed) or "debian" (std is built from
# source by Debian's compiler, for machines where rustup cannot download).
# BULKHEAD_WASM_TOOLCHAIN=rustup|debian forces one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
cd "$here/../.." # so that a toolchain file of the project counts

target=wasm32-unknown-unknown
oldest=1.95 # an older std source was never tried with this project

have_target() {
  local dir
  dir=$(rustc --print target-libdir --target "$target" 2>/dev/null) &&
    compgen -G "$dir/libstd-*.rlib" >/dev/null
}

by_rustup() {
  have_target && return
  command -v rustup >/dev/null || return 1
  say "adding $target with rustup"
  # A blocked network may hang rather than refuse.
  timeout 300 rustup target add "$target" >&2 && have_target
}

# All three from one version: std is built from source by that very compiler.
have_debian() {
  local v first=
  for p in rustc-web cargo-web rust-web-src; do
    # shellcheck disable=SC2016 # dpkg-query's own variables
    v=$(dpkg-query -W -f '${db:Status-Abbrev} ${Version}' "$p" 2>/dev/null) || return 1
    case "$v" in "ii "*) v=${v##* } ;; *) return 1 ;; esac
    [ "${first:=$v}" = "$v" ] || return 1
  done
  dpkg --compare-versions "$first" ge "$oldest"
}

# Debian's rustc brings no WebAssembly linker: rustup's toolchain has one, and
# Debian's LLVM of the same generation is the other choice.
have_linker() {
  local lld
  for lld in "$(rustc --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/rust-lld; do
    [ ! -x "$lld" ] || return 0
  done
  command -v wasm-ld-22 >/dev/null
}

by_debian() {
  have_debian || apt_install rustc-web cargo-web rust-web-src
  have_debian || die "Debian's rustc-web, cargo-web and rust-web-src are older than $oldest; is the security suite among the package sources?"
  have_linker || apt_install lld-22
}

case "${BULKHEAD_WASM_TOOLCHAIN:-}" in
  rustup) by_rustup || die "rustup could not add $target" ;;
  debian) by_debian; echo debian; exit ;;
  "") by_rustup || { by_debian; echo debian; exit; } ;;
  *) die "BULKHEAD_WASM_TOOLCHAIN is rustup or debian, not '$BULKHEAD_WASM_TOOLCHAIN'" ;;
esac
echo rustup
