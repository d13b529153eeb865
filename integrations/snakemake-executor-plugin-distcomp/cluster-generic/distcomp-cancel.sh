#!/bin/sh
# For --cluster-generic-cancel-cmd of Snakemake, which takes one program without arguments: cancels the tasks $@.
exec distcomp-ctl cancel --yes --quiet "$@"
