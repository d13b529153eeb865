//! Runs a program of somebody else's, such as `ssh`, with a limit of time: never longer than that, and never with more memory than a little.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

/// What is kept of each stream, in bytes: the end of it.
const KEPT: usize = 64 * 1024;

/// How long what the program has left behind may hold its streams open.
const LEFT_OPEN: Duration = Duration::from_millis(250);

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A program and what it gets.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its name or path, and its arguments.
    pub words: Vec<String>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// Variables of our environment that it does not get.
    pub withheld: Vec<&'static str>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` after a signal, and where it was killed because its time was over.
    pub code: Option<i32>,
    /// Whether its time was over.
    pub is_late: bool,
    /// The last 64 KiB of its standard output.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
}

impl Program {
    /// Runs it in a process group of its own. When the limit is over, or the future is dropped, the whole group is killed.
    ///
    /// # Errors
    /// No words are given, or what the system says of the start.
    pub async fn run(self, limit: Duration) -> io::Result<Finished> {
        let Some((first, rest)) = self.words.split_first() else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut command = Command::new(first);
        command.args(rest).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in self.withheld {
            command.env_remove(name);
        }
        let mut group = Group { child: command.spawn()?, is_reaped: false };
        let stdin =
            group.child.stdin.take().map(|stdin| pipe::Sender::from_owned_fd(OwnedFd::from(stdin))).transpose()?;
        let out = receiver(group.child.stdout.take())?;
        let err = receiver(group.child.stderr.take())?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let talk = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // It need not read what it gets.
                    let _ = stdin.write_all(&self.stdin).await;
                }
            };
            tokio::join!(feed, keep_end(out, &mut stdout), keep_end(err, &mut stderr));
        };
        // When the time is over, the group is killed as it is dropped.
        let status = match timeout(limit, group.end_of(talk)).await {
            Ok(status) => Some(status?),
            Err(_) => None,
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Finished {
            code: status.and_then(|status| status.code()),
            is_late: status.is_none(),
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }
}

fn receiver(stream: Option<impl Into<OwnedFd>>) -> io::Result<Option<pipe::Receiver>> {
    stream.map(|stream| pipe::Receiver::from_owned_fd(stream.into())).transpose()
}

/// The group of a child; killed on drop unless the child has been waited for: until then no other group has its number.
struct Group {
    child: Child,
    is_reaped: bool,
}

impl Group {
    /// Waits for the child while it is talked to; what it leaves behind may go on and is not listened to for long.
    async fn end_of(&mut self, talk: impl Future<Output = ()>) -> io::Result<ExitStatus> {
        tokio::pin!(talk);
        let early = tokio::select! {
            status = self.end() => Some(status?),
            () = &mut talk => None,
        };
        match early {
            Some(status) => {
                let _ = timeout(LEFT_OPEN, talk).await;
                Ok(status)
            }
            None => self.end().await,
        }
    }

    async fn end(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.is_reaped = true;
                return Ok(status);
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads to the end, and keeps the last part.
async fn keep_end(from: Option<pipe::Receiver>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..n]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    let over = kept.len().saturating_sub(KEPT);
    kept.drain(..over);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, stdin: &str) -> Program {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program { words, stdin: stdin.as_bytes().to_vec(), withheld: vec!["HOME"] }
    }

    async fn run(script: &str, stdin: &str) -> Finished {
        sh(script, stdin).run(Duration::from_secs(60)).await.expect("sh runs")
    }

    #[tokio::test]
    async fn program_gets_its_input_and_its_answer_comes_back() {
        let finished = run("cat; echo no >&2; echo \"$HOME.\"; exit 3", "in ").await;
        let expected =
            Finished { code: Some(3), is_late: false, stdout: "in .\n".to_owned(), stderr: "no\n".to_owned() };
        assert_eq!(finished, expected);
    }

    #[tokio::test]
    async fn only_the_end_of_much_output_is_kept() {
        let finished = run("yes | head -c 1000000; echo end", "").await;
        assert!(finished.stdout.ends_with("y\nend\n") && finished.stdout.len() == KEPT, "{}", finished.stdout.len());
    }

    #[tokio::test]
    async fn program_that_leaves_a_process_behind_is_not_waited_for() {
        let finished = run("sleep 50 & echo $!", "").await;
        assert_eq!(finished.code, Some(0));
        let pid: i32 = finished.stdout.trim().parse().expect("a pid");
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs on");
    }

    #[tokio::test]
    async fn program_is_killed_with_its_group_when_its_time_is_over() {
        let limit = Duration::from_millis(300);
        let finished = sh("sleep 50 & echo $!; wait", "").run(limit).await.expect("sh runs");
        assert!(finished.is_late && finished.code.is_none(), "{finished:?}");
        let pid = Pid::from_raw(finished.stdout.trim().parse().expect("a pid"));
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        for _ in 0..500 {
            if is_gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} of the group lives on");
    }

    #[tokio::test]
    async fn program_that_is_not_there_is_an_error() {
        let words = vec!["/nonexistent/ssh".to_owned()];
        let error = Program { words, ..Program::default() }.run(LEFT_OPEN).await.expect_err("no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
