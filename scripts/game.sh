#!/bin/sh
# Builds the sample game as a static binary, and its image if a name is given: scripts/game.sh [IMAGE].
# Prints the path of the binary, or the name of the image.
set -eu
cd "$(dirname "$0")/.."

machine=$(uname -m)
target="$machine-unknown-linux-musl"
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    target="$machine-unknown-linux-gnu"
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi
cargo build --locked --quiet --profile image -p omgservers-lobby-echo --target "$target" >&2
binary="${CARGO_TARGET_DIR:-target}/$target/image/lobby-echo"
if [ $# = 0 ]; then
    echo "$binary"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$binary" examples/lobby-echo/Dockerfile "$folder"
docker build -q -t "$1" "$folder" >&2
echo "$1"
