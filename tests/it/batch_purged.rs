//! Batches whose tasks are purged: known as not done while something may wait for them, else forgotten, also when whoever does it dies in between.
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Bed, SOON, holds_for, stays, wait_until};

fn submit(bed: &Bed, args: &[&str]) {
    bed.cli("distcomp-submit").args(args).run().expect(0);
}

fn purge(bed: &Bed, args: &[&str]) -> crate::support::Output {
    bed.ctl(&[&["purge", "--yes"], args].concat()).expect(0)
}

fn batch(bed: &Bed, name: &str) -> Value {
    bed.status(&["batch", name, "--json"]).expect(0).json()
}

fn state(bed: &Bed, name: &str) -> String {
    batch(bed, name)["state"].as_str().unwrap_or_default().to_owned()
}

/// How many tasks of it are missed.
fn gone(bed: &Bed, name: &str) -> u64 {
    bed.table("distcomp:batch:n").get(&format!("{name}~")).map_or(0, |count| count.parse().expect("a number"))
}

/// What Redis still has of a batch and its steps.
fn traces(bed: &Bed, name: &str) -> Vec<String> {
    let is_of =
        |text: &str| text.split(['/', ',', ' ', '\t']).any(|part| part.trim_end_matches(['!', '=', '~', '+']) == name);
    let mut found = Vec::new();
    for key in ["distcomp:batches", "distcomp:batch:n", "distcomp:batch:submits", "distcomp:batch:held"] {
        found.extend(bed.table(key).into_keys().filter(|field| is_of(field)).map(|field| format!("{key} {field}")));
    }
    let members = bed.table("distcomp:member").into_iter().filter(|(_, value)| is_of(value));
    found.extend(members.map(|(line, value)| format!("{line}: {value}")));
    found
}

#[test]
fn purged_batch_is_known_while_something_waits_for_it() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    submit(&bed, &["-n", "a/x", "--", "true {}", ":::", "1", "2"]);
    submit(&bed, &["-n", "b", "--after", "a", "--", "echo b"]);
    submit(&bed, &["-n", "c", "--after-any", "a/x", "--", "echo c"]);
    submit(&bed, &["-n", "k", "--after", "a", "--kill-on-invalid-dep", "--", "echo k"]);
    purge(&bed, &["--batch", "a"]).says(&["a stays known as not done"]);
    let _worker = bed.worker("w");
    bed.status(&["wait", "c", "--timeout", "30s"]).expect(0);
    wait_until("k to be given up", SOON, || holds_for(state(&bed, "k") == "failed", batch(&bed, "k")));
    submit(&bed, &["-n", "a/x", "--", "true 1"]);
    wait_until("one of a to finish", SOON, || holds_for(batch(&bed, "a")["finished"] == 1, batch(&bed, "a")));
    stays("b waits for the other one", Duration::from_secs(2), || {
        holds_for(state(&bed, "b") == "blocked", batch(&bed, "b"))
    });
    submit(&bed, &["-n", "a/x", "--", "true 2"]);
    bed.status(&["wait", "a", "b", "--timeout", "30s"]).expect(0);
}

#[test]
fn purged_batch_is_forgotten_where_nothing_waits_for_it() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    submit(&bed, &["-n", "a/x", "--", "true {}", ":::", "1", "2"]);
    purge(&bed, &["--batch", "a"]);
    assert!(!bed.table("distcomp:batches").contains_key("a"), "it is listed");
    let names: Vec<String> = bed.table("distcomp:batch:n").into_keys().filter(|name| name.starts_with('a')).collect();
    assert!(names.is_empty(), "{names:?} are left");
    assert!(bed.table("distcomp:member").is_empty(), "nothing is left");
    submit(&bed, &["-n", "b", "--after", "a", "--after-any", "a/x", "--", "echo b"]);
    let _worker = bed.worker("w");
    stays("b waits for what nobody knows", Duration::from_secs(2), || {
        holds_for(state(&bed, "b") == "blocked", batch(&bed, "b"))
    });
    // Submitted again, it is a batch like any other.
    submit(&bed, &["-n", "a/x", "--", "true {}", ":::", "1", "2"]);
    bed.status(&["wait", "a", "b", "--timeout", "30s"]).expect(0);
    assert_eq!(batch(&bed, "a")["tasks"], 2);
    purge(&bed, &["--batch", "a"]);
    assert_eq!(batch(&bed, "a")["tasks"], 0, "what had finished is not missed, and its batch opens gates");
    submit(&bed, &["-n", "a/x", "--", "true {}", ":::", "1", "2"]);
    bed.status(&["wait", "a", "--timeout", "30s"]).expect(0);
    assert_eq!(batch(&bed, "a")["tasks"], 2, "none is counted twice");
    // Purged when it has no task, it is forgotten all the same.
    purge(&bed, &["--batch", "a"]);
    purge(&bed, &["--batch", "a"]).prints(&["forgot a: it has no task"]);
    assert_eq!(traces(&bed, "a"), Vec::<String>::new());
}

#[test]
fn line_of_a_forgotten_and_another_batch_hides_nothing() {
    let bed = Bed::new();
    submit(&bed, &["-n", "x", "--", "echo shared"]);
    submit(&bed, &["-n", "y/step", "--", "echo {}", ":::", "shared", "own"]);
    purge(&bed, &["--batch", "x"]);
    assert_eq!(traces(&bed, "x"), Vec::<String>::new());
    assert_eq!((gone(&bed, "y"), gone(&bed, "y/step")), (1, 1));
    submit(&bed, &["-n", "x", "--", "echo gone"]);
    submit(&bed, &["-n", "z", "--after", "x", "--", "echo z"]);
    purge(&bed, &["--include", "echo gone"]);
    // The line that was there before comes again, and finishes: the other one is still missed.
    submit(&bed, &["-n", "x", "--", "echo shared"]);
    assert_eq!(gone(&bed, "x"), 1);
    bed.burst("w");
    assert_eq!((state(&bed, "x").as_str(), state(&bed, "z").as_str()), ("failed", "blocked"));
    submit(&bed, &["-n", "x", "--", "echo gone"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 4, 0]);
    assert_eq!((state(&bed, "x").as_str(), state(&bed, "z").as_str()), ("finished", "finished"));
}

#[test]
fn forgotten_batch_does_not_come_back_with_a_line_of_it() {
    let bed = Bed::new();
    submit(&bed, &["-n", "x", "--", "echo shared"]);
    submit(&bed, &["-n", "y", "--", "echo shared"]);
    purge(&bed, &["--batch", "x"]);
    submit(&bed, &["-n", "y", "--", "echo shared"]);
    assert_eq!(traces(&bed, "x"), Vec::<String>::new());
    bed.status(&["wait", "x"]).expect(2);
    bed.burst("w");
    assert_eq!(state(&bed, "y"), "finished");
}

#[test]
fn purged_step_is_forgotten_and_its_batch_remembers() {
    let bed = Bed::new();
    submit(&bed, &["-n", "s/prep", "--", "echo {}", ":::", "1", "2"]);
    submit(&bed, &["-n", "s/sim", "--", "echo sim"]);
    submit(&bed, &["-n", "t", "--after", "s/prep", "--", "echo t"]);
    purge(&bed, &["--batch", "s/prep"]).says(&["s/prep stays known as not done"]);
    purge(&bed, &["--batch", "t"]);
    purge(&bed, &["--batch", "s/prep"]).prints(&["forgot s/prep"]);
    assert_eq!(gone(&bed, "s"), 2);
    assert!(!bed.table("distcomp:batch:n").keys().any(|field| field.starts_with("s/prep")));
    submit(&bed, &["-n", "s/prep", "--", "echo {}", ":::", "1", "2"]);
    bed.burst("w");
    assert_eq!((state(&bed, "s").as_str(), state(&bed, "s/prep").as_str()), ("finished", "finished"));
    assert_eq!(batch(&bed, "s")["tasks"], 3);
}

#[test]
fn batch_is_forgotten_however_all_of_it_was_purged() {
    let bed = Bed::new();
    for selection in [&["--all"][..], &["--include", "echo"], &["--state", "todo"], &["--tag", "t"]] {
        submit(&bed, &["-n", "a/x", "--tag", "t", "--", "echo {}", ":::", "1", "2"]);
        submit(&bed, &["-n", "b", "--tag", "t", "--after", "nowhere", "--", "echo b"]);
        purge(&bed, selection);
        assert_eq!((traces(&bed, "a"), traces(&bed, "b")), (Vec::new(), Vec::new()), "{selection:?}");
    }
    // Some of it is there, so that the rest is missed.
    submit(&bed, &["-n", "c", "--", "echo {}", ":::", "1", "2"]);
    purge(&bed, &["--include", "echo 1"]);
    assert_eq!((gone(&bed, "c"), batch(&bed, "c")["tasks"].clone()), (1, json!(2)));
}

#[test]
fn forgetting_that_was_cut_short_opens_no_gate_and_goes_on() {
    for ending in [&["purge", "--batch", "x", "--yes"][..], &["close", "x", "--yes"]] {
        let bed = Bed::new();
        submit(&bed, &["-n", "x/s", "--array", "1-6000", "--", "echo {}"]);
        let dying = bed.cli("distcomp-ctl").args(["purge", "--batch", "x", "--yes"]).start();
        let fields = || bed.table("distcomp:batch:submits").into_keys().collect::<Vec<_>>();
        wait_until("the forgetting to begin", SOON, || {
            holds_for(fields().iter().any(|one| one.contains("forget")), "")
        });
        dying.signal(Signal::SIGKILL);
        dying.finish();
        assert!(!traces(&bed, "x").is_empty(), "it was not done: else this shows nothing");
        submit(&bed, &["-n", "z", "--after", "x", "--after", "x/s", "--", "echo z"]);
        let _worker = bed.worker("w");
        stays("z waits", Duration::from_secs(2), || holds_for(state(&bed, "z") == "blocked", batch(&bed, "z")));
        bed.ctl(ending).expect(0);
        assert_eq!(traces(&bed, "x").iter().filter(|trace| !trace.contains("after=x")).count(), 0, "{ending:?}");
        stays("z waits", Duration::from_secs(2), || holds_for(state(&bed, "z") == "blocked", batch(&bed, "z")));
        submit(&bed, &["-n", "x/s", "--", "echo", "new"]);
        bed.status(&["wait", "z", "--timeout", "30s"]).expect(0);
    }
}
