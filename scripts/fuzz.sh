#!/bin/sh
# Runs the fuzz targets, each for some seconds: scripts/fuzz.sh [SECONDS [TARGET…]]. What is found is in fuzz/artifacts.
#
# Without a sanitizer, so that the stable toolchain does: sanitizers need a nightly one, and look for what `unsafe` code
# does. The decoders have none.
set -eu
cd "$(dirname "$0")/../fuzz"

command -v cargo-fuzz >/dev/null 2>&1 || {
    echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz" >&2
    exit 1
}
seconds="${1:-60}"
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- interchange stream ids names scopes ws
for target; do
    mkdir -p "corpus/$target"
    cargo fuzz run -s none "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024
done
