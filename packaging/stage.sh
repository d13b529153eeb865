#!/usr/bin/env bash
# Makes the files of the packages that are not programs: manual pages, completions, the systemd units and the configuration.
#   packaging/stage.sh BIN_DIR [OUT]      BIN_DIR has the five programs; OUT is target/package by default, and is made anew
# Then: cargo deb --no-build, cargo generate-rpm (docs/install.md).
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; '') sed -n '3p' "$0" >&2; exit 2 ;; esac
from=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
out=${2:-target/package}
rm -rf "$out"
mkdir -p "$out/systemd"

# The same files as an installation from source has, below OUT/usr; the programs are taken from the build.
DISTCOMP_FROM=$from example/install.sh "$out/usr" >/dev/null
rm -r "${out:?}/usr/bin"
find "$out/usr/share/man" -type f -exec gzip -n9 {} +

# The example unit with the paths of a package.
for unit in distcomp-worker.service distcomp-worker-hardened.service; do
    sed -e 's|/usr/local/bin/|/usr/bin/|; s|/srv/distcomp/conf.json|/etc/distcomp/conf.json|; /^# CHANGE: the paths of the program and the configuration.$/d' \
        "example/systemd/$unit" | sed '/^# A DistComp worker on each node/,/^# To read its log/{/^# To read its log/!d}' >"$out/systemd/$unit"
    grep -q '^ExecStart=/usr/bin/distcomp-worker --config /etc/distcomp/conf.json$' "$out/systemd/$unit"
done
# Only one of the two can be enabled; the sandbox is an example.
mkdir "$out/examples"
mv "$out/systemd/distcomp-worker-hardened.service" "$out/examples/"
for file in task task_with_timeout workflow.tasks gpu.tasks conf.json hosts; do
    install -m 644 "example/$file" "$out/examples/"
done
echo "$out: $(find "$out" -type f | wc -l) files"
