//! Adding up what runs, and whether there is room for more.

use criterion::{Criterion, criterion_group, criterion_main};
use distcomp::model::{Amounts, Bytes, Demand, MilliCores, NodeSample};
use distcomp::policy::{Budget, Limits, Reservation, admission};
use std::hint::black_box;

fn headroom(criterion: &mut Criterion) {
    const GIB: u64 = 1 << 30;
    let amounts = |mem, cpu| Amounts::NONE.with_mem(Bytes(mem)).with_cpu(MilliCores(cpu));
    let limits = Limits { slots: 64, accept: amounts(2 * GIB, 500), trigger: Bytes(GIB) };
    let node = NodeSample { total: amounts(64 * GIB, 64_000), free: amounts(40 * GIB, 55_000) };
    let one = Reservation { demand: Demand { amounts: amounts(GIB, 1000) }, touched: amounts(GIB / 2, 0) };
    let running = vec![one; 32];
    criterion.bench_function("admission/32 running", |bench| {
        bench.iter(|| admission::headroom(&limits, black_box(&node), &Budget::of(black_box(&running).iter().copied())));
    });
}

criterion_group!(benches, headroom);
criterion_main!(benches);
