#!/usr/bin/env bash
# A bill of materials of what the programs are built from, CycloneDX as JSON:
#   .ci/sbom.sh [FILE]      default: target/distcomp.cdx.json
# Needs cargo-cyclonedx (cargo install cargo-cyclonedx --locked). Dependencies of tests are not in it.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
file=${1:-target/distcomp.cdx.json}
mkdir -p "$(dirname "$file")"
# Reproducible: the time is that of the last commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
trap 'rm -f distcomp-sbom.json' EXIT
cargo cyclonedx --quiet --format json --no-build-deps --override-filename distcomp-sbom
mv distcomp-sbom.json "$file"
echo "$file: $(grep -c '"purl"' "$file") components"
