//! How long a signature counts, and what it survives.
use serde_json::json;

use super::{SIGNATURES, Signed};
use crate::support::{Bed, SOON, holds_for, wait_until};

#[test]
fn expired_signature_is_refused_until_submitted_again() {
    let signed = Signed::new();
    let line = signed.line("late");
    signed.bed.submit(&["--expires", "1s", "-"], format!("{line}\n")).expect(0);
    let expires: u64 = signed.signature(&line).split('.').nth(1).and_then(|text| text.parse().ok()).expect("a time");
    wait_until("its time to pass", SOON, || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
        holds_for(now > expires, now)
    });
    signed.is_refused(&line, "expired");
    signed.bed.submit(&["--rerun", "-"], format!("{line}\n")).expect(0);
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["late"]);
}

#[test]
fn expiry_wants_a_key_and_a_duration() {
    let signed = Signed::new();
    for bad in ["0s", "soon", "-1h"] {
        signed.bed.submit(&[&format!("--expires={bad}"), "-"], "shell:0:0:1:true\n").expect(2).says(&["--expires"]);
    }
    let plain = Bed::new();
    plain.submit(&["--expires", "1h", "-"], "shell:0:0:1:true\n").expect(2).says(&["task_signing_key"]);
    assert_eq!(plain.counts(), [0, 0, 0, 0]);
}

#[test]
fn signature_stays_until_purge() {
    let signed = Signed::on(Bed::with(json!({"max_retry_per_task": 3})));
    let line = format!("shell:0:0:1:echo x >> {}; test $(wc -l < {0}) -ge 3", signed.bed.out("ran"));
    let slow = "shell:0:0:1:sleep 600".to_owned();
    signed.bed.add([&line]);
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0], "it succeeds at its third attempt");
    signed.bed.ctl(&["requeue", "--state", "finished", "--yes"]).expect(0);
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0], "a requeued task keeps its signature");
    // Returned by a shutdown, taken back from a worker that was killed.
    signed.bed.add([&slow]);
    let mut worker = signed.bed.worker_with("v", json!({"drain_timeout_seconds": 0}), &[]);
    signed.bed.wait_running(&slow);
    worker.sigterm();
    worker.wait_exit(SOON);
    assert!(signed.bed.table("todo_tasks").contains_key(&slow));
    let mut worker = signed.bed.worker("v");
    signed.bed.wait_running(&slow);
    worker.kill9();
    drop(worker);
    let mut worker = signed.bed.worker("v");
    wait_until("it to run again", SOON, || {
        let failed = signed.bed.table("failed_tasks");
        assert!(failed.is_empty(), "{failed:?}");
        let log = worker.log();
        holds_for(
            log.matches("took over the tasks that an earlier process").count() == 1
                && signed.bed.count("in_progress_tasks") == 1,
            log,
        )
    });
    worker.kill9();
    signed.bed.ctl(&["reclaim", "v", "--force", "--yes"]).expect(0);
    signed.bed.ctl(&["purge", &slow, "--yes"]).expect(0);
    assert!(!signed.bed.table(SIGNATURES).contains_key(&slow), "nothing of a purged task stays");
}

#[test]
fn unsigned_queued_line_is_signed_by_a_signed_submission() {
    let signed = Signed::new();
    let line = signed.line("late");
    signed.forge(&line, None);
    let output = signed.bed.submit(&["-"], format!("{line}\n")).expect(0);
    output.prints_line("added 0 tasks; skipped 1 already queued, 0 running, 0 finished, 0 failed");
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["late"]);
}
