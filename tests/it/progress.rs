//! What is said at a glance is true: progress, tasks that can never run, and metrics while Redis does not answer.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bed, Dashboard, SOON, holds_for, wait_until};

fn overview(bed: &Bed) -> Value {
    bed.status(&["--json"]).expect(0).json()
}

/// The parts of the bar: finished, running, failed, waiting, cancelled.
fn parts(bed: &Bed) -> [u64; 5] {
    let overview = overview(bed);
    ["finished", "running", "failed", "waiting", "cancelled"]
        .map(|part| overview["progress"][part].as_u64().unwrap_or_else(|| panic!("no {part} in {overview}")))
}

#[test]
fn page_command_and_json_agree_on_progress() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add((0..13).map(|n| format!("shell:0.01:0.01:9:echo {n}")));
    bed.add((0..8).map(|n| format!("shell:0.01:0.01:9:exit 3 # {n}")));
    bed.burst("w");
    bed.add((0..6).map(|n| format!("shell:0.01:0.01:1:echo later {n}")));
    bed.ctl(&["cancel", "--include", "later 5", "--yes"]).expect(0);
    assert_eq!(parts(&bed), [13, 0, 8, 5, 1]);
    assert_eq!(overview(&bed)["progress"]["percent"], json!(50.0));
    bed.status(&[]).expect(0).prints(&["done 50 %", "running 0", "failed 8", "waiting 5", "cancelled 1"]);
    let site = Dashboard::start(&bed);
    let page = site.get("/", &[]).body;
    assert!(page.contains("13 of 26 finished, 8 failed, 5 waiting; 1 cancelled"), "{page}");
    assert!(page.contains(">50.0 %<"), "{page}");
    // Beside a number of failures without them, that would be one too many.
    assert!(!page.contains("of the failed, 1 was cancelled"), "{page}");
}

#[test]
fn task_that_is_tried_again_is_in_one_part() {
    let bed = Bed::with(json!({"max_retry_per_task": 5, "retry_backoff_seconds": 0}));
    let gate = bed.out("gate");
    bed.add([format!("shell:0.01:0.01:1:test -e {gate} || {{ touch {gate}; exit 3; }}; exec sleep 3623")]);
    let _worker = bed.worker("w");
    wait_until("the second attempt to run", SOON, || {
        let has_failed = bed.count("failed_tasks") == 1;
        holds_for(has_failed && bed.count("in_progress_tasks") == 1, format!("{:?}", bed.counts()))
    });
    assert_eq!(parts(&bed), [0, 1, 0, 0, 0]);
    assert_eq!(overview(&bed)["counts"]["failed"], 1, "the hashes are those of Python DistComp");
}

#[test]
fn death_of_a_worker_changes_no_number_of_failures() {
    let bed = Bed::with(json!({"max_retry_per_task": 1, "max_lost_per_task": 5}));
    bed.add((0..6).map(|n| format!("shell:0.01:0.01:9:exit 3 # {n}")));
    bed.burst("w");
    let lines = ["shell:0.01:0.01:1:sleep 3623", "shell:0.01:0.01:1:sleep 3624", "shell:0.01:0.01:1:sleep 3625"];
    let mut dead = bed.worker("dies");
    bed.add(lines);
    for line in lines {
        bed.wait_running(line);
    }
    assert_eq!(parts(&bed), [0, 3, 6, 0, 0]);
    dead.kill9();
    bed.ctl(&["reclaim", "dies", "--force", "--yes"]).expect(0);
    assert_eq!(bed.count("distcomp:lost"), 3, "all three wait as suspects");
    assert_eq!(parts(&bed), [0, 0, 6, 3, 0]);
    assert_eq!(overview(&bed)["retrying"], 0);
    // The start of each lost attempt is known, and drawn.
    let shown = bed.status(&["show", lines[0], "--json"]).expect(0).json();
    let (start, end) = (&shown["attempts"][0]["start"], &shown["attempts"][0]["end"]);
    assert!(start.as_f64().is_some_and(|start| Some(start) <= end.as_f64()), "{shown}");
    let site = Dashboard::start(&bed);
    let told: Value = serde_json::from_str(&site.get("/api/v1/timeline?worker=dies", &[]).body).expect("JSON");
    let bars = told["lanes"][0]["attempts"].as_array().cloned().unwrap_or_default();
    assert_eq!(bars.iter().filter(|bar| bar[2] == "lost").count(), 3, "{told}");
    assert!(!site.get(&format!("/task/{}", crate::support::task_id(lines[0])), &[]).body.contains(">never<"));
}

#[test]
fn task_lost_and_failed_and_running_again_is_in_one_part() {
    let bed = Bed::with(json!({"max_retry_per_task": 5, "retry_backoff_seconds": 0, "max_lost_per_task": 5}));
    let (lost, failed) = (bed.out("lost"), bed.out("failed"));
    let line = format!(
        "shell:0.01:0.01:1:test -e {lost} || {{ touch {lost}; exec sleep 3623; }}; test -e {failed} || {{ touch {failed}; exit 3; }}; exec sleep 3624"
    );
    let mut dead = bed.worker("dies");
    bed.add([&line]);
    bed.wait_running(&line);
    wait_until("it to begin", SOON, || holds_for(std::path::Path::new(&lost).exists(), "not yet"));
    dead.kill9();
    bed.ctl(&["reclaim", "dies", "--force", "--yes"]).expect(0);
    let _worker = bed.worker("w");
    wait_until("the third attempt to run", SOON * 2, || {
        let has_failed = bed.count("failed_tasks") == 1;
        holds_for(has_failed && bed.count("in_progress_tasks") == 1, format!("{:?}", bed.counts()))
    });
    assert_eq!(bed.count("distcomp:lost"), 1);
    assert_eq!(parts(&bed), [0, 1, 0, 0, 0]);
    // Neither the loss nor the number of attempts counts as a failure: four more may fail.
    let site = Dashboard::start(&bed);
    let page = site.get(&format!("/task/{}", crate::support::task_id(&line)), &[]).body;
    assert!(page.contains("<dt>Attempt</dt><dd>3 of 6</dd>"), "{page}");
}

#[test]
fn task_that_can_never_run_is_named_while_others_run() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.add(["shell:0:0:9:sleep 3623", "shell:100000:1:1:echo large", "shell:100000:1:1:echo large too"]);
    bed.add((0..90).map(|n| format!("shell:0.{n:02}1:90000:0:echo {n}")));
    bed.wait_running("shell:0:0:9:sleep 3623");
    // More kinds of need than the overview lists.
    wait_until("them to be counted", SOON, || {
        holds_for(overview(&bed)["unrunnable"] == 92, overview(&bed)["unrunnable"].clone())
    });
    bed.status(&[]).expect(0).prints(&["92 tasks can never run on the workers that are there, most of them"]);
    let site = Dashboard::start(&bed);
    let page = site.get("/metrics", &[]).body;
    assert!(page.contains("\ndistcomp_queue_unrunnable_tasks 92.0\n"), "{page}");
    assert!(site.get("/", &[]).body.contains("92 tasks can never run"));
    assert!(overview(&bed)["eta_seconds"].as_u64().is_none_or(|eta| eta < 1_000_000), "{}", overview(&bed));
}

#[test]
fn metrics_of_a_hanging_redis_are_prompt_and_absent() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:echo waits"]);
    let site = Dashboard::start(&bed);
    let scrape = || site.get("/metrics", &[]).body;
    assert!(scrape().contains("distcomp_queue_tasks{state=\"todo\"} 1.0"));
    bed.redis.freeze();
    let mut fastest = Duration::MAX;
    wait_until("the outage to be told", Duration::from_secs(60), || {
        let start = Instant::now();
        let page = scrape();
        fastest = fastest.min(start.elapsed());
        holds_for(page.contains("\ndistcomp_redis_up 0.0\n"), page)
    });
    for _ in 0..20 {
        let start = Instant::now();
        let page = scrape();
        fastest = fastest.min(start.elapsed());
        let old = ["distcomp_queue_tasks", "distcomp_queue_workers", "attempts", "distcomp_redis_memory", "oldest"];
        assert!(old.iter().all(|name| !page.contains(name)), "{page}");
        assert!(page.contains("distcomp_queue_read_age_seconds") && page.contains("distcomp_queue_info{"), "{page}");
    }
    assert!(fastest < Duration::from_millis(100), "it waits for Redis: {fastest:?}");
    bed.redis.thaw();
    wait_until("it to be back", SOON, || {
        let page = scrape();
        holds_for(page.contains("distcomp_queue_tasks{state=\"todo\"} 1.0"), page)
    });
}
