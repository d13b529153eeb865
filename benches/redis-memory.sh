#!/usr/bin/env bash
# Measures how many bytes of Redis a task takes: while it waits, after it has finished, and after it has failed.
#   benches/redis-memory.sh [TASKS]
# TASKS is the number of tasks of each kind (default 5000). The programs are those on PATH, or in DISTCOMP_BIN_DIR. It starts a private
# redis-server (or DISTCOMP_REDIS_SERVER) and a worker, and stops both. A line of these tasks has about 50 bytes,
# its result 20, the message of its failure 31.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
tasks=${1:-5000}
PATH=${DISTCOMP_BIN_DIR:+$DISTCOMP_BIN_DIR:}$PATH
dir=$(mktemp -d)
unset DISTCOMP_CONFIG DISTCOMP_REDIS_URL
cd "$dir"
"${DISTCOMP_REDIS_SERVER:-redis-server}" --port 0 --unixsocket "$dir/sock" --save '' --appendonly no >log &
server=$!
trap 'kill $server; wait $server; rm -rf "$dir"' EXIT
until redis-cli -s sock ping >/dev/null 2>&1; do sleep 0.05; done
cat >conf.json <<CONF
{"redis_url": "redis+unix://$dir/sock", "state_dir": "$dir/state", "result_dir": "$dir/results", "max_retry_per_task": 1,
 "min_dram_gb_accept_new_task": 0.02, "min_dram_gb_trigger_return": 0.01}
CONF
used() { redis-cli -s sock info memory | tr -d '\r' | sed -n 's/^used_memory://p'; }
# The event log has an upper limit and is not counted.
each() {
    redis-cli -s sock del distcomp:events >/dev/null
    printf '%-10s %6d B a task\n' "$1" $((($(used) - before) / tasks))
}
lines() { for ((n = 1; n <= tasks; n++)); do printf 'shell:0:0:1:60:printf "the result of %%06d" %d%s\n' "$n" "$1"; done; }
# Scripts and whatever else does not depend on the number of tasks are there before the first look.
echo 'shell:0:0:1:true' | distcomp-submit --quiet -
distcomp-worker --burst 2>/dev/null

before=$(used)
lines '' | distcomp-submit --quiet -
each waiting
distcomp-worker --burst 2>/dev/null
each finished
distcomp-ctl purge --all --yes --quiet
before=$(used)
lines '; echo "ValueError: block is cut short" >&2; exit 3' | distcomp-submit --quiet -
distcomp-worker --burst 2>/dev/null
each failed
