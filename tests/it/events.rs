//! The event log: every change of state is there, it is bounded, and nothing fails or waits for it.
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Bed, Cli, SOON, holds_for, task_id, wait_until};

fn log(bed: &Bed) -> Vec<Value> {
    bed.status(&["events", "--limit", "0"]).expect(0).json_lines()
}

fn of<'a>(events: &'a [Value], what: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == what).collect()
}

/// `XADD`s as the server counts them, those of scripts included.
fn xadds(bed: &Bed) -> u64 {
    let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut bed.redis.con()).expect("INFO");
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_xadd:calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

#[test]
fn the_life_of_each_task_is_in_the_log() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    let (good, bad) = ("shell:0.5:0.75:1:echo fine", "shell:0:0:1:echo no >&2; exit 3");
    bed.add([good, bad, "shell:1000000:0:1:never"]);
    bed.burst("w");
    bed.ctl(&["cancel", "shell:1000000:0:1:never", "--yes"]).expect(0);
    bed.ctl(&["requeue", bad, "--yes"]).expect(0);
    bed.ctl(&["purge", good, "--yes"]).expect(0);
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.ctl(&["resume", "--yes"]).expect(0);
    let events = log(&bed);
    let submitted = of(&events, "submitted");
    assert!(submitted.len() == 1 && submitted[0]["count"] == 3, "{events:#?}");
    for what in ["attached", "left"] {
        assert!(of(&events, what).len() == 1 && of(&events, what)[0]["worker"] == "w", "{what}: {events:#?}");
    }
    let finished = of(&events, "finished");
    assert_eq!(finished.len(), 1, "{events:#?}");
    assert_eq!(finished[0]["id"], task_id(good));
    assert_eq!(
        (&finished[0]["cpus"], &finished[0]["mem_gb"], &finished[0]["attempt"]),
        (&json!(0.75), &json!(0.5), &json!(1))
    );
    let times = ["start", "end", "time"].map(|name| finished[0][name].as_f64().expect("a time"));
    assert!(times[0] <= times[1] && times[1] <= times[2] + 1.0, "{times:?}");
    let failed = of(&events, "failed");
    let retries: Vec<&Value> = failed.iter().map(|event| &event["will_retry"]).collect();
    assert_eq!(retries, [true, false], "{events:#?}");
    assert!(failed.iter().all(|event| event["kind"] == "exit 3" && event["id"] == task_id(bad)), "{events:#?}");
    for (what, line) in [("cancelled", "shell:1000000:0:1:never"), ("requeued", bad), ("purged", good)] {
        assert!(of(&events, what).len() == 1 && of(&events, what)[0]["id"] == task_id(line), "{what}: {events:#?}");
    }
    assert!(of(&events, "paused").len() == 1 && of(&events, "resumed").len() == 1, "{events:#?}");
    // In the order in which it happened.
    let moments: Vec<f64> = events.iter().map(|event| event["time"].as_f64().expect("a time")).collect();
    assert!(moments.is_sorted(), "{moments:?}");
}

#[test]
fn a_dead_workers_tasks_are_lost_and_reclaimed_in_the_log() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 2}));
    let line = "shell:0:0:1:sleep 3622";
    bed.add([line]);
    let mut worker = bed.worker("doomed");
    bed.wait_running(line);
    // The next heartbeat tells of the start.
    wait_until("a claim that has started", SOON, || {
        let claims = bed.table("distcomp:claims:doomed");
        holds_for(claims.values().any(|claim| claim.contains("|1|1|")), format!("{claims:?}"))
    });
    worker.kill9();
    let _other = bed.worker("other");
    wait_until("the loss in the log", SOON, || {
        let events = log(&bed);
        let is_there = |what: &str| of(&events, what).iter().any(|event| event["worker"] == "doomed");
        holds_for(["started", "dead", "lost"].into_iter().all(is_there), format!("{events:#?}"))
    });
}

#[test]
fn a_large_submission_or_purge_is_few_small_entries() {
    let bed = Bed::new();
    bed.add((0..2000).map(|at| format!("shell:1000000:0:1:{} {at}", "long".repeat(100))));
    bed.ctl(&["purge", "--state", "todo", "--yes"]).expect(0);
    let events = log(&bed);
    let sum = |what: &str| -> u64 { of(&events, what).iter().filter_map(|event| event["count"].as_u64()).sum() };
    assert_eq!((sum("submitted"), sum("purged")), (2000, 2000), "{events:#?}");
    assert!(events.len() <= 40, "{} events", events.len());
    // Lines of 400 bytes are there by their beginning and their SHA-1.
    let sha1 = events[0]["line_sha1"].as_str().map(str::len);
    assert_eq!(sha1, Some(40), "{}", events[0]);
}

#[test]
fn a_batch_costs_one_entry_whatever_its_size() {
    let bed = Bed::with(json!({"max_task_per_worker": 32}));
    bed.add((0..200).map(|at| format!("shell:0:0:1:true {at}")));
    bed.burst("w");
    let events = log(&bed);
    assert_eq!(of(&events, "finished").len(), 200);
    let entries: BTreeSet<&str> = events.iter().filter_map(|event| event["entry"].as_str()).collect();
    // The streams of what has ended and of the history have entries of their own.
    let length = |key: &str| -> u64 { redis::cmd("XLEN").arg(key).query(&mut bed.redis.con()).expect("XLEN") };
    let of_others = length("distcomp:ended") + length("distcomp:history");
    assert_eq!(xadds(&bed) - of_others, entries.len() as u64, "one XADD for each entry");
    assert!(entries.len() < 300, "{} entries for 200 tasks, which end in batches", entries.len());
}

#[test]
fn without_batching_the_log_is_as_complete() {
    let bed = Bed::with(json!({"redis_pipeline_batching": false}));
    bed.add((0..20).map(|at| format!("shell:0:0:1:true {at}")));
    bed.burst("w");
    let events = log(&bed);
    let ids = |what: &str| -> BTreeSet<String> {
        of(&events, what).iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(ids("finished").len(), 20, "{events:#?}");
}

#[test]
fn the_log_is_bounded_in_entries_and_in_bytes() {
    let bed = Bed::new();
    let mut con = bed.redis.con();
    // 32 MiB that an earlier time has left.
    let mut pipe = ::redis::pipe();
    for _ in 0..512 {
        pipe.cmd("XADD").arg("distcomp:events").arg("*").arg("e").arg("x".repeat(64 << 10)).ignore();
    }
    let () = pipe.query(&mut con).expect("XADD");
    let used = |con: &mut ::redis::Connection| -> u64 {
        ::redis::cmd("MEMORY").arg("USAGE").arg("distcomp:events").query(con).expect("MEMORY USAGE")
    };
    assert!(used(&mut con) > 24 << 20);
    let mut at = 0;
    // Looked at in about one call of a hundred.
    wait_until("the log to shrink", std::time::Duration::from_secs(60), || {
        bed.add((0..2000).map(|n| format!("shell:1000000:0:1:{at} {n}")));
        at += 1;
        let used = used(&mut con);
        holds_for(used <= 20 << 20, format!("{used} bytes"))
    });
}

#[test]
fn a_purge_makes_room_in_a_full_redis_whatever_the_log_does() {
    let bed = Bed::new();
    bed.add((0..50).map(|at| format!("shell:1000000:0:1:{at}")));
    bed.redis.set("maxmemory", "1");
    bed.ctl(&["purge", "--state", "todo", "--yes"]).expect(0);
    bed.redis.set("maxmemory", "0");
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn a_key_of_another_type_in_its_place_stops_nothing() {
    let bed = Bed::new();
    let () = ::redis::cmd("SET").arg("distcomp:events").arg("mine").query(&mut bed.redis.con()).expect("SET");
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
    bed.ctl(&["pause", "--yes"]).expect(0);
}

#[test]
fn follow_goes_on_with_what_happens_until_it_is_told_to_end() {
    let bed = Bed::new();
    bed.add(["shell:1000000:0:1:before"]);
    let mut command = bed.cli("distcomp-status").args(["events", "--follow"]).into_command();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["line"], "shell:1000000:0:1:before");
    bed.add(["shell:1000000:0:1:after"]);
    assert_eq!(next()["line"], "shell:1000000:0:1:after");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("a signal");
    assert_eq!(child.wait().expect("its status").code(), Some(130));
}

#[test]
fn the_last_ones_are_limited_and_whole_lines_of_json() {
    let bed = Bed::new();
    for at in 0..5 {
        bed.add([format!("shell:1000000:0:1:\u{202e}{at}")]);
    }
    let last = bed.status(&["events", "--limit", "2"]).expect(0).json_lines();
    let lines: Vec<&str> = last.iter().filter_map(|event| event["line"].as_str()).collect();
    assert_eq!(lines, ["shell:1000000:0:1:\u{202e}3", "shell:1000000:0:1:\u{202e}4"]);
    Cli::run(bed.cli("distcomp-status").args(["events", "--limit", "x"])).expect(2);
}
