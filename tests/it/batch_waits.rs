//! Waiting for batches, and figures that are of one batch alone.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, lines_of};

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
    let said = "1 task cannot go on: waits for a: 1 failed; distcomp-ctl requeue --batch a tries again";
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
fn wait_beside_a_hung_redis_ends_in_time() {
    let bed = Bed::new();
    bed.submit(&["-"], "#DC --name w --commands\n#DC --name a\ntrue\n").expect(0);
    let started = bed.cli("distcomp-status").args(["wait", "w/a", "--timeout", "3s"]).start();
    std::thread::sleep(Duration::from_secs(1));
    bed.redis.freeze();
    let ended = started.finish();
    bed.redis.thaw();
    ended.expect(124).prints(&["w/a: 1 of 1 open"]);
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

#[test]
fn what_is_about_to_be_given_up_is_a_way_on() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let mut worker = bed.worker("w");
    bed.submit(&["-n", "a", "--wait", "--", "false"], "").expect(1);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    submit(&bed, &["-n", "b", "--after", "a", "--kill-on-invalid-dep", "--", "echo b"]);
    submit(&bed, &["-n", "c", "--after-any", "b", "--", "echo c"]);
    submit(&bed, &["-n", "d", "--after", "b", "--", "echo d"]);
    // No worker is there that would give b up.
    bed.status(&["wait", "c", "--timeout", "1s"]).expect(124).prints(&["c: 1 of 1 open; waits for b: 1 of 1 open"]);
    bed.status(&["wait", "b", "--timeout", "0s"]).expect(124);
    let _worker = bed.worker("w2");
    bed.status(&["wait", "c", "--timeout", "30s"]).expect(0);
    bed.status(&["wait", "b", "d", "--timeout", "30s"])
        .expect(1)
        .prints(&["b: 1 of 1 failed", "d waits for b: 1 failed"]);
}

#[test]
fn any_waits_on_beside_what_cannot_go_on() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["-n", "f", "--wait", "--", "false"], "").expect(1);
    submit(&bed, &["-n", "g", "--after", "f", "--", "echo g"]);
    submit(&bed, &["-n", "l", "--begin", "+1h", "--", "echo l"]);
    bed.status(&["wait", "g", "l", "--any", "--timeout", "1s"]).expect(124);
    bed.status(&["wait", "g", "--any", "--timeout", "30s"]).expect(1);
    submit(&bed, &["-n", "m", "--", "echo m"]);
    bed.status(&["wait", "g", "m", "--any", "--timeout", "30s"]).expect(0);
}

#[test]
fn what_is_purged_meanwhile_has_not_finished() {
    let bed = Bed::new();
    submit(&bed, &["-n", "p", "--", "echo p"]);
    let started = bed.cli("distcomp-status").args(["wait", "p", "--timeout", "60s"]).start();
    std::thread::sleep(Duration::from_secs(1));
    bed.ctl(&["purge", "--batch", "p", "--yes"]).expect(0);
    started.finish().expect(1).prints(&["p: it was purged meanwhile"]);
}

#[test]
fn wait_for_a_stopped_batch_waits_for_what_runs() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let done = bed.out("done");
    let commands = format!("sleep 4; echo x >> {done}\nsleep 1; false\n");
    bed.submit(&["-n", "s", "--max-fails", "0", "--commands", "-"], &commands).expect(0);
    let _worker = bed.worker("w");
    bed.status(&["wait", "s", "--fail-fast", "--timeout", "30s"]).expect(1).prints(&["s: stopped: 1 failed"]);
    assert_eq!(lines_of(&done), [""; 0], "it runs yet");
    bed.status(&["wait", "s", "--timeout", "30s"]).expect(1).prints(&["s: stopped: 1 failed"]);
    assert_eq!(lines_of(&done), ["x"]);
}

#[test]
fn what_was_cancelled_or_purged_is_not_said_to_have_failed() {
    let bed = Bed::new();
    submit(&bed, &["-n", "c", "--", "echo {}", ":::", "1", "2", "3"]);
    submit(&bed, &["-n", "x", "--after", "c", "--", "echo x"]);
    bed.ctl(&["cancel", "--batch", "c", "--yes"]).expect(0);
    let why = "c: 3 cancelled; distcomp-ctl requeue --batch c --state cancelled tries again, distcomp-ctl release c goes on without";
    bed.status(&["wait", "x", "--timeout", "30s"]).expect(1).prints(&[&format!("x waits for {why}")]);
    bed.status(&["explain", "shell,after=c:0:1:0:echo x"]).expect(0).prints(&[why]);
    bed.ctl(&["requeue", "--batch", "c", "--yes"])
        .expect(0)
        .says(&["left out 3 cancelled tasks: --state cancelled selects them"]);
    bed.ctl(&["purge", "--batch", "c", "--include", "echo 1", "--yes"]).expect(0);
    let why = "x waits for c: 2 cancelled, 1 gone; distcomp-ctl requeue --batch c --state cancelled tries again";
    bed.status(&["wait", "x", "--timeout", "30s"]).expect(1).prints(&[why]);
    bed.ctl(&["purge", "--batch", "c", "--yes"]).expect(0);
    let why = "x waits for c: 3 gone; submit what is gone again, distcomp-ctl release c goes on without";
    bed.status(&["wait", "x", "--timeout", "30s"]).expect(1).prints(&[why]);
}

#[test]
fn wait_for_a_step_names_the_failure_behind_it() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    let file = "#DC --name w --commands\n#DC --name a\nfalse\n#DC --name b --after a\ntrue 1\n#DC --name c --after b\ntrue 2\n";
    bed.submit(&["-"], file).expect(0);
    bed.status(&["wait", "w/c", "--timeout", "30s"]).expect(1).prints(&["w/c waits for w/a: 1 failed; distcomp-ctl"]);
    let json = bed.status(&["--json", "wait", "w/c", "--timeout", "30s"]).expect(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["blocked"], &json["after"][0]["name"]), (&json!(1), &json!("w/b")), "{json}");
}

#[test]
fn wait_that_takes_too_long_says_what_it_waits_for() {
    let bed = Bed::new();
    submit(&bed, &["-n", "held", "--", "echo held"]);
    bed.ctl(&["pause", "held", "--yes"]).expect(0);
    submit(&bed, &["-n", "idle", "--", "echo idle"]);
    submit(&bed, &["-n", "open", "--open", "--", "echo open"]);
    let mistaken = bed.submit(&["-n", "next", "--after", "nextt", "--", "echo next"], "").expect(0);
    assert!(!mistaken.stderr.contains("did you mean"), "{}", mistaken.stderr);
    bed.status(&["wait", "held", "idle", "open", "next", "--timeout", "1s"]).expect(124).prints(&[
        "held: 1 of 1 open; paused by ",
        "idle: 1 of 1 open; nothing of it runs: distcomp-status explain says why",
        "open: 1 of 1 open; 1 submission under way or cut short",
        "next: 1 of 1 open; waits for nextt, of which nothing is known",
    ]);
}

#[test]
fn batch_whose_tasks_had_another_one_before_is_blocked_too() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["-n", "a", "--wait", "--", "false"], "").expect(1);
    for name in ["s1", "s2"] {
        submit(&bed, &["-n", name, "--after", "a", "--", "echo {}", ":::", "1", "2"]);
    }
    bed.status(&["wait", "s2", "--timeout", "30s"]).expect(1).prints(&["s2 waits for a: 1 failed"]);
    let json = bed.status(&["--json", "batch", "s2"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["blocked"], &json["state"]), (&json!(2), &json!("blocked")), "{json}");
    submit(&bed, &["-n", "s2", "--begin", "+1h", "--", "echo 3"]);
    bed.status(&["wait", "s2", "--timeout", "2s"]).expect(124);
}
