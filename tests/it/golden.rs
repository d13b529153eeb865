//! What each command looks like on terminals of 80 and 160 columns, from a state of the queue that is always the same; no line is wider than the
//! terminal. `DISTCOMP_UPDATE_GOLDEN=1` writes the files under `tests/golden` anew.
use std::fs;
use std::path::Path;
use std::process::Command;

use rexpect::session::spawn_command;
use serde_json::json;

use crate::support::{Bed, Cli, Redis, ServerOptions, bin, task_id};

/// A queue as it stands in the middle of a run, written past all our code, so that no figure ever differs.
fn queue() -> Bed {
    let bed = Bed::new();
    // A small hash is scanned in the order in which it was written.
    bed.redis.set("hash-max-ziplist-value", "2048");
    let mut con = bed.redis.con();
    let set = |con: &mut ::redis::Connection, key: &str, field: &str, value: &str| {
        ::redis::cmd("HSET").arg(key).arg(field).arg(value).exec(con).expect("HSET");
    };
    ::redis::cmd("SET").arg("distcomp:field_order").arg("mem:cpu:prio").exec(&mut con).expect("SET");
    let zadd = |con: &mut ::redis::Connection, key: &str, score: u64, member: &str| {
        ::redis::cmd("ZADD").arg(key).arg(score).arg(member).exec(con).expect("ZADD");
    };
    let waiting =
        |at: usize, mem: &str| format!("shell:{mem}:2:5:300:./cachesim --policy lru /data/traces/w{at:03}.bin {at}");
    for (class, mem, count) in [("8589934592:2000::", "8", 40), ("103079215104:2000::", "96", 3)] {
        let cell = format!("{mem}/2/:");
        zadd(&mut con, "distcomp:ready:cells", u64::from(mem == "8"), &cell);
        zadd(&mut con, &format!("distcomp:ready:h:{cell}"), u64::from(mem == "8"), class);
        for at in 0..count {
            set(&mut con, "todo_tasks", &waiting(at, mem), "");
            zadd(&mut con, &format!("distcomp:ready:c:{class}"), at as u64, &waiting(at, mem));
        }
    }
    // A heartbeat of the future has no age, and is not dead soon.
    for (number, state) in [(1, "Open"), (2, "Open"), (3, "Drain")] {
        let name = format!("node{number}");
        set(&mut con, "worker_status", &name, &format!("9999999999:{number}.50:16.00:2{number}.25:84.00"));
        set(&mut con, "distcomp:owner", &name, &format!("i{number}:1"));
        let load = json!({"running": 4, "slots": 4, "waiting": "every slot is taken"});
        set(&mut con, "distcomp:load", &name, &load.to_string());
        let process = json!({"host": name, "pid": 100, "version": "0.1.0", "since": 1, "containment": "keepers"});
        set(&mut con, "distcomp:workers", &name, &process.to_string());
        if state == "Drain" {
            set(&mut con, "distcomp:drain", &name, "1");
        }
        for (what, count) in [("finished", 1204), ("failed", 7), ("returned", 2), ("timed_out", 1)] {
            set(&mut con, "distcomp:tally", &format!("{what}:{name}"), &count.to_string());
        }
        let line = format!("shell:8:2:5:300:./running on {name}");
        set(&mut con, "in_progress_tasks", &line, &name);
    }
    for at in 0..25 {
        set(&mut con, "finished_tasks", &format!("shell:1:1:1:./done {at}"), "node1: \"all well\"");
    }
    let record = |attempt: u32, end: &str| {
        format!(
            r#"{{"a":{attempt},"w":"node{attempt}","s":1795000000000,"e":1795000001500,"r":{end},"m":1048576,"ms":"largest_process","x":"no such trace\n{}\n"}}"#,
            "a very long line of an error message, ".repeat(6)
        )
    };
    for (kind, end, count) in [("exit 3", r#"{"exit":3}"#, 4), ("timed out", r#"{"timed_out":300}"#, 1)] {
        set(&mut con, "distcomp:failures:groups", kind, &count.to_string());
        for at in 0..count {
            let line = format!(
                "shell:8:2:5:300:./cachesim --policy belady --with 'quite a long list of arguments' /data/traces/{kind} {at}"
            );
            set(&mut con, "failed_tasks", &line, "node1,node2,");
            set(&mut con, "task_fail_reason", &line, &json!(format!("{kind}: no such trace")).to_string());
            set(&mut con, "distcomp:failures:kinds", &line, kind);
            let records = format!("{}\n{}", record(1, end), record(2, end));
            set(&mut con, "distcomp:evidence", &task_id(&line), &records);
            set(&mut con, "distcomp:failures:samples", kind, &line);
        }
    }
    bed
}

/// What a command prints on a terminal that wide.
fn on_terminal(bed: &Bed, name: &str, args: &[&str], cols: usize) -> String {
    // The front takes no flag before its command.
    let cli = if name == "distcomp" { Cli::new(bin(name)) } else { bed.cli(name) };
    let shown = cli.args(args).into_command();
    let quoted: Vec<String> = std::iter::once(shown.get_program())
        .chain(shown.get_args())
        .map(|arg| format!("'{}'", arg.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let mut command = Command::new("sh");
    let script = format!("stty rows 50 cols {cols}; exec {} 2>&1", quoted.join(" "));
    command.args(["-c", &script]).env("NO_COLOR", "1").env("TZ", "UTC").env("TERM", "xterm");
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("DISTCOMP_") {
            command.env_remove(variable);
        }
    }
    command.envs(shown.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut session = spawn_command(command, Some(30_000)).expect("a terminal");
    // Each byte comes as a character of its own.
    let bytes: Vec<u8> = session.exp_eof().expect("its end").chars().filter_map(|c| u8::try_from(c).ok()).collect();
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

/// Compares with a file; what depends on the server of the day is left out.
#[track_caller]
fn golden(name: &str, text: &str) {
    let mut lines: Vec<&str> = text.lines().collect();
    for line in &mut lines {
        if line.starts_with("Redis ") {
            *line = "Redis VERSION, MEMORY used, PERSISTENCE, CLIENTS";
        }
    }
    let text = lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("DISTCOMP_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        fs::write(&path, &text).expect("it is written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{} has changed (DISTCOMP_UPDATE_GOLDEN=1 accepts it):\n{text}", path.display());
}

#[track_caller]
fn looks_as_before(bed: &Bed, name: &str, program: &str, args: &[&str]) {
    for cols in [80, 160] {
        let text = on_terminal(bed, program, args, cols);
        // Messages are whole sentences: the terminal breaks them.
        for line in text.lines().filter(|line| !line.starts_with("distcomp-")) {
            assert!(line.chars().count() <= cols, "{name}: wider than {cols}: {line:?}\n{text}");
        }
        golden(&format!("{name}_{cols}.txt"), &text);
    }
}

#[test]
fn every_view_of_status_at_two_widths() {
    let bed = queue();
    let failed =
        "shell:8:2:5:300:./cachesim --policy belady --with 'quite a long list of arguments' /data/traces/exit 3 0";
    let large = "shell:96:2:5:300:./cachesim --policy lru /data/traces/w000.bin 0";
    let views: [(&str, &[&str]); 10] = [
        ("status", &[]),
        ("status_workers", &["workers"]),
        ("status_todo", &["tasks", "--state", "todo", "--include", "96:", "--limit", "0"]),
        ("status_in_progress", &["tasks", "--state", "in_progress"]),
        ("status_failed", &["tasks", "--state", "failed", "--limit", "0"]),
        ("status_show", &["show", failed]),
        ("status_failures", &["failures"]),
        ("status_explain", &["explain"]),
        ("status_explain_task", &["explain", large]),
        ("status_logs", &["logs", failed, "--stdout"]),
    ];
    for (name, args) in views {
        looks_as_before(&bed, name, "distcomp-status", args);
    }
}

#[test]
fn hidden_rows_are_counted() {
    let bed = queue();
    let text = on_terminal(&bed, "distcomp-status", &["tasks", "--state", "finished", "--limit", "10"], 80);
    assert!(text.contains("showing 10 of 25; --limit 0 for all"), "{text}");
}

#[test]
fn the_short_help_of_each_command_fits_on_a_screen() {
    // Help shows the variables that are set, as each user of Redis has some.
    let bed = Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), json!({}));
    for name in ["worker", "submit", "status", "ctl"] {
        let program = format!("distcomp-{name}");
        looks_as_before(&bed, &format!("{name}_help"), &program, &["-h"]);
        let text = on_terminal(&bed, &program, &["-h"], 80);
        assert!(text.lines().count() <= 40, "{} lines\n{text}", text.lines().count());
        let long = on_terminal(&bed, &program, &["--help"], 80);
        assert!(
            long.contains("Examples:") && long.contains("Exit codes:") && long.contains("Common options:"),
            "{long}"
        );
    }
}

#[test]
fn the_short_help_of_run_fits_on_a_screen() {
    let bed = Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), json!({}));
    looks_as_before(&bed, "run_help", "distcomp", &["run", "-h"]);
    let text = on_terminal(&bed, "distcomp", &["run", "-h"], 80);
    assert!(text.lines().count() <= 40, "{} lines\n{text}", text.lines().count());
    for word in ["--commands", ":::", "-j", "--rerun-failed", "--local"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    let long = on_terminal(&bed, "distcomp", &["help", "run"], 80);
    assert!(long.contains("--joblog") && long.contains("Exit codes:"), "{long}");
}

#[test]
fn a_dry_run_of_a_purge_at_two_widths() {
    let bed = queue();
    looks_as_before(&bed, "ctl_purge", "distcomp-ctl", &["purge", "--state", "in_progress", "--dry-run"]);
}
