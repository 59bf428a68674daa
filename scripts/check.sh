#!/bin/sh
# Everything that can be said about the code without running it, and that what is generated is up to date.
set -eu
cd "$(dirname "$0")/.."

# Tools of this repository, at pinned versions: scripts/tools.sh installs them.
PATH="$(scripts/tools.sh path):$PATH"
need() { command -v "$1" >/dev/null 2>&1 || { echo "$1 is missing: run make setup" >&2; exit 1; }; }
step() { printf '\n== %s\n' "$*"; "$@"; }
have() { command -v "$1" >/dev/null 2>&1; }

# The units of systemd, with a program that is there in the place of ours. Warnings are none of its errors, but of ours.
units() {
    folder=$(mktemp -d)
    for unit in service socket; do
        sed 's#/usr/local/bin/omgservers#/bin/true#' "deploy/omgservers.$unit" >"$folder/omgservers.$unit"
    done
    failed=0
    said=$(systemd-analyze verify --man=no "$folder/omgservers.service" "$folder/omgservers.socket" 2>&1) || failed=1
    rm -rf "$folder"
    # It may have something to say about units of this machine, too.
    if printf '%s\n' "$said" | grep "omgservers\."; then failed=1; elif [ "$failed" = 1 ]; then printf '%s\n' "$said"; fi
    return "$failed"
}

need typos
need cargo-shear
step typos
step scripts/prose_test.py
step scripts/prose.py
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --locked --quiet
step cargo test --locked --quiet --package omgservers-words --tests
step cargo test --locked --quiet --workspace --test architecture
# Tests that compare a checked-in file with what the code makes of it have this in their names.
step cargo test --locked --quiet --workspace --tests checked_in
# Its own workspace; without libFuzzer there is no C++ to compile, and what both need is compiled once.
step cargo check --quiet --manifest-path fuzz/Cargo.toml --no-default-features --locked --target-dir target
step cargo fmt --manifest-path fuzz/Cargo.toml --check
if have cargo-deny; then step cargo deny --offline check bans licenses sources; else echo "cargo-deny isn't installed: licences aren't checked"; fi
# Unused dependencies and files. What cargo doesn't compile is listed in the metadata of its package.
step cargo shear --locked --deny-warnings
if have systemd-analyze; then step units; else echo "systemd-analyze isn't there: the units in deploy/ aren't verified"; fi
