//! `distcomp-status watch` on a real terminal: keys, an outage, and every way out leaves the terminal as it was.
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};
use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, holds_for, wait_until};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// Starts it under a shell that looks at the terminal afterwards.
fn start(bed: &Bed, rows: u16, cols: u16) -> PtySession {
    let shown = bed.cli("distcomp-status").args(["watch", "--interval", "0.2"]).into_command();
    let program = shown.get_program().to_string_lossy().into_owned();
    let args: Vec<String> = shown.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let script = format!(
        "stty rows {rows} cols {cols}; {program} {} & pid=$!; echo $pid > {}; fg >/dev/null 2>&1 || wait $pid; echo \"code $?\"; stty -a; echo all over",
        args.join(" "),
        bed.out("pid")
    );
    // Job control: what runs in the foreground owns the terminal.
    let mut command = std::process::Command::new("bash");
    command.args(["-m", "-c", &script]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    spawn_command(command, Some(30_000)).expect("a terminal")
}

fn signal(bed: &Bed, signal: Signal) {
    let pid = wait_until("the pid", SOON, || crate::support::read(bed.out("pid")).trim().parse().map_err(|_| "none"));
    kill(Pid::from_raw(pid), signal).expect("a signal");
}

/// After the end: the old screen, the cursor, the echo; and the exit code.
#[track_caller]
fn is_clean(session: &mut PtySession, code: i32) {
    let all = session.exp_string("all over").expect("the end");
    assert!(all.contains(LEAVE), "{all:?}");
    assert!(all.rfind("\u{1b}[?25h") > all.rfind("\u{1b}[?25l"), "no cursor: {all:?}");
    assert!(all.contains(" echo ") && all.contains(" icanon "), "{all:?}");
    assert!(all.contains(&format!("code {code}\r\n")), "{all:?}");
}

#[test]
fn keys_show_the_screens_and_a_task() {
    let bed = Bed::new();
    let line = "shell:0:0:1:600:sleep 3624";
    bed.add([line]);
    let _worker = bed.worker("node-a");
    bed.wait_running(line);
    for (rows, cols) in [(24, 80), (50, 160)] {
        let mut session = start(&bed, rows, cols);
        session.exp_string(ENTER).expect("the other screen");
        session.exp_string("1 in_progress tasks").expect("the overview");
        session.send("2").expect("a key");
        session.flush().expect("a key");
        session.exp_string("node-a").expect("the workers");
        session.send("3").expect("a key");
        session.flush().expect("a key");
        session.exp_string("sleep 3624").expect("what runs");
        session.send("\r").expect("a key");
        session.flush().expect("a key");
        session.exp_string("in progress").expect("the page of the task");
        session.send("q").expect("a key");
        session.flush().expect("a key");
        is_clean(&mut session, 0);
    }
}

#[test]
fn an_outage_is_shown_and_outlived() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    bed.add(["shell:1000000:0:1:never"]);
    let mut session = start(&bed, 24, 80);
    session.exp_string("1 todo tasks").expect("the overview");
    bed.redis.kill9();
    session.exp_string("Redis is away").expect("the banner");
    bed.redis.start_again();
    bed.add(["shell:1000000:0:1:another"]);
    // Only what changes is drawn: the count, somewhere.
    wait_until("the new count", Duration::from_secs(20), || {
        session.send("2").and_then(|_| session.flush()).expect("a key");
        session.send("1").and_then(|_| session.flush()).expect("a key");
        holds_for(session.exp_string("2 todo tasks").is_ok(), "not there yet")
    });
    session.send("q").and_then(|_| session.flush()).expect("a key");
    is_clean(&mut session, 0);
}

#[test]
fn ctrl_c_and_signals_leave_the_terminal_clean() {
    let bed = Bed::new();
    let begun = || {
        let mut session = start(&bed, 24, 80);
        session.exp_string("0 todo tasks").expect("the overview");
        session
    };
    let mut session = begun();
    session.send_control('c').expect("a key");
    is_clean(&mut session, 130);
    for (number, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut session = begun();
        signal(&bed, number);
        is_clean(&mut session, code);
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let bed = Bed::new();
    bed.status(&["watch"]).expect(2).says(&["needs a terminal"]);
    bed.status(&["watch", "--interval", "0"]).expect(2).says(&["valid: 0.1 to 3600"]);
}
