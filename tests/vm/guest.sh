#!/bin/bash
# Runs in the guest as root: each requested group of checks, then the verdict. All output goes to the second serial line.
set -u
here=/opt/distcomp
stty -F /dev/ttyS1 raw -echo 2>/dev/null
exec >/dev/ttyS1 2>&1 </dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C PAGER=cat SYSTEMD_PAGER=cat SYSTEMD_COLORS=0
# shellcheck source=tests/vm/lib.sh
. $here/vm/lib.sh

if [ ! -e /var/lib/distcomp-checks ]; then
    mkdir -p /var/lib/distcomp-checks
    : >$tally
    echo "kernel $(uname -r), $(systemctl --version | head -n 1)"
    echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
    set_up
fi
while read -r group <&3; do
    grep -qx "$group" /var/lib/distcomp-checks/done 2>/dev/null && continue
    echo "== $group"
    # A group that ends early through an error of its own has not passed.
    group_ended=no
    # shellcheck source=/dev/null
    . "$here/vm/$group.sh"
    [ "$group_ended" = yes ] || fail "$group" "it did not come to its end"
    echo "$group" >>/var/lib/distcomp-checks/done
done 3<$here/groups
echo "VERDICT: $(grep -c '^FAIL' $tally) failed, $(grep -c '^ok' $tally) held"
