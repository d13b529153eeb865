#!/usr/bin/env bash
# Packs the five programs with their manual pages, completions, units and licences: DIR/distcomp-VERSION-TARGET.tar.gz
#   packaging/tarball.sh BIN_DIR TARGET [DIR]      TARGET such as x86_64-linux-gnu; DIR is target/dist by default
# The archive is the same for the same programs: names are sorted, and times are those of the last commit.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
[ $# -ge 2 ] || { sed -n '3p' "$0" >&2; exit 2; }
from=$(cd "$1" && pwd) target=$2
cd "$(dirname "$0")/.."
dir=${3:-target/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=distcomp-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DISTCOMP_FROM=$from example/install.sh "$work/$name" >/dev/null
doc=$work/$name/share/doc/distcomp
install -d "$doc/examples"
install -m 644 README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE "$doc/"
cp -r example/systemd example/monitoring example/redis example/kubernetes "$doc/examples/"
mkdir -p "$dir"
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -C "$work" -cf - "$name" | gzip -n9 >"$dir/$name.tar.gz"
echo "$dir/$name.tar.gz"
