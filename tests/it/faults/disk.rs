//! Row "disk full": where outputs go, where the spool is, where Redis keeps its log; and files that may not grow.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{PATIENT, all_ran, bed, counted, wait_there, watch, workers};
use crate::support::{
    Bed, Redis, SOON, ServerOptions, Worker, fill, has_small_disks, holds_for, on_small_disk, read, result_of, seen_by,
    wait_until,
};

/// A worker that alone sees a small disk at `dir`.
fn worker_on_small_disk(bed: &Bed, dir: &Path, changes: serde_json::Value) -> Worker {
    let through: Vec<String> = std::iter::once("unshare".to_owned()).chain(on_small_disk(dir, 1)).collect();
    let through: Vec<&str> = through.iter().map(String::as_str).collect();
    bed.worker_through(&through, "w", changes, &[])
}

/// A task that prints so many bytes of x between `first` and `last`.
fn printing(bytes: usize) -> String {
    format!("shell:0:0:1:echo first; head -c {bytes} /dev/zero | tr '\\000' x; echo; echo last; true {bytes}")
}

#[test]
fn output_on_a_full_disk_is_recorded_as_head_and_tail() {
    if !has_small_disks() {
        return;
    }
    let bed = bed(json!({"max_inline_output_bytes": 65536, "worker_dead_after_seconds": 30}));
    let dir = PathBuf::from(bed.out("small"));
    let mut worker = worker_on_small_disk(&bed, &dir, json!({"result_dir": dir}));
    let (small, huge) = (printing(200_000), printing(5_000_000));
    // One after the other: beside the huge one there may be no room for the small one.
    bed.add([&small]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    bed.add([&huge]);
    let checker = watch(&bed, &[small.clone(), huge.clone()]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    let results = bed.table("finished_tasks");
    let text = result_of(&results, &small).1;
    assert!(text.contains("the whole in ") && !text.contains("could not be kept"), "{text:.300}");
    let text = result_of(&results, &huge).1;
    assert!(text.starts_with("first\nxxx") && text.ends_with("xxx\nlast"), "{text:.300}");
    assert!(text.contains("could not be kept") && text.contains("No space left on device"), "the mark");
    assert!(text.contains("5000012 bytes in all"), "how much there was");
    // What did not fit takes no room from others: this one fits beside the first.
    let next = printing(300_000);
    bed.add([&next]);
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    assert!(!result_of(&bed.table("finished_tasks"), &next).1.contains("could not be kept"));
    let files = fs::read_dir(seen_by(worker.pid(), &dir)).expect("the small disk").count();
    assert_eq!(files, 2, "two whole outputs, and no part of the third");
    assert!(worker.is_running());
    checker.finish();
}

#[test]
fn a_full_state_dir_is_said_once_and_every_result_is_recorded() {
    if !has_small_disks() {
        return;
    }
    let mut bed = bed(json!({"max_task_per_worker": 4, "worker_dead_after_seconds": 30}));
    let dir = PathBuf::from(bed.out("small"));
    let mut worker = worker_on_small_disk(&bed, &dir, json!({"state_dir": dir}));
    bed.wait_alive("w");
    let filler = fill(worker.pid(), &dir);
    let out = bed.out("runs");
    let lines = counted(&out, 0..60, "");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    assert_eq!(all_ran(&bed, &out, 60, SOON), 0);
    let said = |worker: &Worker| worker.log().matches("failed to spool outcomes").count();
    wait_until("it to say so", SOON, || holds_for(said(&worker) == 1, worker.log()));
    // Results that Redis cannot take now are kept in memory and reported when it can.
    let more = counted(&out, 60..64, "sleep 1;");
    bed.add(&more);
    wait_there(&out, 4);
    bed.redis.kill9();
    wait_until("the tasks to end", SOON, || holds_for(read(&out).lines().count() == 64, read(&out)));
    bed.redis.start_again();
    assert_eq!(all_ran(&bed, &out, 64, SOON), 0);
    assert!(worker.is_running());
    assert_eq!(said(&worker), 1, "once, not for each batch: {}", worker.log());
    fs::remove_file(filler).expect("room again");
    bed.add(["shell:0:0:1:echo with room"]);
    wait_until("it to say that it works again", SOON, || {
        holds_for(worker.log().contains("outcomes are spooled again"), worker.log())
    });
    checker.finish();
}

#[test]
fn removed_result_dir_is_recreated_and_state_dir_reported() {
    let bed = bed(json!({"max_inline_output_bytes": 65536}));
    let (results, state) = (PathBuf::from(bed.out("results")), PathBuf::from(bed.out("state")));
    let mut worker = bed.worker_with("w", json!({"result_dir": results, "state_dir": state}), &[]);
    bed.add([format!("{} # before", printing(200_000))]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!worker.log().contains("failed to spool"), "{}", worker.log());
    fs::remove_dir_all(&results).expect("results");
    fs::remove_dir_all(&state).expect("state");
    let long = printing(200_000);
    bed.add([&long]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    let text = result_of(&bed.table("finished_tasks"), &long).1;
    let place = text.split("the whole in ").nth(1).and_then(|rest| rest.split(" …").next()).expect("a place");
    let path = place.split_once(':').expect("HOST:PATH").1;
    assert_eq!(fs::metadata(path).expect("the whole").len(), 200_012);
    assert!(worker.log().contains("failed to spool outcomes") && worker.log().contains("removed"), "{}", worker.log());
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
}

#[test]
fn worker_starts_on_a_full_disk_and_warns() {
    if !has_small_disks() {
        return;
    }
    let bed = bed(json!({"worker_dead_after_seconds": 30}));
    let dir = PathBuf::from(bed.out("small"));
    let lines = counted(&bed.out("runs"), 0..5, "");
    bed.add(&lines);
    fs::create_dir_all(&dir).expect("a place for the disk");
    // No room, and few files: the state directory itself can just be made.
    let mount = format!(
        "mount -t tmpfs -o size=64k,mode=700 tmpfs {0} && {{ head -c 1M /dev/zero > {0}/filler; exec \"$0\" \"$@\"; }}",
        dir.display()
    );
    let through = ["unshare", "-m", "sh", "-c", &mount];
    let mut worker = bed.worker_through(&through, "w", json!({"state_dir": dir, "result_dir": dir}), &[]);
    assert_eq!(all_ran(&bed, &bed.out("runs"), 5, SOON), 0);
    assert!(worker.is_running());
    assert!(worker.log().contains("failed to spool"), "{}", worker.log());
}

#[test]
fn files_that_may_not_grow_stop_no_worker_and_no_task() {
    // Without any privilege: every file of this worker, its log too, ends at 16 KiB, and the signal for it is deadly by default.
    let bed = bed(json!({"max_inline_output_bytes": 4096, "worker_dead_after_seconds": 30, "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines: Vec<String> = counted(&out, 0..200, "head -c 100000 /dev/zero | tr '\\000' x;");
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let mut worker = bed.worker_through(&["prlimit", "--fsize=16384:16384"], "w", json!({}), &[]);
    assert_eq!(all_ran(&bed, &out, 200, Duration::from_secs(60)), 0);
    assert!(worker.is_running(), "{}", worker.log());
    let length = worker.log().len();
    assert_eq!(length, 16384, "the log has met its limit: else this shows nothing of it");
    let (_, text) = result_of(&bed.table("finished_tasks"), &lines[7]);
    assert!(text.contains("could not be kept"), "{text:.200}");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    checker.finish();
}

#[test]
fn a_log_that_cannot_be_written_stops_no_worker() {
    let bed = bed(json!({"worker_dead_after_seconds": 30}));
    let out = bed.out("runs");
    let lines = counted(&out, 0..20, "");
    bed.add(&lines);
    let through = ["sh", "-c", "exec \"$0\" \"$@\" >/dev/full 2>&1"];
    let mut worker = bed.worker_through(&through, "w", json!({}), &[]);
    assert_eq!(all_ran(&bed, &out, 20, SOON), 0);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn a_redis_whose_disk_is_full_delays_and_loses_nothing() {
    if !has_small_disks() {
        return;
    }
    let server = Redis::start(ServerOptions { durable: true, small_disk: Some(8), ..Default::default() });
    let conf = json!({"worker_dead_after_seconds": PATIENT, "max_lost_per_task": 100, "max_task_per_worker": 2});
    let bed = Bed::on(server, conf);
    let out = bed.out("runs");
    let lines = counted(&out, 0..40, "sleep 0.3;");
    let mut workers = workers(&bed, ["a", "b"]);
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    wait_there(&out, 4);
    let filler = fill(bed.redis.pid(), &bed.redis.data());
    // Writes fill what is left of a page; from then on they are refused.
    let write = || ::redis::cmd("SET").arg("probe").arg("x".repeat(4096)).exec(&mut bed.redis.con());
    wait_until("Redis to refuse writes", SOON, || match write() {
        Err(error) if error.to_string().contains("MISCONF") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    bed.submit(&["-"], "shell:0:0:1:true # refused\n").expect(3).says(&["MISCONF"]);
    std::thread::sleep(Duration::from_secs(u64::from(PATIENT) + 2));
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
        let lines = worker.log().lines().count();
        assert!(lines < 200, "{lines} lines\n{}", worker.log());
    }
    fs::remove_file(filler).expect("room again");
    assert_eq!(all_ran(&bed, &out, 40, Duration::from_secs(40)), 0);
    for worker in &workers {
        assert!(!worker.log().contains("took over"), "{}", worker.log());
    }
    checker.finish();
}
