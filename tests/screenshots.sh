#!/usr/bin/env bash
# Creates the pictures of the dashboard and of `watch` for the README from a real run, in one or two minutes:
#   tests/screenshots.sh [DIRECTORY]
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
# shellcheck source=example/install-redis.sh
. example/install-redis.sh
# shellcheck source=tests/install-chromium.sh
. tests/install-chromium.sh
install_redis
install_chromium
command -v tmux >/dev/null 2>&1 || { echo "tmux is needed for the pictures of watch: install it" >&2; exit 1; }
place=$(realpath -m "${1:-docs}")
mkdir -p "$place"
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG
DISTCOMP_PICTURES=$place cargo test --locked --test it dashboard::pictures:: -- --nocapture
if command -v optipng >/dev/null 2>&1; then
    optipng -quiet -o5 "$place"/dashboard-*.png "$place"/watch-*.png
fi
ls -l "$place"/dashboard-*.png "$place"/watch-*.png
