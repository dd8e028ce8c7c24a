#!/usr/bin/env bash
# Starts the host with the demo models, shows one real prediction, and keeps serving.
# Usage: run.sh BULKHEAD [more arguments for `serve`]
set -euo pipefail

bulkhead=$1
shift
demo=$(cd "$(dirname "$0")" && pwd)
url=http://${BULKHEAD_LISTEN:-127.0.0.1:8000}

if curl -s -o /dev/null "$url"; then
    echo "something already serves at $url: stop it first, or set BULKHEAD_LISTEN to another address" >&2
    exit 1
fi

"$bulkhead" serve --config "$demo/bulkhead.toml" "$@" &
host=$!
trap 'kill "$host" 2>/dev/null || true; wait "$host" || true' INT TERM EXIT

for _ in $(seq 600); do
    if curl -sf "$url/health/ready" >/dev/null; then break; fi
    if ! kill -0 "$host" 2>/dev/null; then wait "$host"; fi
    sleep 0.1
done
curl -sf "$url/health/ready" >/dev/null || { echo "the host did not become ready" >&2; exit 1; }

sample="$demo/digits/samples/7.png"
printf '\n$ curl -H "Content-Type: image/png" --data-binary @%s %s/v1/models/digits/predict\n' \
    "$(realpath --relative-to="$PWD" "$sample")" "$url"
curl -sS -H "Content-Type: image/png" --data-binary @"$sample" "$url/v1/models/digits/predict"
printf '\n\nThe host goes on serving at %s; try %s/docs. Stop it with Ctrl-C.\n' "$url" "$url"
wait "$host"
