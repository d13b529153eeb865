# Checks example/systemd/distcomp-worker.service by its own comments and as an operator would use it.

fresh distcomp-worker.service
check "plain: enable --now" systemctl enable --now $unit
check "plain: it is running" is SubState running
check "plain: as the user of the unit" is User distcomp
systemctl status --no-pager -n 4 $unit | sed 's/^/     /'
check "plain: --check as its user says ready" has "^this node is ready" as distcomp-worker --check
check "plain: --check with what the unit has says so" has "^containment +cgroup, keepers" \
    systemd-run -q --wait --pipe -p User=distcomp -p WorkingDirectory=$home -p Delegate=yes distcomp-worker --check

cp $here/example/task* $home/
as distcomp-submit --wait task_with_timeout >/tmp/out 2>&1
check "plain: the tasks of the quickstart: one fails on purpose" test $? -eq 1
check "plain: twelve of them succeed" counts 0 0 12 1
as distcomp-submit --wait task >/tmp/out 2>&1
check "plain: example/task" test $? -eq 0
check "plain: twenty done" counts 0 0 20 1
check "plain: tasks start in the working directory" eval 'submit "shell:0:0:1:pwd" && await 10 has "\"/srv/distcomp\"" result "shell:0:0:1:pwd"'
check "plain: state in /var/lib/distcomp, for its user alone" has "700 distcomp" stat -c "%a %U" /var/lib/distcomp

# The journal.
mark_log
submit 'shell:0:0:1:printf "one\ntwo\n" >&2; exit 3'
check "plain: the failure is logged" await 10 logged "exit 3"
journalctl --no-pager -n 3 -u $unit | sed 's/^/     /'
lines() { # every message of the worker is one line with a level, and none with a time of its own
    journalctl --sync
    local bad
    bad=$(journalctl --no-pager -o cat _COMM=distcomp-worker -u $unit | grep -vE '^ *(ERROR|WARN|INFO|distcomp-worker:)' | head -n 3)
    [ -z "$bad" ] || { echo "$bad"; return 1; }
}
check "plain: one event is one line of the journal, without a second time" lines
check "plain: there are none at debug" not has . journalctl -q --no-pager -o cat -p debug..debug _COMM=distcomp-worker -u $unit

# reload
mark_log
conf max_task_per_worker 3
check "plain: reload" systemctl reload $unit
check "plain: the change is taken up" await 5 logged "configuration changed.*max_task_per_worker"
mark_log
echo '{"max_task_per_worker": 0, nonsense' >$home/conf.json
systemctl reload $unit
check "plain: a broken conf.json is complained of" await 5 logged "(WARN|ERROR)"
check "plain: ... with the priority of a warning or worse" has "conf.json|configuration" journalctl -q --no-pager -o cat -p warning -u $unit
check "plain: ... and it goes on" is SubState running

# stop
fresh distcomp-worker.service
submit "shell:0:0:1:sleep 4; echo drained"
await 10 counts 0 1 0 0
check "plain: stop" systemctl stop $unit
check "plain: stop lets what runs end" counts 0 0 1 0
check "plain: it ended well" is Result success
check "plain: its cgroup is gone" not test -e /sys/fs/cgroup/system.slice/$unit.service

fresh distcomp-worker.service drain_timeout_seconds 1 task_kill_grace_seconds 1
submit "shell:0:0:1:setsid sleep 7001 & sleep 7001"
await 10 runs '^sleep 7001' 2
before=$SECONDS
systemctl stop $unit
check "plain: the drain time-out ends the stop" test $((SECONDS - before)) -lt 30
check "plain: ... gives the task back" counts 1 0 0 0
check "plain: ... and leaves nothing of it" runs '^sleep 7001' 0

# A drain and the stop command last: the worker stays idle and is not restarted, and a drain survives a restart of the unit.
fresh distcomp-worker.service
name=$(as distcomp-status workers --json | sed 's/.*"name":"\([^"]*\)".*/\1/')
check "plain: drain" as distcomp-ctl drain "$name" --yes
check "plain: drain: it is shown as drained" await 15 has "drained" as distcomp-status workers
sleep 6
check "plain: drain: it waits idle" is SubState running
check "plain: drain: it was not started again" is NRestarts 0
submit "shell:0:0:1:echo after the drain"
systemctl restart $unit
await 15 is SubState running
sleep 4
check "plain: drain: it lasts over a restart" counts 1 0 0 0
check "plain: resume --worker" as distcomp-ctl resume --worker "$name" --yes
check "plain: resume --worker: it goes on" await 15 counts 0 0 1 0
check "plain: stop" as distcomp-ctl stop --yes
sleep 8
check "plain: stop: it waits idle" is SubState running
check "plain: stop: it was not started again" is NRestarts 0
submit "shell:0:0:1:echo after the stop"
check "plain: stop: nothing is taken" counts 1 0 1 0
as distcomp-ctl resume --yes >/dev/null 2>&1
check "plain: resume: it goes on" await 15 counts 0 0 2 0
check "plain: the unit has a limit of starts" is StartLimitBurst 30

# killed
for whom in main all; do
    fresh distcomp-worker.service
    submit 'shell:0:0:1:setsid env -i /bin/sleep 7002 & echo $DISTCOMP_ATTEMPT >>attempts; sleep 7003'
    await 10 runs '^sleep 7003' 1
    old=$(pgrep -f '^(/bin/)?sleep 700[23]' | sort | tr '\n' ' ')
    main=$(property MainPID)
    systemctl kill -s KILL --kill-who=$whom $unit
    check "plain: KILL of $whom: it is started again" await 15 eval 'is SubState running && ! is MainPID $main >/dev/null'
    check "plain: KILL of $whom: nothing of the old is left" await 15 gone "$old"
    check "plain: KILL of $whom: its task runs again" await 20 runs '^sleep 7003' 1
    check "plain: KILL of $whom: in one copy" runs '^/bin/sleep 7002' 1
    check "plain: KILL of $whom: one restart" is NRestarts 1
    as distcomp-ctl cancel --yes --state in_progress >/dev/null 2>&1
    check "plain: KILL of $whom: cancelled, nothing is left" await 15 runs 'sleep 700[23]' 0
    rm -f $home/attempts
done

# A broken configuration at the start.
fresh distcomp-worker.service
systemctl stop $unit
echo '{"max_task_per_worker": 0}' >$home/conf.json
mark_log
systemctl start $unit
check "plain: a broken conf.json at the start fails the unit" await 10 is ActiveState failed
check "plain: ... with exit 2" is ExecMainStatus 2
sleep 4
check "plain: ... and is not started again and again" is ActiveState failed
check "plain: ... no restart" is NRestarts 0
check "plain: ... and the journal says why" logged "max_task_per_worker"
journalctl --no-pager -n 6 -u $unit | sed 's/^/     /'

# A password by LoadCredential=.
redis-server --port 6380 --requirepass open-sesame --daemonize yes --dir /tmp --save "" >/dev/null
await 10 redis-cli -p 6380 -a open-sesame --no-auth-warning ping >/dev/null
mkdir -p /etc/distcomp /etc/systemd/system/$unit.service.d
(umask 077 && echo open-sesame >/etc/distcomp/redis_pass)
printf '[Service]\nLoadCredential=redis_pass:/etc/distcomp/redis_pass\n' >/etc/systemd/system/$unit.service.d/password.conf
conf redis_port 6380
systemctl daemon-reload
systemctl reset-failed $unit
systemctl start $unit
check "plain: LoadCredential: it is let in" await 15 eval 'redis-cli -p 6380 -a open-sesame --no-auth-warning exists worker_status | grep -qx 1'
DISTCOMP_REDIS_PASSWORD=open-sesame submit 'shell:0:0:1:env | grep -c -e sesame -e CREDENTIALS'
check "plain: LoadCredential: tasks run, and do not see it" await 15 eval '
    DISTCOMP_REDIS_PASSWORD=open-sesame has "^0 todo tasks, 0 in_progress tasks, 0 finished tasks, 1 failed" as distcomp-status'
check "plain: LoadCredential: others cannot read the file" not runuser -u nobody -- cat /etc/distcomp/redis_pass
check "plain: LoadCredential: no argument has it" runs sesame 0
systemctl stop $unit
rm -r /etc/systemd/system/$unit.service.d
systemctl daemon-reload
mark_log
systemctl start $unit
check "plain: without it, exit 3 and why" await 15 logged "(NOAUTH|password)"
check "plain: ... exit 3" await 10 is ExecMainStatus 3
journalctl --no-pager -n 4 -u $unit | sed 's/^/     /'
systemctl stop $unit
redis-cli -p 6380 -a open-sesame --no-auth-warning shutdown nosave 2>/dev/null
group_ended=yes
