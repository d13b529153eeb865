#!/usr/bin/env bash
# Installs the five programs, their manual pages and shell completions below PREFIX (default /usr/local).
#   example/install.sh [PREFIX]
# Builds the programs first, unless DISTCOMP_FROM names a directory that contains them.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

prefix=${1:-/usr/local}
from=${DISTCOMP_FROM:-}
if [ -z "$from" ]; then
    cd "$(dirname "$0")/.."
    cargo build --release --locked --bins
    from=${CARGO_TARGET_DIR:-target}/release
fi
generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
"$from/distcomp-ctl" generate --quiet "$generated"

install -d "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/man/man5" "$prefix/share/bash-completion/completions" \
    "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
install -m 644 "$generated"/man/man1/*.1 "$prefix/share/man/man1/"
install -m 644 "$generated"/man/man5/*.5 "$prefix/share/man/man5/"
for name in distcomp distcomp-worker distcomp-submit distcomp-status distcomp-ctl; do
    install -m 755 "$from/$name" "$prefix/bin/"
    install -m 644 "$generated/completions/$name.bash" "$prefix/share/bash-completion/completions/$name"
    install -m 644 "$generated/completions/_$name" "$prefix/share/zsh/site-functions/_$name"
    install -m 644 "$generated/completions/$name.fish" "$prefix/share/fish/vendor_completions.d/$name.fish"
done
echo "installed below $prefix"
# The newest version of a glibc symbol that any program needs; a static program needs none.
needs=$(cat "$from"/distcomp{,-worker,-submit,-status,-ctl} | grep -aoE 'GLIBC_2\.[0-9]+' | sort -t. -k2 -n -u | tail -n 1) || true
if [ -n "$needs" ]; then
    echo "these programs need glibc ${needs#GLIBC_} or newer; \`ldd --version\` prints the version of a node"
fi
