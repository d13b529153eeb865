#!/usr/bin/env bash
# Tests distcomp-ctl autoscale slurm on a real Slurm of one node:
#   tests/slurm.sh
# Starts munged, slurmctld and slurmd for itself, on the loopback and in a directory of its own, and a redis-server. Requires root, a Debian or Ubuntu with
# slurm-wlm and munge, which it installs if they are missing, and redis-server. Takes about five minutes. DISTCOMP_PROGRAMS names a directory of built
# programs; without it they are built.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
# A variable of the caller's shell must not lead a test to a real server.
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG SLURM_CONF "${!SBATCH_@}"
if [ -z "${DISTCOMP_PROGRAMS:-}" ]; then
    cargo build --locked --bins
    DISTCOMP_PROGRAMS=$PWD/target/debug
fi
[ "$(id -u)" = 0 ] || { echo "tests/slurm.sh: slurmd starts jobs as their users: run this as root" >&2; exit 2; }
if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || ! command -v munged >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q slurm-wlm munge
fi
export PATH=$DISTCOMP_PROGRAMS:/usr/sbin:/sbin:$PATH

dir=$(mktemp -d /tmp/distcomp-slurm-XXXXXX)
started=()
failed() {
    echo "FAILED: $*" >&2
    squeue --states=all >&2 || true
    tail -n 20 "$dir"/scaler*.log "$dir"/distcomp-*.log "$dir"/slurmctld.log >&2 || true
    exit 1
}
# Ends what this script started, by its numbers.
close() {
    local pid jobs
    jobs=$(squeue --noheader --format=%i 2>/dev/null || true)
    [ -z "$jobs" ] || scancel --signal=KILL --full $jobs 2>/dev/null || true
    [ -z "$jobs" ] || scancel $jobs 2>/dev/null || true
    for file in munge/pid run/slurmctld.pid run/slurmd.pid run/redis.pid; do
        pid=$(cat "$dir/$file" 2>/dev/null) && started+=("$pid")
    done
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for _ in $(seq 50); do
        for pid in "${started[@]}"; do kill -0 "$pid" 2>/dev/null && sleep 0.1 && continue 2; done
        break
    done
    for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap close EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# wait_for WHAT SECONDS COMMAND...
wait_for() {
    local what=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || failed "waited for $what"
        sleep 0.2
    done
}

host=$(hostname -s)
mkdir -p "$dir"/{munge,run,spool,state}
cd "$dir"
(umask 077 && dd if=/dev/urandom of=munge/key bs=1024 count=1 2>/dev/null)
chmod 700 munge
chmod 755 "$dir" run
cat >slurm.conf <<C
ClusterName=distcomp
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=10
SchedulerParameters=sched_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1500 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
C
export SLURM_CONF=$dir/slurm.conf
munged --force --key-file="$dir/munge/key" --socket="$dir/run/munge.socket" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
slurmctld -f slurm.conf
slurmd -f slurm.conf -N "$host"
idle() { [ "$(sinfo --noheader --format=%T)" = idle ]; }
wait_for "the node to be idle" 60 idle

port=$(free_port)
redis-server --bind 127.0.0.1 --port "$port" --save '' --daemonize yes --pidfile "$dir/run/redis.pid" --dir "$dir" >/dev/null
cat >conf.json <<C
{"redis_url": "redis://127.0.0.1:$port", "task_field_order": "mem:cpu:prio", "min_dram_gb_accept_new_task": 0.05,
 "min_dram_gb_trigger_return": 0.02, "health_report_interval": 0.5, "worker_dead_after_seconds": 5, "sleep_sec_between_accepting_task": 0.2,
 "state_dir": "$dir/worker-state", "result_dir": "$dir/results", "max_retry_per_task": 1}
C
wait_for "Redis" 20 distcomp-status
# A worker of one core, of which the node holds some.
shape=(--cpus 1 --mem 0.2 --interval 1s)
scaler=
# begin FLAGS...: an autoscaler in the background, whose log is scaler.log
begin() {
    distcomp-ctl autoscale slurm "${shape[@]}" "$@" >>scaler.log 2>&1 &
    scaler=$!
    started+=("$scaler")
}
end() {
    local code=0
    kill -TERM "$scaler"
    wait "$scaler" || code=$?
    [ "$code" = "${1:-0}" ] || failed "the autoscaler ended with $code"
}
queue() { distcomp-status --json | python3 -c "import json, sys; c = json.load(sys.stdin)['counts']; print(c['todo'], c['in_progress'], c['finished'], c['failed'])"; }
counts() { [ "$(queue)" = "$*" ]; }
jobs_of() { squeue --noheader --states="$1" --name="distcomp-${2:-slurm}" --format=%i | wc -l; }
is() { [ "$(jobs_of "$1" "${3:-slurm}")" = "$2" ]; }
at_most() { [ "$(jobs_of PENDING,RUNNING)" -le "$1" ]; }

echo "50 tasks: allocations appear, all tasks finish, allocations end, none is asked for afterwards"
begin --time-limit 10m --max-workers 2 --idle-timeout 5s
seq 50 | sed 's/.*/shell:0:1:1:sleep 0.3 # &/' | distcomp-submit --quiet -
wait_for "an allocation" 30 is RUNNING 1
until counts 0 0 50 0; do
    at_most 2 || failed "more than two allocations"
    [ "$SECONDS" -lt 240 ] || failed "not all tasks finished: $(queue)"
    sleep 0.2
done
wait_for "the allocations to end" 60 is PENDING,RUNNING,COMPLETING 0
asked=$(grep -c '^distcomp-ctl: started slurm' scaler.log)
sleep 5
[ "$(grep -c '^distcomp-ctl: started slurm' scaler.log)" = "$asked" ] || failed "an allocation was asked for although nothing waits"
for job in $(squeue --noheader --states=all --name=distcomp-slurm --format=%i); do
    scontrol show job "$job" | grep -q 'JobState=COMPLETED .*' || failed "job $job did not end by itself"
    scontrol show job "$job" | grep -q 'ExitCode=0:0' || failed "job $job did not exit with 0"
done
end

echo "--time-limit 20s: no time=60 task is taken, everything is given back, exit code 0"
distcomp-submit --quiet -c 1 -p 5 --time-request 60 -- 'echo too long'
distcomp-submit --quiet -c 1 -- 'sleep 300'
begin --name short --time-limit 20s --max-workers 1 --idle-timeout 60s
wait_for "the other task to run" 40 counts 1 1 50 0
job=$(squeue --noheader --states=RUNNING --name=distcomp-short --format=%i)
ended() { scontrol show job "$job" | grep -q 'JobState=COMPLETED'; }
wait_for "the allocation to end" 60 ended
end
scontrol show job "$job" | grep -q 'ExitCode=0:0' || failed "the worker of job $job did not exit with 0"
distcomp-status show 'shell:0:1:0:sleep 300' | grep -q returned || failed "the running task was not given back"
counts 1 1 50 0 || counts 2 0 50 0 || failed "a task is lost: $(queue)"
for job in $(squeue --noheader --states=PENDING,RUNNING --name=distcomp-short --format=%i); do scancel "$job"; done
wait_for "the tasks to be back" 60 counts 2 0 50 0
distcomp-ctl purge --state todo --all --yes --quiet
distcomp-submit --quiet -c 1 --time-request 60 -- 'echo too long'
distcomp-ctl autoscale slurm "${shape[@]}" --name short --time-limit 20s --once | grep -q 'would start 0 workers' || failed "it would start a worker for a task that is too long"
distcomp-ctl purge --state todo --all --yes --quiet

echo "killed with an allocation pending, and started again: no second one"
sbatch --parsable --job-name=blocker --exclusive --wrap 'sleep 600' --output=/dev/null >blocker
wait_for "the node to be taken" 30 test -n "$(squeue --noheader --name=blocker --states=RUNNING,PENDING)"
distcomp-submit --quiet -c 1 -- 'echo one'
begin --time-limit 10m --max-workers 3 --backlog 3 --idle-timeout 2s
wait_for "an allocation to wait" 30 is PENDING 1
kill -9 "$scaler"
begin --time-limit 10m --max-workers 3 --backlog 3 --idle-timeout 2s
knows() { distcomp-status --json | python3 -c "import json, sys; a = json.load(sys.stdin)['autoscalers'][0]; sys.exit(a['pending'] != 1 or not a['holder'].endswith(':$scaler'))"; }
wait_for "the second to know it" 30 knows
sleep 3
is PENDING,RUNNING 1 || failed "a second allocation was asked for"
scancel "$(cat blocker)"
wait_for "the task to finish" 60 counts 0 0 51 0
wait_for "the allocation to end" 60 is PENDING,RUNNING,COMPLETING 0

echo "scancel of a running allocation: its task runs elsewhere, and no failure is counted"
distcomp-submit --quiet -c 1 -- "while [ ! -e $dir/go ]; do sleep 0.2; done"
wait_for "the task to run" 60 counts 0 1 51 0
first=$(squeue --noheader --states=RUNNING --name=distcomp-slurm --format=%i)
scancel "$first"
elsewhere() { [ -n "$(squeue --noheader --states=RUNNING --name=distcomp-slurm --format=%i | grep -v "^$first$")" ] && counts 0 1 51 0; }
wait_for "another allocation to run it" 90 elsewhere
touch go
wait_for "the task to finish" 60 counts 0 0 52 0
wait_for "the allocation to end" 60 is PENDING,RUNNING,COMPLETING 0

echo "slurmctld is away: nothing is started, it says so, and goes on afterwards"
kill "$(cat run/slurmctld.pid)"
distcomp-submit --quiet -c 1 -- 'echo two'
shown() { distcomp-status | grep -q 'autoscaler slurm: cannot list the workers of slurm'; }
wait_for "the trouble to be shown" 90 shown
slurmctld -f slurm.conf
wait_for "the task to finish" 120 counts 0 0 53 0
end
echo "all passed"
