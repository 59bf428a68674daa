#!/bin/sh
# Makes a fresh Debian ready for this repository: what is missing is installed from the distribution, and Docker is
# started when it doesn't run. Quick and without effect when everything is there.
#
# SETUP_DOCKER=no leaves Docker alone; with it, scripts/test.sh ignores the tests that need Docker, and says so.
# SETUP_REGISTRY=yes installs Debian's docker-registry, too; with it, scripts/test.sh runs the test of a registry
# outside of the server. Without it that test is skipped.
# SETUP_TORTURE=yes adds what `make torture` steps the server's clock with.
#
# The tests check the API against its document with schemathesis, which goes into target/venv with all that it needs, in
# the versions of tests/requirements.txt.
set -eu
cd "$(dirname "$0")/.."

log=/var/log/omgservers-dockerd.log
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
have_root_program() { have "$1" || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

have_postgres() {
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && return 0
    done
    have initdb
}

have_fake_time() {
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1; do
        [ -e "$library" ] && return 0
    done
    return 1
}

missing_packages() {
    have cc || echo build-essential
    have pkg-config || echo pkg-config
    have curl || echo curl
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    have_postgres || echo postgresql
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
    # The game servers of examples/ that use no SDK.
    have python3 || echo python3
    have node || echo nodejs
    if [ "${SETUP_TORTURE:-no}" = yes ] && ! have_fake_time; then echo libfaketime; fi
    if [ "${SETUP_DOCKER:-yes}" = yes ]; then
        have_root_program dockerd || echo docker.io
        # Newer releases have the client in a package of its own.
        if ! have docker && apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; fi
    fi
    if [ "${SETUP_REGISTRY:-no}" = yes ]; then
        have docker-registry || echo docker-registry
    fi
}

install_packages() {
    have apt-get || fail "this is no Debian: install a C compiler, pkg-config, curl, PostgreSQL 15 or newer and Docker by hand"
    if [ -n "$as_root" ] && ! have sudo; then fail "installing needs root: run this as root, or install sudo"; fi
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -q
    # Asked again: before the first update the lists of packages may have been empty.
    packages=$(missing_packages | tr '\n' ' ')
    say "installing: $packages"
    case " $packages" in
    *" postgresql "*)
        # The server and the tests run clusters of their own; the distribution's would only take memory and a port.
        $as_root mkdir -p /etc/postgresql-common
        if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            echo 'create_main_cluster = false' | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        fi
        ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
        -o Dpkg::Options::=--force-confold $packages
    case " $packages" in
    *" docker-registry "*)
        # The tests run one of their own; the distribution's would only take a port.
        if [ -d /run/systemd/system ]; then $as_root systemctl disable --now docker-registry >/dev/null 2>&1 || true; fi
        ;;
    esac
}

check_rust() {
    if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
        fail "cargo is not on the path: run '. \$HOME/.cargo/env' and then this again"
    fi
    have cargo || fail "the Rust toolchain is missing: install it from https://rustup.rs, and then run this again"
}

# The image of the sample game is a static binary. Without this target it is linked statically with glibc.
add_static_target() {
    have rustup || return 0
    target="$(uname -m)-unknown-linux-musl"
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] && return 0
    say "adding the target $target"
    timeout 120 rustup target add "$target" >/dev/null 2>&1 || say "$target can't be had; the glibc target does as well"
}

# The mark is written last: an installation that broke off is done again.
install_test_tools() {
    venv=target/venv
    cmp -s tests/requirements.txt "$venv/requirements.txt" && return 0
    say "installing schemathesis into $venv"
    rm -rf "$venv"
    mkdir -p target
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
    cp tests/requirements.txt "$venv/requirements.txt"
}

docker_answers() { docker info >/dev/null 2>&1; }

start_docker() {
    docker_answers && return 0
    if [ -d /run/systemd/system ]; then
        say "starting Docker"
        $as_root systemctl enable --now docker >/dev/null 2>&1 || true
    elif ! pgrep -x dockerd >/dev/null 2>&1; then
        say "starting Docker in the background (log: $log)"
        PATH="$PATH:/usr/sbin:/sbin"
        # Live restore: containers outlive the daemon. It refuses what is said twice.
        live="--live-restore"
        if grep -qs '"live-restore"' /etc/docker/daemon.json; then live=""; fi
        $as_root sh -c "PATH='$PATH' setsid nohup dockerd $live >>'$log' 2>&1 </dev/null &"
    fi
    tries=0
    until docker_answers; do
        tries=$((tries + 1))
        [ "$tries" -le 60 ] || break
        sleep 0.5
    done
    docker_answers && return 0
    if [ -n "$as_root" ] && $as_root docker info >/dev/null 2>&1; then
        fail "Docker runs, but not for you: run 'sudo usermod -aG docker $(id -un)', log in again, and then run this again"
    fi
    fail "Docker doesn't start; its log ($log, or journalctl -u docker) says why. In a container it needs privileges"
}

[ -z "$(missing_packages)" ] || install_packages
[ "${SETUP_DOCKER:-yes}" = yes ] && start_docker
check_rust
add_static_target
scripts/tools.sh || fail "the tools for make check can't be installed from PyPI"
install_test_tools
say "everything is there"
