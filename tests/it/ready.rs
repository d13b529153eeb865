//! `--check` says "ready" only where a worker could start, claim and report; and it leaves nothing behind.
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Cli, Output, Redis, ServerOptions, bin, holds_for, wait_until};

const READY: &str = "this node is ready";

fn tell(bed: &Bed, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec(&mut bed.redis.con()).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn plain_bed() -> Bed {
    Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), json!({}))
}

fn check(bed: &Bed) -> Output {
    bed.cli("distcomp-worker").args(["--check"]).run()
}

/// The same, executed by another command.
fn check_through(bed: &Bed, through: &[&str]) -> Output {
    let conf = bed.conf_path().display().to_string();
    let args = [&through[1..], &[bin("distcomp-worker"), "--check", "--config", &conf]].concat();
    Cli::new(through[0]).args(args).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home")).run()
}

#[test]
fn a_server_that_takes_no_writes_is_not_ready() {
    let bed = plain_bed();
    let table: [(&str, &[&str], &[&str]); 3] = [
        ("OOM", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (
            "NOREPLICAS",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ];
    for (says, begin, end) in table {
        tell(&bed, begin);
        let output = check(&bed).expect(3).says(&[says]);
        assert!(!output.all().contains(READY), "{output}");
        tell(&bed, end);
        let output = check(&bed).expect(0);
        assert!(output.stdout.contains(READY), "{output}");
    }
    bed.redis.set("save", "3600 1");
    fs::create_dir(bed.redis.data().join("dump.rdb")).expect("a directory in the way of the snapshot");
    wait_until("a snapshot that fails", Duration::from_secs(60), || {
        let _ = redis::cmd("BGSAVE").exec(&mut bed.redis.con());
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut bed.redis.con()).expect("INFO");
        holds_for(info.contains("rdb_last_bgsave_status:err"), info)
    });
    check(&bed).expect(3).says(&["MISCONF"]);
}

#[test]
fn a_user_without_a_workers_rights_is_not_ready() {
    for lacks in [
        &["-evalsha"][..],
        &["-script"],
        &["-hset"],
        &["-zadd"],
        &["-publish"],
        &["-subscribe"],
        &["resetchannels"],
        &["resetkeys", "%R~*", "%W~distcomp:*"],
    ] {
        let mut bed = plain_bed();
        let rights = [&["ACL", "SETUSER", "poor", "on", ">poor", "~*", "&*", "+@all"], lacks].concat();
        tell(&bed, &rights);
        bed.configure(json!({"redis_user": "poor", "redis_pass": "poor"}));
        let output = check(&bed).expect(3).says(&["poor"]);
        assert!(!output.all().contains(READY), "{lacks:?}\n{output}");
    }
}

#[test]
fn the_example_user_of_workers_is_ready() {
    let bed = Bed::on(Redis::start(ServerOptions { acl: true, ..Default::default() }), json!({}));
    let output = check(&bed).expect(0);
    assert!(output.stdout.contains(READY), "{output}");
    assert!(bed.redis.refusals().is_empty(), "{:?}", bed.redis.refusals());
    bed.cli("distcomp-worker").args(["--check", "--redis-url", &bed.redis.url_as("viewer")]).run().expect(3);
}

#[test]
fn a_node_that_will_never_accept_a_task_is_not_ready() {
    for conf in [json!({"min_dram_gb_accept_new_task": 1_000_000}), json!({"min_free_cpu_cores": 100_000})] {
        let bed = Bed::with(conf);
        let output = check(&bed).expect(2).says(&["will never accept a task", "not ready"]);
        assert!(!output.all().contains(READY), "{output}");
    }
}

#[test]
fn slots_are_those_that_the_limit_of_files_allows() {
    let bed = Bed::with(json!({"max_task_per_worker": 32}));
    let output = check_through(&bed, &["prlimit", "--nofile=84:84"]).expect(0);
    assert!(output.stdout.lines().any(|line| line.starts_with("slots") && line.ends_with("4 of 32")), "{output}");
    output.says(&["limit of open files"]);
}

#[test]
fn a_node_that_can_start_no_task_is_not_ready() {
    let bed = Bed::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/seccomp.py");
    let number = nix::libc::SYS_signalfd4.to_string();
    let output = check_through(&bed, &["python3", script, &number, "38", "-"]).expect(2).says(&["signalfd4"]);
    assert!(!output.all().contains(READY), "{output}");
}

#[test]
fn check_leaves_nothing_behind() {
    let mut bed = Bed::new();
    bed.add(["shell:0:0:1:echo waits"]);
    let (results, state) = (bed.out("new/deep/results"), bed.out("new/state"));
    bed.configure(json!({"result_dir": results, "state_dir": state}));
    let mut before = bed.keys();
    check(&bed).expect(0);
    assert!(!Path::new(&bed.out("new")).exists());
    let mut after = bed.keys();
    before.sort();
    after.sort();
    assert_eq!(before, after);
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    // One that cannot be made is said all the same.
    fs::write(bed.out("file"), "").expect("a file");
    bed.configure(json!({"result_dir": bed.out("file/results")}));
    check(&bed).expect(2).says(&["result_dir"]);
}
