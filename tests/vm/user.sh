# Checks a worker of a normal user without a unit: systemd-run --user --scope -p Delegate=yes, as in docs/containment.md.

systemctl stop $unit 2>/dev/null
redis-cli flushall >/dev/null
useradd --create-home --shell /bin/bash ann
loginctl enable-linger ann
uid=$(id -u ann)
check "user: she has a manager of her own" await 15 test -S /run/user/$uid/bus
ann() { (cd /home/ann && runuser -u ann -- env XDG_RUNTIME_DIR=/run/user/$uid DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus "$@"); }
conf enforce_memory true
cp $home/conf.json /home/ann/conf.json
chown ann /home/ann/conf.json
check "user: --check by systemd-run has limits" has "containment.*cgroup, keepers.*memory and process limits" ann systemd-run -q --user --scope -p Delegate=yes distcomp-worker --check
check "user: --check without it says that there are none" has "enforce_memory cannot be done here" ann distcomp-worker --check
ann distcomp-worker --check 2>&1 | grep -E 'containment|warning' | sed 's/^/     /'
more="shell:0.1:0:9:exec python3 -c 'x = bytearray(400 << 20)'"
printf '%s\n' "$more" "shell:0.25:0:3:python3 -c 'x = bytearray(100 << 20)'" | ann distcomp-submit - >/dev/null
ann systemd-run -q --user --scope -p Delegate=yes distcomp-worker --burst >/tmp/burst 2>&1
check "user: --burst ends" test $? -eq 0
check "user: one is killed for its memory, one is not" has "^0 todo tasks, 0 in_progress tasks, 1 finished tasks, 1 failed" ann distcomp-status
check "user: the reason says so" has 'out of memory \(oom\)' reason "$more"
check "user: no scope and no cgroup is left" eval 'test -z "$(find /sys/fs/cgroup/user.slice -name "distcomp-*")"'

# The worker and its keepers are killed. The next worker, in another scope, finds the leftover processes in the old one.
scope() { ann systemd-run -q --user --scope -p Delegate=yes distcomp-worker "$@" >>/tmp/scope 2>&1; }
cp $home/escape.py /home/ann/ 2>/dev/null || echo 'import os
if os.fork(): os._exit(0)
os.setsid()
os.closerange(0, 4096)
os.execve("/bin/sleep", ["sleep", "7101"], {})' >/home/ann/escape.py
redis-cli flushall >/dev/null
echo "shell:0:0:1:test -e gate && exit 0; python3 escape.py; sleep 7402" | ann distcomp-submit - >/dev/null
scope &
check "user: a stray and a task run" await 15 eval 'runs "^sleep 7101" 1 && runs "^sleep 7402" 1'
touch /home/ann/gate
kill_program || fail "user: worker and keepers" "they could not be killed at one moment"
check "user: they outlive worker and keepers" runs "^sleep 7101" 1
: >/tmp/scope
scope --burst
check "user: the next start sweeps them by the record" has "killed processes that an earlier worker.*in_cgroup=[1-9]" cat /tmp/scope
check "user: nothing is left" eval 'runs "^sleep 7101" 0 && runs "^sleep 7402" 0'
check "user: the task has run again" has "^0 todo tasks, 0 in_progress tasks, 1 finished tasks, 0 failed" ann distcomp-status
check "user: no cgroup is left after it" eval 'test -z "$(find /sys/fs/cgroup/user.slice -name "distcomp-*")"'
group_ended=yes
