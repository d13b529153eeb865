//! `docs/json.md`: each of its examples has the fields of what the command prints, and each field has its row in a table.
//! `DISTCOMP_UPDATE_GOLDEN=1` writes the examples anew.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Dashboard, Output, task_id, wait_until};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");

/// The examples by their heading, in the order of the document.
fn examples(text: &str) -> Vec<(String, String)> {
    let sections = text.split("\n### `").skip(1);
    let parts = sections.map(|section| {
        let (command, rest) = section.split_once('`').expect("a heading");
        let block = rest.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        (command.to_owned(), block.unwrap_or_else(|| panic!("{command} has no example")).to_owned())
    });
    parts.collect()
}

/// The fields that the tables name, and whether one of their rows says that they may be absent.
fn fields(text: &str) -> BTreeMap<String, bool> {
    let mut fields = BTreeMap::new();
    for row in text.lines().filter(|row| row.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let is_field = matches!(cells.get(1), Some(&("always" | "sometimes")));
        for name in cells[0].split('`').skip(1).step_by(2).filter(|_| is_field) {
            *fields.entry(name.to_owned()).or_default() |= cells[1] == "sometimes";
        }
    }
    fields
}

/// The path of every field: `attempts[].worker`.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                paths(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| paths(value, &format!("{at}[]"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all_paths(values: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    values.iter().for_each(|value| paths(value, "", &mut found));
    found
}

fn name_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path).trim_end_matches("[]")
}

/// JSON values one after another, on one line or on several each.
fn values(text: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values.map(|value| value.unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}

/// What the document shows of the API.
const ADDRESSES: [&str; 4] =
    ["GET /api/v1/tasks?state=failed", "GET /api/v1/failures", "GET /api/v1/batches", "GET /api/v1/events?limit=2"];

/// What every command of the document prints, by its heading.
fn printed() -> Vec<(&'static str, Output)> {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    let (done, broken) = ("shell:0.1:1:0:60:echo 0.31 # w01.trace", "shell:0.1:1:0:60:cat w02.trace");
    let (slow, large) = ("shell:0.1:1:0:60:exec sleep 3623", "shell:100000:1:0:./simulate all.trace");
    let ids = [done, broken, slow, large].map(task_id);
    let submit = |args: &[&str], lines: &[&str]| bed.submit(args, lines.join("\n"));
    let mut all = vec![
        ("distcomp-submit --dry-run --json -", submit(&["--dry-run", "--json", "-"], &[done, broken])),
        ("distcomp-submit --json -", submit(&["--json", "-"], &[done, broken])),
    ];
    let _worker = bed.worker("node1");
    all.push(("distcomp-submit --wait --json -", submit(&["--wait", "--json", "-"], &[done, broken]).expect(1)));
    bed.add([slow, large]);
    bed.submit(&["--name", "report", "--after", "sim", "--", "./report"], "").expect(0);
    bed.wait_running(slow);
    wait_until("a heartbeat that names the task", Duration::from_secs(20), || {
        let worker = bed.status(&["workers", "--json"]).expect(0).stdout;
        if worker.contains("3623") { Ok(()) } else { Err(worker) }
    });
    let status = |heading, args: &[&str]| (heading, bed.status(args).expect(0));
    all.extend([
        ("distcomp-status show 00000000 --json", bed.status(&["show", "00000000", "--json"]).expect(2)),
        status("distcomp-status state ID ID --json", &["state", "--json", &ids[0], &ids[3]]),
        status("distcomp-status tasks --json", &["tasks", "--json"]),
        status("distcomp-status show ID --json", &["show", &ids[0], "--json"]),
        status("distcomp-status export --json", &["export", "--json", "--state", "failed"]),
        status("distcomp-status logs ID --json", &["logs", &ids[1], "--json"]),
        status("distcomp-status failures --json", &["failures", "--json"]),
        status("distcomp-status failures --all --json", &["failures", "--all", "--json"]),
        status("distcomp-status --json", &["--json"]),
        status("distcomp-status batches --json", &["batches", "--json"]),
        status("distcomp-status learnt --json", &["learnt", "--json"]),
        status("distcomp-status workers --json", &["workers", "--json"]),
        status("distcomp-status explain --json", &["explain", "--json"]),
        status("distcomp-status explain ID --json", &["explain", &ids[3], "--json"]),
        status("distcomp-status events --json", &["events", "--json"]),
    ]);
    let site = Dashboard::start(&bed);
    all.extend(ADDRESSES.map(|heading| {
        let answer = site.get(heading.trim_start_matches("GET "), &[]);
        assert_eq!(answer.status, 200, "{heading}: {answer:?}");
        (heading, Output::of_answer(&answer.body))
    }));
    // Too large for any node: it waits.
    bed.add(["shell:0:9999:0:true"]);
    let ctl = |heading, args: &[&str]| (heading, bed.ctl(args).expect(0));
    all.extend([
        ctl("distcomp-ctl cancel ID --yes --json", &["cancel", &ids[3], "--yes", "--json"]),
        ctl(
            "distcomp-ctl edit ID --set priority=9 --yes --json",
            &["edit", "--state", "todo", "--all", "--set", "priority=9", "--yes", "--json"],
        ),
        ctl("distcomp-ctl pause --yes --json", &["pause", "--yes", "--json"]),
        ctl("distcomp-ctl resume --yes --json", &["resume", "--yes", "--json"]),
        ctl("distcomp-ctl limit disk 20/2 --yes --json", &["limit", "disk", "20/2", "--yes", "--json"]),
        ctl("distcomp-ctl reclaim --yes --json", &["reclaim", "--yes", "--json"]),
        ctl("distcomp-ctl keygen --out KEY --json", &["keygen", "--out", &bed.out("task.key"), "--json"]),
    ]);
    let ssh = "#!/bin/sh\ncase \"$*\" in *node8*) echo 'ssh: connect to host node8 port 22: No route to host' >&2; exit 255 ;; esac\nexec sh\n";
    let (ssh, hosts) = (bed.file("ssh", ssh), bed.file("hosts", "node7\nnode8\n"));
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("chmod");
    let fleet = |verb: &str| {
        bed.cli("distcomp-ctl").args([verb, "--hosts", &hosts, "--yes", "--json"]).env("DISTCOMP_SSH", &ssh).run()
    };
    all.push(("distcomp-ctl up --hosts FILE --yes --json", fleet("up").expect(1)));
    all.push(("distcomp-ctl down --hosts FILE --yes --json", fleet("down").expect(0)));
    all.push(("distcomp-status limits --json", bed.status(&["limits", "--json"]).expect(0)));
    all
}

/// What is of this machine, replaced.
fn plain(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| {
                let plain = match (name.as_str(), depth) {
                    ("host", _) if value.as_str().is_some_and(|host| !host.starts_with("node")) => json!("node1"),
                    ("log", _) => json!("/shared/project/distcomp-worker.node7.log"),
                    ("secret" | "public", 0) => json!(value.as_str().unwrap_or_default().rsplit('/').next()),
                    _ => plain(value, depth + 1),
                };
                (name, plain)
            })
            .collect(),
        Value::Array(list) => list.into_iter().map(|value| plain(value, depth + 1)).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// An example as the document shows it: what is short on one line.
fn shown(value: &Value) -> String {
    const SHORT: usize = 160;
    let line = value.to_string();
    if line.len() <= SHORT { line } else { serde_json::to_string_pretty(value).expect("JSON") }
}

#[test]
fn examples_of_the_document_have_the_fields_that_are_printed() {
    let mut text = fs::read_to_string(DOCUMENT).expect("docs/json.md");
    let printed = printed();
    let headings: BTreeSet<&str> = printed.iter().map(|(heading, _)| *heading).collect();
    let documented: BTreeMap<String, String> = examples(&text).into_iter().collect();
    assert_eq!(headings, documented.keys().map(String::as_str).collect(), "commands here, and in docs/json.md");
    let fields = fields(&text);
    for (heading, output) in &printed {
        let real = values(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
        assert!(!real.is_empty(), "{heading} printed nothing: {output}");
        if std::env::var_os("DISTCOMP_UPDATE_GOLDEN").is_some() {
            let example: String = real.iter().take(3).map(|value| shown(&plain(value.clone(), 0)) + "\n").collect();
            let head = format!("### `{heading}`\n\n```json\n");
            let (before, after) = text.split_once(&head).expect("the heading");
            let (_, rest) = after.split_once("```").expect("the end of the block");
            text = format!("{before}{head}{example}```{rest}");
            continue;
        }
        let (real, example) = (all_paths(&real), all_paths(&values(&documented[*heading])));
        for path in &real {
            assert!(fields.contains_key(name_of(path)), "{heading}: no table of docs/json.md has {path}");
        }
        for path in real.symmetric_difference(&example) {
            let may_be_absent = path.split('.').any(|name| fields.get(name.trim_end_matches("[]")) == Some(&true));
            assert!(may_be_absent, "{heading}: {path} is printed and not in the example, or the other way round");
        }
    }
    if std::env::var_os("DISTCOMP_UPDATE_GOLDEN").is_some() {
        fs::write(DOCUMENT, text).expect("docs/json.md");
    }
}

/// With `--json`: the objects on standard error.
#[track_caller]
fn said(output: &Output) -> Vec<Value> {
    let said = values(&output.stderr);
    assert_eq!(said.len(), output.stderr.lines().count(), "an object on each line: {output}");
    assert!(said.iter().all(|value| value.as_object().is_some_and(|object| object.len() == 1)), "{output}");
    said
}

#[test]
fn an_error_is_one_json_object_and_keeps_its_exit_code() {
    let bed = Bed::new();
    let none = "redis://127.0.0.1:1/0";
    for (program, args, exit, code) in [
        ("distcomp-status", &["tasks", "--json", "--state", "nonsense"][..], 2, "usage"),
        ("distcomp-status", &["--json", "frobnicate"], 2, "usage"),
        ("distcomp-status", &["show", "--json", "0123456789abcdef"], 2, "usage"),
        ("distcomp-status", &["--json", "--redis-url", none], 3, "redis_unavailable"),
        ("distcomp-submit", &["--json", "--redis-url", none, "-"], 3, "redis_unavailable"),
        ("distcomp-submit", &["--json", "/nowhere/tasks"], 2, "io"),
        ("distcomp-submit", &["--json", "--dry-run", "/nowhere/tasks"], 2, "io"),
        ("distcomp-ctl", &["pause", "--json"], 2, "usage"),
        ("distcomp-ctl", &["pause", "--json", "--yes", "--redis-url", none], 3, "redis_unavailable"),
        ("distcomp-worker", &["--json"], 2, "usage"),
    ] {
        let output = bed.cli(program).args(args).run().expect(exit);
        let error = said(&output).pop().expect("an error");
        assert_eq!(error["error"]["code"], code, "{program} {args:?}: {output}");
        assert!(error["error"]["message"].as_str().is_some_and(|text| !text.trim().is_empty()), "{output}");
        assert!(output.stdout.is_empty(), "{output}");
        // Without the flag it is text, for people.
        let plain: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--json").collect();
        if program != "distcomp-worker" {
            let output = bed.cli(program).args(plain).run().expect(exit);
            assert!(!output.stderr.is_empty() && !output.stderr.starts_with('{'), "{output}");
        }
    }
    let wrong =
        crate::support::Cli::new(crate::support::bin("distcomp")).args(["frobnicate", "--json"]).run().expect(2);
    assert_eq!(said(&wrong)[0]["error"]["code"], "usage");
}

#[test]
fn faults_of_lines_are_notes_before_the_error() {
    let bed = Bed::new();
    let output = bed.submit(&["--json", "-"], "shell:1:1:1:fine\nshell:x:1:1:bad\nshell:y:1:1:worse\n").expect(2);
    let said = said(&output);
    assert!(
        said.len() >= 3 && said[0]["note"]["message"].as_str().is_some_and(|text| text.contains(":2: ")),
        "{output}"
    );
    assert_eq!(said[said.len() - 1]["error"]["code"], "usage", "{output}");
    assert_eq!(bed.counts(), [0; 4]);
}

#[test]
fn a_flag_inside_a_command_asks_for_no_json() {
    let bed = Bed::new();
    let output = bed.submit(&["--mem", "nonsense", "--", "./sim", "--json"], "").expect(2);
    assert!(!output.stderr.starts_with('{'), "{output}");
}

#[test]
fn the_output_of_a_finished_task_is_plain_text() {
    let bed = Bed::new();
    let line = "shell:0:0:1:printf 'two\\n\"lines\": é\\n'";
    bed.add([line]);
    bed.burst("w");
    let shown = bed.status(&["show", line, "--json"]).expect(0).json();
    assert_eq!((&shown["output"], &shown["finished_on"]), (&json!("two\n\"lines\": é"), &json!("w")));
    assert_eq!(shown["result"], "w: \"two\\n\\\"lines\\\": \\u00e9\"", "as before");
    let exported = bed.status(&["export", "--json"]).expect(0).json_lines();
    assert_eq!(exported[0]["output"], shown["output"]);
}

#[test]
fn the_waiters_answer_names_its_failures() {
    let bed = Bed::new();
    let _worker = bed.worker("w");
    let line = "shell:0:0:1:exit 3";
    let output = bed.submit(&["--wait", "--json", "-"], line).expect(1);
    let answer = output.json();
    let outcome = json!({"finished": 0, "failed": 1, "gone": 0, "cancelled": 0, "blocked": 0});
    assert_eq!(answer["outcome"], outcome);
    assert_eq!(
        (&answer["failures"][0]["kind"], &answer["failures"][0]["sample_id"]),
        (&json!("exit 3"), &json!(task_id(line)))
    );
    assert!(said(&output).iter().all(|line| line.get("note").is_some()), "{output}");
}
