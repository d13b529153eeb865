#!/usr/bin/env bash
# Installs Chromium and its driver, if they are missing, for the tests of the dashboard. run.sh and screenshots.sh source this file after
# example/install-redis.sh, because it uses as_root from there. It is safe to repeat.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
fi

has_chromium() {
    { [ -n "${DISTCOMP_CHROMEDRIVER:-}" ] || command -v chromedriver >/dev/null 2>&1; } &&
        { [ -n "${DISTCOMP_CHROMIUM:-}" ] || command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
            command -v google-chrome >/dev/null 2>&1; }
}

install_chromium() {
    if has_chromium; then
        return 0
    fi
    echo "Chromium or chromedriver is not on PATH: installing them." >&2
    if command -v apt-get >/dev/null 2>&1; then
        as_root apt-get update -qq >&2 || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >&2 || true
    elif command -v dnf >/dev/null 2>&1; then
        as_root dnf install -y -q chromium chromedriver >&2 || true
    fi
    if has_chromium; then
        return 0
    fi
    cat >&2 <<'TEXT'
Chromium and chromedriver could not be installed, and the dashboard is tested in a real browser. Install them:
  Debian:         apt-get install chromium chromium-driver
  Fedora, RHEL:   dnf install chromium chromedriver
or name them:     export DISTCOMP_CHROMIUM=/path/to/chrome DISTCOMP_CHROMEDRIVER=/path/to/chromedriver
TEXT
    return 1
}
