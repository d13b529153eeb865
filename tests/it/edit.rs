//! `distcomp-ctl edit`: what waits becomes another task, with all that belongs to it.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, SOON, lines_of, run_times, task_id, unique_sleep, wait_until};

/// Everything in Redis but the log of events, as text.
fn dump(bed: &Bed) -> Vec<String> {
    let script = "local out = {} for _, key in ipairs(redis.call('KEYS', '*')) do
        local kind, values = redis.call('TYPE', key).ok, {}
        if kind == 'zset' then values = redis.call('ZRANGE', key, 0, -1) elseif kind == 'hash' then values = redis.call('HGETALL', key)
        elseif kind == 'set' then values = redis.call('SMEMBERS', key) elseif kind == 'string' then values = { redis.call('GET', key) } end
        for _, value in ipairs(values) do out[#out + 1] = key .. ' ' .. value end end return out";
    redis::cmd("EVAL").arg(script).arg(0).query(&mut bed.redis.con()).expect("everything")
}

#[test]
fn edited_tasks_keep_their_place_among_equals() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let out = bed.out("ran");
    let line = |name: &str| format!("shell:0:1:5:echo {name} >> {out}");
    bed.add(["a", "b", "c", "d"].map(line));
    bed.ctl(&["edit", "--include", "echo b", "--set", "mem=0.001", "--set", "timeout=1m", "--yes"])
        .expect(0)
        .prints_line("edited 1 task");
    bed.ctl(&["edit", "--include", "echo d", "--set", "priority=9", "--yes"]).expect(0);
    let waiting = bed.table("todo_tasks");
    assert!(waiting.contains_key(&format!("shell:0.001:1:5:60:echo b >> {out}")), "{waiting:#?}");
    assert_eq!(waiting.len(), 4);
    bed.burst("w");
    assert_eq!(lines_of(&out), ["d", "a", "b", "c"], "only the priority changes the order");
}

#[test]
fn edited_retry_keeps_attempts_time_and_batch_alone() {
    let bed = Bed::with(json!({"max_retry_per_task": 3, "retry_backoff_seconds": 1000}));
    let old = "shell:0:1:5:exit 3";
    bed.submit(&["-n", "s1/prep", "--tag", "t", "-"], old).expect(0);
    let _worker = bed.worker("w");
    wait_until("its first failure", SOON, || {
        let failed = bed.table("failed_tasks");
        if failed.contains_key(old) { Ok(()) } else { Err(format!("{failed:?}")) }
    });
    let due = |line: &str| -> Option<f64> {
        redis::cmd("ZSCORE").arg("distcomp:ready:delayed").arg(line).query(&mut bed.redis.con()).expect("a time")
    };
    let before = due(old).expect("it waits for its retry");
    let new = "shell,constraint=!x:1:1:7:exit 0";
    bed.ctl(&["edit", "--kind", "exit 3", "--set", "priority=7", "--set", "mem=1", "--set", "constraint=!x"])
        .expect(2)
        .says(&["will edit 1 task:", "shell:0:1:5:exit 3", "-> shell,constraint=!x:1:1:7:exit 3"]);
    let set = ["--set", "priority=7", "--set", "mem=1", "--set", "constraint=!x", "--replace", "exit 3", "exit 0"];
    bed.ctl(&[&["edit", "--batch", "s1", "--yes"][..], &set].concat()).expect(0).prints_line("edited 1 task");
    assert_eq!(due(new), Some(before), "the time of its retry");
    let shown = bed.status(&["show", new, "--json"]).expect(0).json();
    assert_eq!(shown["edited_from"], json!([task_id(old)]));
    assert_eq!(
        (&shown["failed_on"], &shown["batches"], &shown["tags"]),
        (&json!(["w"]), &json!(["s1/prep"]), &json!(["t"]))
    );
    assert_eq!((shown["attempts"].as_array().map(Vec::len), &shown["kind"]), (Some(1), &json!("exit 3")));
    bed.status(&["show", new]).expect(0).prints(&[&format!("was {}", task_id(old))]);
    let batch = bed.status(&["batch", "s1", "--json"]).expect(0).json();
    assert_eq!(batch["tasks"], json!(1), "{batch}");
    let left: Vec<String> =
        dump(&bed).into_iter().filter(|entry| entry.contains(old) || entry.contains(&task_id(old))).collect();
    assert_eq!(left, [format!("distcomp:edited {}", task_id(old))], "nothing of the old line is left");
    let events = bed.status(&["events", "--json"]).expect(0).json_lines();
    let edited = events.iter().find(|event| event["event"] == "edited").expect("an event");
    assert_eq!((&edited["old_id"], &edited["id"]), (&json!(task_id(old)), &json!(task_id(new))));
    // Its second attempt, when its time has come.
    let _: i64 =
        redis::cmd("ZADD").arg("distcomp:ready:delayed").arg(1).arg(new).query(&mut bed.redis.con()).expect("ZADD");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let shown = bed.status(&["show", new, "--json"]).expect(0).json();
    assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(2), "{shown}");
}

#[test]
fn lines_move_between_the_two_hashes_and_back() {
    let bed = Bed::new();
    bed.add(["shell:0:1:0:true"]);
    bed.ctl(&["edit", "--all", "--set", "gpus=1", "--set", "begin=4000000000", "--yes"]).expect(0);
    assert_eq!(
        bed.table("distcomp:waiting").into_keys().collect::<Vec<_>>(),
        ["shell,begin=4000000000,gpus=1:0:1:0:true"]
    );
    assert_eq!(bed.count("todo_tasks"), 0);
    bed.ctl(&["edit", "--all", "--set", "gpus=", "--set", "begin=none", "--yes"]).expect(0);
    assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), ["shell:0:1:0:true"]);
    assert_eq!(bed.count("distcomp:waiting"), 0);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn running_ended_and_taken_lines_are_counted_and_left() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    bed.add(["shell:0:1:0:true # 1"]);
    bed.burst("w");
    let running = format!("shell:0:1:9:sleep {} # 2", unique_sleep());
    bed.add([&running]);
    let _worker = bed.worker("w");
    bed.wait_running(&running);
    bed.add(["shell:0:1:0:true # 3", "shell:0:1:0:true # 4", "shell:0:1:0:true # 5"]);
    let done = bed.ctl(&["edit", "--all", "--replace", "# 3", "# 4", "--replace", "# 5", "# 1", "--yes", "--json"]);
    let done = done.expect(0).json();
    let seen = ["selected", "changed", "running", "unchanged", "taken"].map(|name| done[name].as_u64());
    assert_eq!(seen, [4, 0, 1, 1, 2].map(Some), "{done}");
    bed.ctl(&["edit", "shell:0:1:0:true # 1", "--set", "mem=1", "--yes"])
        .expect(0)
        .prints_line("nothing to edit")
        .says(&["left alone: 1 not waiting"]);
    // One makes room for the other.
    bed.ctl(&["edit", "--include", "true", "--replace", "# 4", "# 6", "--replace", "# 3", "# 4", "--yes"])
        .expect(0)
        .prints_line("edited 2 tasks");
    let waiting: Vec<String> = bed.table("todo_tasks").into_keys().collect();
    assert_eq!(waiting, ["shell:0:1:0:true # 4", "shell:0:1:0:true # 5", "shell:0:1:0:true # 6"]);
    let waited = bed.table("in_progress_tasks");
    assert!(waited.contains_key(&running), "what runs stays: {waited:?}");
}

#[test]
fn no_line_changes_where_one_would_be_invalid() {
    let bed = Bed::with(json!({"task_field_order": "prio:mem:cpu", "python_workers": true}));
    let lines = ["shell:0:0:1:true", "shell:0:0:1:echo b"];
    bed.add(lines);
    for (args, said) in [
        (&["--set", "timeout=5"][..], "timeout is given, which kills Python workers"),
        (&["--replace", "echo", "echo a:"], "cmd holds a colon, which kills Python workers"),
        (&["--replace", "true", "", "--replace", "echo", "./x"], "cmd is \"\""),
        (&["--replace", "true", "80:x"], "begin with digits and a colon"),
    ] {
        bed.ctl(&[&["edit", "--all", "--yes"][..], args].concat())
            .expect(2)
            .says(&[said, "nothing was changed: not every new line would be valid"]);
        assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), ["shell:0:0:1:echo b", "shell:0:0:1:true"]);
    }
    bed.ctl(&["edit", "--all", "--set", "mem=x", "--set", "gpus", "--yes"])
        .expect(2)
        .says(&["mem is \"x\"", "--set is \"gpus\""]);
    bed.ctl(&["edit", "--all"]).expect(2).says(&["nothing to change: use --set"]);
    bed.ctl(&["edit", "--set", "mem=1"]).expect(2).says(&["no tasks selected to edit"]);
    bed.ctl(&["edit", "--state", "failed", "--set", "mem=1"]).expect(2).says(&["edit changes only tasks that wait"]);
    bed.ctl(&["edit", "--all", "--set", "mem=1"])
        .expect(2)
        .says(&["-> shell:0:1:1:", "without a terminal, --yes is required"]);
    let dry = bed.ctl(&["edit", "--all", "--set", "mem=1", "--dry-run"]).expect(0);
    dry.prints(&["would edit 2 tasks:", "-> shell:0:1:1:echo b"]);
    assert_eq!(bed.count("todo_tasks"), 2);
}

#[test]
fn each_task_runs_once_while_all_are_edited() {
    const MANY: usize = 10_000;
    let bed = Bed::with(json!({"max_task_per_worker": 8}));
    let out = bed.out("ran");
    bed.add((0..MANY).map(|at| format!("shell:0:0:1:echo {at} >> {out}")));
    let _workers = ["a", "b", "c"].map(|name| bed.worker(name));
    wait_until("some to have run", SOON, || {
        let seen = bed.counts();
        if seen[2] > 20 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let done =
        bed.ctl(&["edit", "--state", "todo", "--all", "--set", "priority=9", "--yes", "--json"]).expect(0).json();
    let edited = done["changed"].as_u64().expect("a number");
    assert!(edited > 0, "{done}");
    bed.wait_counts(Duration::from_secs(180), [0, 0, MANY, 0]);
    let times = run_times(&out);
    assert_eq!((times.len(), times.values().max()), (MANY, Some(&1)));
    let finished = bed.table("finished_tasks");
    let new = finished.keys().filter(|line| line.starts_with("shell:0:0:9:")).count() as u64;
    assert_eq!(new, edited, "as many as were edited ran as the new line");
}
