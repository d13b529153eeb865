#!/usr/bin/env bash
# Starts and stops workers on many nodes with parallel-ssh, and shows their logs.
#   example/cluster.sh start  HOSTS_FILE DIRECTORY
#   example/cluster.sh stop   HOSTS_FILE DIRECTORY
#   example/cluster.sh log    HOSTS_FILE DIRECTORY
# HOSTS_FILE has one host name per line. DIRECTORY must exist on each node, most simply on a shared file system. It contains
# conf.json and, unless distcomp-worker is on PATH there, the program. Tasks start in DIRECTORY: relative paths in task lines and
# in result_dir are relative to it. On a shared file system they mean the same file on every node.
# The state directory must be on a local disk (default ~/.local/state/distcomp). If home directories are shared, set state_dir in
# conf.json to a local path such as /var/tmp/distcomp.
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
# Quoted again for the remote shell.
there=$(printf '%q' "$dir")
# shellcheck disable=SC2016 # expanded there, not here
pid='.distcomp-worker.$(hostname -s).pid'
# shellcheck disable=SC2016
log='distcomp-worker.$(hostname -s).log'

case $verb in
start)
    # setsid and the three redirections let ssh return while the worker continues.
    remote="cd $there && PATH=.:\$PATH && { setsid nohup distcomp-worker --config conf.json </dev/null >>$log 2>&1 & echo \$! >$pid; }"
    ;;
stop)
    # SIGTERM: the worker stops claiming, lets its tasks end, and exits.
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
