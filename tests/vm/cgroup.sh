# Checks cgroup v2 with the memory and process controllers that Delegate=yes of the plain unit provides.

base=/sys/fs/cgroup/system.slice/$unit.service
slots() { find $base -type d -name 'slot-*' 2>/dev/null; }
containment() { as distcomp-status workers; }
hog() { echo "python3 -c 'x = bytearray($1 << 20); print(\"had it\")'"; }

fresh distcomp-worker.service
await 10 has cgroup containment
check "cgroup: status names the layer" has "cgroup, keepers" containment
check "cgroup: and it is true: keepers are in one of their own" eval 'has "distcomp-[0-9a-f-]+$" cat /proc/$(pgrep -f -o distcomp-keeper || pgrep -P $(property MainPID) | head -n 1)/cgroup'
as distcomp-status workers 2>&1 | sed 's/^/     /'
systemd-cgls --no-pager -u $unit.service | sed 's/^/     /'
escape='import os
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 4096)
os.execve("/bin/sleep", ["sleep", "7101"], {})'
echo "$escape" >$home/escape.py
submit "shell:0:0:1:python3 escape.py; until pgrep -x -f 'sleep 7101'; do :; done"
check "cgroup: a daemon with nothing left of us is killed at the end of its task" eval 'await 10 counts 0 0 1 0 && await 5 runs "^sleep 7101" 0'

# Limits.
fresh distcomp-worker.service enforce_memory true max_task_per_worker 3
await 10 has cgroup containment
check "cgroup: enforce_memory: status names the limits" has "memory and process limits" containment
check "cgroup: enforce_memory: no complaint" not logged "WITHOUT limits"
more="shell:0.1:0:9:exec $(hog 400)" more_below="shell:0.1:0:8:$(hog 400); exit \$?"
less="shell:0.25:0:3:$(hog 100)" unknown="shell:0:0:2:$(hog 400)" other="shell:0.1:0:9:sleep 6; echo unharmed"
submit "$other" "$more" "$more_below" "$less" "$unknown"
check "cgroup: enforce_memory: two are killed, the others unharmed" await 40 counts 0 0 3 2
for line in "$more" "$more_below"; do
    check "cgroup: enforce_memory: the reason says so" has 'out of memory \(oom\): killed by the kernel, it may use the 0.10 GB' reason "$line"
    echo "     $(reason "$line")"
done
check "cgroup: enforce_memory: who declares nothing is held to nothing" has 'had it' result "$unknown"
check "cgroup: enforce_memory: the worker survives" is NRestarts 0
check "cgroup: enforce_memory: and the unit is not said to have failed of it" is Result success
systemd-cgls --no-pager -u $unit.service | sed 's/^/     /'
check "cgroup: a limit is on its slot" eval 'slots | while read -r dir; do cat $dir/pids.max $dir/memory.max; done | grep -q "[0-9]"'
check "cgroup: the peak of the largest is the cgroup's" has 'peak 4[0-9][0-9]\.. MiB \(cgroup\)' as distcomp-status show "$unknown"
bomb='import os, signal
count = 0
while True:
    try: pid = os.fork()
    except OSError: break
    if not pid: signal.pause()
    count += 1
print(count)'
echo "$bomb" >$home/bomb.py
submit "shell:0:0:1:exec python3 bomb.py"
check "cgroup: a fork bomb ends at 1024 processes" eval 'await 60 counts 0 0 4 2 && has "\"10[0-2][0-9]\"" result "shell:0:0:1:exec python3 bomb.py"'
check "cgroup: ... and nothing of it is left" await 10 runs bomb.py 0
check "cgroup: reload works in a divided cgroup" eval 'mark_log; systemctl reload $unit && await 5 logged "configuration reloaded|configuration changed"'
submit "shell:0.2:0:1:python3 -c 'x = bytearray(100 << 20)' & python3 -c 'x = bytearray(100 << 20); import time; time.sleep(3)' & python3 -c 'x = bytearray(100 << 20); import time; time.sleep(3)' & wait; wait; exit 1"
check "cgroup: a tree is held to it as a whole" await 20 counts 0 0 4 3
submit "shell:0:0:1:python3 escape.py; until pgrep -x -f 'sleep 7101'; do :; done; sleep 1 # limits"
check "cgroup: with limits too a daemon is killed at the end" eval 'await 15 counts 0 0 5 3 && await 5 runs "^sleep 7101" 0'

# The worker and its keepers are killed at the same moment.
stray="shell:0:0:1:test -e gate && exit 0; python3 escape.py; sleep 7102"
kill_all() { # the worker, and all that are of its program; tasks stay
    mark_log
    touch $home/gate
    kill_program || fail "cgroup: worker and keepers" "they could not be killed at one moment"
}
again() {
    check "cgroup: $1: and the task runs again" await 15 counts 0 0 1 0
    check "cgroup: $1: nothing is left" runs '^sleep 710[12]' 0
    check "cgroup: $1: the old cgroups are gone" eval 'test $(find $base -mindepth 1 -maxdepth 1 -type d -name "distcomp-*" | wc -l) -eq 1'
    check "cgroup: $1: containment is what it was" has "$2" containment
    systemctl stop $unit
    check "cgroup: $1: stopped, its cgroup is gone" await 5 not test -e $base
    rm -f $home/gate
}
# With the cleanup of systemd switched off, only the worker sweeps.
fresh distcomp-worker.service
mkdir -p /etc/systemd/system/$unit.service.d
printf '[Service]\nKillMode=process\n' >/etc/systemd/system/$unit.service.d/kill.conf
systemctl daemon-reload
submit "$stray"
await 10 runs '^sleep 710[12]' 2
kill_all
check "cgroup: swept: before the first claim" await 15 logged "killed processes that an earlier worker.*in_cgroup=[1-9]"
again swept "cgroup, keepers"
# The unit as it is. With limits, a worker cannot start in a cgroup that still has processes.
fresh distcomp-worker.service enforce_memory true
submit "$stray"
await 10 runs '^sleep 710[12]' 2
kill_all
again "cleared up by systemd" "memory and process limits"
group_ended=yes
