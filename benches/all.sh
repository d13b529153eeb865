#!/usr/bin/env bash
# Prints a figure for every row of the performance table, one program after another. Takes about ten minutes on a quiet machine with two cores, and the
# same time again to build the programs.
#
#   benches/all.sh [ROUNDS]      default 5: how often programs that are compared run in turns
#
# DEEP=1 adds ten million waiting tasks to the depths (4 GB of memory). SPAWN_FLOOR, HQ, PEERS_DIR and DISTCOMP_PYTHON_ORIGINAL: see README.md.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
rounds=${1:-5}
failed=()
# A part that fails is named at the end. The other parts still run.
part() {
  local title=$1 start=$SECONDS
  shift
  printf '\n## %s\n\n' "$title"
  "$@" || failed+=("$title")
  printf '(%d s)\n' $((SECONDS - start))
}
keepers() {
  for _ in 1 2 3; do
    cargo bench -q --bench keepers -- 4 8000 1 0 && cargo bench -q --bench keepers -- 4 8000 1 300 || return
  done
}
depths=(10000 100000 1000000)
[ -z "${DEEP:-}" ] || depths+=(10000000)

cargo build --release --bins
cargo bench --no-run
part "rows 1, 2, 3, 13: through everything beside the floor, each optimisation off, 300 MiB of heap" cargo bench -q --bench end_to_end -- "$rounds" 4000
part "row 2: keepers alone, without and with 300 MiB of heap in the process that asks for them" keepers
part "row 4: peers" benches/peers.sh "$rounds" 2000
part "row 5: a claim at a depth" cargo bench -q --bench queue -- depth "${depths[@]}"
part "rows 6, 7, 10, 11: a hundred workers, submission, memory, the original's own questions" cargo bench -q --bench queue -- fleet submit memory suite
part "batches and dependencies beside plain tasks" cargo bench -q --bench queue -- batches release members views
part "rows 8, 9, 12: start, idle, spread" cargo bench -q --bench latency
part "a thousand workers: what a submission wakes, and what they carry" cargo bench -q --bench fleet
printf '\n%d s in all\n' "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
