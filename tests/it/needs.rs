//! Needs beside memory and cores: how flags, directives and JSON lines put them into task lines, what is said of wrong ones, and where such lines wait.
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Bed, Output, Redis, SOON, ServerOptions, holds_for, task_id, wait_until};

const WAITING: &str = "distcomp:waiting";

/// The lines that a submission would add.
fn composed(bed: &Bed, args: &[&str], stdin: &str) -> Vec<String> {
    let output = bed.submit(&[&["--dry-run", "--parsable"], args].concat(), stdin).expect(0);
    output.stdout.lines().map(str::to_owned).collect()
}

/// Puts a live worker with these resources and labels into the queue, which no process stands behind.
fn pretend_worker(bed: &Bed, name: &str, traits: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the present").as_secs();
    bed.hset("worker_status", name, format!("{now}:1.00:64.00:1.00:512.00"));
    bed.hset("distcomp:capacity", name, format!("549755813888:64000:{traits}"));
}

fn warnings(output: &Output) -> Vec<String> {
    output
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("distcomp-submit: warning: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn flags_put_sorted_needs_into_the_lines_of_commands() {
    let bed = Bed::new();
    let flags = [
        "-G",
        "{2}",
        "--resource",
        "scratch_gb=200",
        "-C",
        "ssd & region=us|region=eu",
        "--prefer",
        "{1}",
        "--time-request",
        "10m",
        "-m",
        "4",
    ];
    let made =
        composed(&bed, &[&flags[..], &["--", "./train", "{1}", ":::", "a100", "v100", ":::", "0.5", "2"]].concat(), "");
    let line = |model: &str, gpus: &str| {
        format!(
            "shell,constraint=region=eu|region=us,constraint=ssd,gpus={gpus},prefer={model},scratch_gb=200,time=600:4:1:0:./train {model}"
        )
    };
    assert_eq!(made, [line("a100", "0.5"), line("a100", "2"), line("v100", "0.5"), line("v100", "2")]);
    // The lines are what they were when they are submitted as lines, and their order is that of the command.
    assert_eq!(composed(&bed, &["-"], &made.join("\n")), made);
    assert_eq!(composed(&bed, &["-G", "0", "--", "true"], ""), ["shell:0:1:0:true"], "no GPU is no need");
}

#[test]
fn flags_add_to_task_lines_what_they_lack() {
    let bed = Bed::new();
    let file = "shell:1:1:1:60:echo a:b\nshell,gpus=2,constraint=hdd:1:1:1:echo b\n";
    assert_eq!(
        composed(&bed, &["-G", "1", "-C", "ssd", "--resource", "lic={#}", "-"], file),
        ["shell,constraint=ssd,gpus=1,lic=1:1:1:1:60:echo a:b", "shell,constraint=hdd,gpus=2,lic=2:1:1:1:echo b"]
    );
    bed.submit(&["-G", "1", "--mem", "8", "-"], file).expect(2).says(&["--mem is of bare commands"]);
}

#[test]
fn directives_and_json_objects_take_the_flags_of_needs() {
    let bed = Bed::new();
    let file = "#DC -G 1 --resource lic=2\nshell:1:1:1:a\n#DC --commands -C ssd -C '!spot' --time-request 1h\nb\n#DC --gpus 0.5\nshell:1:1:1:c\n";
    assert_eq!(
        composed(&bed, &["-"], file),
        [
            "shell,gpus=1,lic=2:1:1:1:a",
            "shell,constraint=!spot,constraint=ssd,gpus=1,lic=2,time=3600:0:1:0:b",
            "shell,gpus=0.5,lic=2:1:1:1:c"
        ]
    );
    let objects = [
        json!({"cmd": "a", "gpus": 1, "resource": {"lic": 2, "fpga": "0.5"}}),
        json!({"cmd": "b", "constraint": ["ssd", "!spot"], "prefer": "a|b", "time-request": 60}),
        json!({"cmd": "c", "gpus": null}),
    ];
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    assert_eq!(
        composed(&bed, &["--jsonl", "-C", "eu", "-"], &text),
        [
            "shell,constraint=eu,fpga=0.5,gpus=1,lic=2:0:1:0:a",
            "shell,constraint=!spot,constraint=ssd,prefer=a|b,time=60:0:1:0:b",
            "shell,constraint=eu:0:1:0:c"
        ]
    );
}

#[test]
fn every_wrong_need_of_a_file_is_told_at_once() {
    let bed = Bed::new();
    let faults = [
        ("shell,gpus=x:1:1:1:a", "gpus is \"x\"; valid: a decimal number, 3 digits after the point at most"),
        ("shell,gpus=1.5:1:1:1:a", "gpus is \"1.5\"; valid: a part of one (0.5), or whole ones"),
        ("shell,gpus=1,gpus=2:1:1:1:a", "gpus is given twice"),
        ("shell,gpus:1:1:1:a", "a need is \"gpus\"; valid: KEY=VALUE"),
        ("shell,:1:1:1:a", "a need is \"\"; valid: KEY=VALUE"),
        ("shell,constraint=a&b:1:1:1:a", "constraint is \"a&b\"; valid: labels like ssd"),
        ("shell,time=10m:1:1:1:a", "time is \"10m\"; valid: a whole number of seconds"),
    ];
    let text: String = faults.iter().map(|(line, _)| format!("{line}\n")).collect();
    let file = bed.file("all.tasks", format!("{text}shell,gpus=1:1:1:1:good\n"));
    let output = bed.submit(&[&file], "").expect(2).says(&["7 of 8 lines invalid: nothing was submitted"]);
    for (number, (_, said)) in (1..).zip(&faults) {
        let place = format!("{file}:{number}: {said}");
        assert!(output.stderr.lines().any(|line| line.starts_with(&place)), "{place}\n{output}");
    }
    // None of the lines is a task, and yet they are meant as such.
    let file = bed.file("bad.tasks", &text);
    bed.submit(&[&file], "").expect(2).says(&[&format!("{file}:1: gpus is \"x\"")]);
    for (flags, said) in [
        (&["-G", "x"][..], "--gpus is \"x\"; valid: a decimal number, 3 digits after the point at most"),
        (&["--resource", "lic"], "--resource is \"lic\"; valid: NAME=N"),
        (&["-C", "a b"], "--constraint is \"a b\"; valid: labels like ssd"),
        (&["--time-request", "soon"], "--time-request is \"soon\"; valid: seconds"),
        (&["-G", "1", "--resource", "gpus=2"], "gpus is given twice"),
    ] {
        bed.submit(&[flags, &["--", "true"]].concat(), "").expect(2).says(&[said]);
        bed.submit(&[flags, &["-"]].concat(), "shell:1:1:1:a\n").expect(2).says(&[said]);
    }
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING)), (0, 0));
}

#[test]
fn names_that_no_live_worker_offers_are_warned_of_once() {
    let bed = Bed::new();
    let text = "shell:1:1:1:a\nshell,gpu=1:1:1:1:b\nshell,gpu=2:1:1:1:c\nshell,gpus=1,constraint=sdd:1:1:1:d\nshell,constraint=!spot,prefer=nvme:1:1:1:e\n";
    let file = bed.file("a.tasks", text);
    let output = bed.submit(&["--dry-run", &file], "").expect(0);
    assert_eq!(warnings(&output), [""; 0], "no worker is there that could be asked");
    pretend_worker(&bed, "n1", "gpus@1000/1000,lic=3000:host=n1,ssd:");
    pretend_worker(&bed, "n2", "::");
    let expected = [
        format!("{file}:2: no live worker offers \"gpu\"; did you mean \"gpus\"?"),
        format!("{file}:4: no live worker offers the label \"sdd\"; did you mean \"ssd\"?"),
    ];
    assert_eq!(warnings(&bed.submit(&["--dry-run", &file], "").expect(0)), expected);
    let output = bed.submit(&[&file], "").expect(0).prints(&["added 5 tasks"]);
    assert_eq!(warnings(&output), expected);
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING)), (1, 4), "submitted all the same");
    let output = bed.submit(&["-"], "shell,fgpa=x:1:1:1:a\nshell,gpu=1:1:1:1:b\n").expect(2);
    assert_eq!(warnings(&output), [""; 0], "a file with faults has had its messages");
}

#[test]
fn needs_are_shown_wherever_the_task_is() {
    let bed = Bed::new();
    let line = "shell,constraint=ssd|nvme,gpus=0.5,time=60:1:1:1:true";
    bed.add([line, "shell:1:1:1:plain"]);
    let needs = json!({"gpus": 0.5, "constraint": ["nvme|ssd"], "time": 60});
    bed.status(&["show", line]).expect(0).prints(&["constraint=nvme|ssd, gpus=0.5, time=60, priority 1"]);
    assert_eq!(bed.status(&["show", &task_id(line), "--json"]).expect(0).json()["needs"], needs);
    for args in [&["tasks", "--json"][..], &["export", "--json"]] {
        let found = bed.status(args).expect(0).json_lines();
        let of = |wanted: &str| found.iter().find(|one| one["line"] == wanted).cloned().expect("the task");
        assert_eq!(of(line)["needs"], needs, "{args:?}");
        assert_eq!(of("shell:1:1:1:plain").get("needs"), None, "{args:?}");
    }
    let table = bed.status(&["export", "--format", "csv"]).expect(0).stdout;
    assert!(table.lines().any(|row| row.ends_with(",\"constraint=nvme|ssd, gpus=0.5, time=60\"")), "{table}");
    bed.ctl(&["cancel", "--all", "--yes"]).expect(0);
    let cancelled = bed.status(&["tasks", "--state", "cancelled", "--json"]).expect(0).json_lines();
    assert!(cancelled.iter().any(|one| one["line"] == line && one["needs"] == needs), "{cancelled:?}");
}

#[test]
fn python_workers_forbid_no_needs_but_what_would_kill_them() {
    let bed = Bed::with(json!({"task_field_order": "prio:mem:cpu", "python_workers": true}));
    for line in ["shell,gpus=0.5,constraint=v1.2:1:1:1:a", "python,gpus=1:1:1:1:print(1)"] {
        assert_eq!(composed(&bed, &["-"], line), [line]);
    }
    for (line, said) in [
        ("shell,gpus=1:1:1:1:60:a", "timeout is given, which kills Python workers"),
        ("shell,gpus=1:1:0.5:1:a", "mem or cpu is a decimal, which kills Python workers"),
        ("shell,gpus=1:1:1:1:a:b", "cmd holds a colon, which kills Python workers"),
    ] {
        bed.submit(&["--dry-run", "-"], line).expect(2).says(&[said]);
    }
}

#[test]
fn foreign_line_with_needs_is_moved_home_and_runs() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    let (runs, stays) = ("shell,constraint=!spot:0:0:1:echo ran", "shell,constraint=nowhere:0:0:1:echo never");
    bed.hset("todo_tasks", runs, "");
    bed.hset("todo_tasks", stays, "");
    wait_until("the line that no worker may run to be moved", Duration::from_secs(5), || {
        let homes = (bed.table("todo_tasks"), bed.table(WAITING));
        holds_for(homes.0.is_empty() && homes.1.contains_key(stays), format!("{homes:?}"))
    });
    bed.wait_counts(SOON, [1, 0, 1, 0]);
    assert_eq!(bed.table(WAITING).into_keys().collect::<Vec<_>>(), [stays]);
    bed.status(&["explain", stays]).expect(0);
}

/// What a person or a Python manager wrote where such lines do not wait, and no worker is there to move it.
fn strays(bed: &Bed) -> [&'static str; 3] {
    let [apart, plain, both] =
        ["shell,constraint=ssd:0:0:1:echo apart", "shell:0:0:1:echo plain", "shell,constraint=ssd:0:0:1:echo both"];
    bed.hset_all("todo_tasks", [apart, both]);
    bed.hset_all(WAITING, [plain, both]);
    [apart, plain, both]
}

#[test]
fn lines_in_the_wrong_hash_are_shown_cancelled_and_purged() {
    let bed = Bed::with(json!({"task_field_order": "mem:cpu:prio"}));
    let lines = strays(&bed);
    let exported = bed.status(&["export", "--state", "todo"]).expect(0).stdout;
    for line in lines {
        assert!(exported.contains(&task_id(line)), "{exported}");
        let shown = bed.status(&["show", line]).expect(0).stdout;
        assert!(shown.contains("state     todo"), "{shown}");
    }
    // The line that stands in both hashes is selected twice, and cancelled once.
    let said = bed.ctl(&["cancel", "--state", "todo", "--yes"]).expect(0).stdout;
    assert!(said.starts_with("cancelled 3 tasks"), "{said}");
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING), bed.count("failed_tasks")), (0, 0, 3));
    bed.ctl(&["purge", "--state", "cancelled", "--yes"]).expect(0);
    strays(&bed);
    bed.ctl(&["cancel", lines[2], "--yes"]).expect(0);
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING), bed.count("failed_tasks")), (1, 1, 1));
    for state in ["todo", "cancelled"] {
        bed.ctl(&["purge", "--state", state, "--yes"]).expect(0);
    }
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING), bed.count("failed_tasks")), (0, 0, 0));
}

#[test]
fn foreign_line_without_needs_is_moved_home_and_runs() {
    let bed = Bed::with(json!({"task_field_order": "mem:cpu:prio"}));
    strays(&bed);
    bed.hset(WAITING, "shell,gpus=x:0:0:1:echo bad", "");
    let _worker = bed.worker_with("w", json!({"labels": ["ssd"]}), &[]);
    bed.wait_counts(SOON, [0, 0, 3, 1]);
    assert_eq!(bed.count(WAITING), 0);
}

/// Each command as its own user of `example/redis/users.acl`.
#[test]
fn submitter_may_read_what_workers_offer_and_add_needs() {
    let bed = Bed::on(Redis::start(ServerOptions { acl: true, ..Default::default() }), json!({}));
    // A submitter may not bring the scripts along, and a line with needs takes them.
    bed.submit(&["-C", "!spot", "--", "echo", "one"], "").expect(3).says(&["start a worker"]);
    bed.burst("w");
    pretend_worker(&bed, "n1", "gpus@1000:ssd:");
    let output = bed
        .submit(&["-C", "!spot", "--resource", "gpu=1", "--", "echo", "one"], "")
        .expect(0)
        .prints(&["added 1 task;"]);
    assert_eq!(warnings(&output), ["task 1: no live worker offers \"gpu\"; did you mean \"gpus\"?"]);
    bed.submit(&["-C", "!spot", "--", "echo", "two"], "").expect(0);
    assert_eq!((bed.count("todo_tasks"), bed.count(WAITING)), (0, 2));
    bed.burst("w");
    assert!(bed.table("finished_tasks").contains_key("shell,constraint=!spot:0:1:0:echo two"));
    bed.status(&["show", "shell,constraint=!spot:0:1:0:echo two"]).expect(0);
}

#[test]
fn example_with_gpus_is_valid() {
    let bed = Bed::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/example/gpu.tasks");
    let made = composed(&bed, &[file], "");
    assert!(made.len() >= 5, "{made:?}");
    for need in ["gpus=1:", "gpus=0.5", "constraint=", "prefer=", "time="] {
        assert!(made.iter().any(|line| line.contains(need)), "{need}: {made:?}");
    }
}
