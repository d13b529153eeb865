#!/usr/bin/env bash
# The suites that do not fit into tests/run.sh: faults at exact steps, which need a build that can be held at them, and the commands
# once more with one Redis user for each.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG
step cargo clippy --locked --all-targets --features failpoints -- -D warnings
step cargo test --locked --quiet --features failpoints --test it -- --test-threads 6 faults::failpoints::
# All but what brings servers and users of its own, or needs no server.
DISTCOMP_TEST_ACL=1 step cargo nextest run --locked --no-fail-fast -E 'binary(it) and not
    test(/^(acl|make_secrets|sentinel|strangers|tls|leaks|python_interop|soak|examples|packaging|layers|harness|dashboard::load)::/)'
