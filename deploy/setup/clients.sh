#!/usr/bin/env bash
# Puts the clients that tests use into target/clients: a virtual environment with tritonclient and kserve, and Triton's
# perf_analyzer. Prints what is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

wanted=$here/../../tests/clients
dest=$here/../../target/clients
mkdir -p "$dest"

# Made anew where the requirements have changed.
stamp=$(cat "$wanted"/*.txt | cksum)
if [ "$(cat "$dest/stamp" 2>/dev/null)" = "$stamp" ]; then echo "complete"; exit 0; fi
rm -rf "$dest/venv" "$dest/perf" "$dest/stamp"

say "fetching tritonclient and kserve"
python3 -m venv "$dest/venv" || die "python3 can't make a virtual environment; run deploy/setup/system.sh first"
pip=("$dest/venv/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" install --only-binary=:all: --requirement "$wanted/requirements.txt" >&2 || die "could not fetch the clients"

# A program for one platform: elsewhere its test says so.
if [ "$(uname -s) $(uname -m)" = "Linux x86_64" ]; then
  say "fetching perf_analyzer"
  "${pip[@]}" download --no-deps --only-binary=:all: --requirement "$wanted/perf-analyzer.txt" --dest "$dest/perf" >&2 ||
    die "could not fetch perf_analyzer"
  python3 - "$dest/perf" <<'PY'
import glob, os, stat, sys, zipfile
folder = sys.argv[1]
wanted = {"perf_analyzer", "libcudart.so.12"}
for wheel in glob.glob(folder + "/*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            base = os.path.basename(name)
            if base in wanted:
                with open(os.path.join(folder, base), "wb") as out:
                    out.write(z.read(name))
                os.chmod(out.name, 0o755)
                wanted.discard(base)
    os.remove(wheel)
sys.exit(f"the wheels lack {wanted}" if wanted else 0)
PY
  # The one library of Debian's that it needs.
  ldconfig -p 2>/dev/null | grep libb64.so.0d >/dev/null || apt_install libb64-0d
fi
echo "$stamp" >"$dest/stamp"
echo "fetched"
