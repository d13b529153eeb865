//! What is derived from the six hashes is mended when others have moved or deleted lines.
use std::time::Duration;

use crate::support::{Bed, SOON, holds_for, stays, unique_sleep, wait_until, with_argv};

/// A line that waits, one that has finished, one that has failed, and one that is nowhere; nothing here can run.
const WAITS: &str = "shell:100000:0:1:waits";
const DONE: &str = "shell:0:0:1:done";
const BAD: &str = "shell:0:0:1:bad";
const GONE: &str = "shell:0:0:1:gone";

fn fields(bed: &Bed, key: &str) -> Vec<String> {
    bed.table(key).into_keys().collect()
}

#[track_caller]
fn wait_fields(bed: &Bed, key: &str, wanted: &[&str]) {
    let mut wanted: Vec<&str> = wanted.to_vec();
    wanted.sort_unstable();
    wait_until(&format!("{key} to be mended"), SOON * 2, || {
        let mut seen = fields(bed, key);
        seen.sort_unstable();
        holds_for(seen == wanted, format!("{seen:?}"))
    });
}

#[test]
fn each_derived_hash_keeps_what_is_true_and_loses_the_rest() {
    let bed = Bed::new();
    bed.add([WAITS]);
    bed.hset("finished_tasks", DONE, "w: \"x\"");
    bed.hset("failed_tasks", BAD, "w,");
    for key in ["distcomp:attempts", "distcomp:lost"] {
        for line in [WAITS, DONE, GONE] {
            bed.hset(key, line, "1");
        }
    }
    for line in [WAITS, DONE, GONE] {
        bed.hset("distcomp:grown", line, "1000000000000000");
    }
    for line in [BAD, DONE, GONE] {
        bed.hset("task_fail_reason", line, "\"exit 1\"");
        bed.hset("distcomp:failures:kinds", line, "exit 1");
    }
    bed.hset("distcomp:failures:groups", "exit 1", "3");
    bed.hset("distcomp:failures:samples", "exit 1", GONE);
    bed.hset("distcomp:failures:samples", "exit 2", GONE);
    for line in [WAITS, DONE, BAD, GONE] {
        bed.hset("distcomp:signatures", line, "s");
    }
    bed.hset("distcomp:ready:held", GONE, "D|1|0:0:w,");
    for key in ["distcomp:ready:blocked", "distcomp:ready:reserved"] {
        bed.hset(key, "7:7:", "1|x");
    }
    bed.hset("distcomp:marks", GONE, "cancel|w|t.1|id|0:0:|0|");
    bed.hset("distcomp:refused", format!("t.1|{GONE}"), "1000");
    for key in ["distcomp:capacity", "distcomp:load", "distcomp:workers", "distcomp:ready:idle"] {
        bed.hset(key, "nobody", "1:1:1");
    }
    bed.hset("distcomp:drain", "resting", "1");
    let worker = bed.worker("w");
    for key in ["distcomp:attempts", "distcomp:lost", "distcomp:grown"] {
        wait_fields(&bed, key, &[WAITS]);
    }
    wait_fields(&bed, "task_fail_reason", &[BAD]);
    wait_fields(&bed, "distcomp:failures:kinds", &[BAD]);
    wait_fields(&bed, "distcomp:signatures", &[WAITS, DONE, BAD]);
    for key in ["distcomp:ready:held", "distcomp:ready:reserved", "distcomp:marks", "distcomp:refused"] {
        wait_fields(&bed, key, &[]);
    }
    for key in ["distcomp:capacity", "distcomp:load", "distcomp:workers"] {
        wait_fields(&bed, key, &["w"]);
    }
    wait_until("the groups", SOON, || {
        let (groups, samples) = (bed.table("distcomp:failures:groups"), bed.table("distcomp:failures:samples"));
        let is_right = groups.get("exit 1").is_some_and(|n| n == "1")
            && samples.len() == 1
            && samples.get("exit 1").is_some_and(|line| line == BAD);
        holds_for(is_right, format!("{groups:?} {samples:?}"))
    });
    assert_eq!(fields(&bed, "distcomp:drain"), ["resting"], "a drain is of a name and stays");
    assert_eq!(bed.counts(), [1, 0, 1, 1], "nothing else was touched: {}", worker.log());
}

#[test]
fn what_fails_again_is_told_from_what_failed_for_good() {
    let bed = Bed::new();
    let again = "shell:100000:0:1:again";
    bed.hset("failed_tasks", BAD, "w,");
    for line in [BAD, DONE, GONE, WAITS] {
        bed.hset("distcomp:failures:retrying", line, "");
    }
    bed.hset("finished_tasks", DONE, "w: \"x\"");
    bed.add([WAITS]);
    // As a manager of earlier builds has left it.
    bed.hset("failed_tasks", again, "w,");
    bed.hset("todo_tasks", again, "");
    bed.hset("distcomp:failures:kinds", again, "exit 1");
    bed.hset("distcomp:failures:groups", "exit 1", "1");
    let _worker = bed.worker("w");
    wait_fields(&bed, "distcomp:failures:retrying", &[again]);
}

#[test]
fn counts_of_failures_are_made_anew_when_their_table_is_lost() {
    let bed = Bed::new();
    bed.hset("distcomp:failures:groups", "exit 1", "7");
    let _worker = bed.worker("w");
    wait_fields(&bed, "distcomp:failures:groups", &[]);
}

#[test]
fn deleting_a_line_in_progress_stops_its_task() {
    let bed = Bed::new();
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:sleep {mark}");
    let worker = bed.worker("w");
    bed.add([&line]);
    wait_until("it to run", SOON, || holds_for(!with_argv(&mark).is_empty(), "not yet"));
    bed.hdel("in_progress_tasks", &line);
    wait_fields(&bed, "distcomp:claims:w", &[]);
    wait_until("its process to go", SOON, || holds_for(with_argv(&mark).is_empty(), worker.log()));
    wait_fields(&bed, "distcomp:revoked:w", &[]);
    // The same line can be submitted again, and is the worker's own again.
    bed.add([&line]);
    bed.wait_running(&line);
}

#[test]
fn failure_moved_back_by_others_leaves_no_reason() {
    let bed = Bed::new();
    let gate = bed.out("gate");
    let line = format!("shell:0:0:1:test -e {gate}");
    bed.add([&line]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 0, 1]);
    // As `--task moveFailedTaskToTodo` of the Python manager.
    bed.file("gate", "");
    bed.hset("todo_tasks", &line, "");
    bed.hdel("failed_tasks", &line);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    wait_fields(&bed, "task_fail_reason", &[]);
    wait_fields(&bed, "distcomp:failures:groups", &[]);
    let shown = bed.status(&["show", &line]).expect(0).stdout;
    assert!(!shown.contains("reason"), "{shown}");
}

#[test]
fn retry_whose_place_in_the_index_was_lost_is_found_again() {
    let bed = Bed::new();
    let line = "shell:0:0:1:true";
    bed.hset("todo_tasks", line, "");
    bed.hset("failed_tasks", line, "other,");
    // Waits for a time that nobody keeps.
    bed.hset("distcomp:ready:held", line, "D|1|0:0:other,");
    let _worker = bed.worker("w");
    bed.wait_counts(SOON * 2, [0, 0, 1, 0]);
}

#[test]
fn move_of_a_manager_between_its_two_steps_loses_nothing() {
    let bed = Bed::new();
    bed.add([WAITS]);
    bed.hset("distcomp:attempts", WAITS, "4");
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    // Nowhere for moments only, again and again, whenever it is looked at.
    stays("it keeps its count", Duration::from_secs(8), || {
        bed.hdel("todo_tasks", WAITS);
        bed.hset("todo_tasks", WAITS, "");
        let seen = fields(&bed, "distcomp:attempts");
        holds_for(seen == [WAITS], format!("{seen:?}"))
    });
}
