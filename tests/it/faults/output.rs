//! Row "100 MB output", and what else a task may print: many at once, one endless line, bytes that are no text, pipes that are never let go of.
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{bed, watch};
use crate::support::{SOON, Stopwatch, Worker, holds_for, result_of, unique_sleep, wait_until, with_argv};

/// Private memory of a worker and its keepers, in KiB: what they alone hold, and their part of what they share.
fn memory(worker: &Worker) -> u64 {
    let pids = worker.keepers().into_iter().map(|one| one.pid).chain([worker.pid().as_raw()]);
    pids.map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
        pss.unwrap_or(0)
    })
    .sum()
}

/// The largest sum seen while `act` goes on, and how often it was looked at.
fn peak_during(worker: &Worker, act: impl FnOnce()) -> (u64, u64) {
    let (is_over, peak, looks) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(memory(worker), Ordering::Relaxed);
                looks.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        act();
        is_over.store(true, Ordering::Relaxed);
    });
    (peak.into_inner(), looks.into_inner())
}

/// Megabytes that can be spared where the files go.
fn room_mb(dir: &Path) -> u64 {
    let df = std::process::Command::new("df").args(["--output=avail", "-m"]).arg(dir).output().expect("df runs");
    let text = String::from_utf8_lossy(&df.stdout).into_owned();
    text.split_whitespace().last().and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn large_outputs_of_32_tasks_at_once_take_no_memory() {
    let bed =
        bed(json!({"max_task_per_worker": 32, "worker_dead_after_seconds": 60, "default_task_timeout_seconds": 0}));
    // 3.2 GB on disk; where that is not to be had, less of each.
    let each_mb = if room_mb(bed.path()) > 8_000 { 100 } else { 20 };
    let worker = bed.worker("w");
    // Keepers are made at their first task: the base is a worker that has them all.
    let gate = bed.out("gate");
    bed.add((0..32).map(|at| format!("shell:0:0:1:until test -e {gate}; do sleep 0.1; done; echo {at}")));
    wait_until("32 at once", SOON, || holds_for(bed.count("in_progress_tasks") == 32, format!("{:?}", bed.counts())));
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 32, 0]);
    let base = memory(&worker);
    let lines: Vec<String> = (0..32)
        .map(|at| {
            format!("shell:0:0:1:echo first {at}; head -c {each_mb}M /dev/zero | tr '\\000' x; echo; echo last {at}")
        })
        .collect();
    let checker = watch(&bed, &[]);
    let (peak, looks) = peak_during(&worker, || {
        bed.add(&lines);
        checker.expect(&lines);
        bed.wait_counts(Duration::from_secs(150), [0, 0, 64, 0]);
    });
    assert!(looks >= 5, "{looks} looks");
    assert!(peak < base + 64 * 1024, "{base} KiB before, {peak} KiB at most");
    let results = bed.table("finished_tasks");
    for (at, line) in lines.iter().enumerate() {
        let (_, text) = result_of(&results, line);
        assert!(text.starts_with(&format!("first {at}\nxxx")) && text.ends_with(&format!("xxx\nlast {at}")));
        assert!(text.len() < 200_000, "head and tail: {}", text.len());
        let place = text.split("the whole in ").nth(1).and_then(|rest| rest.split(" …").next()).expect("a place");
        let path = place.split_once(':').expect("HOST:PATH").1;
        let wanted = each_mb * 1024 * 1024 + format!("first {at}\n\nlast {at}\n").len() as u64;
        assert_eq!(fs::metadata(path).expect("the whole").len(), wanted, "{path}");
        // Room for others at once; the directory itself goes with the test.
        fs::remove_file(path).expect("it is there");
    }
    checker.finish();
}

#[test]
fn ten_megabyte_line_is_cut_and_blocks_nothing() {
    let bed = bed(json!({"max_retry_per_task": 1}));
    let line = "shell:0:0:1:head -c 10M /dev/zero | tr '\\000' y; head -c 10M /dev/zero | tr '\\000' z >&2; exit 5";
    bed.add([line]);
    let worker = bed.worker("w");
    let base = memory(&worker);
    let (peak, _) = peak_during(&worker, || bed.wait_counts(SOON, [0, 0, 0, 1]));
    assert!(peak < base + 64 * 1024, "{base} KiB before, {peak} KiB at most");
    let reason = crate::support::reason_of(&bed, line);
    assert!(reason.starts_with("exit 5: …zzz") && reason.chars().count() <= 1024, "{reason:.100}");
    let shown = bed.status(&["show", line]).expect(0).all();
    assert!(shown.len() < 50_000, "{} bytes", shown.len());
}

#[test]
fn binary_output_is_kept_as_safe_text() {
    let bed = bed(json!({"max_retry_per_task": 1}));
    let good = r"shell:0:0:1:printf 'a\377b\000c\033]0;title\007\033[2Jd\302\233e\342\200\256f'";
    let bad = r"shell:0:0:2:printf 'x\377\000\033[2J\342\200\256' >&2; exit 1";
    bed.add([good, bad]);
    let checker = watch(&bed, &[good.to_owned(), bad.to_owned()]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    let (results, reasons) = (bed.table("finished_tasks"), bed.table("task_fail_reason"));
    for value in results.values().chain(reasons.values()) {
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "ASCII alone: {value:?}");
    }
    let text = result_of(&results, good).1;
    assert_eq!(text, "a\u{fffd}b\0c\u{1b}]0;title\u{7}\u{1b}[2Jd\u{9b}e\u{202e}f");
    for line in [good, bad] {
        for args in [vec!["show", line], vec!["failures"], vec!["tasks", "--state", "finished"]] {
            let shown = bed.status(&args).expect(0).all();
            let moves = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
            assert!(!shown.chars().any(moves), "{args:?}: {shown:?}");
        }
    }
    checker.finish();
}

#[test]
fn grandchild_that_holds_the_pipe_does_not_hold_the_slot() {
    let bed = bed(json!({"max_task_per_worker": 1}));
    let mark = unique_sleep();
    let writer = format!("setsid sh -c 'while :; do echo noise; done; sleep {mark}'");
    let line = format!("shell:0:0:9:({writer} &) ; (setsid sleep {mark} &); echo said");
    let worker = bed.worker("w");
    bed.wait_alive("w");
    let start = Stopwatch::start();
    bed.add([line.as_str(), "shell:0:0:1:echo next"]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(result_of(&bed.table("finished_tasks"), &line).1.contains("said"));
    wait_until("nothing of it to be left", Duration::from_secs(2), || {
        let left = with_argv(&mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
    drop(worker);
}
