//! Outputs byte for byte: what is kept beside the text that Python reads, and what readers say where it is not exact.
use std::fs;

use serde_json::{Value, json};

use crate::support::{Bed, Clock, SOON, holds_for, result_of, task_id, wait_until};

/// The command's stdout as bytes, and its stderr.
fn raw(bed: &Bed, args: &[&str]) -> (Vec<u8>, String) {
    let output = bed.cli("distcomp-status").args(args).into_command().output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (output.stdout, said)
}

fn evidence(bed: &Bed, line: &str) -> String {
    bed.table("distcomp:evidence")[&task_id(line)].clone()
}

/// What `export` tells of a line.
fn exported(bed: &Bed, line: &str) -> Value {
    let rows = bed.status(&["export"]).expect(0).stdout;
    let mut rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).expect("JSON"));
    rows.find(|row| row["line"] == line).expect("a row of it")
}

#[test]
fn every_output_is_had_again_byte_for_byte() {
    let bed = Bed::with(json!({"max_inline_output_bytes": 4000}));
    let blanks = "\\n".repeat(1000);
    let cases: Vec<(String, Vec<u8>)> = [
        ("echo x", b"x\n".to_vec()),
        ("printf x", b"x".to_vec()),
        ("true", Vec::new()),
        (r"printf '\n\n'", b"\n\n".to_vec()),
        (r"printf '  \t lead\r\n\n'", b"  \t lead\r\n\n".to_vec()),
        (r"printf '\303\244\302\240\n'", "\u{e4}\u{a0}\n".as_bytes().to_vec()),
        (r"printf 'a\377b\000c\n'", b"a\xffb\0c\n".to_vec()),
        ("seq 5000", (1..=5000).map(|n| format!("{n}\n")).collect::<String>().into_bytes()),
    ]
    .into_iter()
    .map(|(command, bytes)| (format!("shell:0:0:1:{command}"), bytes))
    .chain([(format!("shell:0:0:1:printf 'x{blanks}'"), [b"x".as_slice(), &[b'\n'; 1000]].concat())])
    .collect();
    bed.add(cases.iter().map(|(line, _)| line));
    bed.burst("w");
    let finished = bed.table("finished_tasks");
    for (line, bytes) in &cases {
        assert_eq!(raw(&bed, &["show", line, "--raw"]).0, *bytes, "{line}");
        assert_eq!(raw(&bed, &["logs", line, "--stdout", "--raw"]).0, *bytes, "{line}");
        // As Python reads it.
        let text = result_of(&finished, line).1;
        if bytes.len() <= 4000 {
            assert_eq!(text, String::from_utf8_lossy(bytes).trim(), "{line}");
        }
        let row = exported(&bed, line);
        let attempt = &row["attempts"][0];
        match attempt["stdout_exact"].as_bool().expect("it says so") {
            true => {
                let part = |at: usize| attempt["stdout_stripped"][at].as_str().unwrap_or_default().to_owned();
                assert_eq!([part(0), text, part(1)].concat().into_bytes(), *bytes, "{line}");
            }
            false => {
                let file = attempt["stdout_file"].as_str().expect("a file").split_once(':').expect("HOST:PATH").1;
                assert_eq!(fs::read(file).expect("the file"), *bytes, "{line}");
                assert_eq!(attempt["stdout_bytes"], bytes.len(), "{line}");
                assert!(bed.status(&["show", line]).expect(0).all().contains(file), "{line}");
            }
        }
        assert_eq!(row["stdout_exact"], attempt["stdout_exact"], "{line}");
    }
    let csv = bed.status(&["export", "--format", "csv"]).expect(0).stdout;
    assert!(
        csv.lines().next().is_some_and(|head| head.ends_with("output_exact,output_stripped,output_file,needs")),
        "{csv}"
    );
    assert!(csv.contains("true,\"[\"\"\"\",\"\"\\n\"\"]\",") && csv.contains("false,,"), "{csv}");
    let files = || fs::read_dir(bed.out("results")).expect("results").count();
    assert_eq!(files(), 3, "only of what is not had otherwise");
    bed.ctl(&["purge", "--state", "finished", "--yes"]).expect(0);
    assert_eq!(files(), 0);
}

#[test]
fn the_usual_output_costs_a_few_bytes_of_evidence() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:echo x"]);
    bed.burst("w");
    let record = evidence(&bed, "shell:0:0:1:echo x");
    assert!(record.contains(r#","q":1,"#) && !record.contains(r#""x":"#), "{record}");
}

#[test]
fn what_is_not_exact_is_said_and_where_the_whole_is() {
    let bed = Bed::new();
    let lines = [r"shell:0:0:1:printf 'a\377b'", "shell:0:0:1:echo old", "shell:0:0:1:head -c 9000 /dev/zero; exit 3"];
    bed.add(lines);
    bed.burst("w");
    let note = |line: &str| raw(&bed, &["show", line, "--raw"]);
    assert_eq!(note(lines[0]), (b"a\xffb".to_vec(), String::new()));
    let here = evidence(&bed, lines[0]);
    let place = here.split("\"f\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a place").to_owned();
    let (host, path) = place.split_once(':').expect("HOST:PATH");
    bed.hset("distcomp:evidence", task_id(lines[0]), here.replace(&format!("{host}:"), "elsewhere:"));
    let (text, said) = note(lines[0]);
    assert_eq!(text, "a\u{fffd}b".as_bytes());
    assert!(said.contains("not exact") && said.contains("elsewhere") && said.contains(path), "{said}");
    for selection in [&[lines[0]][..], &["--state", "finished"]] {
        let said = bed.ctl(&[&["purge", "--yes", "--dry-run"], selection].concat()).expect(0).all();
        assert!(!said.contains("elsewhere"), "a dry run deletes nothing: {said}");
    }
    bed.hset("distcomp:evidence", task_id(lines[0]), &here);
    fs::remove_file(path).expect("removed");
    assert!(note(lines[0]).1.contains("No such file"));
    // As an earlier version left it.
    let old = evidence(&bed, lines[1]).replace(",\"q\":1", "");
    bed.hset("distcomp:evidence", task_id(lines[1]), &old);
    let (text, said) = note(lines[1]);
    assert_eq!(text, b"old");
    assert!(said.contains("may not be exact"), "{said}");
    assert_eq!(exported(&bed, lines[1])["stdout_exact"], Value::Null);
    let (text, said) = note(lines[2]);
    assert_eq!(text.len(), 4096);
    assert!(said.contains("last 4 KiB of 9,000 bytes"), "{said}");
}

#[test]
fn purge_names_the_files_on_other_hosts_that_records_name() {
    let bed = Bed::new();
    for by_state in [true, false] {
        let line = format!(r"shell:0:0:1:printf 'a\377b' # {by_state}");
        bed.add([&line]);
        bed.burst("w");
        let here = evidence(&bed, &line);
        let host = here.split("\"f\":\"").nth(1).and_then(|rest| rest.split(':').next()).expect("a place");
        bed.hset("distcomp:evidence", task_id(&line), here.replace(&format!("{host}:/"), "elsewhere:/"));
        let selection = if by_state { vec!["--state", "finished"] } else { vec![line.as_str()] };
        let said = bed.ctl(&[vec!["purge", "--yes"], selection].concat()).expect(0).all();
        assert!(said.contains("not deleted") && said.contains("elsewhere:/"), "{said}");
    }
}

#[test]
fn purge_names_no_file_that_a_task_only_printed() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo elsewhere:/results/$DISTCOMP_TASK_ID.1.w.out";
    bed.add([line]);
    bed.burst("w");
    let said = bed.ctl(&["purge", "--yes", line]).expect(0).all();
    assert!(!said.contains("not deleted"), "{said}");
}

#[test]
fn an_output_whose_file_cannot_be_made_is_kept_as_text_and_said() {
    let mut bed = Bed::new();
    let line = r"shell:0:0:1:printf 'a\377b\n'";
    bed.configure(json!({"result_dir": bed.out("results")}));
    bed.add([line]);
    let mut worker = bed.worker_through(&["prlimit", "--fsize=0:0"], "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0);
    let (text, said) = raw(&bed, &["show", line, "--raw"]);
    assert_eq!(text, "a\u{fffd}b".as_bytes());
    assert!(said.contains("could not be kept") && said.contains("File too large"), "{said}");
    assert_eq!(fs::read_dir(bed.out("results")).map_or(0, Iterator::count), 0, "no part of it is left");
}

#[test]
fn the_end_of_stderr_is_kept_of_a_success_too() {
    let bed = Bed::new();
    let (line, silent) = ("shell:0:0:1:seq 3000 >&2; echo warned >&2; echo done", "shell:0:0:1:echo nothing");
    bed.add([line, silent]);
    bed.burst("w");
    let tail = exported(&bed, line)["attempts"][0]["stderr_tail"].as_str().expect("text").to_owned();
    assert!(tail.len() <= 4096 && tail.len() > 4000 && tail.ends_with("3000\nwarned\n"), "{tail}");
    assert!(exported(&bed, silent)["attempts"][0].get("stderr_tail").is_none());
    bed.status(&["show", line]).expect(0).prints(&["last of its stderr", "    warned"]);
    let (text, said) = raw(&bed, &["logs", line, "--stderr"]);
    assert_eq!((String::from_utf8(text).expect("text"), said.contains("last 4 KiB")), (tail, true));
    let both = bed.status(&["logs", line]).expect(0);
    assert!(both.stdout == "done\n" && both.stderr.contains("warned"), "{both}");
    assert!(raw(&bed, &["logs", silent, "--stderr"]).1.contains("wrote nothing to stderr"));
}

#[test]
fn purge_goes_by_the_clock_of_redis_and_not_by_the_workers() {
    let bed = Bed::new();
    let clock = Clock::new();
    clock.set(-60 * 24 * 3600);
    let lines = ["shell:0:0:1:echo fresh", "shell:0:0:1:echo failed; exit 1"];
    bed.add(lines);
    let through = clock.through();
    let through: Vec<&str> = through.iter().map(String::as_str).collect();
    let mut worker = bed.worker_through(&through, "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    let days_ago = exported(&bed, lines[0]);
    let (end, settled) = (&days_ago["attempts"][0]["end"], &days_ago["attempts"][0]["settled"]);
    assert!(settled.as_f64().expect("a time") - end.as_f64().expect("a time") > 59.0 * 86400.0, "{days_ago}");
    bed.ctl(&["purge", "--older-than", "30d", "--yes"]).expect(0).prints(&["nothing to purge"]);
    assert_eq!(bed.counts(), [0, 0, 1, 1]);
    wait_until("them to be older than a second", SOON, || {
        bed.ctl(&["purge", "--older-than", "1s", "--yes"]).expect(0);
        holds_for(bed.counts() == [0, 0, 0, 0], format!("{:?}", bed.counts()))
    });
}

#[test]
fn purge_by_age_passes_over_what_redis_has_not_dated() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo old";
    bed.add([line]);
    bed.burst("w");
    let record = evidence(&bed, line);
    let undated = record.split_once(",").map(|(_, rest)| format!("{{{rest}")).expect("a date before the rest");
    assert!(record.starts_with("{\"z\":") && undated.starts_with("{\"n\":1,\"a\":1,"), "{record}");
    bed.hset("distcomp:evidence", task_id(line), undated.replace("\"e\":1", "\"e\":"));
    bed.ctl(&["purge", "--older-than", "1s", "--yes"]).expect(0).says(&["skipped 1 task"]);
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}
