#!/usr/bin/env bash
# Start, stop and look at workers on many nodes with parallel-ssh.
#   example/cluster.sh start  HOSTS_FILE DIRECTORY
#   example/cluster.sh stop   HOSTS_FILE DIRECTORY
#   example/cluster.sh log    HOSTS_FILE DIRECTORY
# HOSTS_FILE has one host name a line. DIRECTORY is on each node, most simply on a shared file system, and holds conf.json
# and, unless distcomp-worker is on PATH there, the binary. Tasks start in DIRECTORY: a relative path in a task line,
# and result_dir "./...", mean a place below it, the same on every node when the file system is shared.
# The state directory is not put there: it must be on a local disk (by default ~/.local/state/distcomp; set state_dir
# in conf.json to a local place, such as /var/tmp/distcomp, where home directories are shared).
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

usage() {
    sed -n '2,5p' "$0" | cut -c 3- >&2
    exit 2
}

[ $# -eq 3 ] || usage
verb=$1 hosts=$2 dir=$3
[ -r "$hosts" ] || {
    echo "cannot read the hosts file $hosts" >&2
    exit 2
}
# The name differs between distributions.
pssh=$(command -v parallel-ssh || command -v pssh) || {
    echo "parallel-ssh is not installed (apt-get install pssh, dnf install pssh, brew install pssh)" >&2
    exit 2
}
# Quoted once more for the shell on the other side.
there=$(printf '%q' "$dir")
# shellcheck disable=SC2016 # expanded there, not here
pid='.distcomp-worker.$(hostname -s).pid'
# shellcheck disable=SC2016
log='distcomp-worker.$(hostname -s).log'

case $verb in
start)
    # setsid and the three redirections let ssh return while the worker goes on.
    remote="cd $there && PATH=.:\$PATH && { setsid nohup distcomp-worker --config conf.json </dev/null >>$log 2>&1 & echo \$! >$pid; }"
    ;;
stop)
    # SIGTERM: the worker takes nothing new, lets its tasks end, and exits.
    remote="cd $there && kill \$(cat $pid)"
    ;;
log)
    remote="cd $there && tail -n 20 $log"
    ;;
*)
    usage
    ;;
esac
exec "$pssh" -h "$hosts" -i -t 0 "$remote"
