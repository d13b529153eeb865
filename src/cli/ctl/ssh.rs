//! Starts workers on other hosts by the `ssh` of this system, with the configuration and the keys of who runs it.
//!
//! The command that `ssh` carries is `sh`, whatever the login shell there is, and everything else goes through standard input: no name, no path and no flag
//! is seen in a list of processes here.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::hosts::Host;
use crate::cli::exit::CliError;
use crate::process::{Finished, Program};

/// How many hosts are talked to at a time.
const AT_ONCE: usize = 20;

/// Variables of ours that `ssh` does not get, since its `SendEnv` could carry them.
const SECRETS: [&str; 3] = ["DISTCOMP_REDIS_URL", "DISTCOMP_REDIS_PASSWORD", "DISTCOMP_REDIS_URL_FROM"];

/// Runs on the host.
const START: &str = include_str!("start_worker.sh");

/// Lines of a message of `ssh` that are shown: the last ones.
const SHOWN: usize = 3;

/// The program, with the flags that its user wants it to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssh {
    words: Vec<String>,
}

/// How workers are started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerStart {
    /// The directory on the host: absolute, or below the home directory there.
    pub(crate) dir: String,
    /// Flags of the worker, beside its name.
    pub(crate) flags: Vec<String>,
}

/// What came of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It runs, or did a moment ago. Its log is there.
    Runs {
        /// The path of the log on the host.
        log: String,
    },
    /// It has ended at once, with this code.
    Ended {
        /// The path of the log on the host.
        log: String,
        /// Its exit code.
        code: i32,
        /// Its last lines.
        lines: Vec<String>,
    },
    /// Nothing was started, for this reason.
    Failed(String),
}

impl Ssh {
    /// The program with its flags, as a shell would read it; `None`: `ssh`.
    ///
    /// # Errors
    /// Quotes that do not end, or nothing at all.
    pub(crate) fn new(command: Option<&str>) -> Result<Self, CliError> {
        let words = shlex::split(command.unwrap_or("ssh")).filter(|words| !words.is_empty());
        let bad = || CliError::Usage("--ssh (DISTCOMP_SSH) is no command; valid: a program and its flags".to_owned());
        words.map(|words| Self { words }).ok_or_else(bad)
    }

    /// The words of a session with a host. What the user has given comes first: of a setting that is given twice, ssh takes the first.
    fn session(&self, host: &Host) -> Vec<String> {
        let mut words = self.words.clone();
        words.extend(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"].map(str::to_owned));
        if let Some(port) = host.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend([host.destination(), "sh".to_owned()]);
        words
    }

    /// Has `sh` on the host read a script.
    async fn run(&self, host: &Host, script: String, limit: Duration) -> io::Result<Finished> {
        let (words, stdin) = (self.session(host), script.into_bytes());
        Program { words, stdin, withheld: SECRETS.to_vec() }.run(limit).await
    }

    /// Starts the worker of a host, apart from the session. It must not run already: a second one of its name refuses to start.
    pub(crate) async fn start(&self, host: &Host, start: &WorkerStart, limit: Duration) -> Start {
        match self.run(host, start.script(host), limit).await {
            Ok(finished) => start_of(&finished, limit),
            Err(error) => Start::Failed(format!("cannot run {}: {error}", self.words[0])),
        }
    }

    /// The last lines of a log on a host; none where they cannot be had.
    pub(crate) async fn log_lines(&self, host: &Host, log: &str, limit: Duration) -> Vec<String> {
        let script = format!("tail -n 5 {} | sed 's/^/distcomp log /'\nexit\n", quoted(log));
        match self.run(host, script, limit).await {
            Ok(finished) => Answer::of(&finished.stdout).lines,
            Err(_) => Vec::new(),
        }
    }
}

impl WorkerStart {
    /// What `sh` reads on the host.
    fn script(&self, host: &Host) -> String {
        let is_config = |flag: &String| {
            ["--config", "--redis-url"].iter().any(|name| flag == name || flag.starts_with(&format!("{name}=")))
        };
        let config = if self.flags.iter().any(is_config) { "given" } else { "default" };
        let exe = std::env::current_exe().ok();
        let beside = exe.as_deref().and_then(Path::parent).and_then(Path::to_str).unwrap_or("/usr/bin");
        let mut script = format!(
            "name={} dir={} beside={} config={config}\nset --",
            quoted(host.worker.as_str()),
            quoted(&self.dir),
            quoted(beside)
        );
        for flag in &self.flags {
            // Writing to a string cannot fail.
            let _ = write!(script, " {}", quoted(flag));
        }
        script + "\n" + START
    }
}

/// For `sh`. No argument of a process has a NUL in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Does it for every host, with twenty at a time, and hands over each that is done.
pub(crate) async fn for_each<H, T, F: Future<Output = T>>(
    hosts: impl IntoIterator<Item = H>,
    act: impl Fn(H) -> F,
    mut done: impl FnMut(T),
) {
    let mut running = stream::iter(hosts).map(act).buffer_unordered(AT_ONCE);
    while let Some(one) = running.next().await {
        done(one);
    }
}

/// The lines of the script's own among what a session prints: a shell may say more at its start.
#[derive(Debug, Default)]
struct Answer {
    fault: Option<String>,
    log: Option<String>,
    ended: Option<i32>,
    lines: Vec<String>,
}

impl Answer {
    fn of(stdout: &str) -> Self {
        let mut answer = Self::default();
        for line in stdout.lines().filter_map(|line| line.strip_prefix("distcomp ")) {
            match line.split_once(' ') {
                Some(("fault", text)) => answer.fault = Some(text.to_owned()),
                Some(("place", path)) => answer.log = Some(path.to_owned()),
                Some(("ended", code)) => answer.ended = code.parse().ok(),
                Some(("log", text)) => answer.lines.push(text.to_owned()),
                _ => {}
            }
        }
        answer
    }
}

fn start_of(finished: &Finished, limit: Duration) -> Start {
    match Answer::of(&finished.stdout) {
        Answer { fault: Some(text), .. } => Start::Failed(text),
        Answer { log: Some(log), ended: Some(code), lines, .. } => Start::Ended { log, code, lines },
        // The session broke off, or its time was over, after the start.
        Answer { log: Some(log), .. } => Start::Runs { log },
        _ => Start::Failed(failure(finished, limit)),
    }
}

/// Why a session did not do what it should, in the words of `ssh` where it has some.
fn failure(finished: &Finished, limit: Duration) -> String {
    let mut said: Vec<&str> = finished.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = said.split_off(said.len().saturating_sub(SHOWN)).join("\n");
    match (finished.code, last.is_empty()) {
        (_, true) if finished.is_late => format!("no answer within {} s (--timeout)", limit.as_secs_f64()),
        (_, false) if finished.is_late => format!("no answer within {} s (--timeout)\n{last}", limit.as_secs_f64()),
        (_, false) => last,
        (Some(code), true) => format!("ssh ended with exit code {code} and said nothing"),
        (None, true) => "ssh was killed by a signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cli::ctl::hosts::parse_hosts;

    fn host(text: &str) -> Host {
        parse_hosts(text.as_bytes()).expect("a host").hosts.remove(0)
    }

    #[test]
    fn flags_of_the_user_come_before_ours() {
        let ssh = Ssh::new(Some("ssh -F '/my conf' -o ConnectTimeout=60")).expect("a command");
        let words = ssh.session(&host("ann@node1:2222"));
        let expected = [
            "ssh -F",
            "/my conf",
            "-o ConnectTimeout=60 -T -o BatchMode=yes -o ConnectTimeout=10 -p 2222 ann@node1 sh",
        ];
        assert_eq!(words.join(" "), expected.join(" "));
        assert_eq!(
            Ssh::new(None).expect("ssh").session(&host("[fe80::1]")).last_chunk(),
            Some(&["fe80::1", "sh"].map(str::to_owned))
        );
        for bad in ["", " ", "ssh 'x"] {
            assert!(Ssh::new(Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn answer_is_found_among_other_output() {
        let finished = |stdout: &str, stderr: &str, code| Finished {
            code,
            is_late: false,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        let start =
            |stdout: &str, stderr: &str, code| start_of(&finished(stdout, stderr, code), Duration::from_secs(60));
        let log = || "/d/w.log".to_owned();
        let begun = "welcome\ndistcomp place /d/w.log\n";
        assert_eq!(start(&format!("{begun}bye\n"), "", Some(0)), Start::Runs { log: log() });
        let ended = Start::Ended { log: log(), code: 2, lines: vec!["why".to_owned()] };
        assert_eq!(start(&format!("{begun}distcomp ended 2\ndistcomp log why\n"), "", Some(0)), ended);
        assert_eq!(start("distcomp fault no\n", "x", Some(1)), Start::Failed("no".to_owned()));
        assert_eq!(start("", "a\n\nb\nc\nd\n", Some(255)), Start::Failed("b\nc\nd".to_owned()));
        assert_eq!(start("", "", Some(255)), Start::Failed("ssh ended with exit code 255 and said nothing".to_owned()));
    }

    #[tokio::test]
    async fn twenty_hosts_are_talked_to_at_a_time() {
        let (now, most, done) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let act = async |_: i32| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::task::yield_now().await;
            now.set(now.get() - 1);
        };
        for_each(0..50, act, |()| done.set(done.get() + 1)).await;
        assert_eq!((most.get(), done.get()), (AT_ONCE, 50));
    }
}
