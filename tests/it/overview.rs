//! The overview costs the same at any depth of the queue, and says what stands in the way of the work.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::{Bed, Redis, ServerOptions};

/// The commands that a call of status sends, as the server sees them.
fn commands_of(bed: &Bed, args: &[&str]) -> Vec<Vec<String>> {
    let mut monitor = UnixStream::connect(bed.redis.socket()).expect("a connection");
    monitor.write_all(b"MONITOR\r\n").expect("a command");
    let mut lines = BufReader::new(monitor).lines().map(|line| line.expect("a line"));
    assert_eq!(lines.next().as_deref(), Some("+OK"));
    bed.status(args).expect(0);
    ::redis::cmd("ECHO").arg("that was all").exec(&mut bed.redis.con()).expect("ECHO");
    lines
        .take_while(|line| !line.contains("that was all"))
        .map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned).collect())
        .collect()
}

fn counted(commands: &[Vec<String>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for command in commands {
        *counts.entry(command[0].to_uppercase()).or_default() += 1;
    }
    counts
}

#[test]
fn the_overview_sends_the_same_few_commands_at_any_depth() {
    for args in [&[][..], &["--json"], &["workers"], &["explain"]] {
        // Nobody but us talks to the server, and it to whoever asks.
        let bed = Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), json!({}));
        bed.hset("worker_status", "w", "9999999999:0.00:2.00:1.00:16.00");
        bed.add((0..10).map(|at| format!("shell:0:0:1:true {at}")));
        let few = commands_of(&bed, args);
        bed.add((0..5000).map(|at| format!("shell:0:0:1:true {at}")));
        bed.hset_all("finished_tasks", (0..5000).map(|at| format!("shell:0:0:1:finished {at}")));
        bed.hset_all("failed_tasks", (0..5000).map(|at| format!("shell:0:0:1:failed {at}")));
        let many = commands_of(&bed, args);
        let known = [
            "HLEN", "HEXISTS", "GET", "HGETALL", "HSCAN", "ZRANGE", "ZCARD", "INFO", "TIME", "PING", "SELECT", "HELLO",
            "CLIENT",
        ];
        for command in &many {
            let name = command[0].to_uppercase();
            assert!(known.contains(&name.as_str()), "{command:?}");
            let tasks = ["todo_tasks", "in_progress_tasks", "finished_tasks", "failed_tasks", "task_fail_reason"];
            assert!(name != "HGETALL" || !tasks.contains(&command[1].as_str()), "{command:?}");
        }
        // What a Python worker has done is counted in a part of the results that is bounded.
        let mut counts = counted(&many);
        let scans = counts.remove("HSCAN").unwrap_or_default();
        assert!(scans <= 8, "{args:?} {scans}");
        assert_eq!(counts, counted(&few), "{args:?}");
    }
}

#[test]
fn what_stands_in_the_way_is_said_by_need() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    bed.add(["shell:0:0:9:sleep 3625"]);
    let _worker = bed.worker("w");
    bed.wait_running("shell:0:0:9:sleep 3625");
    bed.add((0..3).map(|at| format!("shell:1000000:0:1:large {at}")));
    bed.add(["shell:0:0:1:true"]);
    crate::support::wait_until("the reason", crate::support::SOON, || {
        let seen = bed.status(&["--json"]).expect(0).json();
        let why = seen["top_reason"].to_string();
        crate::support::holds_for(why.contains("the largest node offers") && why.contains("\"waiting\":3"), seen)
    });
    let needs = bed.status(&["explain", "--json"]).expect(0).json();
    let rows = needs["needs"].as_array().expect("an array");
    assert_eq!(rows.len(), 2, "{needs}");
    assert!(rows.iter().any(|row| row["waiting"] == 3 && row["mem_gb"] == 1_000_000.0), "{needs}");
    let text = bed.status(&["explain"]).expect(0).stdout;
    assert!(text.contains("1000000") && text.contains("the largest node offers"), "{text}");
    let one = bed.status(&["explain", "shell:1000000:0:1:large 0"]).expect(0).stdout;
    assert!(one.contains("needs 1000000 GB") && one.contains("the largest node offers"), "{one}");
}

#[test]
fn a_retry_in_its_backoff_says_how_long() {
    let bed = Bed::with(json!({"max_retry_per_task": 3, "retry_backoff_seconds": 600}));
    bed.add(["shell:0:0:1:exit 1"]);
    let _worker = bed.worker("w");
    bed.wait_counts(crate::support::SOON, [1, 0, 0, 1]);
    let why = bed.status(&["explain", "shell:0:0:1:exit 1"]).expect(0).stdout;
    assert!(why.contains("for its retry delay"), "{why}");
    assert_eq!(bed.status(&["--json"]).expect(0).json()["backing_off"], 1);
}

#[test]
fn a_time_to_go_is_told_only_while_somebody_goes_on() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    bed.add((0..3).map(|n| format!("shell:0:0:1:true {n}")));
    bed.burst("w");
    bed.add(["shell:0:0:9:sleep 3631", "shell:0:0:1:true last"]);
    let seen = || {
        let overview = bed.status(&["--json"]).expect(0).json();
        assert!(overview["rate_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{overview}");
        let says_so = bed.status(&[]).expect(0).stdout.contains(" to go");
        assert_eq!(overview["eta_seconds"].is_u64(), says_so, "{overview}");
        says_so
    };
    assert!(!seen(), "nobody is there");
    let _worker = bed.worker("w");
    bed.wait_running("shell:0:0:9:sleep 3631");
    assert!(seen(), "it could be");
    bed.ctl(&["pause", "--yes"]).expect(0);
    assert!(!seen(), "it is paused");
    bed.ctl(&["resume", "--yes"]).expect(0);
    assert!(seen(), "it goes on");
}

#[test]
fn figures_that_no_node_has_are_not_drawn() {
    let bed = Bed::new();
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    bed.hset("worker_status", "huge", format!("{now}:1e308:nan:-5:99999999999999999999"));
    bed.hset("worker_status", "junk", "no time at all");
    bed.hset("worker_status", "fine", format!("{now}:1.00:8.00:2.50:16.00"));
    let rows = bed.status(&["workers", "--json"]).expect(0).json_lines();
    for (row, name, beats, figures) in [
        (&rows[0], "junk", false, [0.0; 4]),
        (&rows[1], "fine", true, [1.0, 8.0, 2.5, 16.0]),
        (&rows[2], "huge", true, [0.0; 4]),
    ] {
        assert_eq!(row["name"], name);
        assert_eq!(row["heartbeat_age_seconds"].is_u64(), beats, "{row}");
        let shown = ["cores_used", "cores_total", "mem_used_gb", "mem_total_gb"].map(|key| row[key].as_f64());
        assert_eq!(shown, figures.map(Some), "{row}");
    }
    let table = bed.status(&["workers"]).expect(0).stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn eta_counts_final_failures_but_not_unfittable_tasks() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "max_retry_per_task": 1}));
    bed.add((0..3).map(|n| format!("shell:0:0:5:exit 3 # {n}")));
    bed.burst("w");
    bed.add(["shell:999999:0:9:echo too large", "shell:0:0:5:sleep 3633", "shell:0:0:1:true last"]);
    let _worker = bed.worker("w");
    bed.wait_running("shell:0:0:5:sleep 3633");
    let overview = bed.status(&["--json"]).expect(0).json();
    assert_eq!(overview["rate_per_second"], 0.0, "{overview}");
    let failed = overview["failed_per_second"].as_f64().expect("a rate of failures");
    assert!(failed > 0.0, "{overview}");
    // Of the three that are left, two: the one that runs, and the one after it.
    let left = overview["eta_seconds"].as_f64().expect("a time to go");
    // The one that runs counts less the longer it has run.
    assert!(left > 0.0 && left <= (2.0 / failed).ceil(), "{overview}");
    let screen = bed.status(&[]).expect(0).stdout;
    assert!(screen.contains(" failed, ") && screen.contains(" to go"), "{screen}");
    assert!(bed.status(&["explain"]).expect(0).stdout.contains("all tasks that ended in the last minute failed"));

    bed.ctl(&["purge", "--include", "sleep 3633", "--yes"]).expect(0);
    bed.wait_counts(crate::support::SOON, [1, 0, 1, 3]);
    let overview = bed.status(&["--json"]).expect(0).json();
    assert!(overview["rate_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{overview}");
    assert!(overview["eta_seconds"].is_null(), "only what fits no node is left: {overview}");
    assert!(!bed.status(&[]).expect(0).stdout.contains(" to go"));
}

#[test]
fn overview_names_tasks_that_wait_for_cores_or_memory() {
    let bed = Bed::with(json!({"max_task_per_worker": 10_000}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let row = &bed.status(&["workers", "--json"]).expect(0).json_lines()[0];
    let cores = row["cores_total"].as_f64().expect("cores");
    let large = format!("shell:0:{cores}:9:sleep 3635");
    bed.add([large.as_str(), "shell:0:0.5:5:true"]);
    bed.wait_running(&large);
    for args in [&["explain"][..], &["explain", "shell:0:0.5:5:true"], &[]] {
        crate::support::wait_until("a heartbeat to tell of it", crate::support::SOON, || {
            let said = bed.status(args).expect(0).stdout;
            crate::support::holds_for(said.contains("no room now: a node has at most 0 cores left"), said)
        });
    }
}
