#!/usr/bin/env bash
# A task_shell: runs each task with bash, where a task fails as soon as a part of a pipe does. For conf.json:
#   "task_shell": "/path/to/task-shell.sh"
# It is called as `task-shell.sh -c COMMAND`. What all tasks need (a module, a conda environment, a limit) goes before the last line.
exec bash -o pipefail "$@"
