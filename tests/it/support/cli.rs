//! Running the commands as a user does, with arguments and standard input, and keeping all they print.
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::wait_until;

/// The path of one of the binaries.
#[track_caller]
pub(crate) fn bin(name: &str) -> &'static str {
    match name {
        "distcomp-worker" => env!("CARGO_BIN_EXE_distcomp-worker"),
        "distcomp-submit" => env!("CARGO_BIN_EXE_distcomp-submit"),
        "distcomp-status" => env!("CARGO_BIN_EXE_distcomp-status"),
        "distcomp-ctl" => env!("CARGO_BIN_EXE_distcomp-ctl"),
        "distcomp" => env!("CARGO_BIN_EXE_distcomp"),
        other => panic!("no binary {other}"),
    }
}

/// A command to be run: no variable of ours leaks in from the tester's shell.
pub(crate) struct Cli {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
    /// An argument, and the configuration that is used where it is given.
    special: Option<(&'static str, PathBuf)>,
}

impl Cli {
    pub(crate) fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DISTCOMP_") {
                command.env_remove(name);
            }
        }
        command.env_remove("RUST_LOG").env_remove("STATE_DIRECTORY").env("NO_COLOR", "1");
        // What is drawn depends on it; the tester's own may be any.
        command.env("LC_ALL", "C.UTF-8");
        Self { command, stdin: Vec::new(), limit: Duration::from_secs(60), special: None }
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        if let Some((argument, conf)) = &self.special
            && self.command.get_args().any(|one| one == *argument)
        {
            self.command.env("DISTCOMP_CONFIG", conf);
        }
        self
    }

    /// Uses another configuration where this argument is given.
    pub(crate) fn config_for(mut self, argument: &'static str, conf: PathBuf) -> Self {
        self.special = Some((argument, conf));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        self.stdin = text.as_ref().to_vec();
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The bare command, for a test that talks to it over a terminal.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end; one that does not end within the limit is killed, and the test fails.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.start().finish()
    }

    /// Starts it without waiting.
    #[track_caller]
    pub(crate) fn start(mut self) -> Started {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{:?}", self.command);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = self.stdin;
        // A command may end without reading its input: a broken pipe is its right.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Started { child, shown, stdout, stderr, start: Instant::now(), limit: self.limit }
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// A command that runs.
pub(crate) struct Started {
    child: Child,
    shown: String,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
    start: Instant,
    limit: Duration,
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the command takes a signal");
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let deadline = self.start + self.limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("{} did not end within {:?}", self.shown, self.limit);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = self.start.elapsed();
        // Output held open by a process left behind would block the read: that is a fault too.
        wait_until("the command's pipes to close", Duration::from_secs(10), || {
            if self.stdout.is_finished() && self.stderr.is_finished() { Ok(()) } else { Err(&self.shown) }
        });
        let text = |thread: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().expect("the reader ends")).into_owned()
        };
        Output { code: status.code(), stdout: text(self.stdout), stderr: text(self.stderr), took, shown: self.shown }
    }
}

/// What a command printed, and how it ended.
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    shown: String,
}

impl Output {
    /// What a server has answered, in place of what a command printed.
    pub(crate) fn of_answer(body: &str) -> Self {
        let (stderr, shown) = (String::new(), "an answer".to_owned());
        Self { code: Some(0), stdout: body.to_owned(), stderr, took: Duration::ZERO, shown }
    }

    /// Asserts the exit code; a failure prints everything.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code (left) is not the promised one (right)\n{self}");
        self
    }

    /// Whether it ended with this code.
    pub(crate) fn is(&self, code: i32) -> bool {
        self.code == Some(code)
    }

    /// Both streams.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Asserts that standard error holds each of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr does not hold {text:?}\n{self}");
        }
        self
    }

    /// Asserts that standard output holds these texts.
    #[track_caller]
    pub(crate) fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "stdout does not hold {text:?}\n{self}");
        }
        self
    }

    /// Asserts that standard output has exactly this line.
    #[track_caller]
    pub(crate) fn prints_line(self, line: &str) -> Self {
        assert!(self.stdout.lines().any(|one| one == line), "stdout has no line {line:?}\n{self}");
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}\n{self}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr, took, shown } = self;
        write!(f, "{shown}\nended with {code:?} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}
