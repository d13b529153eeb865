# Checks that an enabled unit starts with the machine and recovers its tasks. The guest is restarted in the middle of this group.

flag=/var/lib/distcomp-checks/rebooted
if [ ! -e $flag ]; then
    fresh distcomp-worker.service
    systemctl enable -q $unit
    submit 'shell:0:0:1:test -e rebooted && exit 0; sleep 7301'
    await 10 runs '^sleep 7301' 1
    touch $flag $home/rebooted
    redis-cli save >/dev/null
    sync
    # Not a clean shutdown: like a loss of power.
    echo b >/proc/sysrq-trigger
    sleep 60
fi
check "reboot: Redis is back" await 20 redis-cli ping
check "reboot: the worker is back by itself" await 20 is SubState running
check "reboot: its task has run again" await 20 counts 0 0 1 0
check "reboot: the old cgroup is not there" eval 'test $(find /sys/fs/cgroup/system.slice/$unit.service -mindepth 1 -maxdepth 1 -name "distcomp-*" | wc -l) -le 1'
systemctl disable -q --now $unit
group_ended=yes
