# Shared by the scripts in this folder; sourced, never run.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# apt_install PACKAGE... : quiet unless it fails.
# --no-remove: never take away something the user installed on purpose.
# The lock timeout lets two setups on one machine wait for each other.
apt_install() {
  local log rc=0 apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
  command -v apt-get >/dev/null ||
    die "no apt-get here; install the equivalents of: $*"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      die "not root, and no sudo; have root install: $*"
    apt=(sudo "${apt[@]}")
  fi
  say "installing: $*"
  log=$(mktemp)
  # Standard input stays the terminal's, for sudo's question.
  { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends --no-remove "$@"; } >"$log" 2>&1 || rc=$?
  if [ "$rc" -ne 0 ]; then tail -n 20 "$log" >&2; fi
  rm -f "$log"
  [ "$rc" -eq 0 ] || die "apt-get could not install: $*"
}
