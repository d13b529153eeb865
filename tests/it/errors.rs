//! Redis that refuses, is not there, or holds another layout: an answer in time, with the promised exit code and no secret.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Cli, Output, Redis, ServerOptions, bin};

const IN_TIME: Duration = Duration::from_secs(5);

/// Runs all four commands, the worker as a daemon, with these additional arguments.
fn all_four(bed: &Bed, more: &[&str]) -> Vec<Output> {
    let run = |name: &str, args: &[&str]| bed.cli(name).args(args).args(more).stdin("shell:0:0:1:true\n").run();
    vec![
        run("distcomp-worker", &["--name", "w"]),
        run("distcomp-submit", &["-"]),
        run("distcomp-status", &[]),
        run("distcomp-ctl", &["pause", "--yes"]),
    ]
}

#[test]
fn wrong_password_exits_3_within_5_s_and_prints_no_secret() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("the-right-one"), ..Default::default() });
    let port = redis.port();
    let conf = json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_pass": "Wr0ng-s3cret"});
    let mut bed = Bed::on(redis, conf);
    let url = format!("redis://:Wr0ng-s3cret@127.0.0.1:{port}/0");
    let mut outputs = all_four(&bed, &[]);
    outputs.extend(all_four(&bed, &["--redis-url", &url]));
    bed.configure(json!({"redis_pass": null, "redis_pass_file": bed.file("pass", "Wr0ng-s3cret\n")}));
    outputs.extend(all_four(&bed, &[]));
    for output in outputs {
        assert!(!output.all().contains("s3cret"), "{output}");
        assert!(output.took < IN_TIME, "{output}");
        output.expect(3);
    }
}

#[test]
fn no_password_where_one_is_needed_is_exit_3() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("the-right-one"), ..Default::default() });
    let port = redis.port();
    let bed = Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port}));
    for output in all_four(&bed, &[]) {
        assert!(output.took < IN_TIME, "{output}");
        output.expect(3);
    }
}

#[test]
fn no_password_is_named_as_the_cause_whatever_the_database() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("the-right-one"), ..Default::default() });
    let port = redis.port();
    let bed = Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_db": 1}));
    for output in all_four(&bed, &[]) {
        output.expect(3).says(&["failed to authenticate to Redis"]);
    }
}

#[test]
fn a_right_password_works_from_the_file_the_url_and_a_pass_file() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("the-right-one"), ..Default::default() });
    let port = redis.port();
    let conf = json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_pass": "the-right-one"});
    let mut bed = Bed::on(redis, conf);
    bed.status(&[]).expect(0);
    bed.configure(json!({"redis_pass": null, "redis_pass_file": bed.file("pass", "the-right-one\n")}));
    bed.status(&[]).expect(0);
    bed.configure(json!({"redis_pass_file": null}));
    bed.status(&["--redis-url", &format!("redis://:the-right-one@127.0.0.1:{port}")]).expect(0);
}

#[test]
fn without_redis_every_command_but_the_daemon_ends_with_3() {
    let mut bed = Bed::new();
    bed.redis.kill9();
    let runs: [(&str, &[&str]); 5] = [
        ("distcomp-submit", &["-"]),
        ("distcomp-status", &[]),
        ("distcomp-ctl", &["pause", "--yes"]),
        ("distcomp-worker", &["--check"]),
        ("distcomp-worker", &["--burst"]),
    ];
    for (name, args) in runs {
        let output = bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run();
        assert!(output.took < Duration::from_secs(30), "{output}");
        assert!(!output.stderr.trim().is_empty(), "it says why\n{output}");
        output.expect(3);
    }
}

#[test]
fn a_server_that_hangs_is_an_error_and_no_hang() {
    let bed = Bed::new();
    bed.redis.freeze();
    let output = bed.status(&[]);
    bed.redis.thaw();
    assert!(output.took < Duration::from_secs(45), "{output}");
    output.expect(3);
}

#[test]
fn field_order_other_than_the_recorded_one_is_refused() {
    let mut bed = Bed::new();
    bed.add(["shell:0:0:1:true"]);
    bed.configure(json!({"task_field_order": "prio:mem:cpu"}));
    for (name, args) in [
        ("distcomp-worker", &["--name", "w"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-ctl", &["requeue", "--state", "failed", "--yes"][..]),
    ] {
        let output = bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(2);
        output.says(&["mem:cpu:prio", "prio:mem:cpu"]);
    }
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
}

#[test]
fn refused_submission_does_not_decide_the_field_order() {
    let mut bed = Bed::with(json!({"task_field_order": "mem:cpu:prio"}));
    let order = |bed: &Bed| -> Option<String> {
        redis::cmd("GET").arg("distcomp:field_order").query(&mut bed.redis.con()).expect("GET")
    };
    bed.cli("distcomp-submit").args(["-"]).stdin("shell:0:0:no number:true\n").run().expect(2);
    bed.cli("distcomp-ctl").args(["--yes", "requeue", "--all"]).run();
    assert_eq!(order(&bed), None, "nothing was stored");
    bed.configure(json!({"task_field_order": "prio:mem:cpu"}));
    bed.cli("distcomp-submit").args(["-"]).stdin("shell:5:0:1:true\n").run().expect(0);
    assert_eq!(order(&bed).as_deref(), Some("prio:mem:cpu"));
}

#[test]
fn a_queue_of_unknown_field_order_asks_for_the_key() {
    let mut bed = Bed::with(json!({"task_field_order": Value::Null}));
    bed.hset("todo_tasks", "shell:5:1:1:true", "");
    for (name, args) in [("distcomp-worker", &["--name", "w"][..]), ("distcomp-submit", &["-"][..])] {
        bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(2).says(&["task_field_order"]);
    }
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    bed.configure(json!({"task_field_order": "prio:mem:cpu"}));
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn an_empty_queue_needs_no_key() {
    let bed = Bed::with(json!({"task_field_order": Value::Null}));
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn the_stop_command_alone_is_no_task_of_unknown_field_order() {
    let bed = Bed::with(json!({"task_field_order": Value::Null}));
    bed.hset("todo_tasks", "WORKER_COMMAND_CLOSE", "");
    bed.cli("distcomp-worker").args(["--name", "w"]).run().expect(0);
    assert!(bed.table("todo_tasks").contains_key("WORKER_COMMAND_CLOSE"), "it is for every worker");
    bed.cli("distcomp-ctl").args(["resume", "--yes"]).run().expect(0);
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn an_unknown_layout_is_refused_and_left_alone() {
    let bed = Bed::new();
    ::redis::cmd("SET").arg("distcomp:format").arg("999").exec(&mut bed.redis.con()).expect("SET");
    for (name, args) in [
        ("distcomp-worker", &["--name", "w"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-ctl", &["pause", "--yes"][..]),
    ] {
        bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(2).says(&["999"]);
    }
    assert_eq!(bed.keys(), ["distcomp:format"]);
}

#[test]
fn web_server_in_place_of_redis_is_named_in_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
            let _ = std::io::Write::write_all(&mut stream, b"<!DOCTYPE HTML>\n<html><body>400</body></html>\n");
        }
    });
    let bed = Bed::new();
    for output in all_four(&bed, &["--redis-url", &format!("redis://127.0.0.1:{port}")]) {
        let output = output.expect(3).says(&[&format!("redis://127.0.0.1:{port}/0"), "check the port"]);
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
    }
}

#[test]
fn a_password_that_is_wrong_or_missing_names_the_keys_to_set() {
    let redis = Redis::start(ServerOptions { tcp: true, password: Some("the-right-one"), ..Default::default() });
    let conf = json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": redis.port(), "redis_pass": null});
    let mut bed = Bed::on(redis, conf);
    for output in all_four(&bed, &[]) {
        output.expect(3).says(&["requires a password", "redis_pass_file"]);
    }
    bed.configure(json!({"redis_pass": "another"}));
    for output in all_four(&bed, &[]) {
        output.expect(3).says(&["redis_user", "redis_pass_file"]);
    }
}

#[test]
fn no_variable_forces_colour_into_a_pipe() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:true"]);
    let forced = |name: &str, args: &[&str]| {
        let mut command = bed.cli(name).args(args).into_command();
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").env("TERM", "xterm-256color");
        let output = command.output().expect("a run");
        let text = [output.stdout, output.stderr].concat();
        assert!(!text.is_empty() && !text.contains(&0x1b), "{}", String::from_utf8_lossy(&text));
    };
    forced("distcomp-status", &[]);
    forced("distcomp-status", &["--help"]);
    forced("distcomp-status", &["--nonsense"]);
    forced("distcomp-ctl", &["cancel", "--state", "todo", "--dry-run"]);
}

#[test]
fn a_password_for_a_server_without_one_is_not_called_wrong() {
    let redis = Redis::start(ServerOptions { tcp: true, ..Default::default() });
    let port = redis.port();
    let mut bed = Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port}));
    if bed.redis.has_users() {
        return;
    }
    let url = format!("redis://:not-needed@127.0.0.1:{port}");
    let with = |args: &[&str], variable: &str, value: &str| {
        let output = bed.cli("distcomp-status").args(args).env(variable, value).run().expect(3);
        assert!(
            output.stderr.contains("the server has no password") && !output.stderr.contains("not-needed"),
            "{output}"
        );
        output
    };
    with(&["--redis-url", &url], "DISTCOMP_X", "").says(&["--redis-url"]);
    with(&[], "DISTCOMP_REDIS_URL", &url).says(&["DISTCOMP_REDIS_URL"]);
    with(&[], "DISTCOMP_REDIS_PASSWORD", "not-needed").says(&["DISTCOMP_REDIS_PASSWORD"]);
    bed.configure(json!({"redis_pass": "not-needed"}));
    for output in all_four(&bed, &[]) {
        output.expect(3).says(&["the server has no password", "redis_pass"]);
    }
}

#[test]
fn a_wrong_url_is_blamed_on_what_gave_it() {
    let mut bed = Bed::new();
    let output = bed.status(&["--redis-url", "localhost:6379"]).expect(2).says(&["--redis-url: ", "scheme"]);
    assert!(!output.stderr.contains("conf.json") && !output.stderr.contains("(defaults)"), "{output}");
    let variable = bed.cli("distcomp-status").env("DISTCOMP_REDIS_URL", "localhost:6379").run();
    let variable = variable.expect(2).says(&["DISTCOMP_REDIS_URL: "]);
    assert!(!variable.stderr.contains("--redis-url") && !variable.stderr.contains("conf.json"), "{variable}");
    bed.configure(json!({"redis_url": "localhost:6379"}));
    for output in all_four(&bed, &[]) {
        output.expect(2).says(&["conf.json: redis_url: "]);
    }
}

#[test]
fn unreachable_server_is_named_with_its_source() {
    let bed = Bed::with(json!({"redis_url": null, "redis_port": 1, "redis_prot": 6379}));
    for args in [&["--check"][..], &["--burst"]] {
        bed.cli("distcomp-worker").args(args).run().expect(3).says(&["redis_prot", "redis_port"]);
    }
    bed.status(&[]).expect(3).says(&["redis_prot", "named by redis_port"]);
    bed.status(&["--redis-url", "redis://127.0.0.1:1"]).expect(3).says(&["named by --redis-url"]);
}

#[test]
fn a_url_in_the_wrong_place_shows_no_password() {
    let mut bed = Bed::new();
    for host in ["u:s3cret@127.0.0.1", "redis://u:s3cret@127.0.0.1", "redis://:s3cret@h:1/0"] {
        bed.configure(json!({"redis_url": null, "redis_host": host}));
        for output in all_four(&bed, &[]) {
            assert!(!output.all().contains("s3cret"), "{output}");
            output.expect(2).says(&["redis_host", "(hidden)", "redis_url"]);
        }
    }
    bed.configure(json!({"redis_host": null}));
    let url = "redis://:s3cret@127.0.0.1";
    let run = |name: &str, args: &[&str]| bed.cli(name).args(args).run();
    let configured = |name: &str, args: &[&str]| Cli::new(bin(name)).dir(bed.path()).args(["--config", url]).args(args);
    let mut outputs = vec![
        configured("distcomp-worker", &[]).run(),
        configured("distcomp-submit", &["-"]).run(),
        configured("distcomp-status", &[]).run(),
        configured("distcomp-ctl", &["pause", "--yes"]).run(),
    ];
    outputs.push(run("distcomp-submit", &[url]));
    outputs.push(run("distcomp-worker", &["--local", url]));
    outputs.push(run("distcomp-status", &[&format!("--local={url}")]));
    for output in outputs {
        assert!(!output.all().contains("s3cret"), "{output}");
        output.expect(2).says(&["(hidden)"]);
    }
}

#[test]
fn all_that_is_not_there_is_named_at_once() {
    let bed = Bed::new();
    let good = bed.file("good", "shell:0:0:1:true\n");
    for (program, args) in [("distcomp-submit", &[][..]), ("distcomp-worker", &["--local"][..])] {
        let output = bed.cli(program).args(args).args(["none", &good, ".", "/none/either"]).run().expect(2);
        output.says(&[&format!("none in {}: ", bed.path().display()), ". is a directory", "/none/either: "]);
    }
    let output = bed.cli("distcomp-ctl").args(["drain", "--yes", "one", "two"]).run().expect(2);
    output.says(&["no worker has the name one", "no worker has the name two"]);
}
