#!/bin/sh
# Everything that can be said about the code without running it, and that what is generated is up to date.
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; "$@"; }
have() { command -v "$1" >/dev/null 2>&1; }

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --locked --quiet
step cargo test --locked --quiet --workspace --test architecture
# Tests that compare a checked-in file with what the code makes of it have this in their names.
step cargo test --locked --quiet --workspace --tests checked_in
# Its own workspace; without libFuzzer there is no C++ to compile, and what both need is compiled once.
step cargo check --quiet --manifest-path fuzz/Cargo.toml --no-default-features --locked --target-dir target
step cargo fmt --manifest-path fuzz/Cargo.toml --check
if have cargo-deny; then step cargo deny --offline check bans licenses sources; else echo "cargo-deny isn't installed: licences aren't checked"; fi
if have cargo-machete; then step cargo machete; else echo "cargo-machete isn't installed: unused dependencies aren't looked for"; fi
