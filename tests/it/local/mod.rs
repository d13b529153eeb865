//! `distcomp-worker --local`: one machine, nothing to set up, nothing left behind.
mod basics;
mod commands;
mod halt;
mod ordered;
mod outputs;
mod server;
mod tasks;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Cli, Output, SOON, bin, holds_for, kill_all, lines_of, read, wait_until, with_mark};

/// A machine with nothing set up: no configuration, no server, an empty home.
struct Machine {
    dir: TempDir,
    mark: String,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dc-local-").tempdir_in("/tmp").expect("a directory in /tmp");
        let mark = format!("local.{}", dir.path().display());
        Self { dir, mark }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn task_file(&self, text: &str) {
        self.file("task", text);
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a task file");
    }

    /// `distcomp-worker --local task`, and more.
    fn command(&self, args: &[&str]) -> Cli {
        self.worker(&["task"]).args(args)
    }

    /// `distcomp-worker --local`, and more.
    fn worker(&self, args: &[&str]) -> Cli {
        self.cli("distcomp-worker").args(["--local"]).args(args)
    }

    fn cli(&self, name: &str) -> Cli {
        self.cli_of(bin(name))
    }

    /// Any program, in the directory and the environment of the machine.
    fn cli_of(&self, program: &str) -> Cli {
        Cli::new(program)
            .dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("IT_MARK", &self.mark)
    }

    /// Runs it and asserts that no process of it is left, at once.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).run();
        self.assert_alone();
        output
    }

    /// The directory of the private server's data.
    fn state(&self) -> PathBuf {
        let all = std::fs::read_dir(self.path("state/distcomp/local")).expect("the state of a run");
        all.map(|entry| entry.expect("an entry").path()).next().expect("the state of this directory")
    }

    /// The private server of the run that is at work.
    fn server(&self) -> u32 {
        let record = self.state().join("pid");
        wait_until("the record of the private server", SOON, || {
            let text = read(&record);
            text.split_whitespace().next().and_then(|pid| pid.parse().ok()).ok_or(text)
        })
    }

    /// Ids of the tasks in a file of results.
    fn results(&self, name: &str) -> Vec<String> {
        let id = |line: &String| {
            let task: serde_json::Value = serde_json::from_str(line).expect("JSON");
            task["line"].as_str().expect("a line").to_owned()
        };
        let mut lines: Vec<String> = lines_of(self.state().join(name)).iter().map(id).collect();
        lines.sort();
        lines
    }

    #[track_caller]
    fn assert_alone(&self) {
        wait_until("no process of --local to be left", Duration::from_secs(1), || {
            let left = with_mark(&self.mark);
            holds_for(left.is_empty(), format!("{left:?}"))
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        kill_all(&with_mark(&self.mark));
    }
}
