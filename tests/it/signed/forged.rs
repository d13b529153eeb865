//! What nobody has signed, or signed for something else, is not run.
use std::time::Duration;

use serde_json::json;

use super::{QUEUE_ID, SIGNATURES, Signed, command};
use crate::support::{Bed, SOON, holds_for, wait_until};

#[test]
fn what_is_signed_runs_and_the_queue_stays_readable_to_python() {
    let signed = Signed::new();
    let line = signed.line("good");
    signed.bed.add([&line]);
    assert_eq!(signed.bed.table("todo_tasks").get(&line).map(String::as_str), Some(""), "Python writes \"\" there");
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["good"]);
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn unsigned_foreign_line_is_refused_and_never_retried() {
    let signed = Signed::on(Bed::with(json!({"max_retry_per_task": 5})));
    let line = signed.line("forged");
    signed.forge(&line, None);
    signed.is_refused(&line, "no signature");
    signed.bed.burst("w2");
    signed.was_refused(&line, "no signature");
    assert!(signed.ran().is_empty());
    let overview = signed.bed.status(&["--json"]).expect(0).json();
    let groups = overview["failures"].as_array().expect("groups");
    assert!(groups.iter().any(|group| group["kind"] == "not signed" && group["count"] == 1), "{overview}");
    signed.bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    signed.is_refused(&line, "no signature");
    assert!(signed.ran().is_empty(), "an operator's requeue signs nothing");
}

#[test]
fn a_signature_is_good_for_its_own_line_alone() {
    let signed = Signed::new();
    let (good, other) = (signed.line("good"), signed.line("other"));
    signed.bed.add([&good]);
    let signature = signed.signature(&good);
    signed.forge(&other, Some(&signature));
    let longer = format!("{good}; echo more >> {}", signed.bed.out("ran"));
    signed.forge(&longer, Some(&signature));
    let dearer = good.replacen(":1:", ":2:", 1);
    signed.forge(&dearer, Some(&signature));
    for line in [&other, &longer, &dearer] {
        signed.is_refused(line, "not of this line");
    }
    assert_eq!(signed.ran(), ["good"]);
}

#[test]
fn what_is_cut_or_garbage_or_deleted_is_no_signature() {
    let signed = Signed::new();
    let names: Vec<String> = (0..9).map(|n| signed.line(&format!("bad{n}"))).collect();
    signed.bed.add(&names);
    let good = signed.signature(&names[0]);
    let mut parts: Vec<&str> = good.split('.').collect();
    let later = (parts[1].parse::<u64>().expect("a time") + 1).to_string();
    parts[1] = &later;
    let later = parts.join(".");
    let half = &good[..good.len() / 2];
    let long = "v1.".repeat(100_000);
    for (line, bad) in
        names.iter().zip([half, &good[..good.len() - 1], "garbage", "", &later, "v1....", &long, "\u{1b}[31m"])
    {
        signed.bed.hset(SIGNATURES, line, bad);
    }
    assert!(signed.bed.hdel(SIGNATURES, &names[8]));
    signed.bed.burst("w");
    for line in &names {
        signed.was_refused(line, "");
    }
    assert!(signed.ran().is_empty());
}

#[test]
fn bytes_that_are_no_text_beside_a_line_stop_no_worker() {
    let signed = Signed::new();
    let (bad, good) = (signed.line("bad"), signed.line("good"));
    signed.bed.add([&bad, &good]);
    signed.bed.hset(SIGNATURES, &bad, b"\xff\xfe\0v1");
    signed.is_refused(&bad, "cannot be read");
    assert_eq!(signed.ran(), ["good"]);
}

#[test]
fn worker_cannot_sign_what_it_puts_back() {
    let mut signed = Signed::new();
    // All that a worker has: its configuration, its state, its public key, and Redis.
    signed.bed.configure(json!({"task_signing_key": null}));
    let line = signed.line("stolen");
    signed.bed.submit(&["-"], format!("{line}\n")).expect(0).says(&["task_signing_key"]);
    signed.is_refused(&line, "no signature");
    // With the public key in place of the secret one.
    signed.bed.configure(json!({"task_signing_key": signed.bed.out("key.pub")}));
    let says = ["task_signing_key", "key.pub", "public key, which cannot sign"];
    signed.bed.submit(&["-"], format!("{line}\n")).expect(2).says(&says);
    assert!(signed.ran().is_empty());
}

#[test]
fn a_queue_of_many_signed_tasks_runs_whole_beside_forged_ones() {
    let signed = Signed::new();
    let good: Vec<String> =
        (0..300).map(|n| format!("shell:0:0:1:echo good{n} >> {}", signed.bed.out("ran"))).collect();
    signed.bed.add(&good);
    for (n, line) in good.iter().take(30).enumerate() {
        signed.forge(&signed.line(&format!("forged{n}")), Some(&signed.signature(line)));
    }
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 300, 30]);
    let ran = signed.ran();
    assert!(ran.len() == 300 && ran.iter().all(|name| name.starts_with("good")), "{ran:?}");
}

#[test]
fn a_queue_that_nobody_signs_for_holds_nothing_of_signatures() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    let keys = bed.keys();
    assert!(!keys.iter().any(|key| key == SIGNATURES || key == QUEUE_ID), "{keys:?}");
}

#[test]
fn one_machine_with_nothing_set_up_runs_with_signing_configured() {
    let signed = Signed::new();
    let line = signed.line("local");
    let file = signed.bed.file("tasks", format!("{line}\n"));
    let run = signed.bed.cli("distcomp-worker").args(["--local", &file]).limit(Duration::from_secs(60)).run();
    run.expect(0);
    assert_eq!(signed.ran(), ["local"]);
}

/// A key of another type in the place of the signatures, or of the queue's identity: nothing runs, nothing is lost, and when it is gone all goes on.
#[test]
fn broken_signature_hash_runs_nothing_and_loses_nothing() {
    let signed = Signed::new();
    let good = signed.line("good");
    signed.bed.add([&good]);
    let signature = signed.signature(&good);
    command::<()>(&signed.bed, &["DEL", SIGNATURES]);
    command::<()>(&signed.bed, &["SET", SIGNATURES, &signature]);
    let mut worker = signed.bed.worker("w");
    wait_until("the worker to try", SOON, || {
        let log = worker.log();
        holds_for(log.contains("failed to claim") || log.contains("WRONGTYPE"), log)
    });
    assert!(worker.is_running() && signed.ran().is_empty(), "{}", worker.log());
    assert_eq!(signed.bed.counts().iter().sum::<usize>(), 1, "the task is where it was: {:?}", signed.bed.counts());
    // Submitting is an error that says so, and no line goes in without its signature.
    let late = signed.line("late");
    let output = signed.bed.submit(&["-"], format!("{late}\n"));
    assert!(!output.is(0) && !signed.bed.table("todo_tasks").contains_key(&late), "{output}");
    command::<()>(&signed.bed, &["DEL", SIGNATURES]);
    signed.bed.hset(SIGNATURES, &good, &signature);
    signed.bed.submit(&["-"], format!("{late}\n")).expect(0);
    wait_until("both to run", Duration::from_secs(120), || {
        holds_for(signed.ran() == ["good", "late"], format!("{:?}\n{}", signed.bed.counts(), worker.log()))
    });
    drop(worker);
    // The queue's identity as a hash: whoever meets the queue says so, and goes.
    command::<()>(&signed.bed, &["DEL", QUEUE_ID]);
    signed.bed.hset(QUEUE_ID, "a", "b");
    let mut fresh = signed.bed.worker("fresh");
    assert!([2, 3].contains(&fresh.wait_exit(SOON)), "{}", fresh.log());
    assert!(fresh.log().contains("WRONGTYPE") || fresh.log().contains(QUEUE_ID), "{}", fresh.log());
}
