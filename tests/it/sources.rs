//! Commands in place of task lines: templates and sources beside a real GNU parallel, fields, directives, JSON lines, job logs.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Bed, lines_of, read};

/// Prints its arguments, each ended by NUL, and a line end.
const PRINTER: &str = "#!/bin/sh\nfor value in \"$@\"; do printf '%s\\0' \"$value\"; done; echo\n";

fn bed_with_printer() -> Bed {
    let bed = Bed::new();
    let printer = bed.file("print", PRINTER);
    std::fs::set_permissions(printer, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    bed
}

/// What GNU parallel runs for these arguments, one output after the other.
fn parallel(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("parallel");
    command.args(["--will-cite", "-k", "-j1"]).args(args).current_dir(dir).env("SHELL", "/bin/sh");
    let output = command.output().expect("GNU parallel, which tests/run.sh installs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What the lines run for the same arguments, in order, each by the shell of a worker.
fn ours(bed: &Bed, flags: &[&str], command: &[&str]) -> String {
    let lines = bed
        .cli("distcomp-submit")
        .args(["--dry-run", "--parsable"])
        .args(flags)
        .args(["--"])
        .args(command)
        .run()
        .expect(0);
    let mut all = String::new();
    for line in lines.stdout.split_inclusive('\n') {
        let (_, cmd) = line.trim_end_matches('\n').split_once("shell:0:1:0:").expect("a line of ours");
        let output = Command::new("/bin/sh").args(["-c", cmd]).current_dir(bed.path()).output().expect("sh");
        all.push_str(&String::from_utf8(output.stdout).expect("UTF-8"));
    }
    all
}

#[test]
fn arguments_are_those_of_gnu_parallel() {
    let bed = bed_with_printer();
    bed.file("lines", " b \nit's\n\n*.rs\nlast");
    bed.file("table", "a,b\nc d,$e\n,x\n");
    let odd = ["a b", "it's", "d\"q", "$HOME", "*", "", "back\\s", "~", "-n", "é", "#c", "a;b&c|d", "`x`", "!1", "[a]"];
    let paths = ["/d.x/f.tar.gz", "f", "g.", ".bashrc", "a/.b", "/x", "dir/", "a b/c d.e"];
    let with = |command: &[&'static str], values: &[&'static str]| [command, &[":::"], values].concat();
    let cases: Vec<(&[&str], Vec<&str>)> = vec![
        (&[], with(&["./print", "{}"], &odd)),
        (&[], with(&["./print"], &odd)),
        (&[], with(&["./print", "{}{}", "pre{}post", "{#}"], &odd)),
        (&[], with(&["./print", "'{}'"], &["a b", "c"])),
        (&[], with(&["./print", "{.}", "{/}", "{//}", "{/.}"], &paths)),
        (&[], with(&["./print", "{1.}", "{1/}", "{1//}", "{1/.}", "{-1}"], &paths)),
        (&[], vec!["./print", "{1}", "{2}", ":::", "A", "B", ":::", "1", "2 3"]),
        (&[], vec!["./print", "{}", ":::", "A", "B", ":::", "1", "2 3"]),
        (&[], vec!["./print", ":::", "a", "b", ":::+", "c", "d", ":::", "x", "y"]),
        (&[], vec!["./print", "{2}", "{1}", "::::", "lines", ":::", "x"]),
        (&["-a", "lines"], vec!["./print", "{}"]),
        (&["-a", "lines", "-a", "table"], vec!["./print", "{1}", "{2}"]),
        (&["-a", "table", "--colsep", ","], vec!["./print", "{1}", "{2}"]),
        (&["-a", "table", "--colsep", ","], vec!["./print"]),
        (&["--colsep", " +"], vec!["./print", "{1}", "{2}", "{3}", ":::", "1  2", ":::", "x", "y"]),
        (&["--header", ":"], vec!["./print", "{f}", "{f/.}", "{g}", "{1}", ":::", "f", "a/b.c", ":::", "g", "1", "2"]),
        (&[], vec!["./print", "a  b", "$HOME", "{foo}", ":::", "1"]),
        (&[], vec!["./print {} | tr a b", ":::", "a", "ba"]),
        (&[], vec!["echo", "{}", ">", "{}.out", "&&", "cat", "{}.out", ":::", "one", "t w o"]),
    ];
    for (flags, command) in cases {
        let theirs = parallel(bed.path(), &[flags, &command].concat());
        assert!(!theirs.is_empty(), "{flags:?} {command:?}");
        assert_eq!(ours(&bed, flags, &command), theirs, "{flags:?} {command:?}");
    }
}

#[test]
fn a_sweep_is_one_command_and_a_second_run_adds_nothing() {
    let bed = Bed::new();
    let sweep = ["-m", "0.1", "-c", "0.5", "--", "echo", "{1} {2}", ":::", "t1", "t2", "t3", ":::", "lru", "fifo"];
    bed.submit(&sweep, "")
        .expect(0)
        .prints_line("added 6 tasks; skipped 0 already queued, 0 running, 0 finished, 0 failed");
    assert!(bed.table("todo_tasks").contains_key("shell:0.1:0.5:0:echo t2 fifo"));
    bed.burst("w");
    bed.submit(&sweep, "")
        .expect(0)
        .prints_line("added 0 tasks; skipped 0 already queued, 0 running, 6 finished, 0 failed");
}

#[test]
fn directory_variables_and_files_are_exact_on_a_worker() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path().join("a b")).expect("mkdir");
    bed.file("a b/in", "from stdin\n");
    let dir = bed.path().join("a b").display().to_string();
    let args = ["-D", &dir, "--env", "V=it's $HOME \"{}\"", "-i", "in", "-o", "logs/{#}.out", "-e", "logs/{#}.err"];
    let command = ["--", "cat; echo \"$V\" {}; echo e{} >&2", ":::", "x y", "z"];
    bed.submit(&[args.as_slice(), &command].concat(), "").expect(0);
    bed.submit(&["-D", "no such", "--", "echo", "never"], "").expect(0);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 2, 1], "{:?}", bed.table("task_fail_reason"));
    let logs = bed.path().join("a b/logs");
    assert_eq!(read(logs.join("1.out")), "from stdin\nit's $HOME \"x y\" x y\n");
    assert_eq!(read(logs.join("2.err")), "ez\n");
    let reasons = bed.table("task_fail_reason").into_values().collect::<String>();
    assert!(reasons.contains("exit 125") && reasons.contains("no such"), "{reasons}");
}

#[test]
fn one_bad_task_of_many_keeps_all_out() {
    let bed = Bed::new();
    let values: String = (0..20_000).map(|n| format!("{n}\n")).collect::<String>() + "x\n";
    bed.file("values", values);
    let output = bed.submit(&["-a", "values", "-m", "{}", "--", "echo"], "").expect(2);
    assert!(output.stderr.contains("task 20001: --mem is \"x\"; valid: a decimal number of GB"), "{output}");
    assert_eq!(bed.count("todo_tasks"), 0);
}

#[test]
fn a_file_of_commands_gets_one_answer() {
    let bed = Bed::new();
    let text: String = (0..1000).map(|n| format!("./sim {n}\n")).collect();
    let file = bed.file("commands", &text);
    let output = bed.submit(&[&file], "").expect(2).says(&["none of its 1,000 lines is a task line", "--commands"]);
    assert_eq!(output.stderr.lines().count(), 3, "{output}");
    bed.submit(&["--commands", &file], "").expect(0).prints(&["added 1000 tasks"]);
    bed.submit(&["-"], "sleep 1\n").expect(2).says(&["distcomp-submit --commands -"]);
    bed.submit(&["sleep", "1", ":::", "2"], "").expect(2).says(&["write -- before it"]);
}

#[test]
fn equal_faults_of_many_lines_are_one_message() {
    let bed = Bed::new();
    let text = "shell:8G:1:1:a\n".repeat(500) + "shell:1:1:1:good\n" + "shell:1:x:1:a\n";
    let output = bed.submit(&[&bed.file("task", text)], "").expect(2);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(lines[0].contains("task:1-500: mem is \"8G\""), "{output}");
    assert!(lines[1].contains("task:502: cpu is \"x\""), "{output}");
}

#[test]
fn directives_set_the_fields_of_the_lines_below() {
    let bed = Bed::new();
    let text = "#DC --commands --mem 1\n# a comment\n#DC --cpus 2\n./a\n#DC --mem 8 --priority 3\n./b\n# DC --mem 9\n./c\n#DC -t 1m\n./d\n";
    let file = bed.file("task", text);
    bed.submit(&[&file], "").expect(0).prints(&["added 4 tasks"]);
    let lines: Vec<String> = bed.table("todo_tasks").into_keys().collect();
    assert_eq!(lines, ["shell:1:2:0:./a", "shell:1:2:0:60:./d", "shell:8:2:3:./b", "shell:8:2:3:./c"]);
    bed.ctl(&["cancel", "--yes", "--file", &file]).expect(0);
    assert_eq!(bed.count("todo_tasks"), 0);
    let bad = bed.file("bad", "#DC --foo\n#DC name=x\n#DC --wait\n#DC --mem 4G --commands\n./a\n");
    bed.submit(&[&bad], "").expect(2).says(&[
        "bad:1: --foo is no flag of distcomp-submit",
        "bad:2: a directive holds flags: #DC --name x",
        "bad:3: --wait is of the command line, not of a directive",
        "bad:5: --mem is \"4G\"; valid: a decimal number of GB",
    ]);
}

#[test]
fn json_lines_are_tasks() {
    let bed = Bed::new();
    let lines =
        "{\"cmd\": \"echo a:b\", \"mem\": 0.5, \"timeout\": \"2m\", \"env\": {\"A\": \"x\"}}\n{\"cmd\": \"true\"}\n";
    let output = bed.submit(&["--jsonl", "-c", "2", "--json", "-"], lines).expect(0);
    assert_eq!((output.json()["added"].clone(), output.json()["ids"].as_array().map(Vec::len)), (json!(2), Some(2)));
    let expected = "shell:0.5:2:0:120:export A=x || exit 125; echo a:b";
    assert!(bed.table("todo_tasks").contains_key(expected), "{:?}", bed.table("todo_tasks"));
    bed.submit(&["--jsonl", "-"], "{\"cmdd\": \"x\"}\n")
        .expect(2)
        .says(&["-:1: cmd is missing", "did you mean \"cmd\""]);
}

#[test]
fn what_a_job_log_has_finished_is_left_out() {
    let bed = Bed::new();
    parallel(bed.path(), &["--joblog", "log", "test {} != 'b c' && echo {} >> ran", ":::", "a", "b c", "d$e"]);
    assert_eq!(lines_of(bed.path().join("ran")), ["a", "d$e"]);
    let command = ["--", "test {} != 'b c' && echo {} >> ran", ":::", "a", "b c", "d$e", "f"];
    let output = bed.submit(&[["--resume", "log"].as_slice(), &command].concat(), "").expect(0);
    output.says(&["2 tasks left out"]).prints(&["added 2 tasks"]);
    // A single command, too, whether a log has its line or not.
    parallel(bed.path(), &["--joblog", "one", ":::", "echo once"]);
    let none = bed.submit(&["--resume", "one", "--", "echo", "once"], "").expect(0);
    none.says(&["1 task left out"]).prints(&["added 0 tasks"]);
    bed.submit(&["--resume", "one", "--", "echo", "twice"], "").expect(0).prints(&["added 1 task"]);
    assert!(!bed.table("todo_tasks").keys().any(|line| line.ends_with("once")));
    let no_log = bed.file("nolog", "./a\n");
    bed.submit(&["--resume", &no_log, "--", "x"], "").expect(2).says(&["no job log of GNU parallel"]);
}

#[test]
fn what_makes_no_tasks_is_refused() {
    let bed = Bed::new();
    let (twice, short) = (bed.file("twice.csv", "a,a\n1,2\n"), bed.file("short.csv", "a,b\n1,2\n3\n"));
    bed.file("f", "1\n");
    for (args, expected) in [
        (&["--", "./x", "{4}", ":::", "a", ":::", "b", ":::", "c"][..], "COMMAND: {4}: there are 3 columns"),
        (&["-m", "{2}", "--", "x", ":::", "a"], "--mem: {2}: there is 1 column"),
        (
            &["--", "x", ":::", "1", "2", "3", "4", "5", ":::+", "a", "b", "c"],
            ":::+ has 3 values, the source before it 5",
        ),
        (&["--array", "10-1", "--", "x"], "--array is \"10-1\"; valid: 1-100, 1-100:2, 1,5,7-9, with %N"),
        (&["--array", "1-100%10", "--", "x"], "--array is \"1-100%10\"; %N is of a batch: give it a name with --name"),
        (
            &["--array", "1-100000000", "--", "x", ":::", "1", "2"],
            "these sources make 200,000,000 tasks; at most 100,000,000",
        ),
        (
            &["--stdin", "f", "--type", "python", "--", "x"],
            "--cwd, --env, --stdin, --output and --error require --type shell",
        ),
        (&["-m", "8", "f"], "--mem is of bare commands (--commands, --): these lines have their own"),
        (&["--header", "x", "--", "x", ":::", "1"], "--header is \"x\"; valid: \":\""),
        (
            &["--header", ":", "--", "x {nmae/} {foo}", ":::", "name", "1"],
            "COMMAND: {nmae/}: there is no such column (did you mean {name}?)",
        ),
        (
            &["--header", ":", "--", "x {foo}", ":::", "name", "1"],
            "COMMAND: {foo}: there is no such column; there is: {name}",
        ),
        (
            &["--header", ":", "-o", "{Name}.out", "--env", "A={nam}", "--", "x", ":::", "name", "1"],
            "--output: {Name}: there is no such column (did you mean {name}?)",
        ),
        (
            &["--header", ":", "--env", "A={nam}", "--", "x", ":::", "name", "1"],
            "--env: {nam}: there is no such column",
        ),
        (&["--header", ":", "--csv", &twice, "--", "x"], "twice.csv:1: two columns are named \"a\""),
        (&["--header", ":", "--csv", &short, "--", "x"], "short.csv:3: the row has 1 field, the header 2"),
        (&["--colsep", "(", "--", "x", ":::", "1"], "--colsep is \"(\"; valid: a regular expression"),
        (&["f", "--", "x"], "give either files of tasks, or a command after --"),
        (&["--", "x", ":::+", "1"], ":::+ links to the source before it"),
        (&["--", "x", "::::", "nosuch"], "nosuch"),
    ] {
        let output = bed.submit(args, "").expect(2);
        assert!(output.stderr.contains(expected), "{args:?}: {output}");
    }
    assert_eq!(bed.count("todo_tasks"), 0);
}

#[test]
fn a_dry_run_says_how_lines_were_read() {
    let bed = Bed::new();
    let sweep = ["--dry-run", "-m", "4", "-c", "2", "-t", "2h", "--", "./sim", ":::", "a", "b", "c", "d"];
    bed.submit(&sweep, "").expect(0).prints(&[
        "shell:4:2:0:7200:./sim a",
        "1 more",
        "4 tasks are valid",
        "read as 4 tasks: 4 GB, 2 cores, priority 0, limit 2 h 00 m",
    ]);
    bed.submit(&["--dry-run", "-"], "shell:1:1:1:10m:x\nshell:1:1:1:1h:y\n")
        .expect(0)
        .says(&["-:1: warning: the command begins with \"10m:\"", "-:2: warning: the command begins with \"1h:\""]);
    bed.submit(&["-"], "# nothing\n").expect(0).says(&["there is no task"]);
}

#[test]
fn no_task_prints_nothing_and_says_why_beside_it() {
    let bed = Bed::new();
    let empty = bed.file("empty", "");
    let comments = bed.file("comments", "# nothing\n\n");
    let of_command = ["--", "echo", "{}", "::::", &empty];
    for (what, why) in [
        (of_command.as_slice(), "a source has no value"),
        (&["--commands", &empty], "every line is empty or a comment"),
        (&[&comments], "every line is empty or a comment"),
    ] {
        for flags in [["--parsable"].as_slice(), &["--parsable", "--dry-run"], &["--parsable", "--quiet"]] {
            let output = bed.submit(&[flags, what].concat(), "").expect(0);
            let said = format!("distcomp-submit: warning: there is no task: {why}\n");
            assert_eq!((&*output.stdout, &*output.stderr), ("", &*said), "{flags:?} {what:?}");
        }
    }
    let invalid = bed.file("invalid", "no task\n");
    let output = bed.submit(&["--parsable", "--skip-invalid", &invalid], "").expect(0);
    assert!(output.stdout.is_empty() && !output.stderr.contains("every line"), "{output}");
}

#[test]
fn byte_order_mark_of_a_table_is_no_part_of_a_name() {
    let bed = Bed::new();
    let table = bed.file("table.csv", "\u{feff}name,size\nw01,3\n");
    for source in [["--csv", &table].as_slice(), &["--colsep", ",", "--arg-file", &table]] {
        let flags = [&["--dry-run", "--parsable", "--header", ":"], source, &["--", "./sim", "{name}", "{size}"]];
        assert_eq!(bed.submit(&flags.concat(), "").expect(0).stdout, "shell:0:1:0:./sim w01 3\n", "{source:?}");
    }
}
