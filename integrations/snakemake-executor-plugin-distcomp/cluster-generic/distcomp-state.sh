#!/bin/sh
# For --cluster-generic-status-cmd of Snakemake: one of running, success, failed for the task $1.
word=$(distcomp-status state "$1") || {
    # Redis cannot be used now (3): the task may run, and Snakemake asks again.
    [ $? -eq 3 ] && echo running && exit 0
    exit 1
}
case $word in
    finished) echo success ;;
    failed | cancelled | none) echo failed ;;
    *) echo running ;;
esac
