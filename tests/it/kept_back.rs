//! What keeps tasks from starting is said also where no worker runs: times, batches, limits; and notes are whole where nobody looks at a terminal.
use serde_json::{Value, json};

use crate::support::Bed;

/// The time of the gate of a line, as views write it.
fn moment_of(bed: &Bed, name: &str) -> (u64, String) {
    let starts = &bed.status(&["batch", name, "--json"]).expect(0).json()["starts_at"];
    let seconds = starts.as_u64().unwrap_or_else(|| panic!("{name} has no time: {starts}"));
    let at = jiff::Timestamp::from_second(seconds as i64).expect("a time").to_zoned(jiff::tz::TimeZone::system());
    (seconds, at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

#[test]
fn batch_that_waits_for_a_time_says_when_it_starts() {
    let bed = Bed::new();
    bed.submit(&["-n", "late", "--begin", "+9h", "--", "echo {}", ":::", "a", "b"], "").expect(0);
    bed.submit(&["-n", "bg", "--begin", "+5h", "--", "echo later"], "").expect(0);
    bed.submit(&["-n", "bg", "--begin", "+3h", "--", "echo hi"], "").expect(0);
    bed.submit(&["-n", "next", "--after", "bg", "--", "echo next"], "").expect(0);
    bed.submit(&["-n", "both", "--begin", "+1h", "--", "echo timed"], "").expect(0);
    bed.submit(&["-n", "both", "--", "echo now"], "").expect(0);
    let steps = "#DC --name st --commands\n#DC --name a --begin +2h\ntrue a\n#DC --name b --begin +1h\ntrue b\n";
    bed.submit(&["-"], steps).expect(0);
    let times = ["late", "bg", "both", "st", "st/a", "st/b"].map(|name| moment_of(&bed, name).0);
    let hours: Vec<u64> = times.iter().map(|at| (at - times[2]) / 3600).collect();
    assert_eq!(hours, [8, 2, 0, 0, 1, 0], "{times:?}");
    let starts = format!("starts at {}", moment_of(&bed, "bg").1);
    let waited = bed.status(&["wait", "bg", "--timeout", "1s"]).expect(124);
    waited.prints_line(&format!("bg: 2 of 2 open; {starts}"));
    for view in [&["batches"][..], &["batch", "bg"]] {
        bed.status(view).expect(0).prints(&[&starts]);
    }
    let some = format!("some of it starts at {}", moment_of(&bed, "both").1);
    bed.status(&["batch", "both"]).expect(0).prints(&[&some]);
    let rows = bed.status(&["batches", "--json"]).expect(0).json_lines();
    let next = rows.iter().find(|row| row["name"] == "next").expect("a row");
    assert_eq!(next["starts_at"], Value::Null, "it waits for bg and for no time");
}

#[test]
fn explain_lists_what_is_kept_back_while_no_worker_runs() {
    let bed = Bed::new();
    bed.submit(&["-n", "next", "--after", "first", "--", "echo next"], "").expect(0);
    bed.submit(&["--begin", "+3h", "--", "echo later"], "").expect(0);
    bed.ctl(&["limit", "disk", "0", "--yes"]).expect(0);
    bed.submit(&["--limit", "disk", "--", "echo {}", ":::", "a", "b"], "").expect(0);
    bed.submit(&["-n", "held", "--", "echo held"], "").expect(0);
    bed.ctl(&["pause", "held", "--yes"]).expect(0);
    let parts = ["2 blocked (1 for ", "for first, of which nothing is known", "1 in held batches"];
    let limit = "2 wait for limit disk, which is 0";
    let shown = bed.status(&["explain"]).expect(0).prints(&parts).prints(&[limit]);
    assert!(!shown.stdout.contains("no worker is running"), "a worker would change nothing: {shown}");
    let overview = bed.status(&[]).expect(0).prints(&parts).prints(&[limit]);
    assert!(!overview.stdout.contains("no worker is running"), "{overview}");
    bed.submit(&["--", "echo {}", ":::", "c", "d", "e"], "").expect(0);
    bed.status(&["explain"]).expect(0).prints(&parts).prints(&[limit, "3 wait: no worker is running: start"]);
    let why = bed.status(&["explain", "--json"]).expect(0).json();
    let texts: Vec<&str> = why["why"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(texts.iter().any(|text| text.contains("1 in held batches")), "{texts:?}");
    let of_limit: Vec<&Value> = why["needs"].as_array().expect("rows").iter().map(|need| &need["why"]).collect();
    assert!(of_limit.contains(&&json!("limit disk, which is 0")), "{of_limit:?}");
}

#[test]
fn notes_in_a_pipe_are_whole() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let name = format!("a-name-that-takes-its-room-{}", "x".repeat(30));
    bed.submit(&["-n", &name, "--", "false"], "").expect(0);
    bed.burst("w");
    bed.submit(&["-n", "next", "--after", &name, "--", "echo next"], "").expect(0);
    let hint = format!(
        "{name}: 1 failed; distcomp-ctl requeue --batch {name} tries again, distcomp-ctl release {name} goes on without"
    );
    for view in [&[][..], &["batches"], &["batch", "next"], &["explain"]] {
        let shown = bed.status(view).expect(0).prints(&[&hint]);
        assert!(!shown.stdout.contains('…'), "{view:?}: {shown}");
    }
    let narrow = bed.cli("distcomp-status").env("COLUMNS", "80").run().expect(0).stdout;
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
}
