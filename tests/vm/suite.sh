# Runs the tests about containment and limits from tests/it; most machines have cgroup version 1 or no writable cgroup for them.

systemctl stop $unit 2>/dev/null
target=$(cat $here/target)
# Each worker that a test starts gets a cgroup of its own, as under systemd.
mkdir -p /sys/fs/cgroup/suite
echo "+memory +pids" >/sys/fs/cgroup/suite/cgroup.subtree_control
mkdir -p $here/real
mv "$target/distcomp-worker" $here/real/
cat >"$target/distcomp-worker" <<'SH'
#!/bin/sh
mkdir /sys/fs/cgroup/suite/$$
echo $$ >/sys/fs/cgroup/suite/$$/cgroup.procs
exec /opt/distcomp/real/distcomp-worker "$@"
SH
chmod +x "$target/distcomp-worker"
tests=(enforce:: confine:: containment:: faults::orphans:: faults::worker_killed::killed_with_its_keepers)
(cd /tmp && timeout 600 $here/it --test-threads 2 --nocapture "${tests[@]}") >/tmp/suite.log 2>&1
code=$?
grep -E '^test .* (ok|FAILED)$|^test result' /tmp/suite.log | sed 's/^/     /'
[ $code -eq 0 ] || tail -n 150 /tmp/suite.log | cut -c 1-300 | sed 's/^/     > /'
check "suite: they pass" test $code -eq 0
check "suite: with the limits on" not grep -q "no cgroup to limit memory here" /tmp/suite.log
check "suite: there were some" eval '[ $(grep -cE "^test enforce::.* ok$" /tmp/suite.log) -ge 5 ]'
# A worker that a test killed leaves its cgroup to the next one, which requires an empty cgroup.
check "suite: nobody is left in any of their cgroups" eval 'cat /sys/fs/cgroup/suite/cgroup.events && grep -q "populated 0" /sys/fs/cgroup/suite/cgroup.events'
mv $here/real/distcomp-worker "$target/"
find /sys/fs/cgroup/suite -depth -type d -exec rmdir {} + 2>/dev/null
group_ended=yes
