#!/usr/bin/env bash
# A task_shell: runs each task with bash. A task fails if any part of a pipe fails. For conf.json:
#   "task_shell": "/path/to/task-shell.sh"
# The worker calls it as `task-shell.sh -c COMMAND`. Put the set-up of all tasks (a module, a conda environment, a limit) before the last line.
exec bash -o pipefail "$@"
