#!/usr/bin/env bash
# Runs real tasks with a real worker and a real Redis on this machine, from a fresh clone:
#   example/quickstart.sh
# It installs redis-server if it is missing, builds DistComp, and runs example/task_with_timeout. It needs Rust (rustup.rs).
# Twelve of the thirteen tasks succeed. One times out on purpose, to show what a failure looks like.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
# shellcheck source=example/install-redis.sh
. example/install-redis.sh

install_redis
# The dev profile builds in a third of the time of the release profile, and is fast enough here.
# For real work:  cargo install --path .
if [ -n "${DISTCOMP_BIN_DIR:-}" ]; then
    bin=$DISTCOMP_BIN_DIR
elif command -v cargo >/dev/null 2>&1; then
    cargo build --locked --bins
    bin=${CARGO_TARGET_DIR:-target}/debug
else
    echo "cargo is not installed. Install Rust first: https://rustup.rs" >&2
    exit 2
fi

code=0
"$bin/distcomp-worker" --fresh "$@" --local example/task_with_timeout || code=$?

# --local exits with 1 if a task failed. Here exactly one failure is expected.
if [ "$code" -eq 1 ]; then
    cat <<TEXT

The failure "timed out after 1 s" above is deliberate: see the last task of example/task_with_timeout.
Next: put your own task lines in a file and run   $bin/distcomp-worker --local FILE
      (example/install.sh ~/.local installs the programs, so that you can leave out the path)
      or start a cluster: README.md, "A cluster in five minutes".
TEXT
    exit 0
fi
exit "$code"
