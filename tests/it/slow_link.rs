//! A slow link between Redis and everybody else: calls are counted in bytes, and nothing ends with a time-out for being large.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Mode, Proxy, SOON, holds_for, wait_until};

/// A command line over the link.
fn over(bed: &Bed, proxy: &Proxy) -> Bed {
    let mut far = Bed::with(json!({}));
    far.configure(json!({"redis_url": bed.url_through(proxy)}));
    far
}

fn long_lines(count: usize, bytes: usize, command: &str) -> String {
    (0..count).map(|n| format!("shell:0:0:1:{command} # {n} {}\n", "x".repeat(bytes))).collect()
}

#[test]
fn submission_of_long_lines_is_not_cut_by_a_slow_link() {
    let bed = Bed::new();
    let proxy = Proxy::start(&bed.redis.socket());
    proxy.set(Mode::Throttle(320_000));
    let far = over(&bed, &proxy);
    let submit = far.cli("distcomp-submit").args(["-"]).stdin(long_lines(90, 120_000, "true"));
    submit.limit(Duration::from_secs(170)).run().expect(0);
    assert_eq!(bed.counts(), [90, 0, 0, 0]);
}

#[test]
fn export_of_large_results_is_not_cut_by_a_slow_link() {
    let bed = Bed::new();
    let result = format!("w: \"{}\"", "y".repeat(1_000_000));
    for n in 0..22 {
        bed.hset("finished_tasks", format!("shell:0:0:1:true # {n}"), &result);
    }
    let proxy = Proxy::start(&bed.redis.socket());
    proxy.set(Mode::Throttle(1_300_000));
    let far = over(&bed, &proxy);
    let export = far.cli("distcomp-status").args(["export", "--state", "finished"]);
    let out = export.limit(Duration::from_secs(170)).run().expect(0);
    let lines: Vec<Value> = out.json_lines();
    assert_eq!(lines.len(), 22);
}

#[test]
fn slow_link_carries_large_tasks_without_disconnects() {
    let bed = Bed::new();
    bed.submit(&["-"], long_lines(12, 120_000, "head -c 700000 /dev/zero | tr '\\0' z")).expect(0);
    let proxy = Proxy::start(&bed.redis.socket());
    proxy.set(Mode::Throttle(1_000_000));
    let changes =
        json!({"redis_url": bed.url_through(&proxy), "max_task_per_worker": 12, "max_inline_output_bytes": 1_048_576});
    let worker = bed.worker_with("w", changes, &[]);
    wait_until("all results", SOON * 6, || {
        let seen = bed.counts();
        holds_for(seen == [0, 0, 12, 0], format!("{seen:?} {}", worker.log()))
    });
    assert!(!worker.log().contains("lost Redis"), "{}", worker.log());
}
