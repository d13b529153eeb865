//! Task lines: what is accepted, what is refused, and what is said about it.
use serde_json::json;

use crate::support::{Bed, Output};

const GOOD: &[&str] = &[
    "shell:8:2:5:300:./cachesim trace.bin 64",
    "shell:8:2:5:./cachesim trace.bin 64",
    "shell:0:0:0:0:true",
    "shell:0.5:0.25:65535:true",
    "shell:1:1:1:cp host:a b",
    "shell:1:1:1:8080:x",
    "shell:1:1:1:8080x:y",
    "shell:1:1:1: 5:leading blank, so no timeout",
    "shell:1:1:1:http://example.org:80/a?b=c:d",
    "python:1:1:1:print('a:b')",
    "demo:1:1:1:anything at all",
    "shell:1:1:1:echo 'snow: ☃'",
    "shell:1:1:1:# only a comment for sh",
    "shell:1:1:1:trailing blanks stay  ",
];

/// A bad line and the field its message must name.
const BAD: &[(&str, &str)] = &[
    ("shell:x:1:1:true", "mem"),
    ("shell::1:1:true", "mem"),
    ("shell:-1:1:1:true", "mem"),
    ("shell:1.2.3:1:1:true", "mem"),
    ("shell:1e3:1:1:true", "mem"),
    ("shell:inf:1:1:true", "mem"),
    ("shell:١:1:1:true", "mem"),
    ("shell:99999999999999999999999999:1:1:true", "mem"),
    ("shell:1:+1:1:true", "cpu"),
    ("shell:1: 1:1:true", "cpu"),
    ("shell:1:NaN:1:true", "cpu"),
    ("shell:1:0x1:1:true", "cpu"),
    ("shell:1:1:1.5:true", "prio"),
    ("shell:1:1:-1:true", "prio"),
    ("shell:1:1:65536:true", "prio"),
    ("shell:1:1:99999999999999999999:true", "prio"),
    ("shell:1:1:high:true", "prio"),
    ("shell:1:1:1:99999999999999999999999:true", "timeout"),
    ("shell:1:1:1:", "cmd"),
    ("shell:1:1:1:5:", "cmd"),
    ("shell:1:1:1:echo a\0b", "cmd"),
    ("ruby:1:1:1:puts", "type"),
    ("SHELL:1:1:1:true", "type"),
    (" shell:1:1:1:true", "type"),
    (":1:1:1:true", "type"),
];

/// Asserts that each line of the file is reported at its number with its field, and that nothing else is.
#[track_caller]
fn reports(output: &Output, file: &str, faults: &[(usize, &str)]) {
    for (number, field) in faults {
        let place = format!("{file}:{number}: ");
        let message = output.stderr.lines().find(|line| line.contains(&place));
        let message = message.unwrap_or_else(|| panic!("no message for {place}\n{output}"));
        assert!(message.contains(field), "{message:?} does not name {field}\n{output}");
    }
    let count = output.stderr.lines().filter(|line| line.contains(&format!("{file}:"))).count();
    assert_eq!(count, faults.len(), "messages and faults are not as many\n{output}");
}

#[test]
fn good_lines_pass_a_dry_run_and_nothing_is_submitted() {
    let bed = Bed::new();
    let file = bed.file("task", GOOD.join("\n") + "\n");
    bed.submit(&["--dry-run", &file], "").expect(0);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn good_lines_go_in_byte_for_byte() {
    let bed = Bed::new();
    bed.add(GOOD);
    let mut wanted: Vec<_> = GOOD.iter().map(ToString::to_string).collect();
    wanted.sort();
    let todo = bed.table("todo_tasks");
    assert_eq!(todo.keys().cloned().collect::<Vec<_>>(), wanted);
    assert!(todo.values().all(String::is_empty), "{todo:?}");
}

#[test]
fn all_bad_lines_are_reported_and_nothing_is_submitted() {
    let bed = Bed::new();
    let mut text = String::from("shell:1:1:1:true\n");
    for (line, _) in BAD {
        text.push_str(line);
        text.push('\n');
    }
    let file = bed.file("task", &text);
    let faults: Vec<_> = BAD.iter().enumerate().map(|(at, (_, field))| (at + 2, *field)).collect();
    let output = bed.submit(&["--dry-run", &file], "").expect(2);
    reports(&output, &file, &faults);
    let output = bed.submit(&[&file], "").expect(2);
    reports(&output, &file, &faults);
    assert_eq!(bed.counts(), [0, 0, 0, 0], "one bad line and nothing is submitted");
}

#[test]
fn lines_with_too_few_fields_are_reported() {
    let bed = Bed::new();
    let bad = ["shell", "shell:1", "shell:1:1", "shell:1:1:1", "echo hello"];
    let file = bed.file("task", bad.join("\n"));
    let output = bed.submit(&["--dry-run", &file], "").expect(2);
    reports(&output, &file, &[(1, ""), (2, ""), (3, ""), (4, ""), (5, "")]);
}

#[test]
fn a_command_over_128_kib_is_refused() {
    let bed = Bed::new();
    let long = |bytes: usize| format!("shell:1:1:1:{}\n", "x".repeat(bytes));
    let file = bed.file("long", long(128 * 1024 + 1));
    let output = bed.submit(&[&file], "").expect(2);
    reports(&output, &file, &[(1, "cmd")]);
    assert!(output.stderr.len() < 10_000, "the message does not repeat the line");
    bed.submit(&["-"], long(100 * 1024)).expect(0);
}

#[test]
fn the_python_field_order_reads_priority_first() {
    let bed = Bed::with(json!({"task_field_order": "prio:mem:cpu"}));
    let file = bed.file(
        "task",
        "shell:5:0.5:1:true\nshell:65535:8:2.5:60:true\nshell:65536:1:1:true\nshell:0.5:1:1:true\nshell:1:x:1:true\nshell:1:1:x:true\n",
    );
    let output = bed.submit(&["--dry-run", &file], "").expect(2);
    reports(&output, &file, &[(3, "prio"), (4, "prio"), (5, "mem"), (6, "cpu")]);
}

#[test]
fn a_message_quotes_the_value_and_says_what_is_valid() {
    let bed = Bed::new();
    let output = bed.submit(&["-"], "shell:1:1:70000:true\n").expect(2);
    output.says(&["70000", "65535"]);
}

#[test]
fn control_characters_of_a_bad_line_do_not_reach_the_terminal() {
    let bed = Bed::new();
    let output = bed.submit(&["-"], "shell:1:\x1b[31mred:1:true\n").expect(2);
    assert!(!output.all().contains('\x1b'), "{output}");
}

#[test]
fn bom_carriage_returns_comments_and_blanks_are_skipped() {
    let bed = Bed::new();
    let file = bed.file(
        "task",
        "\u{feff}shell:1:1:1:first\r\n\r\n   \n# comment\r\n  \t# indented comment\nshell:1:1:1:last, no newline",
    );
    bed.submit(&[&file], "").expect(0);
    let todo: Vec<_> = bed.table("todo_tasks").into_keys().collect();
    assert_eq!(todo, ["shell:1:1:1:first", "shell:1:1:1:last, no newline"]);
}

#[test]
fn line_numbers_count_every_line_of_each_file() {
    let bed = Bed::new();
    let one = bed.file("one", "# comment\n\nshell:1:1:1:true\nshell:1:x:1:true\n");
    let two = bed.file("two", "shell:1:1:x:true\n");
    let output = bed.submit(&[&one, &two], "").expect(2);
    reports(&output, &one, &[(4, "cpu")]);
    reports(&output, &two, &[(1, "prio")]);
}

#[test]
fn skip_invalid_submits_the_good_lines_and_reports_the_bad() {
    let bed = Bed::new();
    let file = bed.file("task", "shell:1:1:1:a\nshell:x:1:1:b\nshell:1:1:1:c\n");
    let output = bed.submit(&["--skip-invalid", &file], "").expect(0);
    reports(&output, &file, &[(2, "mem")]);
    let todo: Vec<_> = bed.table("todo_tasks").into_keys().collect();
    assert_eq!(todo, ["shell:1:1:1:a", "shell:1:1:1:c"]);
}

#[test]
fn standard_input_is_a_task_file_too() {
    let bed = Bed::new();
    bed.submit(&["-"], "shell:1:1:1:a\nshell:1:1:1:b\n")
        .expect(0)
        .prints_line("added 2 tasks; skipped 0 already queued, 0 running, 0 finished, 0 failed");
    let output = bed.submit(&["-"], "shell:1:1:1:c\nshell:1:1:x:d\n").expect(2);
    assert!(output.stderr.contains(":2: ") && output.stderr.contains("prio"), "{output}");
    assert_eq!(bed.count("todo_tasks"), 2);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_its_line() {
    let bed = Bed::new();
    let file = bed.file("task", b"shell:1:1:1:good\nshell:1:1:1:b\xffd\n");
    let output = bed.submit(&[&file], "").expect(2);
    reports(&output, &file, &[(2, "UTF-8")]);
    assert_eq!(bed.count("todo_tasks"), 0);
}

#[test]
fn a_missing_file_is_a_usage_error_that_names_it() {
    let bed = Bed::new();
    bed.submit(&["no-such-file"], "").expect(2).says(&["no-such-file"]);
    bed.submit(&[], "").expect(2);
}

#[test]
fn with_python_workers_lines_that_would_kill_them_are_refused() {
    let bed = Bed::with(json!({"task_field_order": "prio:mem:cpu", "python_workers": true}));
    let file = bed.file(
        "task",
        "shell:5:1:1:echo fine\nshell:5:1:1:echo a:b\nshell:5:1:1:30:sleep 1\nshell:5:0.5:1:true\nshell:5:1:0.5:true\npython:5:1:1:print(1)\n",
    );
    let output = bed.submit(&[&file], "").expect(2);
    reports(&output, &file, &[(2, ""), (3, ""), (4, "mem"), (5, "cpu"), (6, "type")]);
    bed.submit(&["--skip-invalid", &file], "").expect(0);
    assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), ["shell:5:1:1:echo fine"]);
}
