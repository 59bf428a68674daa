#!/bin/sh
# Builds a sample game as a static binary, and its image if a name is given: scripts/game.sh [GAME [IMAGE]].
# The games are in examples/; without a name it is lobby-echo. The binary alone: also idle-runtime, which tests use.
# Prints the path of the binary, or the name of the image.
set -eu
cd "$(dirname "$0")/.."

game="${1:-lobby-echo}"
machine=$(uname -m)
target="$machine-unknown-linux-musl"
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    target="$machine-unknown-linux-gnu"
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi
cargo build --locked --quiet --profile image -p "omgservers-$game" --target "$target" >&2
binary="${CARGO_TARGET_DIR:-target}/$target/image/$game"
if [ $# -le 1 ]; then
    echo "$binary"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$binary" "examples/$game/Dockerfile" "$folder"
docker build -q -t "$2" "$folder" >&2
echo "$2"
