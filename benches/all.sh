#!/usr/bin/env bash
# Prints a figure for every row that the project measures itself by, one program after another: about half an hour on a quiet machine of two cores.
#
#   benches/all.sh [ROUNDS]      default 5; the rounds of what is run in turns
#
# DEEP=1 adds ten million waiting tasks to the depths (4 GB of memory). SPAWN_FLOOR, HQ, PEERS_DIR and DISTCOMP_PYTHON_ORIGINAL: see README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
part() { printf '\n## %s\n\n' "$*"; }
cargo build --release --bins
cargo bench --no-run

part "rows 1, 2, 3, 13: through everything beside the floor, each optimisation off, 300 MiB of heap"
cargo bench -q --bench end_to_end -- "$rounds" 4000
part "row 2: keepers alone, without and with 300 MiB of heap in the process that asks for them"
for _ in 1 2 3; do
  cargo bench -q --bench keepers -- 4 4000 1 0
  cargo bench -q --bench keepers -- 4 4000 1 300
done
part "row 4: peers"
benches/peers.sh "$rounds" 2000
part "row 5: a claim at a depth"
depths=(10000 100000 1000000)
[ -z "${DEEP:-}" ] || depths+=(10000000)
cargo bench -q --bench queue -- depth "${depths[@]}"
part "rows 6, 7, 10, 11: a hundred workers, submission, memory, the original's own questions"
cargo bench -q --bench queue -- fleet submit memory suite
part "rows 8, 9, 12: start, idle, spread"
cargo bench -q --bench latency
part "a thousand workers: what a submission wakes, and what they carry"
cargo bench -q --bench fleet
