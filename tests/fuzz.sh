#!/usr/bin/env bash
# Fuzzes every parser of foreign input, guided by coverage:
#   tests/fuzz.sh [SECONDS [TARGET...]]     default: 600 seconds for each of the targets under fuzz/fuzz_targets
# Requires cargo-fuzz (cargo install cargo-fuzz) and a C++ compiler, but no nightly toolchain. If an input crashes a parser, it is stored in
# fuzz/artifacts and the exit code is 1. Fix the parser, and copy the input to fuzz/corpus/TARGET: the normal tests replay that directory.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/../fuzz"
seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
export RUSTC_BOOTSTRAP=1
failed=0
for target in "$@"; do
    # New inputs go to a separate directory. Move the best of them to the corpus by hand or with `cargo fuzz cmin`.
    mkdir -p "corpus.new/$target"
    printf '\n== %s for %s s\n' "$target" "$seconds"
    cargo fuzz run --sanitizer none "$target" "corpus.new/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 || failed=1
done
exit $failed
