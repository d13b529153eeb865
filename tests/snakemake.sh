#!/usr/bin/env bash
# Tests the executor plugin for Snakemake, and the recipe for cluster-generic, with a real Snakemake from PyPI:
#   tests/snakemake.sh [ARGUMENTS FOR PYTEST]
# Makes a virtual environment in target/snakemake, which the next run uses again. Requires python3 (3.11 or newer) with venv, redis-server and
# access to PyPI. Takes about three minutes. DISTCOMP_PROGRAMS names a directory of built programs; without it they are built.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
root=$PWD
plugin=$root/integrations/snakemake-executor-plugin-distcomp
venv=$root/target/snakemake
# A variable of the caller's shell must not lead a test to a real server.
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG
if [ -z "${DISTCOMP_PROGRAMS:-}" ]; then
    cargo build --locked --bins
    DISTCOMP_PROGRAMS=$root/target/debug
fi
export DISTCOMP_PROGRAMS
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable "$plugin[dev]"
export PATH="$venv/bin:$PATH"
cd "$plugin"
mypy --cache-dir "$venv/mypy" src tests
pytest -o cache_dir="$venv/pytest" "$@" tests
