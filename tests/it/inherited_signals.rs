//! A signal that was ignored when a program started stays ignored: `nohup`, and a shell's `&`.
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::spawn_command;

use crate::support::{Bed, Cli, SOON, bin, holds_for, read, wait_until};

/// A started program, killed should the test end before it.
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) {
        let ended = wait_until("it to end", SOON, || self.0.try_wait().expect("a status").ok_or("it runs"));
        assert_eq!(ended.code(), Some(code));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command below a shell script, in which `"$@"` is the command.
fn under(script: &str, shown: Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(shown.get_program()).args(shown.get_args());
    for (name, value) in shown.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(dir) = shown.get_current_dir() {
        command.current_dir(dir);
    }
    command
}

fn spawn(mut command: Command) -> Running {
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a program"))
}

/// A mask of signals of a process: `SigIgn`, `SigCgt`.
fn mask(status: &str, name: &str) -> u64 {
    let text = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a mask");
    u64::from_str_radix(text.trim(), 16).expect("a number")
}

fn has(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal as i32 - 1)) != 0
}

/// Waits until the program listens for SIGTERM, which it does together with the others, and looks at what became of those.
#[track_caller]
fn ignores(what: &str, pid: u32, signals: &[Signal]) {
    let status = wait_until(&format!("{what} to listen for signals"), SOON, || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
        if has(mask(&status, "SigCgt"), Signal::SIGTERM) { Ok(status) } else { Err(status) }
    });
    for signal in signals {
        assert!(has(mask(&status, "SigIgn"), *signal), "{what} no longer ignores {signal}");
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), *signal).expect("a signal");
    }
}

#[test]
fn what_nohup_and_a_shell_ignore_stays_ignored_everywhere() {
    const SIGNALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
    let bed = Bed::new();
    let line = "shell:1000000:0:1:never";
    bed.add([line]);
    let file = bed.file("tasks", format!("{line}\n"));
    let programs: [(&str, &[&str], i32); 5] = [
        ("distcomp-worker", &["--name", "w"], 0),
        ("distcomp-submit", &["--wait", &file], 143),
        ("distcomp-status", &["logs", "--follow", line], 143),
        ("distcomp-status", &["events", "--follow"], 143),
        ("distcomp-status", &["serve", "--listen", "127.0.0.1:0"], 0),
    ];
    for (program, args, code) in programs {
        let what = format!("{program} {args:?}");
        let shown = bed.cli(program).args(args).into_command();
        let mut running = spawn(under("trap '' HUP INT QUIT; exec \"$@\"", shown));
        ignores(&what, running.pid(), &SIGNALS);
        kill(Pid::from_raw(i32::try_from(running.pid()).expect("a pid")), Signal::SIGTERM).expect("SIGTERM");
        running.ends_with(code);
    }
}

#[test]
fn background_worker_ignores_ctrl_c_but_its_tasks_do_not() {
    let bed = Bed::new();
    let (pid, seen) = (bed.out("pid"), bed.out("seen"));
    let shown = bed.cli("distcomp-worker").args(["--name", "w"]).into_command();
    // Without job control, as in a script, a shell ignores SIGINT and SIGQUIT for what it runs by `&`.
    let mut shell = spawn(under(&format!("\"$@\" & echo $! > {pid}; wait $!"), shown));
    let pid: i32 = wait_until("the pid", SOON, || read(&pid).trim().parse().map_err(|_| "none"));
    ignores("the worker", u32::try_from(pid).expect("a pid"), &[Signal::SIGINT, Signal::SIGQUIT]);
    bed.add([&format!("shell:0:0:1:cat /proc/self/status > {seen}.new && mv {seen}.new {seen}")]);
    let task = wait_until("the task", SOON, || {
        let task = read(&seen);
        if task.is_empty() { Err("nothing") } else { Ok(task) }
    });
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        assert!(!has(mask(&task, "SigIgn"), signal), "the task ignores {signal}");
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("SIGTERM");
    shell.ends_with(0);
}

#[test]
fn a_local_run_under_nohup_outlives_its_terminal() {
    let dir = tempfile::Builder::new().prefix("dc-nohup-").tempdir_in("/tmp").expect("a directory in /tmp");
    let path = |name: &str| dir.path().join(name);
    let (gate, log) = (path("gate"), path("log"));
    let tasks: String = (0..3)
        .map(|n| format!("shell:0:0:1:touch begun; until test -e {}; do sleep 0.05; done # {n}\n", gate.display()))
        .collect();
    fs::write(path("tasks"), tasks).expect("the task file");
    let shown = Cli::new(bin("distcomp-worker"))
        .args(["--local", "tasks"])
        .dir(dir.path())
        .env("HOME", dir.path())
        .env("XDG_STATE_HOME", path("state"))
        .into_command();
    let script = format!("nohup \"$@\" > {} 2>&1 & echo $! > pid; echo started; wait", log.display());
    let session = spawn_command(under(&script, shown), Some(30_000)).expect("a terminal");
    wait_until("a task to begin", SOON, || holds_for(path("begun").exists(), read(&log)));
    let pid: i32 = read(path("pid")).trim().parse().expect("a pid");
    // Closes the terminal: SIGHUP goes to all that is in its foreground.
    drop(session);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(has(mask(&status, "SigIgn"), Signal::SIGHUP), "{status}");
    fs::write(&gate, "").expect("the gate");
    wait_until("the end of the run", Duration::from_secs(60), || {
        holds_for(read(&log).contains("3 tasks finished, 0 failed"), read(&log))
    });
    wait_until("it to be gone", SOON, || holds_for(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it runs"));
}

#[test]
fn a_signal_that_was_blocked_at_the_start_ends_a_program() {
    let bed = Bed::new();
    let line = "shell:1000000:0:1:never";
    let file = bed.file("tasks", format!("{line}\n"));
    let blocked = "import os, signal, sys\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n\
         os.execv(sys.argv[1], sys.argv[1:])";
    let script = format!("exec python3 -c '{blocked}' \"$@\"");
    let programs: [(&str, &[&str], i32); 3] = [
        ("distcomp-worker", &["--name", "w"], 0),
        ("distcomp-submit", &["--wait", &file], 143),
        ("distcomp-status", &["events", "--follow"], 143),
    ];
    for (program, args, code) in programs {
        let mut running = spawn(under(&script, bed.cli(program).args(args).into_command()));
        ignores(&format!("{program} {args:?}"), running.pid(), &[]);
        wait_until(&format!("{program} to hear all signals"), SOON, || {
            let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("it runs");
            holds_for(mask(&status, "SigBlk") == 0, status)
        });
        kill(Pid::from_raw(i32::try_from(running.pid()).expect("a pid")), Signal::SIGTERM).expect("SIGTERM");
        running.ends_with(code);
    }
}
