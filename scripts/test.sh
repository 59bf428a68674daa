#!/bin/sh
# All tests, on real PostgreSQL and real Docker. Arguments are a filter.
set -eu
cd "$(dirname "$0")/.."

if command -v cargo-nextest >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast "$@"
else
    cargo test --workspace --locked --no-fail-fast --tests -- "$@"
fi
[ $# -gt 0 ] || cargo test --workspace --locked --doc --quiet
