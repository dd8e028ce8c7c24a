#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, where missing.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing=()
need() { command -v "$1" >/dev/null || missing+=("${@:2}"); }
need cc gcc libc6-dev
need pkg-config pkg-config
need curl curl
need python3 python3 python3-pip python3-venv
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

# Looked up, not imported: importing pip alone costs more than all the rest.
# A python3 without ensurepip cannot make a virtual environment.
if command -v python3 >/dev/null; then
  has() { python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)' "$1"; }
  has pip || missing+=(python3-pip)
  has ensurepip || missing+=(python3-venv)
fi

if [ "${#missing[@]}" -gt 0 ]; then apt_install "${missing[@]}"; fi
# Not Debian's cargo: the project pins a newer Rust than Debian's own.
command -v cargo >/dev/null || say "system.sh: no cargo found; install Rust with rustup"
echo "${missing[*]:-complete}"
