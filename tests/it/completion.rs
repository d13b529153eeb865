//! Completion in real shells: what a TAB puts on the line, as the shell then understands it.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rexpect::session::{PtySession, spawn_command};

use crate::support::{Bed, Cli, bin, task_id};

/// The limit of a completion, and time for a busy machine to start it.
const PATIENCE: Duration = Duration::from_secs(5);

fn programs() -> &'static Path {
    Path::new(bin("distcomp-ctl")).parent().expect("a directory")
}

/// A program that finds the configuration of this bed by itself.
fn at(bed: &Bed, program: &str) -> Cli {
    let conf = if bed.redis.has_users() { bed.conf_path_of("operator") } else { bed.conf_path() };
    let cli = Cli::new(program).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
    cli.env("DISTCOMP_CONFIG", conf)
}

/// A shell with the programs in its PATH, in a directory of its own.
fn shell(bed: &Bed, name: &str, args: &[&str]) -> Command {
    let dir = bed.path().join("place");
    fs::create_dir_all(&dir).expect("a directory");
    let mut command = at(bed, name).args(args).dir(&dir).into_command();
    let path = std::env::var("PATH").expect("a PATH");
    command.env("PATH", format!("{}:{path}", programs().display()));
    command.env("TERM", "dumb").env("INPUTRC", "/dev/null").env("HISTFILE", "/dev/null").env("HOME", bed.path());
    command
}

/// A shell on a terminal.
struct Prompt(PtySession);

impl Prompt {
    fn start(bed: &Bed, name: &str, args: &[&str], setup: &str) -> Self {
        let command = shell(bed, name, args);
        let session = spawn_command(command, Some(30_000)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut prompt = Self(session);
        prompt.send(&format!("stty cols 500; {setup}; echo sta''rted\n"));
        prompt.sees("started");
        prompt
    }

    fn bash(bed: &Bed) -> Self {
        Self::start(bed, "bash", &["--norc", "--noprofile", "-i"], "source <(distcomp completions bash)")
    }

    fn zsh(bed: &Bed, setup: &str) -> Self {
        let calm = "PS1='$ '; COLUMNS=500; unset zle_bracketed_paste; unsetopt prompt_sp auto_remove_slash; bindkey -e";
        let setup = format!("{calm}; {setup}");
        Self::start(bed, "zsh", &["-f", "-i"], &setup)
    }

    fn send(&mut self, keys: &str) {
        self.0.send(keys).and_then(|_| self.0.flush()).expect("keys");
    }

    #[track_caller]
    fn sees(&mut self, text: &str) {
        self.0.exp_string(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Types, presses TAB, and has the shell print the words that are then on the line.
    #[track_caller]
    fn completes(&mut self, typed: &str, expected: &[&str]) {
        self.send(&format!("{typed}\t"));
        // At the beginning of the line, a command that shows the words of the rest.
        self.send("\u{1}printf '[%s]' begin \u{5} ''end\n");
        self.sees("[begin]");
        let shown = self.0.exp_string("[end]").unwrap_or_else(|error| panic!("{typed}: {error}"));
        let words: String = expected.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!(shown, words, "{typed}");
    }
}

impl Drop for Prompt {
    /// An interactive shell ignores SIGTERM.
    fn drop(&mut self) {
        drop(self.0.send("\u{3}exit\n").and_then(|_| self.0.flush()));
    }
}

/// What is on the line with a TAB at its end, and what it becomes, in any of the shells.
fn check_all(prompt: &mut Prompt, bed: &Bed) {
    let place = bed.path().join("place");
    for file in ["sweep.tasks", "my file.txt"] {
        fs::write(place.join(file), "").expect("a file");
    }
    fs::create_dir_all(place.join("results")).expect("a directory");
    let line = "shell:0:0:1:sleep 4711";
    bed.add([line]);
    bed.hset("worker_status", "node-a", "1700000000:0.00:4.00:0.00:8.00");
    let id = task_id(line);
    bed.cli("distcomp-submit").args(["-n", "sweep1/prep", "-L", "disk=2", "--", "true"]).run().expect(0);
    for (typed, expected) in [
        ("distcomp sub", &["distcomp", "submit"][..]),
        ("distcomp kil", &["distcomp", "kill"]),
        ("distcomp tasks --sta", &["distcomp", "tasks", "--state"]),
        ("distcomp tasks --state fin", &["distcomp", "tasks", "--state", "finished"]),
        ("distcomp tasks --state=fin", &["distcomp", "tasks", "--state=finished"]),
        ("distcomp-status fail", &["distcomp-status", "failures"]),
        ("distcomp-worker --bur", &["distcomp-worker", "--burst"]),
        ("distcomp-submit --dry", &["distcomp-submit", "--dry-run"]),
        ("distcomp submit swe", &["distcomp", "submit", "sweep.tasks"]),
        ("distcomp submit my", &["distcomp", "submit", "my file.txt"]),
        ("distcomp run -D res", &["distcomp", "run", "-D", "results/"]),
        ("distcomp-ctl requeue --file=swe", &["distcomp-ctl", "requeue", "--file=sweep.tasks"]),
        ("distcomp-ctl requeue --older", &["distcomp-ctl", "requeue", "--older-than"]),
        ("distcomp drain no", &["distcomp", "drain", "node-a"]),
        ("distcomp resume --worker=no", &["distcomp", "resume", "--worker=node-a"]),
        ("distcomp cancel --batch sw", &["distcomp", "cancel", "--batch", "sweep1"]),
        ("distcomp wait sweep1/", &["distcomp", "wait", "sweep1/prep"]),
        ("distcomp submit --after sw", &["distcomp", "submit", "--after", "sweep1"]),
        ("distcomp-ctl limit di", &["distcomp-ctl", "limit", "disk"]),
        ("distcomp nosuch sub", &["distcomp", "nosuch", "sub"]),
    ] {
        prompt.completes(typed, expected);
    }
    for command in ["show", "cancel", "explain"] {
        prompt.completes(&format!("distcomp {command} {}", &id[..3]), &["distcomp", command, &id]);
    }
    // A program that is named by its path, as in a build directory.
    let path = bin("distcomp-status").to_owned();
    prompt.completes(&format!("{path} expl"), &[&path, "explain"]);
}

#[test]
fn bash_completes_words_flags_files_names_and_ids() {
    let bed = Bed::new();
    let mut prompt = Prompt::bash(&bed);
    check_all(&mut prompt, &bed);
}

#[test]
fn zsh_completes_words_flags_files_names_and_ids() {
    let bed = Bed::new();
    let setup = "autoload -U compinit; compinit -u -D; source <(distcomp completions zsh)";
    let mut prompt = Prompt::zsh(&bed, setup);
    check_all(&mut prompt, &bed);
}

#[test]
fn zsh_finds_the_installed_file() {
    let bed = Bed::new();
    bed.ctl(&["generate", &bed.out("generated")]).expect(0);
    let dir = bed.path().join("generated/completions");
    let setup = format!("fpath=({} $fpath); autoload -U compinit; compinit -u -D", dir.display());
    let mut prompt = Prompt::zsh(&bed, &setup);
    for _ in 0..2 {
        prompt.completes("distcomp sub", &["distcomp", "submit"]);
        prompt.completes("distcomp-ctl req", &["distcomp-ctl", "requeue"]);
    }
}

/// What fish offers for a line: each candidate with what is said about it.
fn fish(bed: &Bed, setup: &str, line: &str) -> Vec<String> {
    let script = format!("{setup}; complete -C \"$argv[1]\"");
    let output =
        shell(bed, "fish", &["--no-config", "-c", &script, line]).output().expect("fish, which tests/run.sh installs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn fish_completes_words_flags_files_names_and_ids() {
    let bed = Bed::new();
    let setup = "distcomp completions fish | source";
    let line = "shell:0:0:1:sleep 4712";
    bed.add([line]);
    bed.hset("worker_status", "node-a", "1700000000:0.00:4.00:0.00:8.00");
    let id = task_id(line);
    fs::create_dir_all(bed.path().join("place/results")).expect("a directory");
    fs::write(bed.path().join("place/sweep.tasks"), "").expect("a file");
    for (typed, expected) in [
        ("distcomp sub", "submit"),
        ("distcomp tasks --state fin", "finished"),
        ("distcomp tasks --state=fin", "--state=finished"),
        ("distcomp submit swe", "sweep.tasks"),
        ("distcomp run -D res", "results/"),
        ("distcomp-ctl requeue --file=swe", "--file=sweep.tasks"),
        ("distcomp drain no", "node-a"),
        (&format!("distcomp show {}", &id[..3]), &id),
        (&format!("{} expl", bin("distcomp-status")), "explain"),
    ] {
        let offered = fish(&bed, setup, typed);
        let words: Vec<&str> = offered.iter().map(|line| line.split('\t').next().unwrap_or_default()).collect();
        assert_eq!(words, [expected], "{typed}: {offered:?}");
    }
    let shown = fish(&bed, setup, &format!("distcomp show {}", &id[..3]));
    assert!(shown[0].contains("todo: shell:0:0:1:sleep 4712"), "{shown:?}");
    bed.ctl(&["generate", &bed.out("generated")]).expect(0);
    let file = bed.path().join("generated/completions/distcomp-ctl.fish");
    assert_eq!(fish(&bed, &format!("source {}", file.display()), "distcomp-ctl keyg").len(), 1);
}

/// One question of a script.
fn asked(cli: Cli, words: &[&str]) -> Vec<String> {
    let line: String = words.iter().map(|word| format!("{word}\0")).collect();
    let output = cli.args(["__complete"]).stdin(line).run().expect(0);
    assert_eq!(output.stderr, "");
    output.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn completion_ends_soon_and_silently_without_redis() {
    let bed = Bed::new();
    // One that accepts a connection and never answers, one that refuses, a configuration with faults, and one that is not there.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://:secret@{}/0", hung.local_addr().expect("an address"));
    let bad = bed.file("bad.json", "{\"redis_port\": \"hunter2\"}");
    for flags in [
        &["--redis-url", &url][..],
        &["--redis-url", "redis://127.0.0.1:1"],
        &["--config", &bad],
        &["--config", "/no/such/conf.json"],
        &["--local=/no/such/directory"],
    ] {
        for command in ["show", "logs"] {
            let begun = Instant::now();
            let words = [&["distcomp-status"], flags, &[command, "3"]].concat();
            assert_eq!(asked(at(&bed, bin("distcomp-ctl")), &words), ["words"], "{flags:?}");
            assert!(begun.elapsed() < PATIENCE, "{flags:?}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn completion_connects_only_for_names_and_ids() {
    let bed = Bed::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    port.set_nonblocking(true).expect("set");
    let url = format!("redis://{}/0", port.local_addr().expect("an address"));
    for words in [
        &["distcomp-status", "--redis-url", &url, ""][..],
        &["distcomp-status", "--redis-url", &url, "show", "--ra"],
        &["distcomp-submit", "--redis-url", &url, "fi"],
        &["distcomp-worker", "--redis-url", &url, "--bu"],
        &["distcomp", "--", "x"],
        &["distcomp", ""],
        &[],
    ] {
        asked(at(&bed, bin("distcomp-ctl")), words);
    }
    assert!(port.accept().is_err(), "somebody connected");
    assert_eq!(asked(at(&bed, bin("distcomp-ctl")), &["distcomp-status", "--redis-url", &url, "show", ""]), ["words"]);
    assert!(port.accept().is_ok(), "nobody connected");
    assert!(bed.keys().is_empty(), "completion writes nothing: {:?}", bed.keys());
}

#[test]
fn completion_of_local_queue_starts_no_server() {
    let bed = Bed::new();
    let run = |args: &[&str]| {
        let cli = Cli::new(bin("distcomp")).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
        cli.args(args).run()
    };
    fs::remove_file(bed.conf_path()).expect("no configuration");
    run(&["run", "--", "echo", "hi"]).expect(0);
    let id = task_id("shell:0:1:0:echo hi");
    let ctl = || Cli::new(bin("distcomp-ctl")).dir(bed.path()).env("XDG_STATE_HOME", bed.path().join("state-home"));
    assert_eq!(asked(ctl(), &["distcomp", "status", "--local", "show", ""]), ["words"], "no server runs");
    let mut follower = Cli::new(bin("distcomp-status"))
        .dir(bed.path())
        .env("XDG_STATE_HOME", bed.path().join("state-home"))
        .args(["--local", "events", "--follow"])
        .into_command()
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a program");
    let offered = crate::support::wait_until("the id", crate::support::SOON, || {
        let offered = asked(ctl(), &["distcomp", "status", "--local", "show", ""]);
        if offered.len() > 1 { Ok(offered) } else { Err("no id") }
    });
    assert!(offered[1].starts_with(&id), "{offered:?}");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(follower.id().try_into().expect("a pid")),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("a signal");
    follower.wait().expect("its end");
}
