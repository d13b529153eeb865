//! Adding up what runs, and whether there is room for more.

use criterion::{Criterion, criterion_group, criterion_main};
use distcomp::model::{Bytes, MilliCores};
use distcomp::policy::{Budget, Limits, NodeSample, Reservation, admission};
use std::hint::black_box;

fn headroom(criterion: &mut Criterion) {
    const GIB: u64 = 1 << 30;
    let limits = Limits { slots: 64, accept: Bytes(2 * GIB), trigger: Bytes(GIB), min_free_cores: MilliCores(500) };
    let node = NodeSample {
        mem_total: Bytes(64 * GIB),
        mem_free: Bytes(40 * GIB),
        cores_total: MilliCores(64_000),
        cores_used: MilliCores(9_000),
    };
    let running = vec![Reservation { mem: Bytes(GIB), cpu: MilliCores(1000), touched: Bytes(GIB / 2) }; 32];
    criterion.bench_function("admission/32 running", |bench| {
        bench.iter(|| admission::headroom(&limits, black_box(&node), &Budget::of(black_box(&running).iter().copied())));
    });
}

criterion_group!(benches, headroom);
criterion_main!(benches);
