#!/usr/bin/env bash
# Tests devices on a machine that has NVIDIA GPUs:
#   tests/gpu.sh
# Requires nvidia-smi, python3 (its ctypes call libcuda.so.1), redis-server. Takes about a minute. DISTCOMP_PROGRAMS names a directory of
# built programs; without it they are built.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG CUDA_VISIBLE_DEVICES
if [ -z "${DISTCOMP_PROGRAMS:-}" ]; then
    cargo build --locked --bins
    DISTCOMP_PROGRAMS=$PWD/target/debug
fi
export PATH="$DISTCOMP_PROGRAMS:$PATH"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
check() { # WHAT WANTED FOUND
    if [ "$2" = "$3" ]; then echo "ok: $1: $3"; else echo "FAILED: $1: wanted $2, found $3"; failed=1; fi
}
fresh() { mkdir "$work/$1"; cd "$work/$1"; }

gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | wc -l)
echo "$gpus GPUs: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | sort | uniq -c)"

fresh offer
redis-server --port 0 --unixsocket "$PWD/redis.sock" --save '' >redis.log 2>&1 &
redis=$!
for _ in $(seq 50); do [ -S redis.sock ] && break; sleep 0.1; done
distcomp-worker --check --redis-url "redis+unix://$PWD/redis.sock" >check.txt 2>&1 || { cat check.txt; failed=1; }
kill "$redis"
cat check.txt
check "what --check offers" "gpus $gpus ($(seq -s ', ' 0 $((gpus - 1))))" "$(grep -oE 'gpus [0-9]+ \([^)]*\)' check.txt)"

# Each task holds a lock on its device while it uses it: a second task on the same device cannot take it.
fresh whole
cp "$here/tests/data/gpu/cuda.py" .
distcomp run --slots $((gpus * 4)) -G 1 --array 1-$((gpus * 8)) -- 'mkdir held.$CUDA_VISIBLE_DEVICES && python3 cuda.py count >count.{} && sleep 0.2 && rmdir held.$CUDA_VISIBLE_DEVICES' >run.txt 2>&1 || { cat run.txt; failed=1; }
check "devices that a task of one GPU can use" "$((gpus * 8)) 1" "$(cat count.* | sort | uniq -c | xargs)"

# Two halves meet on one device. Each waits for the other.
fresh parts
cp "$here/tests/data/gpu/cuda.py" .
distcomp run --slots 4 -G 0.5 -t 60 --array 1-2 -- 'echo $CUDA_VISIBLE_DEVICES >on.{}; for i in $(seq 300); do [ -e on.1 ] && [ -e on.2 ] && exec python3 cuda.py count >count.{}; sleep 0.1; done; exit 1' >run.txt 2>&1 || { cat run.txt; failed=1; }
check "devices of two halves" "1" "$(cat on.* | sort -u | wc -l)"

# A task that asks for no GPU.
fresh hidden
cp "$here/tests/data/gpu/cuda.py" .
distcomp run -- 'python3 cuda.py count >seen' >run.txt 2>&1 || { cat run.txt; failed=1; }
check "devices that a task without GPUs can use" "$gpus" "$(cat seen)"
echo '{"hide_gpus": true}' >conf.json
distcomp run --config conf.json -- 'python3 cuda.py count >unseen' >run.txt 2>&1 || { cat run.txt; failed=1; }
check "the same with hide_gpus" 0 "$(cat unseen)"

# The time limit kills a process that holds GPU memory and ignores SIGTERM. The next task finds the memory free again.
fresh limit
cp "$here/tests/data/gpu/cuda.py" .
before=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | head -1)
distcomp run -G 1 -t 5 -- 'python3 cuda.py hold 4096 held' >run.txt 2>&1 && { echo "FAILED: the task was not killed"; cat run.txt; failed=1; }
check "GPU memory that the killed task had taken, in MiB" 4096 "$(cat held 2>/dev/null)"
distcomp run -G 1 -- 'nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i $CUDA_VISIBLE_DEVICES >after' >run.txt 2>&1 || { cat run.txt; failed=1; }
check "memory of the killed task is free again" yes "$([ "$(cat after)" -lt $((before + 1024)) ] && echo yes || echo "no: $before before, $(cat after) MiB after")"

# Two local runs have a worker each: no device goes to both.
fresh two
mkdir a b
cp "$here/tests/data/gpu/cuda.py" .
use='mkdir ../held.$CUDA_VISIBLE_DEVICES && python3 ../cuda.py count >/dev/null && sleep 0.2 && rmdir ../held.$CUDA_VISIBLE_DEVICES'
(cd a && distcomp run --slots 4 -G 1 --array 1-10 -- "$use # {}") >a.txt 2>&1 &
first=$!
(cd b && distcomp run --slots 4 -G 1 --array 1-10 -- "$use # {}") >b.txt 2>&1 || { cat b.txt; failed=1; }
wait "$first" || { cat a.txt; failed=1; }
check "runs of two workers without a clash" "2" "$(grep -cE '^10 tasks finished, 0 failed' <(cat a.txt b.txt))"

[ "$failed" = 0 ] && echo "PASS"
exit "$failed"
