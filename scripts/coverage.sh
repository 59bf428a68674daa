#!/bin/sh
# Which lines the tests reach. Arguments are a filter.
set -eu
cd "$(dirname "$0")/.."
PATH="$(scripts/tools.sh path):$PATH"

command -v cargo-llvm-cov >/dev/null 2>&1 || { echo "cargo-llvm-cov is missing: run make setup" >&2; exit 1; }
libraries="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
if [ ! -x "$libraries/llvm-cov" ] && ! command -v llvm-cov >/dev/null 2>&1; then
    echo "llvm-cov is missing: rustup component add llvm-tools" >&2
    exit 1
fi
cargo llvm-cov --workspace --locked --html -- "$@"
