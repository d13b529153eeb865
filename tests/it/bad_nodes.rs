//! Workers on which tasks fail that then finish elsewhere: they pause themselves, and come back when they are trusted again.
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Redis, SOON, ServerOptions, Worker, free_port, holds_for, request, stays, wait_until};

const BLAMED: &str = "distcomp:suspects";

/// Tasks that finish where GOOD is set, or once the file is there.
fn lines(bed: &Bed, name: &str, count: usize) -> Vec<String> {
    let mended = bed.out("mended");
    (0..count).map(|at| format!("shell:0:0:1:[ -n \"$GOOD\" ] || [ -e {mended} ] # {name} {at}")).collect()
}

fn bed_on(redis: Redis) -> Bed {
    // Where there is no other worker, a task is tried again and again, but not at once.
    let retries = json!({"max_retry_per_task": 20, "retry_backoff_seconds": 1});
    let mut bed = Bed::on(redis, json!({"suspect_after": 3, "max_task_per_worker": 2, "task_prefetch": 0}));
    bed.configure(retries);
    bed
}

fn good(bed: &Bed) -> Worker {
    let worker = bed.worker_through(&["env", "GOOD=1"], "good", json!({}), &[]);
    bed.wait_alive("good");
    worker
}

fn view(bed: &Bed, name: &str) -> Value {
    let workers = bed.status(&["workers", "--json"]).expect(0).json_lines();
    workers.into_iter().find(|worker| worker["name"] == name).unwrap_or(Value::Null)
}

#[track_caller]
fn wait_state(bed: &Bed, name: &str, state: &str) {
    wait_until(&format!("{name} to be {state}"), SOON, || {
        let seen = view(bed, name);
        holds_for(seen["state"] == state && (seen["load"]["wait"]["code"] == "suspect") == (state == "suspect"), seen)
    });
}

/// A worker on which three tasks at least have failed that finished elsewhere.
fn suspect(bed: &Bed) -> (Worker, Worker) {
    let bad = bed.worker("bad");
    bed.wait_alive("bad");
    bed.add(lines(bed, "first", 6));
    wait_until("tasks to fail there", SOON, || {
        let failed = bed.table("failed_tasks");
        holds_for(failed.len() >= 3, format!("{failed:?}"))
    });
    let good = good(bed);
    wait_state(bed, "bad", "suspect");
    (bad, good)
}

fn failures(bed: &Bed) -> u64 {
    view(bed, "bad")["failed"].as_u64().expect("a number")
}

/// As if the last of it had been an hour ago.
fn an_hour_passes(bed: &Bed) {
    let said = bed.table(BLAMED).remove("bad").expect("what speaks against it");
    let mut said: Value = serde_json::from_str(&said).expect("JSON");
    said["at"] = json!(said["at"].as_u64().expect("seconds") - 3601);
    bed.hset(BLAMED, "bad", said.to_string());
}

#[test]
fn worker_whose_tasks_finish_elsewhere_pauses_itself() {
    let bed = bed_on(Redis::start(ServerOptions::default()));
    let (mut bad, _good) = suspect(&bed);
    let seen = view(&bed, "bad");
    assert!(seen["suspect"]["lines"].as_u64() >= Some(3) && seen["suspect"]["paused"] == true, "{seen}");
    assert_eq!(seen["suspect"]["tasks"][0]["kind"], "exit 1", "{seen}");
    for args in [&[][..], &["workers"]] {
        bed.status(args).expect(0).prints(&["bad: suspect: ", "distcomp-ctl resume --worker bad lifts it"]);
    }
    let before = failures(&bed);
    bed.add(lines(&bed, "second", 30));
    bed.wait_counts(Duration::from_secs(30), [0, 0, 36, 0]);
    assert_eq!(failures(&bed), before, "it claims nothing more");
    assert!(bad.is_running());
    let events = bed.status(&["events", "--json"]).expect(0).json_lines();
    assert_eq!(events.iter().filter(|event| event["event"] == "suspect" && event["worker"] == "bad").count(), 1);
    bed.ctl(&["resume", "--worker", "bad", "--yes"]).expect(0).prints_line("resumed bad");
    wait_state(&bed, "bad", "live");
    assert_eq!(bed.count(BLAMED), 0, "the evidence is gone");
}

#[test]
fn batch_that_fails_everywhere_blames_nobody() {
    let bed = Bed::with(json!({"max_retry_per_task": 2, "suspect_after": 1}));
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    ["a", "b"].into_iter().for_each(|name| bed.wait_alive(name));
    bed.add((0..20).map(|at| format!("shell:0:0:1:exit 1 # {at}")));
    bed.wait_counts(Duration::from_secs(30), [0, 0, 0, 20]);
    assert_eq!(bed.count(BLAMED), 0);
    ["a", "b"].into_iter().for_each(|name| wait_state(&bed, name, "live"));
}

#[test]
fn what_was_edited_between_its_attempts_blames_nobody() {
    let mut bed = Bed::with(json!({"suspect_after": 1, "max_retry_per_task": 4}));
    bed.configure(json!({"retry_backoff_seconds": 600}));
    bed.add((0..3).map(|at| format!("shell:0:0:1:flase # {at}")));
    let _first = bed.worker("a");
    wait_until("all to fail", SOON, || holds_for(bed.count("failed_tasks") == 3, "not yet"));
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.ctl(&["edit", "--all", "--replace", "flase", "true", "--yes"]).expect(0).prints_line("edited 3 tasks");
    let _second = bed.worker("b");
    bed.wait_alive("b");
    bed.ctl(&["drain", "a", "--yes"]).expect(0);
    let mut con = bed.redis.con();
    for line in bed.table("todo_tasks").into_keys() {
        let _: i64 = redis::cmd("ZADD").arg("distcomp:ready:delayed").arg(1).arg(&line).query(&mut con).expect("ZADD");
    }
    bed.ctl(&["resume", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    assert_eq!(bed.count(BLAMED), 0);
}

#[test]
fn suspect_stays_one_over_restarts_of_redis_and_worker() {
    let mut bed = bed_on(Redis::start(ServerOptions { durable: true, ..Default::default() }));
    let (mut bad, mut good) = suspect(&bed);
    bed.wait_counts(SOON, [0, 0, 6, 0]);
    good.sigterm();
    assert_eq!(good.wait_exit(SOON), 0);
    bed.redis.kill9();
    bed.redis.start_again();
    wait_state(&bed, "bad", "suspect");
    bad.sigterm();
    assert_eq!(bad.wait_exit(SOON), 0);
    bed.add(lines(&bed, "second", 4));
    let _again = bed.worker("bad");
    wait_state(&bed, "bad", "suspect");
    stays("nothing is claimed", Duration::from_secs(1), || {
        let seen = bed.counts();
        holds_for(seen == [4, 0, 6, 0], format!("{seen:?}"))
    });
    bed.status(&["explain"]).expect(0).prints(&["1 suspect (distcomp-ctl resume --worker bad lifts that)"]);
}

#[test]
fn suspect_tries_one_task_after_an_hour() {
    let bed = bed_on(Redis::start(ServerOptions::default()));
    let at = format!("127.0.0.1:{}", free_port());
    let (mut bad, mut good) = suspect(&bed);
    bed.wait_counts(SOON, [0, 0, 6, 0]);
    good.sigterm();
    assert_eq!(good.wait_exit(SOON), 0);
    bad.sigterm();
    assert_eq!(bad.wait_exit(SOON), 0);
    let _bad = bed.worker_with("bad", json!({}), &["--metrics-listen", &at]);
    wait_state(&bed, "bad", "suspect");
    let page = || request(&at, "GET", "/metrics", &[("Host", &at)], b"", SOON).body;
    assert!(page().contains("distcomp_worker_suspect{worker=\"bad\"} 1"), "{}", page());
    bed.add(lines(&bed, "second", 4));
    let before = failures(&bed);
    an_hour_passes(&bed);
    wait_until("its trial to fail", SOON, || holds_for(failures(&bed) == before + 1, failures(&bed)));
    stays("it is one task", Duration::from_secs(1), || holds_for(failures(&bed) == before + 1, failures(&bed)));
    assert_eq!(view(&bed, "bad")["state"], "suspect");
    fs::write(bed.out("mended"), "").expect("mended");
    an_hour_passes(&bed);
    bed.wait_counts(SOON, [0, 0, 10, 0]);
    wait_state(&bed, "bad", "live");
    assert!(page().contains("distcomp_worker_suspect{worker=\"bad\"} 0"), "{}", page());
    let events = bed.status(&["events", "--json"]).expect(0).json_lines();
    assert!(events.iter().any(|event| event["event"] == "cleared" && event["worker"] == "bad"), "{events:#?}");
}

#[test]
fn nothing_speaks_against_a_worker_that_finishes_something() {
    let bed = bed_on(Redis::start(ServerOptions::default()));
    let _bad = bed.worker("bad");
    bed.wait_alive("bad");
    bed.add(lines(&bed, "first", 2));
    wait_until("both to fail there", SOON, || {
        let failed = bed.table("failed_tasks");
        holds_for(failed.len() == 2, format!("{failed:?}"))
    });
    let mut good = good(&bed);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(bed.count(BLAMED), 1);
    good.sigterm();
    assert_eq!(good.wait_exit(SOON), 0);
    bed.add(["shell:0:0:1:true"]);
    bed.wait_counts(SOON, [0, 0, 3, 0]);
    assert_eq!(bed.count(BLAMED), 0);
}

#[test]
fn worker_of_suspect_after_zero_never_pauses() {
    let bed = bed_on(Redis::start(ServerOptions::default()));
    let _bad = bed.worker_with("bad", json!({"suspect_after": 0}), &[]);
    bed.wait_alive("bad");
    bed.add(lines(&bed, "first", 6));
    wait_until("all to fail there", SOON, || {
        let failed = bed.table("failed_tasks");
        holds_for(failed.len() == 6, format!("{failed:?}"))
    });
    let _good = good(&bed);
    bed.wait_counts(SOON, [0, 0, 6, 0]);
    let lines = view(&bed, "bad")["suspect"]["lines"].as_u64();
    assert!(lines >= Some(3), "{lines:?}");
    stays("it is live", Duration::from_secs(1), || {
        let state = view(&bed, "bad")["state"].clone();
        holds_for(state == "live", state)
    });
}
