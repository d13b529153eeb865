//! What a local run prints of its tasks, and the files that it writes about them: `--show-output`, `-k`, `--joblog`, `--results`.
use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::Machine;
use crate::support::{SOON, bin, holds_for, lines_of, read, wait_until};

/// What GNU parallel prints for these arguments in the directory of the machine.
fn parallel(machine: &Machine, args: &[&str]) -> String {
    let mut command = Command::new("parallel");
    command.arg("--will-cite").args(args).current_dir(machine.dir.path()).env("SHELL", "/bin/sh");
    let output = command.output().expect("GNU parallel, which tests/run.sh installs");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn outputs_in_order_are_those_of_gnu_parallel() {
    let machine = Machine::new();
    // The first ones end last; of some the last line has no end, and one fails.
    let command = "sleep 0.$((6 - {#} % 7)); printf '%s\\n\\n' {} {#}; printf 'x%s' {}; test {#} != 4";
    let values: Vec<String> = (1..=14).map(|n| format!("v {n}'")).collect();
    let args: Vec<&str> = [command, ":::"].into_iter().chain(values.iter().map(String::as_str)).collect();
    let theirs = parallel(&machine, &[["-k", "-j8"].as_slice(), &args].concat());
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    let ours = machine.worker(&[["-k", "-j8", "--"].as_slice(), &args].concat()).run().expect(1);
    assert_eq!(ours.stdout, theirs, "{ours}");
    assert!(ours.stderr.contains("13 tasks finished, 1 failed"), "the summary is on stderr\n{ours}");
    machine.assert_alone();
}

#[test]
fn each_output_is_whole_and_there_once() {
    let machine = Machine::new();
    let text: String = (0..300).map(|n| format!("echo a{n}; echo b{n}; echo c{n} >&2\n")).collect();
    machine.file("commands", &text);
    let output = machine.worker(&["--show-output", "-j16", "--commands", "commands"]).run().expect(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 600, "{output}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].replacen('a', "b", 1), pair[1], "two tasks are mixed");
    }
    let mut firsts: Vec<&str> = lines.iter().step_by(2).copied().collect();
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), 300);
    let errors = output.stderr.lines().filter(|line| line.starts_with('c')).count();
    assert_eq!(errors, 300, "{output}");
    // Nothing ends in another run of the same.
    let again = machine.worker(&["--show-output", "-j16", "--commands", "commands"]).run().expect(0);
    assert_eq!(again.stdout, "");
}

#[test]
fn long_outputs_are_shown_to_their_last_byte() {
    let machine = Machine::new();
    machine.file("commands", "seq 400000\nprintf '\\377\\000x'\n");
    let shown = machine.path("shown");
    machine
        .cli_of("sh")
        .args(["-c", "exec \"$@\" >\"$0\""])
        .args([&shown])
        .args([crate::support::bin("distcomp-worker"), "--local", "-k", "--commands", "commands"])
        .run()
        .expect(0);
    let expected: String = (1..=400_000).map(|n| format!("{n}\n")).collect();
    let found = fs::read(&shown).expect("the outputs");
    assert!(found == [expected.as_bytes(), b"\xff\0x"].concat(), "{} bytes", found.len());
}

/// Two rows of what ran, in any order: number, exit, signal, command.
fn rows(text: &str) -> Vec<(String, String, String, String)> {
    let mut rows: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.splitn(9, '\t').collect();
            let cell = |at: usize| columns[at].to_owned();
            (cell(0), cell(6), cell(7), cell(8))
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn an_interrupted_run_loses_and_doubles_nothing() {
    let machine = Machine::new();
    let waits = "touch began; until [ -e gate ]; do sleep 0.05; done; echo {}";
    let command = format!("if [ {{}} = 2 ]; then {waits}; else echo {{}}; fi");
    let args = ["-k", "-j1", "--joblog", "log", "--", &command, ":::", "1", "2", "3"];
    let run = machine.worker(&args).start();
    wait_until("the second task to run", SOON, || holds_for(machine.path("began").exists(), read(machine.path("log"))));
    wait_until("it to end", SOON, || {
        run.signal(Signal::SIGINT);
        holds_for(crate::support::with_mark(&machine.mark).is_empty(), "it still runs")
    });
    let first = run.finish();
    assert_eq!(first.stdout, "1\n", "{first}");
    assert_eq!(lines_of(machine.path("log")).len(), 2, "a header and a row");
    fs::write(machine.path("gate"), "").expect("the gate");
    let second = machine.worker(&args).run().expect(0);
    assert_eq!(second.stdout, "2\n3\n", "{second}");
    assert!(second.stderr.contains("the output of 1 task that ended in earlier runs is not printed again"), "{second}");
    assert!(!first.stderr.contains("not printed again"), "{first}");
    let again =
        machine.worker(&args).run().expect(0).says(&["the outputs of 3 tasks that ended in earlier runs are not"]);
    assert_eq!(again.stdout, "", "{again}");
    // What it names has them.
    let all = machine.cli("distcomp").args(["export", "--local"]).run().expect(0);
    let outputs = all.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let mut outputs: Vec<String> = outputs.map(|task| task["output"].as_str().expect("an output").to_owned()).collect();
    outputs.sort();
    assert_eq!(outputs, ["1", "2", "3"], "{all}");
    let log = read(machine.path("log"));
    assert_eq!(log.lines().count(), 4, "{log}");
    let numbers: Vec<String> = rows(&log).into_iter().map(|row| row.0).collect();
    assert_eq!(numbers, ["1", "2", "3"], "{log}");
}

#[test]
fn a_job_log_is_read_by_gnu_parallel_and_by_resume() {
    let machine = Machine::new();
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    let command = "echo {} >> ran; test {} != 'b c'";
    let values = [":::", "a", "b c", "d"];
    let ours = ["--joblog", "log", "-j1", "-D", ".", "--", command];
    machine.worker(&[ours.as_slice(), &values].concat()).run().expect(1);
    parallel(&machine, &[["--joblog", "theirs", "-j1", command].as_slice(), &values].concat());
    // The same numbers, exit codes and signals; the commands are quoted in other ways.
    let without_command = |name: &str| -> Vec<(String, String, String)> {
        rows(&read(machine.path(name))).into_iter().map(|(number, exit, signal, _)| (number, exit, signal)).collect()
    };
    assert_eq!(without_command("log"), without_command("theirs"));
    assert_eq!(lines_of(machine.path("log"))[0], lines_of(machine.path("theirs"))[0], "the header");
    // GNU parallel goes on from our log: it runs what failed, and what is new.
    fs::remove_file(machine.path("ran")).expect("rm");
    let more = [["--joblog", "log", "--resume-failed", "-j1", command].as_slice(), &values, &["e"]].concat();
    parallel(&machine, &more);
    assert_eq!(lines_of(machine.path("ran")), ["b c", "e"]);
    // And we from what both have written.
    fs::remove_file(machine.path("ran")).expect("rm");
    let more = [["--fresh", "--resume", "log", "-j1", "--", command].as_slice(), &values, &["e", "f"]].concat();
    machine.worker(&more).run().expect(1).says(&["3 tasks left out"]);
    assert_eq!(lines_of(machine.path("ran")), ["b c", "f"]);
}

#[test]
fn a_job_log_gets_the_rows_that_it_lacks() {
    let machine = Machine::new();
    machine.file("commands", "true 1\ntrue 2\n");
    machine.worker(&["--commands", "commands"]).run().expect(0);
    machine.worker(&["--joblog", "log", "--commands", "commands"]).run().expect(0).says(&["nothing to do"]);
    assert_eq!(lines_of(machine.path("log")).len(), 3);
    machine.worker(&["--joblog", "log", "--rerun", "--commands", "commands"]).run().expect(0);
    assert_eq!(lines_of(machine.path("log")).len(), 5, "they have run again");
    machine.worker(&["--joblog", "commands", "--commands", "commands"]).run().expect(2).says(&["is no job log"]);
    assert_eq!(lines_of(machine.path("commands")), ["true 1", "true 2"]);
}

#[test]
fn pipes_and_devices_are_written_and_not_read() {
    let machine = Machine::new();
    let run = |script: &str| {
        let script =
            format!("exec < /dev/null; {script}").replace("RUN", &format!("{} --local", bin("distcomp-worker")));
        machine.cli_of("bash").args(["-c", &script]).run()
    };
    let output = run("RUN --joblog /dev/stdout -- true ::: 1 2 | cat").expect(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(
        lines[0].starts_with("Seq\tHost") && lines[1].ends_with("true 1") || lines[1].ends_with("true 2"),
        "{output}"
    );
    assert!(output.stdout.contains("2 tasks finished"), "{output}");
    // One after the other in one file.
    run("RUN --rerun --joblog /dev/stdout -- true ::: 1 2 > both").expect(0);
    let both = read(machine.path("both"));
    assert!(both.starts_with("Seq\tHost") && both.contains("2 tasks finished"), "{both}");
    run("RUN --rerun --joblog >(sort > sorted; touch piped) -- true ::: 1 2").expect(0);
    wait_until("the reader", SOON, || holds_for(machine.path("piped").exists(), read(machine.path("sorted"))));
    assert_eq!(lines_of(machine.path("sorted")).len(), 3);
    run("mkfifo p.csv; cat p.csv > piped.csv & RUN --results p.csv -- true ::: 1 2; wait").expect(0);
    assert_eq!(lines_of(machine.path("piped.csv")).len(), 3);
    run("ln -s /dev/full full.csv; RUN --results full.csv -- true ::: 1 2")
        .expect(2)
        .says(&["full.csv: No space left"]);
    run("RUN --joblog /dev/full -- touch never").expect(2).says(&["write the job log /dev/full: No space left"]);
    run("RUN --resume /dev/zero -- touch never").expect(2).says(&["/dev/zero: it is no job log"]);
    run("RUN --commands /dev/zero").expect(2).says(&["/dev/zero", "zero bytes"]);
    assert!(!machine.path("never").exists());
}

#[test]
fn results_have_a_column_for_each_value() {
    let machine = Machine::new();
    machine.file("conf.json", r#"{"max_retry_per_task": 1}"#);
    machine.file("table.csv", "trace,state\nt 1,x\n\"t,2\",y\n");
    let command = ["--csv", "table.csv", "--header", ":", "--", "echo {trace}; test {state} = x"];
    machine.worker(&[["--results", "out.csv"].as_slice(), &command].concat()).run().expect(1);
    let mut reader = csv::Reader::from_path(machine.path("out.csv")).expect("a table");
    let head: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let expected =
        ["trace", "{state}", "id", "state", "exit_code", "signal", "seconds", "attempts", "stdout", "command"];
    assert_eq!(head, expected);
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let cells = |row: usize| [0, 1, 3, 4, 7, 8].map(|column| rows[row][column].to_owned());
    assert_eq!(cells(0), ["t 1", "x", "finished", "0", "1", "t 1\n"]);
    assert_eq!(cells(1), ["t,2", "y", "failed", "1", "1", "t,2\n"]);
    assert_eq!(rows.len(), 2);
    // As JSON lines; what others have put there is replaced.
    machine.file("out.jsonl", "old\n");
    machine.worker(&["--results", "out.jsonl", "--", "echo {1} {2}", ":::", "a", "b", ":::", "1"]).run().expect(0);
    let values: Vec<serde_json::Value> =
        lines_of(machine.path("out.jsonl")).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of =
        |at: usize| ["{1}", "{2}", "state", "stdout"].map(|key| values[at][key].as_str().expect("a text").to_owned());
    assert_eq!(
        (of(0), of(1)),
        (["a", "1", "finished", "a 1\n"].map(str::to_owned), ["b", "1", "finished", "b 1\n"].map(str::to_owned))
    );
    let leftover = fs::read_dir(machine.dir.path()).expect("the directory").flatten();
    assert!(leftover.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with(".results")));
    for (file, expected) in [("out.txt", "ends in .csv or .jsonl"), ("no such/out.csv", "no such/out.csv")] {
        machine.worker(&["--results", file, "--", "touch", "never"]).run().expect(2).says(&[expected]);
    }
    assert!(!machine.path("never").exists());
}

#[test]
fn a_cancelled_task_holds_up_nothing_behind_it() {
    let machine = Machine::new();
    let command = "touch began; until [ -e gate ]; do sleep 0.05; done; echo {}";
    let run = machine.worker(&["-k", "-j1", "--joblog", "log", "--", command, ":::", "1", "2", "3"]).start();
    wait_until("the first task to run", SOON, || holds_for(machine.path("began").exists(), "not yet"));
    machine.cli("distcomp-ctl").args(["--local", "--yes", "cancel", "--include", "echo 2"]).run().expect(0);
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(1);
    assert_eq!(output.stdout, "1\n3\n", "{output}");
    let numbers: Vec<String> = rows(&read(machine.path("log"))).into_iter().map(|row| row.0).collect();
    assert_eq!(numbers, ["1", "3"], "what never ran has no row");
}
