#!/usr/bin/env bash
# Puts ONNX Runtime's shared library in the cache; prints its path last.
# usage: onnxruntime.sh [--gpu]
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=lib.sh
. "$here/lib.sh"

case "$#:${1:-}" in
  0:) name=onnxruntime ;;
  1:--gpu) name=onnxruntime-gpu ;;
  *) die "usage: onnxruntime.sh [--gpu]" ;;
esac

if [ -n "${ORT_DYLIB_PATH:-}" ]; then
  if [ -e "$ORT_DYLIB_PATH" ]; then echo "$ORT_DYLIB_PATH"; exit 0; fi
  say "onnxruntime.sh: ORT_DYLIB_PATH names no file, ignored: $ORT_DYLIB_PATH"
fi

# The requirements file is the one place that names the version.
version=
while read -r line _; do
  case "$line" in "$name=="*) version=${line#*==} ;; esac
done <"$here/$name.txt"
[ -n "$version" ] || die "$name.txt names no version"

cache=${BULKHEAD_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}
dest=$cache/$name-$version
lib=$dest/libonnxruntime.so.$version
if [ -s "$lib" ]; then echo "$lib"; exit 0; fi

os=$(uname -s) arch=$(uname -m)
case "$os:$name:$arch" in
  Linux:onnxruntime:x86_64 | Linux:onnxruntime:aarch64 | Linux:onnxruntime-gpu:x86_64) ;;
  *) die "no pinned $name for $os $arch; set ORT_DYLIB_PATH to a library of your own" ;;
esac

# The last candidate: a python3 earlier in PATH may lack the pip that Debian's has.
pip=()
for try in "python3 -m pip" "pip" "/usr/bin/python3 -m pip"; do
  read -ra pip <<<"$try"
  if "${pip[@]}" --version >/dev/null 2>&1; then break; fi
  pip=()
done
[ "${#pip[@]}" -gt 0 ] || die "no pip found; run deploy/setup/system.sh first"

# Inside the cache, so that the last step is a rename on one file system.
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/.$name.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# A fixed Python version and platform, so that every machine fetches the same
# wheel whatever its own Python is; the library inside does not depend on it.
say "fetching $name $version ($arch)"
PIP_ROOT_USER_ACTION=ignore PIP_REQUIRE_VIRTUALENV=0 \
  "${pip[@]}" download --quiet --disable-pip-version-check --no-deps \
  --only-binary=:all: --require-hashes --requirement "$here/$name.txt" \
  --implementation cp --python-version 3.12 --abi cp312 \
  --platform "manylinux_2_28_$arch" --dest "$tmp" >&2 ||
  die "could not fetch $name $version"

mkdir "$tmp/out"
python3 - "$tmp" <<'PY'
import fnmatch, glob, os, shutil, sys, zipfile
tmp = sys.argv[1]
(wheel,) = glob.glob(tmp + "/*.whl")
wanted = ["onnxruntime/capi/libonnxruntime.so.*"]
if "_gpu-" in os.path.basename(wheel):
    # Loaded by the library itself, from its own folder.
    wanted.append("onnxruntime/capi/libonnxruntime_providers_*.so")
with zipfile.ZipFile(wheel) as z:
    for n in z.namelist():
        if any(fnmatch.fnmatchcase(n, w) for w in wanted):
            with z.open(n) as src, open(os.path.join(tmp, "out", os.path.basename(n)), "wb") as dst:
                shutil.copyfileobj(src, dst, 1 << 20)
PY
[ -s "$tmp/out/${lib##*/}" ] || die "the wheel holds no ${lib##*/}"
chmod 755 "$tmp/out" "$tmp/out"/*

# A rename onto a folder with content fails: then another setup was first, or
# somebody emptied the folder by hand and it is safe to replace.
if ! mv -T "$tmp/out" "$dest" 2>/dev/null && [ ! -s "$lib" ]; then
  rm -rf "$dest"
  mv -T "$tmp/out" "$dest"
fi
echo "$lib"
