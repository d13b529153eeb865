#!/usr/bin/env bash
# Runs every check of this project on a machine that has only Rust:
#   tests/run.sh [ARGUMENTS FOR THE TEST RUNNER]
# Installs redis-server, Chromium and promtool if they are missing, checks format, lints, documents and licences, and runs all tests. The last lines
# are the summary of the test runner.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
# shellcheck source=example/install-redis.sh
. example/install-redis.sh
# shellcheck source=tests/install-chromium.sh
. tests/install-chromium.sh

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

command -v cargo >/dev/null 2>&1 || {
    echo "There is no cargo here. Install Rust first: https://rustup.rs" >&2
    exit 2
}
install_redis
install_chromium
# Some tests need network namespaces with servers of ssh in them, certificates, or a trace of system calls.
if command -v apt-get >/dev/null 2>&1; then
    for need in ip:iproute2 ssh:openssh-client /usr/sbin/sshd:openssh-server redis-cli:redis-tools openssl:openssl strace:strace setpriv:util-linux parallel:parallel zsh:zsh fish:fish man:man-db groff:groff promtool:prometheus; do
        command -v "${need%%:*}" >/dev/null 2>&1 ||
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need##*:}" >&2 || true
    done
fi
# Nothing else checks the alert rules.
command -v promtool >/dev/null 2>&1 || {
    echo "There is no promtool, which checks example/monitoring. Install the package prometheus, or see https://prometheus.io/download/" >&2
    exit 2
}
# Each test stops its private servers. A variable of the caller's shell must not lead a test to a real server.
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG

step cargo fmt --check
# The programs as users build them; the tests are looked at below, with fail-points.
step cargo clippy --locked -- -D warnings
# Constants that are valid only on x86-64 show up only in a build for another processor.
if [ -d "$(rustc --print target-libdir --target aarch64-unknown-linux-gnu)" ]; then
    # Without TLS, which would need a C compiler for that processor.
    step cargo check --locked --no-default-features --target aarch64-unknown-linux-gnu
else
    printf '\n== NOT CHECKED: aarch64. To check it: rustup target add aarch64-unknown-linux-gnu\n'
fi
RUSTDOCFLAGS="-D warnings" step cargo doc --locked --no-deps
if command -v cargo-deny >/dev/null 2>&1; then
    step cargo deny --locked check licenses bans sources
else
    echo "cargo-deny is not installed: licences and sources are not checked."
fi
# One build for all tests: it can stop at named steps, for the tests of faults at exact steps. tests/slow.sh looks at a build without them.
step cargo clippy --locked --all-targets --features failpoints -- -D warnings
# Random faults of every kind for a minute; the seed is printed. Skipped if arguments select tests.
soaked=0
if [ $# -eq 0 ]; then
    step tests/soak.sh 1 || soaked=$?
fi
if cargo nextest --version >/dev/null 2>&1; then
    # nextest does not run the documentation examples.
    step cargo test --locked --features failpoints --doc --quiet
    step cargo nextest run --locked --features failpoints --no-fail-fast "$@"
else
    step cargo test --locked --features failpoints --no-fail-fast "$@"
fi
exit "$soaked"
