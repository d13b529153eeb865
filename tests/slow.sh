#!/usr/bin/env bash
# Runs nearly the whole suite again with one Redis user for each command, each with only the rights that example/redis/users.acl gives it.
# It takes too long for tests/run.sh.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."

unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG
cargo nextest --version >/dev/null 2>&1 || {
    echo "This needs cargo-nextest: https://nexte.st" >&2
    exit 2
}
# All tests except those with servers and users of their own, and those without a server.
DISTCOMP_TEST_ACL=1 cargo nextest run --locked --no-fail-fast -E 'binary(it) and not
    test(/^(acl|make_secrets|sentinel|open_redis|tls|leaks|python_interop|soak|examples|packaging|layers|harness|dashboard::load)::/)'
