#!/usr/bin/env bash
# Starts a worker on each host of a file by ssh, or drains them:
#   example/cluster.sh up   HOSTS_FILE [DIRECTORY]
#   example/cluster.sh down HOSTS_FILE
# DIRECTORY (default: the path of the present one) must exist on each host, most simply on a shared file system, and contain conf.json.
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
exec distcomp-ctl "${1:?up or down}" --hosts "${2:?HOSTS_FILE}" --dir "${3:-$PWD}" --yes
