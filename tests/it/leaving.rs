//! Workers that end by themselves: with nothing to run, and before the job of a batch system is over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Bed, SOON, holds_for, wait_until};

#[test]
fn a_worker_leaves_after_so_long_with_nothing_to_run() {
    let bed = Bed::new();
    // Longer than the worker may be idle.
    bed.add(["shell:0:0:1:sleep 2.5"]);
    let mut worker = bed.worker_with("w", json!({"idle_timeout_seconds": 1}), &[]);
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.counts(), [0, 0, 1, 0], "{}", worker.log());
    assert!(worker.log().contains("nothing to run for idle_timeout_seconds"), "{}", worker.log());
    assert_eq!(bed.status(&["workers", "--json"]).expect(0).stdout.trim(), "", "it has deregistered");
}

#[test]
fn a_worker_leaves_also_where_nothing_may_start() {
    let bed = Bed::new();
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.add(["shell:0:0:1:true"]);
    let mut worker = bed.worker_with("w", json!({}), &["--idle-timeout", "1"]);
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.counts(), [1, 0, 0, 0], "{}", worker.log());
}

#[test]
fn a_worker_in_a_slurm_job_gives_everything_back_before_its_end() {
    let bed = Bed::new();
    let long = "shell:0:0:1:sleep 100";
    bed.add([long, "shell,time=60:0:0:2:echo late"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let end = format!("SLURM_JOB_END_TIME={}", now + 12);
    let mut worker = bed.worker_through(&["env", "SLURM_JOB_ID=42", &end], "w", json!({}), &[]);
    bed.wait_running(long);
    assert_eq!(worker.wait_exit(SOON), 0);
    assert_eq!(bed.counts(), [2, 0, 0, 0], "{}", worker.log());
    // The file has the last word.
    let through = ["env", "SLURM_JOB_ID=42", "SLURM_JOB_END_TIME=1"];
    let mut worker = bed.worker_through(&through, "w2", json!({"time_limit_seconds": 0}), &[]);
    bed.wait_running(long);
    assert!(worker.is_running());
    wait_until("the other to be claimed", Duration::from_secs(20), || holds_for(bed.counts()[0] == 0, "it waits"));
}

#[test]
fn what_a_batch_system_does_not_tell_is_said() {
    let bed = Bed::new();
    let check = |id: &str| {
        bed.cli("distcomp-worker").args(["--check"]).env("PBS_JOBID", id).env("PATH", "/usr/bin:/bin").run().expect(0)
    };
    check("7.server").says(&["the end of PBS job 7.server is not known: there is no program qstat; --time-limit says"]);
    let end = bed
        .cli("distcomp-worker")
        .args(["--check"])
        .env("SLURM_JOB_ID", "1")
        .env("SLURM_JOB_END_TIME", "99999999999")
        .run();
    end.expect(0).prints(&["lives for"]);
}
