#!/bin/sh
# All tests, on real PostgreSQL and real Docker. Arguments are a filter.
#
# Tests that need Docker are ignored by a plain `cargo test`, with the reason, and run here unless SETUP_DOCKER=no.
# The test of a registry outside of the server runs with SETUP_REGISTRY=yes. What is left out is counted as ignored or
# skipped.
set -eu
cd "$(dirname "$0")/.."

docker="${SETUP_DOCKER:-yes}"
registry="${SETUP_REGISTRY:-no}"
[ "$docker" = yes ] || echo "SETUP_DOCKER=$docker: tests that need Docker are ignored" >&2
[ "$registry" = yes ] || echo "SETUP_REGISTRY=$registry: the test of a registry outside of the server is skipped" >&2

# Seeds of the simulation in the second run, through the loop-back router.
seeds="${OMG_SIM_SEEDS:-3}"

if command -v cargo-nextest >/dev/null 2>&1; then
    ignored=default
    [ "$docker" = yes ] && ignored=all
    expression="all()"
    [ "$registry" = yes ] || expression="not (binary(e2e) & test(/^external::/))"
    cargo nextest run --workspace --locked --no-fail-fast --run-ignored "$ignored" -E "$expression" "$@"
    # Once more with every call from HTTP and streams serialised: what a facade can't carry fails here.
    [ $# -gt 0 ] || OMG_ROUTER=loopback OMG_SIM_SEEDS="$seeds" cargo nextest run --workspace --locked \
        --no-fail-fast \
        -E "(binary(contract) & test(/^(bad_input|gates|lists|roles|workers)::/)) | binary(stream) | binary(sim)"
else
    options=""
    [ "$docker" = yes ] && options="--include-ignored"
    [ "$registry" = yes ] || options="$options --skip external::"
    # shellcheck disable=SC2086
    cargo test --workspace --locked --no-fail-fast --tests -- $options "$@"
    [ $# -gt 0 ] || OMG_ROUTER=loopback OMG_SIM_SEEDS="$seeds" cargo test --workspace --locked \
        --no-fail-fast --test contract --test stream --test sim -- --skip schemathesis
fi
[ $# -gt 0 ] || cargo test --workspace --locked --doc --quiet
