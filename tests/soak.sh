#!/usr/bin/env bash
# Runs thousands of tasks under random faults of every kind, and prints a verdict with counts:
#   tests/soak.sh [MINUTES] [SEED]
# Defaults: one minute and a random seed. The seed is printed; the same seed repeats the same faults.
# If DISTCOMP_PYTHON_ORIGINAL names a checkout of 1a1a11a/distComp, its worker takes part, and faults that it does not survive are skipped.
# If SOAK_KEEP names a directory, everything is copied there when a guarantee was broken.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
# shellcheck source=example/install-redis.sh
. example/install-redis.sh
install_redis
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG
export SOAK_MINUTES="${1:-1}" SOAK_SEED="${2:-}"
exec cargo test --locked --features failpoints --quiet --test it -- --exact soak::soak --ignored --nocapture
