//! What is said of names of batches: which are valid, and hints that work when they are copied.
use serde_json::json;

use crate::support::{Bed, Dashboard, SOON, holds_for, wait_until};

const FORM: &str = "a name like s1 or s1/prep of A-Z a-z 0-9 . _ -";
const LENGTH: &str = "at most 4 parts of at most 64 characters each, like s1/prep";

#[test]
fn name_that_is_too_long_is_refused_for_its_length() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    let long = "x".repeat(65);
    for (name, valid) in [(long.as_str(), LENGTH), ("a/b/c/d/e", LENGTH), ("a:b", FORM)] {
        for flag in ["--name", "--after", "--after-any"] {
            let said = format!("{flag} is {name:?}; valid: {valid}");
            let args = [&[flag, name][..], if flag == "--name" { &[] } else { &["--name", "s"] }].concat();
            bed.submit(&[&args, &["--", "true"][..]].concat(), "").expect(2).says(&[&said]);
            let local = bed.cli("distcomp-worker").args(["--local"]).args(&args).args(["--", "true"]);
            local.run().expect(2).says(&[&said]);
            let directive = format!("#DC --commands {}\ntrue\n", args.join(" "));
            bed.submit(&["-"], directive).expect(2).says(&[&said]);
        }
        let rows = format!("{{\"cmd\": \"true\", \"name\": {name:?}}}\n");
        bed.submit(&["--jsonl", "-"], rows).expect(2).says(&[valid]);
        bed.status(&["batch", name]).expect(2).says(&[valid]);
        for path in ["/api/v1/tasks?state=failed&batch=", "/failures?batch="] {
            let answer = site.get(&format!("{path}{name}"), &[]);
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.body.contains(valid), "{valid}: {answer:?}");
        }
        if !name.contains(':') {
            let line = format!("shell,after={name}:0:0:0:true\n");
            bed.submit(&["-"], line).expect(2).says(&["after is \"", &format!("\"; valid: {valid}")]);
        }
    }
    let step = format!("#DC --commands --name {}\n#DC --name y\ntrue\n", "a/b/c/d");
    bed.submit(&["-"], step).expect(2).says(&[&format!("--name is \"a/b/c/d/y\"; valid: {LENGTH}")]);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn gate_of_a_line_that_is_wrong_says_what_is_right() {
    let bed = Bed::new();
    let range = "valid: seconds since the epoch, a whole number below 1099511627776";
    for (needs, said) in [
        ("begin=99999999999999", format!("begin is \"99999999999999\"; {range}")),
        ("after=,", format!("after is \"\"; valid: {FORM}")),
        ("afterany=", format!("afterany is \"\"; valid: {FORM}")),
    ] {
        bed.submit(&["-"], format!("shell,{needs}:0:0:0:true\n")).expect(2).says(&[&said]);
    }
    let begin = bed.submit(&["--begin", "@99999999999999", "--", "true"], "").expect(2);
    begin.says(&["--begin is \"@99999999999999\"; valid: "]);
}

/// The words after `distcomp-ctl` of the hint that ends with these, with `--yes`.
fn hint<'a>(text: &'a str, end: &str) -> Vec<&'a str> {
    let found = text.split("distcomp-ctl ").skip(1).find_map(|rest| {
        let (command, _) = rest.split_once(end)?;
        (!command.contains([';', ',', ')', '('])).then_some(command)
    });
    let command = found.unwrap_or_else(|| panic!("no hint that ends with {end:?}: {text}"));
    let mut words: Vec<&str> = command.split_whitespace().collect();
    words.insert(1, "--yes");
    words
}

#[test]
fn hint_with_a_name_that_begins_with_a_hyphen_works() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.submit(&["--name=-x", "--wait", "--", "[ -e fixed ]"], "").expect(1);
    bed.submit(&["--name=-y", "--after=-x", "--", "echo y"], "").expect(0);
    let waits = bed.status(&["wait", "--timeout", "20s", "--", "-y"]).expect(1).stdout;
    assert!(waits.contains("distcomp-ctl requeue --batch=-x tries again"), "{waits}");
    bed.ctl(&hint(&waits, " tries again")).expect(0).prints(&["requeued 1 task"]);
    wait_until("the failure to be back", SOON, || holds_for(bed.counts()[3] == 1, format!("{:?}", bed.counts())));
    // The same words stand in each view.
    for args in [&["explain"][..], &["batches"], &["batch", "--", "-y"], &[]] {
        let shown = bed.status(args).expect(0).stdout.replace('\n', " ");
        assert!(shown.contains("--batch=-x") && shown.contains("release -- -x"), "{args:?}: {shown}");
    }
    let site = Dashboard::start(&bed);
    let page = site.get("/batch/-y", &[]).body;
    assert!(page.contains("release -- -x"), "{page}");
    let failures = bed.status(&["failures", "--batch=-x"]).expect(0).stdout;
    assert!(failures.contains("--batch=-x"), "{failures}");
    let paused = bed.ctl(&["pause", "--yes", "--", "-y"]).expect(0).stdout;
    let held = bed.status(&["batch", "--", "-y"]).expect(0).stdout;
    bed.ctl(&hint(&held, " goes on")).expect(0).prints(&["resumed -y"]);
    bed.ctl(&["pause", "--yes", "--", "-y"]).expect(0);
    bed.ctl(&hint(&paused, " continues")).expect(0).prints(&["resumed -y"]);
    bed.ctl(&hint(&waits, " goes on without")).expect(0);
    bed.status(&["wait", "--timeout", "20s", "--", "-y"]).expect(0);
}

#[test]
fn submission_says_what_became_of_what_it_waits_for() {
    let bed = Bed::new();
    bed.submit(&["-n", "x", "--", "echo x"], "").expect(0);
    bed.ctl(&["cancel", "--batch", "x", "--yes"]).expect(0);
    bed.submit(&["-n", "y", "--after", "x", "--", "echo y"], "").expect(0).prints(&["blocked: x has 1 cancelled"]);
    bed.ctl(&["purge", "--batch", "x", "--yes"]).expect(0);
    bed.submit(&["-n", "z", "--after", "x", "--", "echo z"], "").expect(0).prints(&["blocked: x has 1 gone"]);
}
