# Functions for the checks in the guest. guest.sh sources this file.

tally=/var/lib/distcomp-checks/tally
home=/srv/distcomp
unit=distcomp-worker

say() { echo "$1" | tee -a $tally; }
# fail NAME WHY: reports a failure with the state that an operator would look at first.
fail() {
    say "FAIL $1: ${2:-}"
    systemctl status --no-pager -n 0 $unit 2>&1 | head -n 20 | cut -c 1-120 | sed 's/^/     /'
    journalctl --no-pager -o cat -n 12 -u $unit | sed 's/^/     | /'
}
# check NAME COMMAND...: the command must exit with 0; otherwise its output is shown.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        say "ok   $name"
    else
        echo "$out" | sed 's/^/     > /'
        fail "$name" "$*"
    fi
}
# refuse NAME COMMAND...: the command must fail.
refuse() {
    local name=$1
    shift
    check "$name" not "$@"
}
not() { ! "$@"; }
# await SECONDS COMMAND...: repeats the command until it exits with 0.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            "$@"
            return
        fi
        sleep 0.1
    done
}
# has TEXT COMMAND...: the output of the command matches TEXT, an extended regular expression.
has() {
    local text=$1 out
    shift
    out=$("$@" 2>&1)
    grep -qE -- "$text" <<<"$out" || {
        echo "$out"
        return 1
    }
}

# Runs a command as the user of the service, in the directory where tasks start.
as() { (cd $home && runuser -u distcomp -- env "$@"); }
# The journal since `mark_log`.
log() { journalctl --no-pager -q -o cat -u $unit | tail -n +$((marked + 1)); }
mark_log() {
    journalctl --sync
    marked=$(journalctl --no-pager -q -o cat -u $unit | wc -l)
}
logged() {
    journalctl --sync
    has "$1" log
}
property() { systemctl show -P "$1" $unit; }
is() { [ "$(property "$1")" = "$2" ] || { echo "$1=$(property "$1")" && return 1; }; }
# counts TODO IN_PROGRESS FINISHED FAILED: whether the queue has these counts.
counts() { has "^$1 todo tasks, $2 in_progress tasks, $3 finished tasks, $4 failed tasks" as distcomp-status; }
submit() { printf '%s\n' "$@" | as distcomp-submit - >/dev/null; }
# runs PATTERN N: whether N processes have PATTERN in their arguments.
runs() {
    local found
    found=$(pgrep -cf -- "$1")
    [ "$found" -eq "$2" ] || { pgrep -af -- "$1"; return 1; }
}
# gone PIDS: whether none of these processes is left.
gone() {
    local pid
    for pid in $1; do
        if kill -0 "$pid" 2>/dev/null; then ps -p "$pid" && return 1; fi
    done
}
# Kills the worker and its keepers at the same moment, but no task. They are frozen first, so that none of them sees another one end.
kill_program() {
    local pids
    pids=$(pgrep -x distcomp-worker && pgrep -f '^/proc/self/exe __keeper') || return 1
    kill -STOP $pids
    await 5 frozen "$pids" || return 1
    kill -KILL $pids
}
frozen() { ! ps -o stat= -p "$(echo $1 | tr ' ' ,)" | grep -qv '^T'; }
reason() { redis-cli --raw hget task_fail_reason "$1"; }
result() { redis-cli --raw hget finished_tasks "$1"; }

# conf KEY VALUE...: writes the configuration with these keys changed. Values are JSON.
conf() {
    python3 - $home/conf.json "$@" <<'PY'
import json, os, sys
path, changes = sys.argv[1], sys.argv[2:]
text = {"min_dram_gb_accept_new_task": 0.2, "min_dram_gb_trigger_return": 0.1, "max_task_per_worker": 8, "max_retry_per_task": 1,
        "sleep_sec_between_accepting_task": 0.2, "health_report_interval": 1, "result_dir": "./distcomp-results"}
text.update({key: json.loads(value) for key, value in zip(changes[::2], changes[1::2])})
with open(path + ".new", "w") as file:
    json.dump(text, file, indent=4)
os.chmod(path + ".new", 0o644)
os.replace(path + ".new", path)
PY
}

# Sets up what the comments of the units require.
set_up() {
    echo "== setting up"
    check "install.sh installs" env DISTCOMP_FROM=$here/bin $here/example/install.sh
    # Takes the commands after `#   ` from the comments above the first section of the unit.
    cp $here/example/systemd/distcomp-worker.service /root/
    (cd /root && sed -n '/^\[Unit\]/q;s/^#   //p' distcomp-worker.service | grep -E '^(useradd|install) ' >set-up.sh)
    check "the unit's comments make the user and its directory" bash -ec "cd /root && grep -q useradd set-up.sh && . ./set-up.sh && id distcomp && test -d $home"
    conf
    check "Redis is up" await 20 redis-cli ping
}
# fresh UNIT-FILE [KEY VALUE...]: starts this unit with an empty queue, this configuration and no drop-ins.
fresh() {
    local file=$1
    shift
    systemctl stop $unit 2>/dev/null
    rm -rf /etc/systemd/system/$unit.service.d
    redis-cli flushall >/dev/null
    conf "$@"
    cp "$here/example/systemd/$file" /etc/systemd/system/$unit.service
    systemctl daemon-reload
    systemctl reset-failed $unit 2>/dev/null
    mark_log
    systemctl start $unit
    await 15 logged " started "
}
