//! `distcomp-status watch` on a real terminal: keys, an outage, and every way out leaves the terminal as it was.
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};
use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, holds_for, wait_until};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// The program on its terminal, and how that was set before.
struct Watching {
    session: PtySession,
    settings: String,
}

impl Watching {
    fn press(&mut self, keys: &str) {
        self.session.send(keys).and_then(|_| self.session.flush()).expect("a key");
    }

    /// What is drawn comes word by word: blanks are jumped over.
    #[track_caller]
    fn sees(&mut self, word: &str) {
        self.session.exp_string(word).unwrap_or_else(|error| panic!("{word}: {error}"));
    }

    /// After the end: the old screen, the cursor, the settings; and the exit code.
    #[track_caller]
    fn is_clean(&mut self, code: i32) {
        let all = self.session.exp_string("all over").expect("the end");
        assert!(all.contains(LEAVE), "{all:?}");
        assert!(all.rfind("\u{1b}[?25h") > all.rfind("\u{1b}[?25l"), "no cursor: {all:?}");
        assert!(all.contains(&format!("[{}]", self.settings)), "{}: {all:?}", self.settings);
        assert!(all.contains(&format!("code {code}\r\n")), "{all:?}");
    }
}

/// Starts it under a shell that looks at the terminal afterwards.
fn start(bed: &Bed, rows: u16, cols: u16) -> Watching {
    let shown = bed.cli("distcomp-status").args(["watch", "--interval", "0.2"]).into_command();
    let program = shown.get_program().to_string_lossy().into_owned();
    let args: Vec<String> = shown.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let quoted: Vec<String> = std::iter::once(program).chain(args).map(|arg| format!("'{arg}'")).collect();
    // The settings of the terminal before and after, to be compared.
    let script = format!(
        "stty rows {rows} cols {cols}; echo \"[$(stty -g)]\"; sh -c 'echo $$ > {}; exec \"$@\"' sh {}; echo \"code $?\"; echo \"[$(stty -g)]\"; echo all over",
        bed.out("pid"),
        quoted.join(" ")
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).envs(shown.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let mut session = spawn_command(command, Some(30_000)).expect("a terminal");
    session.exp_char('[').expect("the settings");
    let settings = session.exp_char(']').expect("the settings");
    Watching { session, settings }
}

fn signal(bed: &Bed, signal: Signal) {
    let pid = wait_until("the pid", SOON, || crate::support::read(bed.out("pid")).trim().parse().map_err(|_| "none"));
    kill(Pid::from_raw(pid), signal).expect("a signal");
}

#[test]
fn keys_show_the_screens_and_a_task() {
    let bed = Bed::new();
    let line = "shell:0:0:1:600:sleep 3624";
    bed.add([line]);
    let _worker = bed.worker("node-a");
    bed.wait_running(line);
    for (rows, cols) in [(24, 80), (50, 160)] {
        let mut watching = start(&bed, rows, cols);
        watching.sees(ENTER);
        watching.sees("node-a");
        watching.press("2");
        watching.sees("live");
        watching.press("3");
        watching.sees("3624");
        watching.press("\r");
        watching.sees("priority");
        watching.press("q");
        watching.is_clean(0);
    }
}

#[test]
fn watch_lists_batches_and_opens_one() {
    let bed = Bed::new();
    let submit = |args: &[&str]| drop(bed.cli("distcomp-submit").args(args).run().expect(0));
    submit(&["-n", "s1/prep", "-c", "0", "--", "sleep 3626"]);
    submit(&["-n", "s1/sim", "--after", "s1/prep", "-c", "0", "--", "./sim"]);
    let _worker = bed.worker("node-a");
    bed.wait_running("shell:0:0:0:sleep 3626");
    for (rows, cols) in [(24, 60), (24, 80), (50, 160)] {
        let mut watching = start(&bed, rows, cols);
        watching.sees("help");
        watching.press("5");
        watching.sees("batch");
        watching.press("\r");
        watching.sees("s1/sim");
        watching.sees("3626");
        watching.press("\u{1b}");
        watching.sees("filter");
        // At the top it leaves nothing.
        watching.press("\u{1b}");
        watching.press("q");
        watching.is_clean(0);
    }
}

#[test]
fn watch_page_of_a_running_task_shows_its_output() {
    let bed = Bed::new();
    let go = bed.out("go");
    // The words that are printed do not stand in the line itself.
    let wait = format!("while [ ! -e {go} ]; do sleep 0.05; done");
    let line = format!("shell:0:0:1:600:: zulu; echo al''pha; echo bra''vo >&2; {wait}; echo char''lie; sleep 3625");
    bed.add([&line]);
    let _worker = bed.worker("node-a");
    bed.wait_running(&line);
    let followers = || -> usize {
        let all: Vec<String> =
            redis::cmd("PUBSUB").arg("CHANNELS").arg("distcomp:output:*").query(&mut bed.redis.con()).expect("PUBSUB");
        all.len()
    };
    let mut watching = start(&bed, 24, 80);
    watching.sees("in_progress");
    watching.press("3");
    watching.sees("zulu");
    watching.press("\r");
    watching.sees("alpha");
    watching.sees("bravo");
    std::fs::write(&go, "").expect("a file");
    watching.sees("charlie");
    assert_eq!(followers(), 1);
    watching.press("\u{7f}");
    wait_until("nobody follows", SOON, || holds_for(followers() == 0, followers()));
    watching.press("q");
    watching.is_clean(0);
}

#[test]
fn an_outage_is_shown_and_outlived() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    bed.add(["shell:1000000:0:1:never"]);
    let mut watching = start(&bed, 24, 80);
    watching.sees("in_progress");
    bed.redis.kill9();
    watching.sees("away");
    bed.redis.start_again();
    let worker = bed.worker("zulu");
    watching.sees("zulu");
    drop(worker);
    watching.press("q");
    watching.is_clean(0);
}

#[test]
fn ctrl_c_and_signals_leave_the_terminal_clean() {
    let bed = Bed::new();
    let begun = || {
        let mut watching = start(&bed, 24, 80);
        watching.sees("in_progress");
        watching
    };
    let mut watching = begun();
    watching.session.send_control('c').expect("a key");
    watching.is_clean(130);
    for (number, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut watching = begun();
        signal(&bed, number);
        watching.is_clean(code);
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let bed = Bed::new();
    bed.status(&["watch"]).expect(2).says(&["needs a terminal"]);
    bed.status(&["watch", "--interval", "0"]).expect(2).says(&["valid: 0.1 to 3600"]);
}

#[test]
fn keys_change_the_queue_after_a_question() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let (bad, waits) = ("shell:0:0:1:exit 3", "shell:1000000:0:1:never");
    bed.add([bad, waits]);
    bed.burst("node-a");
    bed.wait_counts(SOON, [1, 0, 0, 1]);
    let mut watching = start(&bed, 24, 80);
    watching.sees("failed");
    watching.press("p");
    watching.sees("Pause");
    watching.press("y");
    watching.sees("resume");
    assert!(bed.keys().iter().any(|key| key == "distcomp:paused"));
    watching.press("4");
    watching.sees("exit");
    watching.press("r");
    watching.sees("Requeue");
    watching.press("y");
    bed.wait_counts(SOON, [2, 0, 0, 0]);
    watching.press("6");
    watching.sees("never");
    watching.press("/");
    watching.press("never\r");
    watching.press("c");
    watching.sees("Cancel");
    watching.press("n");
    watching.sees("nothing");
    assert_eq!(bed.counts(), [2, 0, 0, 0]);
    watching.press("c");
    watching.sees("Cancel");
    watching.press("y");
    bed.wait_counts(SOON, [1, 0, 0, 1]);
    watching.press("q");
    watching.is_clean(0);
}

#[test]
fn a_yes_typed_with_the_key_of_the_change_is_no_answer() {
    let bed = Bed::new();
    bed.add(["shell:1000000:0:1:never"]);
    let mut watching = start(&bed, 24, 80);
    watching.sees("in_progress");
    watching.press("6");
    watching.sees("never");
    // As one piece: the program has the answer before it has asked.
    watching.press("cyyy");
    watching.sees("Cancel");
    watching.press("n");
    watching.sees("nothing");
    assert_eq!(bed.counts(), [1, 0, 0, 0]);
    watching.press("q");
    watching.is_clean(0);
}

#[test]
fn a_user_who_may_only_read_is_told_so() {
    let bed = Bed::on(Redis::start(ServerOptions { acl: true, ..ServerOptions::default() }), json!({}));
    bed.add(["shell:1000000:0:1:never"]);
    let mut watching = start(&bed, 24, 80);
    watching.sees("in_progress");
    watching.press("p");
    watching.sees("Pause");
    watching.press("y");
    watching.sees("operator");
    watching.press("q");
    watching.press("q");
    watching.is_clean(0);
    assert!(!bed.keys().iter().any(|key| key == "distcomp:paused"));
}
