//! What somebody who comes from Python DistComp is told: a `conf.json` and a task file that were written for it, its workers in the tables.
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Bed, Cli, Redis, SOON, ServerOptions, bin, holds_for, reason_of, stays, wait_until};

/// A published `conf.json`, with the thresholds and the server of a test.
fn python_conf(bed: &Bed) -> Value {
    json!({
        "min_dram_gb_accept_new_task": 0.02, "min_dram_gb_trigger_return": 0.01, "sleep_sec_between_accepting_task": 2,
        "health_report_interval": 1, "max_task_per_worker": 4, "max_retry_per_task": 1, "result_dir": bed.path().join("results"),
        "redis_host": "127.0.0.1", "redis_port": bed.redis.port(), "redis_pass": "", "redis_db": 0,
    })
}

fn bed() -> Bed {
    Bed::on(Redis::start(ServerOptions { tcp: true, ..Default::default() }), json!({}))
}

fn write(bed: &Bed, conf: &Value) -> PathBuf {
    PathBuf::from(bed.file("python.json", conf.to_string()))
}

fn program(bed: &Bed, name: &str, conf: &Path) -> Cli {
    let cli = Cli::new(bin(name)).args(["--config".as_ref(), conf.as_os_str()]).dir(bed.path());
    cli.env("XDG_STATE_HOME", bed.path().join("state"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

#[test]
fn a_worker_names_what_it_does_otherwise_with_key_and_value() {
    let bed = bed();
    let mut conf = python_conf(&bed);
    let told = [
        "default_task_timeout_seconds is not set, so it is 3600",
        "cores of each line are reserved",
        "min_seconds_between_starts is not set, so it is 0",
        "sleep_sec_between_accepting_task (2 s)",
        "task_field_order is not set, so it is \"mem:cpu:prio\"",
    ];
    let path = write(&bed, &conf);
    program(&bed, "distcomp-worker", &path).args(["--check"]).run().expect(0).says(&told);
    program(&bed, "distcomp-worker", &path).args(["--burst"]).run().expect(0).says(&told);
    for (key, value) in [
        ("default_task_timeout_seconds", json!(0)),
        ("min_free_cpu_cores", json!(0)),
        ("task_field_order", json!("mem:cpu:prio")),
    ] {
        conf[key] = value;
    }
    let output = program(&bed, "distcomp-worker", &write(&bed, &conf)).args(["--check"]).run().expect(0);
    assert!(!output.all().contains("is not set"), "{output}");
}

#[test]
fn bare_commands_have_no_order_that_could_be_meant_otherwise() {
    let bed = bed();
    let conf = write(&bed, &python_conf(&bed));
    program(&bed, "distcomp-submit", &conf).args(["-m", "2", "--", "echo", "hi"]).run().expect(0);
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn a_file_in_pythons_order_is_refused_until_the_order_is_set() {
    let bed = bed();
    let tasks = bed.file("tasks", "shell:4:2:2:./cachesim a\nshell:4:2:1:./cachesim b\n");
    let mut conf = python_conf(&bed);
    let path = write(&bed, &conf);
    for args in [&[&*tasks][..], &["--dry-run", &tasks]] {
        program(&bed, "distcomp-submit", &path).args(args).run().expect(2).says(&[
            "task_field_order is not set",
            ":1 would be read as 4 GB, 2 cores, priority 2",
            "priority 4, 2 GB, 2 cores",
            "\"prio:mem:cpu\"",
        ]);
    }
    // A worker that was there first has guessed, too.
    program(&bed, "distcomp-worker", &path).args(["--burst"]).run().expect(0);
    program(&bed, "distcomp-submit", &path).args([&tasks]).run().expect(2);
    assert_eq!(bed.counts(), [0; 4]);
    // What Python DistComp would not understand was not written for it.
    let ours = bed.file("ours", "shell:0.5:2:1:./cachesim a\n");
    program(&bed, "distcomp-submit", &path).args([&ours]).run().expect(0);
    conf["task_field_order"] = json!("mem:cpu:prio");
    program(&bed, "distcomp-submit", &write(&bed, &conf)).args([&tasks]).run().expect(0);
}

#[test]
fn a_line_that_no_live_worker_can_hold_is_warned_of() {
    let bed = Bed::new();
    bed.submit(&["-"], "shell:0:5000:1:before any worker\n").expect(0);
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let output = bed.submit(&["-"], "shell:0:1:1:true\nshell:0:1000:1:true\nshell:900000:0:1:true\n").expect(0);
    let output =
        output.says(&["-:2: warning: it asks for 0.00 GB and 1000 cores, which no live worker has", "-:3: warning: "]);
    assert!(!output.all().contains("-:1:"), "{output}");
}

#[test]
fn starts_are_spaced_where_that_is_asked_for() {
    let bed = Bed::with(json!({"min_seconds_between_starts": 3600}));
    bed.add((0..3).map(|at| format!("shell:0:0:1:sleep 300.{at}")));
    let mut worker = bed.worker("w");
    wait_until("one task to run", SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen == 1, seen)
    });
    stays("the others wait, for other workers too", std::time::Duration::from_secs(1), || {
        holds_for(bed.counts()[..2] == [2, 1], format!("{:?}", bed.counts()))
    });
    worker.reconfigure(&json!({"min_seconds_between_starts": 0.2}));
    wait_until("all to run", SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen == 3, seen)
    });
}

#[test]
fn a_default_limit_is_named_in_the_reason() {
    let bed = Bed::with(json!({"default_task_timeout_seconds": 1}));
    let (plain, limited) = ("shell:0:0:1:sleep 300", "shell:0:0:1:1:sleep 301");
    bed.add([plain, limited]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 2]);
    assert_eq!(reason_of(&bed, plain), "timed out after 1 s (default_task_timeout_seconds)");
    assert_eq!(reason_of(&bed, limited), "timed out after 1 s");
    let groups = bed.status(&["failures", "--json"]).expect(0).json_lines();
    assert!(groups.iter().all(|failure| failure["kind"] == "timed out"), "one kind: {groups:?}");
}

#[test]
fn python_workers_show_what_they_have_done_and_when_they_died() {
    let bed = Bed::new();
    bed.hset("worker_status", "alive", format!("{}:1.00:32.00:2.00:64.00", now()));
    bed.hset("worker_status", "gone", format!("{}:1.00:32.00:2.00:64.00", now() - 100));
    for at in 0..30 {
        let worker = if at % 3 == 0 { "gone" } else { "alive" };
        bed.hset("finished_tasks", format!("shell:1:1:1:{at}"), format!("{worker}: \"out: {at}\""));
    }
    let workers = bed.status(&["workers", "--json"]).expect(0).json_lines();
    let of = |name: &str| {
        let worker = workers.iter().find(|worker| worker["name"] == name).unwrap_or_else(|| panic!("{workers:?}"));
        (worker["state"].clone(), worker["finished"].clone(), worker["is_python"].clone())
    };
    assert_eq!(of("alive"), (json!("python"), json!(20), json!(true)));
    assert_eq!(of("gone"), (json!("dead"), json!(10), json!(true)));
    let shown = bed.status(&["workers"]).expect(0).stdout;
    let row = shown.lines().find(|line| line.starts_with("gone")).unwrap_or_default();
    assert!(row.contains("dead") && row.contains(" 10 "), "{shown}");
    // Long ones are not read to the end.
    let many = (0..4000).map(|at| (format!("shell:1:1:1:more {at}"), format!("alive: \"{at}\"")));
    for (line, value) in many {
        bed.hset("finished_tasks", line, value);
    }
    let workers = bed.status(&["workers", "--json"]).expect(0).json_lines();
    let alive = workers.iter().find(|worker| worker["name"] == "alive").expect("it is there");
    assert_eq!(alive["is_estimate"], true, "{alive}");
    assert!((3000..=4030).contains(&alive["finished"].as_u64().unwrap_or(0)), "{alive}");
    bed.hset("in_progress_tasks", "shell:1:1:1:its last", "gone");
    let why = bed.status(&["explain", "shell:1:1:1:its last"]).expect(0).stdout;
    assert!(why.contains("a Python worker that last reported") && why.contains("reclaim gone"), "{why}");
}
