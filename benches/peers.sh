#!/usr/bin/env bash
# Runs DistComp and other task runners in turns on the same job, `sh -c true` with its output captured, and prints tasks a second.
#
#   benches/peers.sh [ROUNDS [TASKS]]      default 5 rounds; 2000 tasks for the fast ones, a quarter of that for the slow ones
#
# Installs into a directory of its own (PEERS_DIR, default a temporary one that is removed): RQ, Celery and Dask with pip, BullMQ with npm. GNU parallel
# is installed with apt-get when this runs as root. HyperQueue takes part when HQ names its binary. It runs in a network namespace of its own where
# possible, because it listens on all addresses. Python DistComp takes part when DISTCOMP_PYTHON_ORIGINAL names a checkout of it. A copy is changed so
# that it does not require two free cores; otherwise it would run only one task on this machine. The script names each peer that it cannot run.
# DISTCOMP_BIN names the directory of our programs; default: a release build of this checkout, which is updated first.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
rounds=${1:-5} tasks=${2:-2000} slots=4
if [ -n "${PEERS_DIR:-}" ]; then
  dir=$PEERS_DIR
  mkdir -p "$dir"
else
  dir=$(mktemp -d)
fi
run=$(mktemp -d /tmp/dc-peers-XXXXXX)
pids=()
export HQ=${HQ:-}
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$run"
  [ -n "${PEERS_DIR:-}" ] || rm -rf "$dir"
}
trap cleanup EXIT
say() { printf '%s\n' "$*" >&2; }

if [ -z "${DISTCOMP_BIN:-}" ]; then
  cargo build -q --release --bins
  DISTCOMP_BIN=${CARGO_TARGET_DIR:-target}/release
fi
bin=$(realpath "$DISTCOMP_BIN")

# The peers that this machine can run.
systems=(distcomp xargs)
if ! command -v parallel >/dev/null && [ "$(id -u)" = 0 ]; then
  { apt-get -qq update && apt-get -qq install -y parallel; } >"$run/apt.log" 2>&1 || true
fi
if command -v parallel >/dev/null; then systems+=(parallel); else say "GNU parallel: not installed, left out"; fi
[ -x "$dir/venv/bin/python" ] || python3 -m venv "$dir/venv" >"$run/pip.log" 2>&1 || true
py=$dir/venv/bin/python
if "$py" -c 'import rq, celery, redis' 2>/dev/null || "$py" -m pip install -q rq 'celery[redis]' psutil >"$run/pip.log" 2>&1; then
  systems+=(rq rq-fork celery)
else
  say "RQ, Celery: pip could not install them, left out ($(tail -n1 "$run/pip.log"))"
fi
if "$py" -c 'import distributed' 2>/dev/null || "$py" -m pip install -q 'dask[distributed]' >"$run/dask.log" 2>&1; then
  systems+=(dask)
else
  say "Dask: pip could not install it, left out ($(tail -n1 "$run/dask.log"))"
fi
if [ -n "${DISTCOMP_PYTHON_ORIGINAL:-}" ] && "$py" -c 'import redis, psutil' 2>/dev/null; then
  cp -r "$DISTCOMP_PYTHON_ORIGINAL" "$run/original"
  sed -i 's/self.total_core - self.used_core < 2/self.total_core - self.used_core < 0/' "$run/original/redisWorker.py"
  systems+=(original)
else
  say "Python DistComp: DISTCOMP_PYTHON_ORIGINAL names no checkout, left out"
fi
if command -v npm >/dev/null && { [ -d "$dir/node/node_modules/ioredis" ] || npm install --silent --prefix "$dir/node" bullmq ioredis >"$run/npm.log" 2>&1; }; then
  systems+=(bullmq)
else
  say "BullMQ: npm could not install it, left out"
fi
if [ -n "${HQ:-}" ]; then systems+=(hyperqueue); else say "HyperQueue: HQ names no binary, left out"; fi

sock=$run/redis.sock
port=$("$py" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${DISTCOMP_REDIS_SERVER:-redis-server}" --bind 127.0.0.1 --port "$port" --unixsocket "$sock" --save "" --appendonly no --dir "$run" >"$run/redis.log" 2>&1 &
pids+=($!)
for _ in $(seq 200); do
  redis-cli -s "$sock" ping >/dev/null 2>&1 && break
  sleep 0.05
done
redis-cli -s "$sock" ping >/dev/null || { say "redis-server does not answer: $(tail -n1 "$run/redis.log")"; exit 1; }
rcli() { redis-cli -s "$sock" "$@"; }

# The job definitions of the Python peers and of Node.
cat >"$run/jobs.py" <<'PY'
import subprocess
from celery import Celery
app = Celery("jobs")
app.conf.update(broker_url="redis+socket://%s" % __import__("os").environ["SOCK"],
                result_backend="redis+socket://%s?virtual_host=1" % __import__("os").environ["SOCK"],
                worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
def job(n):
    return subprocess.run(["sh", "-c", "true"], capture_output=True, check=True).stdout.decode()
celery_job = app.task(name="jobs.celery_job")(job)
PY
cat >"$run/add.py" <<'PY'
import os, sys
system, count = sys.argv[1], int(sys.argv[2])
if system == "celery":
    import jobs
    for n in range(count): jobs.celery_job.delay(n)
else:
    import redis, rq, jobs
    queue = rq.Queue("bench", connection=redis.Redis(unix_socket_path=os.environ["SOCK"]))
    queue.enqueue_many([rq.Queue.prepare_data(jobs.job, (n,)) for n in range(count)])
PY
cat >"$run/dask_run.py" <<'PY'
import sys, time
from distributed import Client, LocalCluster
import jobs
if __name__ == "__main__":
    count, slots = int(sys.argv[1]), int(sys.argv[2])
    with LocalCluster(n_workers=2, threads_per_worker=slots // 2, dashboard_address=None, host="127.0.0.1") as cluster, Client(cluster) as client:
        client.gather(client.map(jobs.job, range(-slots, 0), pure=False))
        start = time.monotonic()
        client.gather(client.map(jobs.job, range(count), pure=False))
        print("%.1f" % (count / (time.monotonic() - start)))
PY
cat >"$run/hq.sh" <<'SH'
set -eu
count=$1 slots=$2 dir=$3
[ "$(id -u)" != 0 ] || ip link set lo up 2>/dev/null || true
export HQ_SERVER_DIR=$dir/hq
"$HQ" server start --host localhost >"$dir/hq.log" 2>&1 & server=$!
until "$HQ" server info >/dev/null 2>&1; do sleep 0.1; done
"$HQ" worker start --cpus "$slots" >"$dir/hqw.log" 2>&1 & worker=$!
until [ "$("$HQ" worker list 2>/dev/null | grep -c RUNNING)" = 1 ]; do sleep 0.1; done
from=$(date +%s%N)
"$HQ" submit --array "1-$count" --stream "$dir/stream" --wait -- sh -c true >/dev/null 2>"$dir/hqs.log"
to=$(date +%s%N)
"$HQ" server stop >/dev/null 2>&1 || true
wait "$worker" "$server" 2>/dev/null || true
awk "BEGIN { printf \"%.1f\n\", $count * 1e9 / ($to - $from) }"
SH
cat >"$run/bull.js" <<'JS'
const { Queue, Worker } = require(process.env.BULL + '/node_modules/bullmq');
const { execFile } = require('child_process');
const connection = { path: process.env.SOCK, maxRetriesPerRequest: null };
if (process.argv[2] === 'add') {
  (async () => {
    const queue = new Queue('bench', { connection });
    for (let i = 0; i < +process.argv[3]; i += 1000)
      await queue.addBulk(Array.from({ length: Math.min(1000, process.argv[3] - i) }, (_, k) => ({ name: 'job', data: { n: i + k } })));
    await queue.close();
  })();
} else {
  new Worker('bench', () => new Promise((done, failed) => execFile('sh', ['-c', 'true'], (error, out) => error ? failed(error) : done(out))),
    { connection, concurrency: +process.argv[3] });
}
JS
# The steady rate: from the first result to the last one.
cat >"$run/rate.py" <<'PY'
import os, sys, time
import socket
count, command = int(sys.argv[1]), sys.argv[2:]
link = socket.socket(socket.AF_UNIX); link.connect(os.environ["SOCK"])
def call(words):
    link.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (w.encode() for w in words)))
    return link.recv(4096)
db = os.environ.get("DB", "0")
call(["SELECT", db])
first, limit = None, time.monotonic() + 240
while True:
    done, now = int(call(command)[1:].split(b"\r")[0]), time.monotonic()
    if done and first is None: first = (now, done)
    if done >= count: break
    if now > limit: sys.exit("not done in time")
    time.sleep(0.002)
print("%.1f" % ((done - first[1]) / (now - first[0]) if now > first[0] else 0))
PY
export SOCK=$sock BULL=$dir/node PYTHONPATH=$run

watched() { # COUNT COMMAND... with the worker started by `start`
  "$py" "$run/rate.py" "$@"
}
stop() { for pid in "$@"; do kill "$pid" 2>/dev/null || true; done; for pid in "$@"; do wait "$pid" 2>/dev/null || true; done; }
wall() { # COUNT COMMAND...
  local count=$1 from to; shift
  from=$(date +%s%N); "$@" >/dev/null; to=$(date +%s%N)
  awk "BEGIN { printf \"%.1f\n\", $count * 1e9 / ($to - $from) }"
}

one() { # SYSTEM: prints tasks a second
  local n=$tasks workers=()
  rcli flushall >/dev/null
  case $1 in
    distcomp)
      printf '{"redis_url": "redis+unix://%s", "max_task_per_worker": %d, "min_dram_gb_accept_new_task": 0.1, "min_dram_gb_trigger_return": 0.05, "result_dir": "%s/results", "state_dir": "%s/state"}' \
        "$sock" $slots "$run" "$run" >"$run/conf.json"
      seq -f 'shell:0:0:1:true # %.0f' "$n" | "$bin/distcomp-submit" --quiet --config "$run/conf.json" - >/dev/null
      "$bin/distcomp-worker" --name bench --config "$run/conf.json" 2>"$run/worker.log" & workers=($!)
      watched "$n" HLEN finished_tasks
      ;;
    xargs) wall "$n" sh -c "seq $n | xargs -n1 -P$slots sh -c true" ;;
    parallel) n=$((n / 4)); wall "$n" sh -c "seq $n | parallel --will-cite -j$slots -n1 true '#'" ;;
    rq | rq-fork)
      n=$((n / 4))
      local class=rq.worker.SimpleWorker
      if [ "$1" = rq-fork ]; then class=rq.worker.Worker n=$((n / 4)); fi
      "$py" "$run/add.py" rq "$n"
      for _ in $(seq $slots); do
        "$dir/venv/bin/rq" worker -q -w $class --url "unix://$sock" bench >"$run/rq.log" 2>&1 & workers+=($!)
      done
      watched "$n" ZCARD rq:finished:bench
      ;;
    celery)
      n=$((n / 2))
      (cd "$run" && "$py" add.py celery "$n")
      (cd "$run" && exec "$dir/venv/bin/celery" -q -A jobs worker -c $slots --without-gossip --without-mingle >"$run/celery.log" 2>&1) & workers=($!)
      DB=1 watched "$n" DBSIZE
      ;;
    bullmq)
      n=$((n / 2))
      node "$run/bull.js" add "$n"
      node "$run/bull.js" work $slots >"$run/bull.log" 2>&1 & workers=($!)
      watched "$n" ZCARD bull:bench:completed
      ;;
    hyperqueue)
      local apart=()
      if unshare -n true 2>/dev/null; then apart=(unshare -n); fi
      "${apart[@]}" bash "$run/hq.sh" "$n" $slots "$run"
      rm -rf "$run/stream" "$run/hq"
      ;;
    dask) n=$((n / 2)); (cd "$run" && "$py" dask_run.py "$n" $slots) ;;
    original)
      n=$((n / 8))
      printf '{"min_dram_gb_accept_new_task": 1, "min_dram_gb_trigger_return": 0, "sleep_sec_between_accepting_task": 0, "health_report_interval": 2, "max_task_per_worker": 32, "max_retry_per_task": 4, "result_dir": "./", "redis_host": "127.0.0.1", "redis_port": %d, "redis_pass": "", "redis_db": 0}' \
        "$port" >"$run/original/conf.json"
      seq -f 'HSET todo_tasks "shell:1:0:0:true #%.0f" ""' "$n" | rcli >/dev/null
      (cd "$run/original" && PYTHONPATH= exec "$py" redisWorker.py >"$run/original.log" 2>&1) & workers=($!)
      watched "$n" HLEN finished_tasks
      ;;
  esac
  [ ${#workers[@]} = 0 ] || stop "${workers[@]}"
}

for round in $(seq "$rounds"); do
  for system in "${systems[@]}"; do
    rate=$(one "$system" 2>"$run/error.log") || true
    [ -n "$rate" ] || { say "$system: failed in round $round: $(tail -n1 "$run/error.log")"; continue; }
    echo "$rate" >>"$run/rates.$system"
  done
done
middle() { sort -g "$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
ours=$(middle "$run/rates.distcomp")
echo "sh -c true, $slots at a time; $rounds rounds in turns; medians"
printf '%-28s %10s %12s\n' system tasks/s "ours, times"
declare -A names=([distcomp]="DistComp" [xargs]="xargs (no capture)" [parallel]="GNU parallel" [rq]="RQ SimpleWorker x4"
  [rq-fork]="RQ Worker x4" [celery]="Celery prefork" [bullmq]="BullMQ" [hyperqueue]="HyperQueue --stream"
  [dask]="Dask LocalCluster 2 x 2" [original]="Python DistComp, gate open")
for system in "${systems[@]}"; do
  [ -e "$run/rates.$system" ] || continue
  rate=$(middle "$run/rates.$system")
  printf '%-28s %10.0f %12.1f\n' "${names[$system]}" "$rate" "$(awk "BEGIN { print $ours / $rate }")"
done
