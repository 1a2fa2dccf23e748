#!/bin/sh
# The shipped corpus with the default embedder: exact vectors and BM25, about a megabyte, a minute at most.
set -eu
cd "$(dirname "$0")/.."
exec ragscale index build corpora/elements/passages.jsonl --out indexes/demo "$@"
