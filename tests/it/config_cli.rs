//! `conf.json`: faults reported at once, unknown keys, reload; and what each command does with its flags.
use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bed, Cli, Redis, SOON, ServerOptions, bin, holds_for, wait_until};

const COMMANDS: [&str; 4] = ["distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"];

#[test]
fn seven_faults_are_reported_at_once_with_key_and_value() {
    let bed = Bed::with(json!({
        "min_dram_gb_accept_new_task": -1,
        "max_task_per_worker": 0,
        "max_retry_per_task": "many",
        "health_report_interval": 0,
        "redis_url": null,
        "redis_port": 70000,
        "result_dir": "/proc/no/such/place",
        "task_field_order": "cpu:mem:prio",
    }));
    let output = bed.cli("distcomp-worker").args(["--check"]).run().expect(2);
    output.says(&[
        "min_dram_gb_accept_new_task",
        "-1",
        "max_task_per_worker",
        "max_retry_per_task",
        "many",
        "health_report_interval",
        "redis_port",
        "70000",
        "result_dir",
        "/proc/no/such/place",
        "task_field_order",
        "cpu:mem:prio",
    ]);
}

#[test]
fn a_misspelt_key_is_named_beside_the_faults() {
    let bed = Bed::with(json!({"max_task_per_wroker": 8, "max_retry_per_task": "many"}));
    bed.cli("distcomp-worker").args(["--check"]).run().expect(2).says(&[
        "max_retry_per_task",
        "max_task_per_wroker",
        "max_task_per_worker",
    ]);
}

#[test]
fn relations_between_keys_are_checked() {
    for (conf, key) in [
        (json!({"min_dram_gb_accept_new_task": 1, "min_dram_gb_trigger_return": 1}), "min_dram_gb_trigger_return"),
        (json!({"health_report_interval": 2, "worker_dead_after_seconds": 6}), "worker_dead_after_seconds"),
        (json!({"python_workers": true}), "task_field_order"),
        (
            json!({"python_workers": true, "task_field_order": "prio:mem:cpu", "redis_key_prefix": "a:"}),
            "redis_key_prefix",
        ),
        (json!({"task_shell": "/no/such/shell"}), "task_shell"),
        (json!({"task_kill_grace_seconds": -1}), "task_kill_grace_seconds"),
        (json!({"task_timeout_check_interval": 0}), "task_timeout_check_interval"),
        (json!({"default_task_timeout_seconds": 1.5}), "default_task_timeout_seconds"),
        (json!({"auto_sleep_sec": "perhaps"}), "auto_sleep_sec"),
    ] {
        let bed = Bed::with(conf);
        bed.cli("distcomp-worker").args(["--check"]).run().expect(2).says(&[key]);
    }
}

#[test]
fn a_database_that_the_server_does_not_have_is_refused() {
    let redis = Redis::start(ServerOptions { tcp: true, ..Default::default() });
    let port = redis.port();
    let conf = json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_db": 99});
    let bed = Bed::on(redis, conf);
    bed.cli("distcomp-worker").args(["--check"]).run().expect(2).says(&["redis_db", "99"]);
}

#[test]
fn check_prints_what_this_node_would_offer() {
    let bed = Bed::new();
    let output = bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    let text = output.stdout.to_lowercase();
    assert!(text.contains("core") && (text.contains("gb") || text.contains("gib")), "{output}");
    assert!(bed.table("worker_status").is_empty(), "it does not register");
}

#[test]
fn check_without_redis_is_exit_3() {
    let mut bed = Bed::new();
    bed.redis.kill9();
    bed.cli("distcomp-worker").args(["--check"]).run().expect(3);
}

#[test]
fn an_unknown_key_is_warned_of_with_the_nearest_known_one() {
    let bed = Bed::with(json!({"max_task_per_workr": 3}));
    let output = bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    let rest = output.all().replace("max_task_per_workr", "");
    assert!(rest.len() < output.all().len() && rest.contains("max_task_per_worker"), "{output}");
}

#[test]
fn a_python_configuration_works_unchanged() {
    let bed = Bed::new();
    let python = json!({
        "min_dram_gb_accept_new_task": "0.8", "min_dram_gb_trigger_return": "0.4", "sleep_sec_between_accepting_task": "2",
        "health_report_interval": 2, "max_task_per_worker": "32", "max_retry_per_task": 4, "result_dir": "./",
        "redis_host": "node0", "redis_port": "6400", "redis_pass": "", "redis_db": 0,
    });
    let path = bed.file("python.json", python.to_string());
    let url = bed.redis.url();
    let run =
        Cli::new(bin("distcomp-worker")).args(["--check", "--config", &path, "--redis-url", &url]).dir(bed.path());
    run.env("XDG_STATE_HOME", bed.path()).run().expect(0);
}

#[test]
fn a_threshold_above_the_nodes_memory_is_warned_of() {
    let bed = Bed::with(json!({"min_dram_gb_accept_new_task": 1_000_000}));
    let mut worker = bed.worker("w");
    wait_until("the warning", SOON, || holds_for(worker.log().contains("will never accept a task"), worker.log()));
    assert!(worker.is_running());
}

#[test]
fn a_named_file_must_be_there_and_an_unnamed_one_need_not() {
    let bed = Bed::new();
    let url = bed.redis.url();
    for command in COMMANDS {
        let output = Cli::new(bin(command)).args(["--config", "/no/such/conf.json"]).dir(bed.path());
        let args: &[&str] = match command {
            "distcomp-submit" => &["-"],
            "distcomp-ctl" => &["pause", "--yes"],
            _ => &[],
        };
        output.args(args).run().expect(2).says(&["/no/such/conf.json"]);
    }
    let empty = bed.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let status = || Cli::new(bin("distcomp-status")).dir(&empty).env("XDG_STATE_HOME", &empty);
    status().args(["--redis-url", &url]).run().expect(0);
    status().env("DISTCOMP_REDIS_URL", &url).run().expect(0);
    let conf = bed.conf_path();
    status().env("DISTCOMP_CONFIG", &conf).run().expect(0);
    // Set and empty is not set.
    status().env("DISTCOMP_CONFIG", "").env("DISTCOMP_REDIS_URL", &url).run().expect(0);
    status().env("DISTCOMP_CONFIG", &conf).env("DISTCOMP_REDIS_URL", "").run().expect(0);
}

#[test]
fn commands_have_help_and_version_and_refuse_unknown_flags() {
    let bed = Bed::new();
    for command in COMMANDS {
        let run = |flag: &str| Cli::new(bin(command)).args([flag]).dir(bed.path()).run();
        let help = run("--help").expect(0);
        for flag in ["--config", "--redis-url"] {
            assert!(help.stdout.contains(flag), "{help}");
        }
        let version = run("--version").expect(0);
        assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version}");
        run("--no-such-flag").expect(2);
    }
}

/// Waits until `count` of the bed's long tasks run.
#[track_caller]
fn wait_running(bed: &Bed, count: usize) {
    wait_until(&format!("{count} tasks in progress"), SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen == count, seen)
    });
}

#[test]
fn a_changed_file_takes_effect_without_a_restart() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    bed.add((0..6).map(|at| format!("shell:0:0:1:sleep 300.{at}")));
    let mut worker = bed.worker("w");
    wait_running(&bed, 1);
    worker.reconfigure(&json!({"max_task_per_worker": 3}));
    wait_running(&bed, 3);
    worker.reconfigure(&json!({"max_task_per_worker": 5}));
    worker.signal(Signal::SIGHUP);
    wait_running(&bed, 5);
    assert!(worker.is_running());
}

#[test]
fn a_broken_file_leaves_the_old_settings_running_and_says_so() {
    let bed = Bed::with(json!({"max_task_per_worker": 2, "task_prefetch": 0}));
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    let mut seen = worker.log().len();
    for broken in ["{broken", "", "[]", "{\"max_task_per_worker\": -1}"] {
        worker.write_conf_text(broken);
        worker.signal(Signal::SIGHUP);
        wait_until("the worker to say that the file is bad", SOON, || {
            let log = worker.log();
            holds_for(log[seen..].contains("conf.json") || log[seen..].contains("config"), log)
        });
        seen = worker.log().len();
    }
    bed.add((0..4).map(|at| format!("shell:0:0:1:sleep 300.{at}")));
    wait_running(&bed, 2);
    worker.reconfigure(&json!({"max_task_per_worker": 4}));
    wait_running(&bed, 4);
}

#[test]
fn a_missing_result_dir_is_checked_and_not_made() {
    let bed = Bed::new();
    let place = bed.out("new/deep/results");
    let mut bed = bed;
    bed.configure(json!({"result_dir": place}));
    bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(fs::metadata(bed.out("new")).is_err());
}
