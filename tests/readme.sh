#!/usr/bin/env bash
# Runs every command of the README as it stands there, in its order, and looks at what it promises.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
host=
# The whole group: make, the script and the host.
stop() {
    [ -n "$host" ] || return 0
    kill -TERM -- "-$host" 2>/dev/null || true
    for _ in $(seq 300); do
        kill -0 -- "-$host" 2>/dev/null || break
        sleep 0.1
    done
    wait "$host" 2>/dev/null || true
    host=
}
cleanup() {
    stop
    rm -rf "$work"
}
trap cleanup EXIT

# Every block of shell commands becomes a file of its own, numbered.
awk -v work="$work" '/^```sh$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside { print > sprintf("%s/%02d.sh", work, n) }' README.md

fail() {
    echo "README: $1" >&2
    tail -n 50 "$work"/*.log >&2 || true
    exit 1
}

# The first block starts the host and keeps serving; a folder of its own keeps what a developer has.
grep -qx 'make run' "$work/01.sh" || fail "the first block is no longer \`make run\`"
export BULKHEAD_DATA_DIR="$work/data"
: >"$work/run.log"
setsid bash -eu "$work/01.sh" >"$work/run.log" 2>&1 &
host=$!
for _ in $(seq 3600); do
    if grep -q 'goes on serving' "$work/run.log"; then break; fi
    kill -0 "$host" 2>/dev/null || fail "make run ended"
    sleep 1
done
grep -q '"label":"7"' "$work/run.log" || fail "make run showed no prediction"

rest=$work/rest.sh
echo 'set -euo pipefail' >"$rest"
for block in "$work"/[0-9]*.sh; do
    [ "$block" = "$work/01.sh" ] || cat "$block" >>"$rest"
done
bash "$rest" >"$work/rest.log" 2>&1 || fail "a command failed"
grep -q '"label":"7"' "$work/rest.log" || fail "digits did not answer 7"
grep -q '"found":\[{"box"' "$work/rest.log" || fail "no page was read"
grep -q '"label":"3"' "$work/rest.log" || fail "the cascade did not answer 3"
grep -q '"label":"setosa"' "$work/rest.log" || fail "iris did not answer setosa"
grep -Eq '"score":(0\.[0-9]{1,2}|1(\.0)?)[,}]' "$work/rest.log" || fail "the first plugin did not round the answer"
grep -q 'vision' "$work/rest.log" || fail "nobody knew whose token it was"
grep -q 'which the credential has not' "$work/rest.log" || fail "a key was let in without its scope"
grep -q 'are whole' "$work/rest.log" || fail "the audit was not whole"
# What the README only names: the other kind of plugin.
export PATH="$PWD/target/release:$PATH"
(cd "$work" && bulkhead plugin new mean --world predictor && cd mean && cargo test && bulkhead plugin build) >"$work/mean.log" 2>&1 ||
    fail "a new predictor does not build"
(cd "$work/mean" && bulkhead plugin push target/plugins/mean.wasm && sed -n '/^runtime/,/^```/{/^```/!p}' README.md >manifest.toml &&
    bulkhead model push mean@1.0.0 --manifest manifest.toml &&
    bulkhead predict mean --json '{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}') >>"$work/mean.log" 2>&1 ||
    fail "a new predictor does not answer"
grep -q '"name":"probabilities"' "$work/mean.log" || fail "a new predictor answers something else"
stop
echo "README: every command ran"
