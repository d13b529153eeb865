//! Column "submit": the server, or the submitter itself, goes in the middle of a submission. Whatever was said of it, repeating it puts every task there
//! once.
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{all_ran, bed, counted, watch};
use crate::support::{Bed, Clock, SOON, holds_for, wait_until};

const MANY: usize = 40_000;

fn many(out: &str) -> String {
    counted(out, 0..MANY, "").join("\n")
}

/// Starts a long submission and waits until some of it is there, and not all.
fn begun(bed: &Bed, text: &str) -> crate::support::Started {
    let started = bed.cli("distcomp-submit").args(["-"]).stdin(text).start();
    wait_until("some of it", SOON, || {
        let there = bed.count("todo_tasks");
        holds_for(there > 0, there)
    });
    started
}

#[track_caller]
fn repeated_it_is_all_there(bed: &Bed, text: &str) {
    bed.submit(&["-"], text).expect(0);
    assert_eq!(bed.counts(), [MANY, 0, 0, 0]);
    bed.submit(&["-"], text)
        .expect(0)
        .prints_line(&format!("added 0 tasks; skipped {MANY} already queued, 0 running, 0 finished, 0 failed"));
}

#[test]
fn submission_to_a_killed_server_fails_and_is_repeatable() {
    let mut bed = bed(json!({}));
    let text = many(&bed.out("runs"));
    let submitting = begun(&bed, &text);
    bed.redis.kill9();
    let said = submitting.finish();
    assert!(said.is(3), "{}", said.all());
    bed.redis.start_again();
    // What was there when it was killed is still there, as the prefix that it was.
    let there = bed.table("todo_tasks");
    assert!(!there.is_empty() && there.len() < MANY, "{}", there.len());
    repeated_it_is_all_there(&bed, &text);
}

#[test]
fn submission_to_a_hung_server_fails_and_is_repeatable() {
    let bed = bed(json!({}));
    let text = many(&bed.out("runs"));
    let submitting = begun(&bed, &text);
    bed.redis.freeze();
    let said = submitting.finish();
    bed.redis.thaw();
    // It may have had its last answer before the freeze.
    assert!(said.is(3) || bed.count("todo_tasks") == MANY, "{}", said.all());
    repeated_it_is_all_there(&bed, &text);
}

#[test]
fn killed_submitter_leaves_a_prefix_and_is_repeatable() {
    let bed = bed(json!({}));
    let text = many(&bed.out("runs"));
    let submitting = begun(&bed, &text);
    submitting.signal(Signal::SIGKILL);
    drop(submitting.finish());
    let there = bed.table("todo_tasks");
    assert!(there.len() < MANY, "{}: else this shows nothing", there.len());
    let first: Vec<&str> = text.lines().take(there.len()).collect();
    assert!(first.iter().all(|line| there.contains_key(*line)), "a prefix, in the order of the file");
    repeated_it_is_all_there(&bed, &text);
}

#[test]
fn lost_submission_can_be_repeated_and_runs_nothing_twice() {
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..20, "sleep 2;");
    let kept = bed.redis.log_length();
    bed.add(&lines);
    let worker = bed.worker("w");
    super::wait_there(&out, 4);
    bed.redis.kill9();
    bed.redis.cut_tail(bed.redis.log_length() - kept);
    bed.redis.start_again();
    assert_eq!(bed.count("todo_tasks"), 0, "it is lost: else this shows nothing");
    // What runs is owned again, and what was claimed ahead too.
    wait_until("what ran to be owned again", SOON, || {
        let seen = bed.counts();
        holds_for(seen[1] + seen[2] >= 4, format!("{seen:?}\n{}", worker.log()))
    });
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    assert_eq!(all_ran(&bed, &out, 20, Duration::from_secs(60)), 0);
    checker.finish();
}

#[test]
fn a_submitter_whose_clock_is_wrong_submits_like_any_other() {
    let bed = bed(json!({}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..10, "");
    let clock = Clock::new();
    clock.set(-3600);
    let mut submit = bed.cli("distcomp-submit").args(["-"]).stdin(lines.join("\n"));
    for (name, value) in clock.environment() {
        submit = submit.env(name, value);
    }
    submit.run().expect(0);
    let _worker = bed.worker("w");
    assert_eq!(all_ran(&bed, &out, 10, SOON), 0);
}

#[test]
fn a_submitter_without_descriptors_says_so_and_may_repeat() {
    let bed = bed(json!({}));
    let conf = bed.conf_path().display().to_string();
    let file = bed.file("tasks", "shell:0:0:1:true\n");
    let submit = |files: &str| {
        let limit = format!("--nofile={files}:{files}");
        let program = crate::support::bin("distcomp-submit");
        crate::support::Cli::new("prlimit").args([&limit, program, "--config", &conf, &file]).run()
    };
    let said = submit("5");
    assert!(!said.is(0) && !said.all().contains("panicked"), "{}", said.all());
    assert!(said.all().contains("open files") || said.all().contains("os error 24"), "{}", said.all());
    assert_eq!(bed.count("todo_tasks"), 0);
    submit("64").expect(0);
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}
