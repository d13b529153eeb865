//! Row "worker SIGTERM": under load, with tasks claimed ahead, and with Redis away.
use std::time::Duration;

use serde_json::json;

use super::{all_ran, bed, counted, watch};
use crate::support::{SOON, Table, holds_for, read, wait_until};

#[test]
fn sigterm_under_load_leaves_nothing_in_progress() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..300, "");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    for round in 0..4 {
        let mut worker = bed.worker("w");
        // A goal that an earlier round has reached must not end this one before it listens.
        bed.wait_alive("w");
        let goal = 20 + round * 20;
        wait_until("some tasks to be done", SOON, || holds_for(bed.count("finished_tasks") >= goal, "not yet"));
        worker.sigterm();
        assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
        let [todo, in_progress, finished, failed] = bed.counts();
        assert_eq!((in_progress, todo + finished, failed), (0, 300, 0));
        assert_eq!(bed.table("worker_status"), Table::new());
    }
    let _last = bed.worker("w");
    assert_eq!(all_ran(&bed, &out, 300, SOON), 0);
    checker.finish();
}

#[test]
fn worker_ended_without_redis_reports_at_its_restart() {
    let mut bed = bed(json!({}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..2, "sleep 1;");
    bed.add(&lines);
    let mut worker = bed.worker("w");
    wait_until("both to run", SOON, || holds_for(bed.count("in_progress_tasks") == 2, "not yet"));
    wait_until("both to have started", SOON, || holds_for(crate::support::begun(&out).len() == 2, "not yet"));
    bed.redis.kill9();
    worker.sigterm();
    assert_eq!(worker.wait_exit(Duration::from_secs(30)), 0, "{}", worker.log());
    assert_eq!(read(&out).lines().count(), 2, "what ran came to its end");
    bed.redis.start_again();
    let checker = watch(&bed, &lines);
    let _again = bed.worker("w");
    assert_eq!(all_ran(&bed, &out, 2, SOON), 0);
    checker.finish();
}
