#!/usr/bin/env bash
# Coverage-guided fuzzing of everything that reads what others wrote:
#   tests/fuzz.sh [SECONDS [TARGET...]]     default: 600 seconds for each of the targets under fuzz/fuzz_targets
# Needs cargo-fuzz (cargo install cargo-fuzz) and a C++ compiler; a nightly toolchain is not needed. What it finds stays in fuzz/artifacts, and the
# end code is 1; copy it to fuzz/corpus/TARGET, where the normal tests replay it for ever, and fix it.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/../fuzz"
seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
export RUSTC_BOOTSTRAP=1
failed=0
for target in "$@"; do
    # New inputs go to a directory of their own; only the best of them are kept, by hand or with `cargo fuzz cmin`.
    mkdir -p "corpus.new/$target"
    printf '\n== %s for %s s\n' "$target" "$seconds"
    cargo fuzz run --sanitizer none "$target" "corpus.new/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 || failed=1
done
exit $failed
