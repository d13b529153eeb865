#!/usr/bin/env bash
# Installs a Redis server program if there is none. quickstart.sh and tests/run.sh source this file; it is safe to repeat.
# It starts nothing: the quickstart and the tests run their own private servers.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
fi

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "cannot run \"$*\": it needs root, and sudo is not installed" >&2
        return 1
    fi
}

install_redis() {
    if [ -n "${DISTCOMP_REDIS_SERVER:-}" ]; then
        return 0
    fi
    if command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1; then
        return 0
    fi
    echo "Neither redis-server nor valkey-server is on PATH: installing one." >&2
    if command -v apt-get >/dev/null 2>&1; then
        # RUNLEVEL=1 prevents the package from starting its service.
        as_root apt-get update -qq >&2 || true
        as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq redis-server >&2 || true
    elif command -v dnf >/dev/null 2>&1; then
        as_root dnf install -y -q redis >&2 || as_root dnf install -y -q valkey >&2 || true
    elif command -v brew >/dev/null 2>&1; then
        brew install redis >&2 || true
    fi
    if command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1; then
        return 0
    fi
    cat >&2 <<'TEXT'
cannot install a Redis server. Install one in any of these ways, then run this again:
  Debian, Ubuntu:     apt-get install redis-server
  Fedora, RHEL:       dnf install redis   (or: dnf install valkey)
  macOS:              brew install redis
  without root:       conda install -c conda-forge valkey-server
or use another one:   export DISTCOMP_REDIS_SERVER=/path/to/redis-server
TEXT
    return 1
}
