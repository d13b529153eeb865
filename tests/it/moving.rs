//! A queue goes to another server: while tasks run, with a fleet that is drained, and from a backup. `docs/production.md` has the commands.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Proxy, Redis, SOON, ServerOptions, holds_for, run_times, wait_until};

const OPTIONS: ServerOptions = ServerOptions {
    tcp: true,
    durable: true,
    plain: true,
    password: None,
    small_disk: None,
    clock: false,
    acl: false,
    tls: false,
};

fn ask<T: redis::FromRedisValue>(server: &Redis, command: &str) -> redis::RedisResult<T> {
    let words: Vec<&str> = command.split_whitespace().collect();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut server.con())
}

fn info(server: &Redis, field: &str) -> String {
    let info: String = ask(server, "INFO replication").expect("INFO");
    info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
}

fn finished(server: &Redis) -> usize {
    ask(server, "HLEN finished_tasks").expect("HLEN")
}

/// Makes `new` a replica of `old`, and waits until it has everything.
fn follow(new: &Redis, old: &Redis) {
    ask::<()>(new, &format!("REPLICAOF 127.0.0.1 {}", old.port())).expect("REPLICAOF");
    wait_until("the replica to follow", SOON, || {
        holds_for(info(new, "master_link_status") == "up", info(new, "master_link_status"))
    });
}

/// Has the two swap their roles: the old server takes no write from before the last one has reached the new one.
fn swap(old: &Redis, new: &Redis) {
    // The old server counts a replica as online only after the replica has said so, once its link is up.
    wait_until("the replica to be online", SOON, || {
        let replica = info(old, "slave0");
        holds_for(replica.contains("state=online"), replica)
    });
    ask::<()>(old, &format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 10000", new.port())).expect("FAILOVER");
    wait_until("the roles to be swapped", SOON, || {
        let roles = (info(old, "role"), info(new, "role"));
        holds_for(roles == ("slave".to_owned(), "master".to_owned()), format!("{roles:?}"))
    });
}

/// Lines that note each run of theirs in a file.
fn noted(out: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("shell:0:0:1:sleep 0.0{}; echo {n} >> {out}", n % 10)).collect()
}

/// Ends the submitter, also where the test fails meanwhile.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn queue_moves_under_load_and_each_task_runs_once() {
    let new = Redis::start(OPTIONS);
    let old = Redis::start(OPTIONS);
    let names = tempfile::tempdir_in("/tmp").expect("a directory");
    // What its clients know is a name, and the name leads to one server or the other.
    let (name, next) = (names.path().join("redis"), names.path().join("next"));
    symlink(old.socket(), &name).expect("a link");
    let proxy = Proxy::start(&name);
    let mut bed = Bed::on(old, json!({"redis_url": proxy.url(), "max_task_per_worker": 4}));
    let out = bed.out("runs");
    let lines = noted(&out, 0..400);
    bed.add(&lines);
    let mut workers = [bed.worker("a"), bed.worker("b")];
    wait_until("some tasks to be done", SOON, || holds_for(finished(&bed.redis) >= 40, finished(&bed.redis)));

    // People go on submitting; one who is refused repeats it.
    let is_over = AtomicBool::new(false);
    let submitted = thread::scope(|scope| {
        let submitter = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                let line = noted(&out, 1000 + sent..1001 + sent).remove(0);
                wait_until("a submission to get through", SOON, || {
                    let output = bed.submit(&["-"], &line);
                    holds_for(output.is(0), output)
                });
                sent += 1;
            }
            sent
        });
        let over = Over(&is_over);
        follow(&new, &bed.redis);
        swap(&bed.redis, &new);
        symlink(new.socket(), &next).expect("a link");
        fs::rename(&next, &name).expect("the name leads to the new server");
        // Only this ends the connections to the old one.
        let end: redis::RedisResult<()> = ask(&bed.redis, "SHUTDOWN NOSAVE");
        assert!(end.is_err(), "it answers no more");
        let before = finished(&new);
        wait_until("tasks to finish there", SOON, || holds_for(finished(&new) > before + 40, finished(&new)));
        drop(over);
        submitter.join().expect("it ends")
    });
    let all = 400 + submitted as usize;
    wait_until("all tasks to finish", Duration::from_secs(60), || {
        holds_for(finished(&new) == all, format!("{} of {all}\n{}", finished(&new), workers[0].log()))
    });
    for hash in ["todo_tasks", "in_progress_tasks", "failed_tasks"] {
        assert_eq!(ask::<usize>(&new, &format!("HLEN {hash}")).expect("HLEN"), 0, "{hash}");
    }
    let times = run_times(&out);
    let again: BTreeMap<_, _> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(times.len() == all && again.is_empty(), "{} ran, these not once: {again:?}", times.len());
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
    }
    drop(workers);
    bed.redis.kill9();
}

#[test]
fn drained_fleet_goes_on_at_another_address() {
    let (mut bed, new) = (Bed::on(Redis::start(OPTIONS), json!({})), Redis::start(OPTIONS));
    let out = bed.out("runs");
    bed.add(noted(&out, 0..60));
    let mut worker = bed.worker("a");
    wait_until("some tasks to be done", SOON, || holds_for(finished(&bed.redis) >= 10, finished(&bed.redis)));
    follow(&new, &bed.redis);
    let hosts = bed.file("hosts", "a\n");
    bed.ctl(&["down", "--hosts", &hosts, "--yes"]).expect(0).prints(&["1 host: 1 left"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    assert_eq!(bed.count("in_progress_tasks"), 0);
    swap(&bed.redis, &new);
    // A client that has not heard of it changes nothing.
    bed.submit(&["-"], "shell:0:0:1:true\n").expect(3).says(&["READONLY"]);
    bed.configure(json!({"redis_url": new.url()}));
    bed.redis.kill9();
    let mut worker = bed.worker_with("a", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(Duration::from_secs(60)), 0, "{}", worker.log());
    assert_eq!(finished(&new), 60);
    let times = run_times(&out);
    assert!(times.len() == 60 && times.values().all(|times| *times == 1), "{times:?}");
}

#[test]
fn backup_of_a_busy_queue_is_restored_with_every_task() {
    let mut bed = Bed::on(Redis::start(OPTIONS), json!({}));
    let out = bed.out("runs");
    bed.add(noted(&out, 0..80));
    bed.add(["shell:0:0:1:exit 3"]);
    let mut worker = bed.worker("a");
    wait_until("some tasks to be done", SOON, || holds_for(finished(&bed.redis) >= 20, finished(&bed.redis)));
    let backup = bed.out("backup.rdb");
    let port = bed.redis.port().to_string();
    let made =
        Command::new("redis-cli").args(["-p", &port, "--rdb", &backup]).output().expect("redis-cli, of redis-tools");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let before = run_times(&out).len();
    worker.kill9_with_keepers();
    bed.redis.kill9();

    // A server that begins with an append-only file would not look at the backup.
    let mut new = Redis::start(ServerOptions { durable: false, ..OPTIONS });
    new.kill9();
    fs::copy(&backup, new.data().join("dump.rdb")).expect("the backup is put there");
    new.start_again();
    ask::<()>(&new, "CONFIG SET appendonly yes").expect("CONFIG SET");
    let all: usize = ["todo_tasks", "in_progress_tasks", "finished_tasks"]
        .iter()
        .map(|hash| ask::<usize>(&new, &format!("HLEN {hash}")).expect("HLEN"))
        .sum();
    assert_eq!(all + ask::<usize>(&new, "HLEN failed_tasks").expect("HLEN"), 81, "each task is in one place");
    bed.configure(json!({"redis_url": new.url(), "worker_dead_after_seconds": 2}));
    // What was running is taken over from the worker that is no more.
    let _worker = bed.worker("b");
    bed.ctl(&["reclaim", "a", "--force", "--yes"]).expect(0);
    wait_until("all tasks to finish", Duration::from_secs(60), || holds_for(finished(&new) == 80, finished(&new)));
    assert_eq!(ask::<usize>(&new, "HLEN failed_tasks").expect("HLEN"), 1);
    let times = run_times(&out);
    assert_eq!(times.len(), 80);
    // What has ended after the backup was taken, or ran then, is run again: nothing in the backup tells of it.
    let again: usize = times.values().map(|times| times - 1).sum();
    assert!(again <= before, "{again} of {before} ran again");
    // The append-only file holds all of it.
    wait_until("the append-only file to be written", SOON, || {
        let info: String = ask(&new, "INFO persistence").expect("INFO");
        holds_for(info.contains("aof_enabled:1") && info.contains("aof_rewrite_in_progress:0"), info)
    });
}
