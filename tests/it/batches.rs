//! Batches as operators meet them: failures and what follows from them, holding, stopping, selecting, and what others delete.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, SOON, holds_for, lines_of, reason_of, stays, task_id, wait_until};

fn submit(bed: &Bed, args: &[&str]) -> crate::support::Output {
    bed.cli("distcomp-submit").args(args).run().expect(0)
}

fn batch(bed: &Bed, name: &str) -> Value {
    bed.status(&["batch", name, "--json"]).expect(0).json()
}

fn state(bed: &Bed, name: &str) -> String {
    batch(bed, name)["state"].as_str().unwrap_or_default().to_owned()
}

fn wait_state(bed: &Bed, name: &str, wanted: &str) {
    wait_until(&format!("{name} to be {wanted}"), SOON, || holds_for(state(bed, name) == wanted, batch(bed, name)));
}

/// One of two tasks of `a` fails unless a file is there; `b` waits for `a`.
fn failing(bed: &Bed, flags: &[&str]) -> String {
    let fixed = bed.out("fixed");
    submit(bed, &["-n", "a", "--", &format!("[ {{}} != bad ] || [ -e {fixed} ]"), ":::", "good", "bad"]);
    let after: Vec<&str> = ["-n", "b", "--after", "a"].iter().chain(flags).chain(&["--", "echo b"]).copied().collect();
    submit(bed, &after);
    fixed
}

#[test]
fn what_waits_for_a_failure_goes_on_when_it_is_requeued() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let fixed = failing(&bed, &[]);
    let _worker = bed.worker("w");
    wait_state(&bed, "a", "failed");
    let waited = bed.status(&["wait", "b", "--timeout", "20s"]).expect(1).stdout;
    assert!(waited.contains("waits for a: 1 failed"), "{waited}");
    assert_eq!(state(&bed, "b"), "blocked");
    let explained = bed.status(&["explain"]).expect(0).stdout;
    assert!(explained.contains("1 blocked (1 for a: 1 failed"), "{explained}");
    std::fs::write(&fixed, "").expect("a file");
    bed.ctl(&["requeue", "--batch", "a", "--yes"]).expect(0);
    bed.status(&["wait", "a", "b", "--timeout", "30s"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 3, 0]);
}

#[test]
fn steps_of_a_released_batch_keep_their_order() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let out = bed.out("runs");
    submit(&bed, &["-n", "a/s", "--", &format!("echo {{}} >> {out}; false"), ":::", "s"]);
    for (name, after) in [("a/t", "a/s"), ("b", "a/t"), ("c", "a")] {
        submit(&bed, &["-n", name, "--after", after, "--", &format!("echo {{}} >> {out}"), ":::", name]);
    }
    bed.ctl(&["release", "a", "--yes"]).expect(0);
    bed.burst("w");
    let mut ran = lines_of(&out);
    ran.sort();
    assert_eq!(ran, ["c", "s"]);
    assert_eq!((state(&bed, "a/t").as_str(), state(&bed, "b").as_str()), ("blocked", "blocked"));
    bed.ctl(&["release", "a/s", "--yes"]).expect(0);
    bed.burst("w");
    assert_eq!(lines_of(&out)[2..], ["a/t", "b"]);
}

#[test]
fn what_is_released_starts_without_what_it_waited_for() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    failing(&bed, &[]);
    let _worker = bed.worker("w");
    wait_state(&bed, "a", "failed");
    bed.ctl(&["release", "a", "--yes"]).expect(0);
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(0);
}

#[test]
fn failure_gives_up_what_was_submitted_so_and_no_more() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let fixed = failing(&bed, &["--kill-on-invalid-dep"]);
    submit(&bed, &["-n", "c", "--after", "b", "--kill-on-invalid-dep", "--", "echo c"]);
    submit(&bed, &["-n", "d", "--after", "b", "--", "echo d"]);
    let _worker = bed.worker("w");
    for name in ["b", "c"] {
        wait_state(&bed, name, "failed");
    }
    assert_eq!(state(&bed, "d"), "blocked");
    assert_eq!(reason_of(&bed, "shell,after=a:0:1:0:echo b"), "dependency failed: a");
    assert_eq!(reason_of(&bed, "shell,after=b:0:1:0:echo c"), "dependency failed: b");
    std::fs::write(&fixed, "").expect("a file");
    for name in ["a", "b", "c"] {
        bed.ctl(&["requeue", "--batch", name, "--yes"]).expect(0);
    }
    bed.status(&["wait", "a", "b", "c", "d", "--timeout", "30s"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 5, 0]);
}

#[test]
fn batch_stops_at_its_bound_and_goes_on_when_asked() {
    let bed = Bed::with(json!({"max_retry_per_task": 1, "max_task_per_worker": 4, "task_prefetch": 0}));
    let ran = bed.out("ran");
    let command = format!("echo {{}} >> {ran}; exit 1");
    submit(&bed, &["-n", "s", "--max-fails", "5", "--array", "1-300", "--", &command]);
    submit(&bed, &["-n", "t", "--", "echo other"]);
    let _workers = [bed.worker("w1"), bed.worker("w2")];
    wait_state(&bed, "s", "stopped");
    bed.status(&["wait", "t", "--timeout", "30s"]).expect(0);
    wait_until("the rest to be given up", SOON, || holds_for(batch(&bed, "s")["open"] == 0, batch(&bed, "s")));
    let stopped = lines_of(&ran).len();
    assert!((6..=5 + 1 + 8).contains(&stopped), "{stopped} ran");
    let failures = bed.status(&["failures"]).expect(0).stdout;
    assert!(failures.contains("6 failed, --max-fails 5"), "{failures}");
    for reason in bed.table("task_fail_reason").values() {
        assert!(serde_json::from_str::<String>(reason).is_ok(), "{reason}");
    }
    bed.status(&["wait", "s", "--timeout", "20s"]).expect(1).prints(&["distcomp-ctl resume s goes on"]);
    let seen = batch(&bed, "s");
    let (finished, all) = (&seen["finished"], &seen["tasks"]);
    assert_eq!((finished, all), (&json!(0), &json!(300)), "{seen}");
    let table = bed.status(&["batches"]).expect(0).stdout;
    let row = table.lines().find(|line| line.starts_with("s ")).unwrap_or_default();
    let cells: Vec<&str> = row.split_whitespace().take(5).collect();
    assert_eq!(cells, ["s", "stopped", "300", "0", "%"], "what failed or was given up is not done: {table}");
    let given_up = 300 - stopped;
    let plan =
        format!("resume s: 0 tasks wait, 0 in progress continue, {given_up} tasks that were given up wait again");
    bed.ctl(&["resume", "s", "--dry-run"]).expect(0).prints(&[&plan]);
    let said = bed.ctl(&["resume", "s", "--yes"]).expect(0).stdout;
    assert!(said.contains("were given up wait again"), "{said}");
    wait_until("more to run", SOON, || holds_for(lines_of(&ran).len() > stopped + 4, lines_of(&ran).len()));
}

#[test]
fn paused_batch_starts_nothing_and_others_go_on() {
    // With one slot, the order in which tasks write is that in which they start, however slow one is.
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let ran = bed.out("ran");
    submit(&bed, &["-n", "s1", "--array", "1-40", "--", &format!("echo s1-{{}} >> {ran}; sleep 0.05")]);
    submit(&bed, &["-n", "s2", "--array", "1-40", "--", &format!("echo s2-{{}} >> {ran}; sleep 0.05")]);
    let _worker = bed.worker("w");
    wait_until("something to run", SOON, || holds_for(lines_of(&ran).len() > 4, lines_of(&ran).len()));
    bed.ctl(&["pause", "s1", "--yes"]).expect(0);
    let of = |batch: &str| lines_of(&ran).iter().filter(|line| line.starts_with(batch)).count();
    // What was claimed when the command returned has the slot.
    let begun = of("s1");
    bed.status(&["wait", "s2", "--timeout", "60s"]).expect(0);
    assert!(of("s1") <= begun + 1, "{} after {begun}", of("s1"));
    assert_eq!(state(&bed, "s1"), "paused");
    let counts = bed.status(&["--json"]).expect(0).json()["counts"].clone();
    assert_eq!(counts["held"], 40 - of("s1") as u64, "{counts}");
    stays("s1 as it is", Duration::from_millis(500), || holds_for(of("s1") <= begun + 1, of("s1")));
    bed.ctl(&["resume", "s1", "--yes"]).expect(0);
    bed.status(&["wait", "s1", "--timeout", "60s"]).expect(0);
    let order: Vec<u32> = lines_of(&ran).iter().filter_map(|line| line.strip_prefix("s1-")?.parse().ok()).collect();
    assert!(order.is_sorted() && order.len() == 40, "{order:?}");
}

#[test]
fn tasks_are_selected_by_batch_step_and_tag() {
    let bed = Bed::new();
    submit(&bed, &["-n", "s1/prep", "--tag", "small", "--", "echo p"]);
    submit(&bed, &["-n", "s1/sim", "--after", "s1/prep", "--", "echo s"]);
    submit(&bed, &["--", "echo none"]);
    let listed = |args: &[&str]| {
        let all: Vec<&str> = ["tasks", "--json"].iter().chain(args).copied().collect();
        bed.status(&all).expect(0).json_lines().len()
    };
    assert_eq!((listed(&["--batch", "s1"]), listed(&["--batch", "s1/prep"]), listed(&["--tag", "small"])), (2, 1, 1));
    assert_eq!(listed(&[]), 3);
    bed.status(&["tasks", "--batch", "s2"]).expect(2).says(&["no batch s2 (did you mean s1?)"]);
    bed.ctl(&["cancel", "--batch", "s1/sim", "--yes"]).expect(0).prints(&["cancelled 1 task"]);
    bed.ctl(&["pause", "s1/prep", "--yes"]).expect(2).says(&["s1/prep is a step: name the batch, s1"]);
    let shown = bed.status(&["show", "--json", &task_id("shell:0:1:0:echo p")]).expect(0).json();
    assert_eq!((&shown["batches"], &shown["tags"]), (&json!(["s1/prep"]), &json!(["small"])));
}

#[test]
fn nothing_opens_when_others_delete_what_is_derived() {
    let bed = Bed::new();
    let (seen, early) = (bed.out("seen"), bed.out("early"));
    submit(&bed, &["-n", "a", "--array", "1-30", "--", &format!("sleep 0.1; echo {{}} >> {seen}")]);
    let command = format!("[ $(sort -u {seen} | wc -l) = 30 ] || echo early >> {early}");
    submit(&bed, &["-n", "b", "--after", "a", "--array", "1-200", "--", &format!("{command} # {{}}")]);
    let _worker = bed.worker("w");
    for key in ["distcomp:batch:n", "distcomp:ready:*"] {
        for name in bed.keys().into_iter().filter(|name| match key.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == key,
        }) {
            let _: i64 = redis::cmd("DEL").arg(name).query(&mut bed.redis.con()).expect("deleted");
        }
    }
    bed.status(&["wait", "b", "--timeout", "90s"]).expect(0);
    assert!(!std::path::Path::new(&early).exists(), "{:?}", lines_of(&early));
    assert_eq!(bed.counts(), [0, 0, 230, 0]);
}

#[test]
fn counters_that_others_deleted_are_made_again() {
    let bed = Bed::new();
    submit(&bed, &["-n", "a", "--begin", "+1h", "--", "echo later"]);
    submit(&bed, &["-n", "a", "--", "true"]);
    submit(&bed, &["-n", "b", "--after", "a", "--", "echo b"]);
    let _worker = bed.worker("w");
    wait_until("the task of now to end", SOON, || holds_for(batch(&bed, "a")["finished"] == 1, batch(&bed, "a")));
    let _: i64 = redis::cmd("DEL").arg("distcomp:batch:n").query(&mut bed.redis.con()).expect("deleted");
    wait_until("them to be there again", SOON, || holds_for(batch(&bed, "a")["open"] == 1, batch(&bed, "a")));
    assert_eq!(state(&bed, "b"), "blocked");
}

#[test]
fn wait_goes_on_while_counters_are_gone() {
    let bed = Bed::new();
    submit(&bed, &["-n", "a", "--", "true"]);
    let _: i64 = redis::cmd("DEL").arg("distcomp:batch:n").query(&mut bed.redis.con()).expect("deleted");
    bed.status(&["wait", "a", "--timeout", "1s"]).expect(124);
    assert_eq!(state(&bed, "a"), "counting");
    let _worker = bed.worker("w");
    bed.status(&["wait", "a", "--timeout", "30s"]).expect(0).prints(&["a: finished, 1 task"]);
}

#[test]
fn ninth_batch_of_a_task_never_counts_as_done() {
    let bed = Bed::new();
    for at in 1..=8 {
        submit(&bed, &["-n", &format!("n{at}"), "--", "sleep 600"]);
    }
    let ninth = bed.cli("distcomp-submit").args(["-n", "n9", "--", "sleep 600"]).run().expect(2);
    ninth.says(&["1 task belongs to 8 batches already"]);
    submit(&bed, &["-n", "d", "--after", "n9", "--", "echo d"]);
    let _worker = bed.worker("w");
    wait_state(&bed, "n1", "running");
    stays("d blocked", Duration::from_secs(2), || holds_for(state(&bed, "d") == "blocked", state(&bed, "d")));
}

#[test]
fn unfinished_task_that_vanished_keeps_the_gate_closed() {
    let bed = Bed::new();
    let lines = ["shell:0:1:0:echo 1", "shell:0:1:0:echo 2"];
    submit(&bed, &["-n", "a", "--", "echo {}", ":::", "1", "2"]);
    submit(&bed, &["-n", "b", "--after", "a", "--", "echo b"]);
    bed.hdel("todo_tasks", lines[0]);
    let _worker = bed.worker("w");
    wait_until("the reconciler to see that it is gone", Duration::from_secs(60), || {
        holds_for(batch(&bed, "a")["failed"] == 1, batch(&bed, "a"))
    });
    assert_eq!(state(&bed, "b"), "blocked");
    bed.cli("distcomp-submit").args(["-n", "a", "--", "echo {}", ":::", "1", "2"]).run().expect(0);
    bed.status(&["wait", "b", "--timeout", "30s"]).expect(0);
}

#[test]
fn wait_ends_with_the_codes_that_scripts_rely_on() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    submit(&bed, &["-n", "good", "--", "true"]);
    submit(&bed, &["-n", "bad", "--", "false"]);
    submit(&bed, &["-n", "long", "--", "sleep 600"]);
    let _worker = bed.worker_with("w", json!({"max_task_per_worker": 4}), &[]);
    bed.status(&["wait", "good", "--timeout", "30s"]).expect(0).prints(&["good: finished, 1 task"]);
    bed.status(&["wait", "bad", "--timeout", "30s"]).expect(1).prints(&["bad: 1 of 1 failed"]);
    bed.status(&["wait", "long", "--timeout", "1s"]).expect(124);
    for (name, code) in [("good", 0), ("bad", 1), ("long", 124)] {
        bed.status(&["wait", name, "--timeout", "0s"]).expect(code);
    }
    bed.status(&["wait", "long", "good", "--any", "--timeout", "30s"]).expect(0);
    bed.status(&["wait", "long", "bad", "--fail-fast", "--timeout", "30s"]).expect(1);
    bed.status(&["wait", "goood"]).expect(2).says(&["no batch goood (did you mean good?)"]);
}

#[test]
fn steps_tell_blocked_tasks_from_those_that_may_run() {
    let bed = Bed::new();
    submit(&bed, &["-n", "s/prep", "--", "true {}", ":::", "1", "2"]);
    submit(&bed, &["-n", "s/sim", "--after", "s/prep", "--", "./sim {}", ":::", "1", "2", "3"]);
    submit(&bed, &["-n", "s/late", "--begin", "+2h", "--", "./late"]);
    let seen = batch(&bed, "s");
    assert_eq!((&seen["waiting"], &seen["blocked"]), (&json!(2), &json!(4)));
    let names = |after: &Value| -> Vec<Value> {
        after.as_array().expect("a list").iter().map(|awaited| awaited["name"].clone()).collect()
    };
    let of = |step: &Value| {
        (
            step["name"].clone(),
            step["waiting"].clone(),
            step["blocked"].clone(),
            step["state"].clone(),
            names(&step["after"]),
        )
    };
    let steps: Vec<_> = seen["steps"].as_array().expect("steps").iter().map(of).collect();
    let wanted = |name: &str, waiting: u64, blocked: u64, state: &str, after: &[&str]| {
        let after = after.iter().map(|name| json!(name)).collect::<Vec<_>>();
        (json!(name), json!(waiting), json!(blocked), json!(state), after)
    };
    assert_eq!(
        steps,
        [
            wanted("s/late", 0, 1, "blocked", &[]),
            wanted("s/prep", 2, 0, "waiting", &[]),
            wanted("s/sim", 0, 3, "blocked", &["s/prep"]),
        ]
    );
    assert_eq!(of(&batch(&bed, "s/sim")), wanted("s/sim", 0, 3, "blocked", &["s/prep"]));
    let told = bed.status(&["batch", "s"]).expect(0).stdout;
    let is_told = |row: &str| row.starts_with("s/sim ") && row.ends_with(" waits for s/prep: 2 of 2 open");
    assert!(told.lines().any(is_told), "{told}");
    // Many one-to-one pairs are not all named.
    for at in 1..=5 {
        submit(&bed, &["-n", &format!("b/{at}"), "--after", &format!("a/{at}"), "--", "echo", &at.to_string()]);
    }
    let told = bed.status(&["batches"]).expect(0).stdout;
    assert!(told.contains("and 2 more") && !told.contains("a/4"), "{told}");
}

#[test]
fn open_batch_that_was_closed_can_be_opened_again() {
    let bed = Bed::new();
    submit(&bed, &["-n", "o", "--open", "--", "echo 1"]);
    bed.ctl(&["close", "o", "--yes"]).expect(0);
    // No worker has taken away yet what the first one left.
    submit(&bed, &["-n", "o", "--open", "--", "echo 2"]);
    submit(&bed, &["-n", "after", "--after", "o", "--", "echo 3"]);
    let _worker = bed.worker("w");
    wait_until("o to be done so far", SOON, || holds_for(batch(&bed, "o")["finished"] == 2, batch(&bed, "o")));
    stays("more is to come", Duration::from_secs(2), || {
        holds_for(state(&bed, "after") == "blocked", batch(&bed, "after"))
    });
    bed.ctl(&["close", "o", "--yes"]).expect(0);
    bed.status(&["wait", "after", "--timeout", "30s"]).expect(0);
}
