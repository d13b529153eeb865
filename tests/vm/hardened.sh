# Checks that example/systemd/distcomp-worker-hardened.service works and forbids what its comments say.

fresh distcomp-worker-hardened.service
check "hardened: it is running" is SubState running
cp $here/example/task* $home/
as distcomp-submit --wait task_with_timeout >/tmp/out 2>&1
check "hardened: the tasks of the quickstart" counts 0 0 12 1
as distcomp-submit --wait task >/tmp/out 2>&1
check "hardened: example/task" counts 0 0 20 1
check "hardened: containment by cgroup" has "cgroup, keepers" as distcomp-status workers --json
systemd-analyze security --no-pager $unit | tail -n 2 | sed 's/^/     /'
check "hardened: exposure is small" eval 'level=$(systemd-analyze security --no-pager $unit | grep -oE "[0-9]+\.[0-9]" | tail -n 1); echo $level; [ ${level%.*} -lt 3 ]'

# Each check is a task of its own: a command that must fail there, and works in a shell of the same user (or of root).
echo 'distcomp ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/distcomp
install -d -o distcomp /home/distcomp-home
echo secret >/home/distcomp-home/file
chown distcomp /home/distcomp-home/file
install -d -o distcomp /opt/open-to-it
touch /tmp/of-the-host
python3 -c 'import time; time.sleep(9999)' stranger &
stranger=$!
allowed() { # NAME COMMAND
    submit "shell:0:0:1:$2"
    check "hardened: allowed: $1" await 15 eval '[ "$(redis-cli hexists finished_tasks "shell:0:0:1:$command")" = 1 ]'
}
forbidden() {
    submit "shell:0:0:1:$2"
    check "hardened: forbidden: $1" await 15 eval '[ "$(redis-cli hexists failed_tasks "shell:0:0:1:$command")" = 1 ]'
    reason "shell:0:0:1:$2" | cut -c 1-150 | sed 's/^/     /'
}
try() { # WHETHER NAME COMMAND: outside of the sandbox it works
    command=$3
    if [ "$1" = forbidden ]; then
        check "hardened: outside: $2 works" as sh -c "$3"
    fi
    "$1" "$2" "$3"
}
try allowed "writing to its directory" 'echo x >written && rm written'
try allowed "writing to its own /tmp" 'echo x >/tmp/written'
try allowed "Redis by TCP" 'python3 -c "import socket; socket.create_connection((\"127.0.0.1\", 6379))"'
try allowed "addresses by netlink" 'ip addr show lo'
try allowed "reading /usr" 'ls /usr/bin >/dev/null && test -r /etc/passwd'
try allowed "machine code made at run time" 'python3 -c "import mmap; mmap.mmap(-1, 4096, prot=7)"'
try allowed "many processes and threads" 'python3 -c "import threading; [threading.Thread(target=print).start() for _ in range(64)]"'
try allowed "shared memory" 'python3 -c "from multiprocessing import Lock, Pool; Lock()"'
try forbidden "sudo" 'sudo -n true'
try forbidden "writing to other directories that are its own" 'echo x >/opt/open-to-it/file'
try forbidden "home directories" 'cat /home/distcomp-home/file'
try forbidden "the /tmp of the host" 'test -e /tmp/of-the-host'
try forbidden "processes of others" 'test -e /proc/1/comm'
try forbidden "strace" 'strace -o /dev/null true'
try forbidden "user namespaces" 'unshare -U true'
try forbidden "foreign address families" 'python3 -c "import socket; socket.socket(40, socket.SOCK_STREAM)"'
try forbidden "devices" 'test -e /dev/vda'
try forbidden "core dumps" 'ulimit -H -c | grep -qx unlimited'
try forbidden "setting a set-uid bit" 'touch /srv/distcomp/suid && chmod u+s /srv/distcomp/suid'
kill $stranger
rm -f /etc/sudoers.d/distcomp
check "hardened: files of tasks are closed to others" eval 'submit "shell:0:0:1:rm -f mode; touch mode" && await 10 has "^640" stat -c %a $home/mode'

mark_log
conf max_task_per_worker 3
check "hardened: reload" systemctl reload $unit
check "hardened: the change is taken up" await 5 logged "configuration changed"

fresh distcomp-worker-hardened.service enforce_memory true
check "hardened: limits of memory" await 10 has "memory and process limits" as distcomp-status workers --json
line="shell:0.1:0:1:exec python3 -c 'x = bytearray(400 << 20)'"
submit "$line"
check "hardened: a task over its memory is killed and told so" eval 'await 20 counts 0 0 0 1 && has "out of memory \(oom\)" reason "$line"'
submit 'shell:0:0:1:setsid env -i /bin/sleep 7202 & sleep 7203'
await 10 runs '^sleep 7203' 1
old=$(pgrep -f '^(/bin/)?sleep 720[23]' | tr '\n' ' ')
systemctl kill -s KILL --kill-who=main $unit
check "hardened: KILL: started again, nothing of the old is left" await 15 eval 'is NRestarts 1 && gone "$old"'
check "hardened: KILL: its task runs again, in one copy" await 20 eval 'runs "^sleep 7203" 1 && runs "^/bin/sleep 7202" 1'
check "hardened: and has its limits again" has "memory and process limits" as distcomp-status workers --json
as distcomp-ctl cancel --yes --state in_progress >/dev/null 2>&1
await 10 counts 0 0 0 2
submit "shell:0:0:5:sleep 3; echo drained"
await 10 counts 0 1 0 2
check "hardened: stop lets what runs end" eval 'systemctl stop $unit && counts 0 0 1 2'
group_ended=yes
