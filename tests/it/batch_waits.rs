//! Waiting for batches, and figures that are of one batch alone.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Redis, ServerOptions};

fn submit(bed: &Bed, args: &[&str]) {
    bed.cli("distcomp-submit").args(args).run().expect(0);
}

#[test]
fn what_waits_for_a_time_elsewhere_does_not_keep_up_a_wait() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["-n", "a", "--wait", "--", "false"], "").expect(1);
    bed.submit(&["-n", "b", "--after", "a", "--", "echo b"], "").expect(0);
    bed.submit(&["-n", "later", "--begin", "+1h", "--", "echo later"], "").expect(0);
    bed.submit(&["-n", "last", "--after", "later", "--", "echo last"], "").expect(0);
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(1).prints(&["b waits for a: 1 failed"]);
    bed.status(&["wait", "b", "later", "--fail-fast", "--timeout", "30s"]).expect(1);
    let said = "1 task cannot go on: a has 1 failed; it does when";
    bed.submit(&["-n", "c", "--after", "a", "--wait", "--", "echo c"], "").expect(1).says(&[said]);
    // What only a time holds back can go on, and so can what waits for it.
    bed.status(&["wait", "later", "--timeout", "2s"]).expect(124);
    bed.status(&["wait", "last", "--timeout", "2s"]).expect(124);
    // One task of b may yet run: it is not stuck as a whole.
    bed.submit(&["-n", "b", "--begin", "+1h", "--", "echo b later"], "").expect(0);
    bed.status(&["wait", "b", "--timeout", "2s"]).expect(124);
}

#[test]
fn wait_outlives_a_restart_of_redis() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    submit(&bed, &["-n", "a", "--", "echo a"]);
    let started = bed.cli("distcomp-status").args(["wait", "a", "--timeout", "60s"]).start();
    std::thread::sleep(Duration::from_secs(1));
    bed.redis.kill9();
    std::thread::sleep(Duration::from_secs(1));
    bed.redis.start_again();
    let _worker = bed.worker("w");
    started.finish().expect(0).prints(&["a: finished, 1 task"]);
}

#[test]
fn figures_of_a_batch_are_its_own() {
    let bed = Bed::new();
    submit(&bed, &["-n", "a", "--array", "1-3", "--", "echo a"]);
    submit(&bed, &["-n", "b", "--", "echo b"]);
    for name in ["w1", "w2", "w3", "w4", "w5"] {
        submit(&bed, &["-n", &format!("of-{name}"), "--after", name, "--", &format!("echo {name}")]);
    }
    let words = bed.status(&["state", "shell,after=w1:0:1:0:echo w1", "shell:0:1:0:echo b"]).expect(0).stdout;
    assert_eq!(words, "blocked\nwaiting\n");
    bed.ctl(&["cancel", "--batch", "a", "--yes"]).expect(0);
    let said = "3 tasks were cancelled, which is no failure: distcomp-status tasks --state cancelled";
    bed.status(&["failures"]).expect(0).prints(&[said]);
    bed.status(&["failures", "--batch", "a"]).expect(0).prints(&[&format!("{said} --batch a")]);
    let of_b = bed.status(&["failures", "--batch", "b"]).expect(0).stdout;
    assert!(!of_b.contains("cancelled"), "{of_b}");
    let _worker = bed.worker("w");
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(0);
    let explained = bed.status(&["explain"]).expect(0).stdout;
    assert!(explained.contains("5 blocked (1 for ") && explained.contains("; and 2 more)"), "{explained}");
}
