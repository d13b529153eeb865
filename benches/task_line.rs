//! The parser of task lines.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use distcomp::model::{FieldOrder, TaskLine};
use std::hint::black_box;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("task_line");
    for (name, line) in [
        ("short", "shell:1:1:5:true"),
        ("usual", "shell:8:2:5:300:./cachesim trace.bin 64 --policy lru --out results/trace.64"),
        ("bad", "shell:8:two:5:true"),
    ] {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| TaskLine::parse(black_box(line), FieldOrder::MemCpuPrio)));
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
