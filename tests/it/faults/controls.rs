//! Negative controls: what the checker is for, it catches. Each of these does on purpose what our scripts never do.
use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Checker, Report, SOON, Snapshot, holds_for, kill_all, unique_sleep, wait_until, with_mark};

fn wait_violation(checker: &Checker, rule: &str) {
    wait_until(&format!("the checker to see {rule}"), SOON, || {
        let report = checker.report();
        holds_for(report.violations.iter().any(|one| one.starts_with(rule)), report.to_string())
    });
}

#[test]
fn a_claim_by_two_commands_is_caught() {
    let bed = Bed::new();
    let lines: Vec<String> = (0..20).map(|at| format!("shell:0:0:1:echo {at}")).collect();
    bed.add(&lines);
    let checker = Checker::start(bed.redis.url(), &lines);
    for line in &lines {
        // As Python DistComp claims: first out of the one hash, then into the other.
        bed.hdel("todo_tasks", line);
        thread::sleep(Duration::from_millis(60));
        bed.hset("in_progress_tasks", line, "w");
    }
    wait_violation(&checker, "I1");
}

#[test]
fn a_finish_without_a_fence_is_caught() {
    let bed = Bed::new();
    let line = "shell:0:0:1:sleep 30";
    bed.add([line]);
    let checker = Checker::start(bed.redis.url(), [line]);
    let _owner = bed.worker("owner");
    bed.wait_running(line);
    // A worker that has lost the task writes its result all the same.
    bed.hset("finished_tasks", line, "late: \"\"");
    wait_violation(&checker, "I3");
}

#[test]
fn a_result_written_over_another_is_caught() {
    let bed = Bed::new();
    let line = "shell:0:0:1:true";
    let checker = Checker::start(bed.redis.url(), [""; 0]);
    bed.hset("finished_tasks", line, "one: \"\"");
    wait_until("a picture of it", SOON, || holds_for(checker.report().pictures > 5, "not yet"));
    thread::sleep(Duration::from_millis(200));
    bed.hset("finished_tasks", line, "two: \"\"");
    wait_violation(&checker, "I4");
}

#[test]
fn a_line_in_two_places_and_a_value_that_is_no_text_are_caught() {
    let rows = |text: &[u8]| [(b"line".to_vec(), text.to_vec())].into_iter().collect();
    let mut report = Report::default();
    let picture = Snapshot { todo: rows(b""), in_progress: rows(b"w"), failed: rows(b"\xff"), ..Snapshot::default() };
    report.add(picture, &BTreeSet::new());
    let rules: Vec<&str> = report.violations.iter().map(|one| &one[..2]).collect();
    assert_eq!(rules, ["I2", "I7"]);
}

#[test]
fn a_line_that_waits_and_is_over_is_caught() {
    let rows = |text: &str| [(b"line".to_vec(), text.as_bytes().to_vec())].into_iter().collect();
    let submitted = BTreeSet::from([b"line".to_vec()]);
    let judged = |picture: Snapshot| -> Vec<String> {
        let mut report = Report::default();
        report.add(picture, &submitted);
        report.violations.iter().map(|one| one[..2].to_owned()).collect()
    };
    assert!(judged(Snapshot { waiting: rows(""), ..Snapshot::default() }).is_empty());
    assert_eq!(judged(Snapshot { waiting: rows(""), in_progress: rows("w"), ..Snapshot::default() }), ["I2"]);
    assert_eq!(judged(Snapshot { waiting: rows(""), finished: rows("w: \"\""), ..Snapshot::default() }), ["I3"]);
}

/// A process that claims to have been given this much of a device.
fn holder(device: &str, task: &str, amount: &str) -> Child {
    let mut command = Command::new("sleep");
    command.arg("60").env("DISTCOMP_RESOURCE_GPUS", amount).env("DISTCOMP_RESOURCE_VALUES_GPUS", device);
    command.env("DISTCOMP_TASK_ID", task).env("DISTCOMP_ATTEMPT", "1").spawn().expect("sleep runs")
}

#[test]
fn a_device_with_two_tasks_is_caught() {
    let bed = Bed::new();
    let device = format!("control-{}", std::process::id());
    let checker = Checker::start(bed.redis.url(), [""; 0]);
    checker.watch_devices(&device);
    // Two processes of one task, then another task, for which there is no room.
    let mut holders = vec![holder(&device, "a", "0.6"), holder(&device, "a", "0.6"), holder(&device, "b", "0.4")];
    wait_until("all to be seen", SOON, || holds_for(checker.report().held.1 == 3, checker.report().to_string()));
    assert!(checker.report().violations.is_empty(), "{}", checker.report());
    // Also while the hashes are not looked at.
    checker.pause();
    holders.push(holder(&device, "c", "0.1"));
    wait_violation(&checker, "I12");
    for mut one in holders {
        one.kill().expect("it runs");
        one.wait().expect("it ends");
    }
}

#[test]
fn only_two_step_moves_of_python_are_excused_for_a_moment() {
    let line = b"line".to_vec();
    let submitted = BTreeSet::from([line.clone()]);
    let row = |value: &str| std::collections::BTreeMap::from([(line.clone(), value.as_bytes().to_vec())]);
    let nowhere = Snapshot::default;
    let todo = || Snapshot { todo: row(""), ..nowhere() };
    let runs = |by: &str| Snapshot { in_progress: row(by), ..nowhere() };
    let over = |by: &str| Snapshot { finished: row(&format!("{by}: \"\"")), ..nowhere() };
    let both = |by: &str| Snapshot { in_progress: row(by), ..over("py") };
    let judged = |pictures: Vec<Snapshot>| -> Vec<String> {
        let mut report = Report::default();
        report.know_python("py", 3);
        pictures.into_iter().for_each(|picture| report.add(picture, &submitted));
        report.violations.iter().map(|one| one[..2].to_owned()).collect()
    };
    let none: [&str; 0] = [];
    // Claimed, finished, given back, failed, as Python does it.
    assert_eq!(judged(vec![todo(), nowhere(), runs("py"), both("py"), over("py")]), none);
    assert_eq!(judged(vec![todo(), nowhere(), nowhere(), over("py")]), none);
    assert_eq!(judged(vec![runs("py"), nowhere(), todo()]), none);
    // The same by another, a name that only begins like it among them.
    assert_eq!(judged(vec![todo(), nowhere(), runs("ours")]), ["I1"]);
    assert_eq!(judged(vec![todo(), nowhere(), over("py2")]), ["I1"]);
    assert_eq!(judged(vec![runs("ours"), nowhere(), todo()]), ["I1"]);
    assert_eq!(judged(vec![both("ours")]), ["I3"]);
    assert_eq!(judged(vec![Snapshot { todo: row(""), ..both("py") }]), ["I2", "I3"]);
    // For longer than a moment.
    assert_eq!(judged(vec![todo(), nowhere(), nowhere(), nowhere(), nowhere(), runs("py")]), ["I1"]);
    assert_eq!(judged((0..4).map(|_| both("py")).collect()), ["I3"]);
}

#[test]
fn a_process_that_a_worker_leaves_behind_is_caught() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    let mark = unique_sleep();
    bed.add([format!("shell:0:0:1:sleep {mark}")]);
    let mut worker = bed.worker("w");
    super::wait_there(&mark, 1);
    // Worker and keepers at one moment, and no next start that sweeps.
    worker.kill9_with_keepers();
    let left = worker.survivors();
    assert!(left.iter().any(|one| one.argv.contains(&*mark)), "the leaked process is seen: {left:?}");
    kill_all(&left);
    wait_until("it to be gone", SOON, || holds_for(worker.survivors().is_empty(), "it lives"));
    // One whose environment is another's is not taken for ours.
    let mut other = Command::new("sleep").arg("30").env("IT_MARK", "another").spawn().expect("sleep runs");
    wait_until("the other to be seen", SOON, || holds_for(with_mark("IT_MARK=another").len() == 1, "not yet"));
    assert!(worker.survivors().is_empty());
    other.kill().expect("it runs");
    other.wait().expect("it ends");
}

#[cfg(not(feature = "failpoints"))]
#[test]
fn no_program_has_a_trace_of_fail_points() {
    for name in ["distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"] {
        let program = std::fs::read(crate::support::bin(name)).expect("the program");
        assert!(!super::has_fail_points(&program), "{name}");
    }
}

#[test]
fn every_test_that_the_manuals_name_is_there() {
    let manual = crate::support::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/failures.md"));
    let named = named_tests_exist(&manual, "");
    assert!(named >= 30, "{named}");
    let manual = crate::support::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/README.md"));
    let (_, rest) = manual.split_once("## The failure matrix").expect("the section");
    let named = named_tests_exist(rest.split("\n## ").next().expect("its text"), "faults::");
    assert!(named >= 60, "{named}");
}

/// Every `module::test` in the text, below `root` or from the top, is a test; every `module::` a module. Answers how many there are.
fn named_tests_exist(text: &str, root: &str) -> usize {
    let mut named = 0;
    for path in text.split('`').filter(|text| text.contains("::")) {
        let (module, test) = path.rsplit_once("::").expect("a path");
        let file = |root: &str| {
            let place = format!("{root}{module}").replace("::", "/");
            format!("{}/tests/it/{place}.rs", env!("CARGO_MANIFEST_DIR"))
        };
        let is_there = |file: String| {
            let code = crate::support::read(file);
            !code.is_empty() && (test.is_empty() || code.contains(&format!("fn {test}(")))
        };
        assert!(is_there(file(root)) || is_there(file("")), "{path} is not there");
        named += 1;
    }
    named
}
