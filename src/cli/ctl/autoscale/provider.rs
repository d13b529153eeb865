//! What an autoscaler acts through, whatever starts its workers.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::policy::allocations::{Listed, Standing};
use crate::process::{Finished, Program};

/// Why a provider did not do what it should, in its own words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ProviderError(pub(super) String);

/// An answer that is on its way.
pub(super) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// What a start may not collide with.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartRequest<'a> {
    /// A text that no start had before.
    pub(super) unique: &'a str,
    /// How long the worker waits at least for something to run.
    pub(super) patience: Duration,
    /// Allocations that are there.
    pub(super) taken: &'a BTreeSet<String>,
}

/// Starts workers, one an allocation. No call takes longer than the time-out of the provider.
pub(super) trait Provider: Send + Sync {
    /// Asks for one worker. The answer is the id of its allocation.
    fn start<'a>(&'a self, request: StartRequest<'a>) -> Asked<'a, String>;

    /// The allocations of this autoscaler; ended ones may be among them. `None`: there is no list.
    fn list(&self) -> Asked<'_, Option<Vec<Listed>>>;

    /// Whether an allocation that the list does not show is gone for certain.
    fn is_gone<'a>(&'a self, id: &'a str) -> Asked<'a, bool>;

    /// Ends an allocation, whether it waits or runs; the worker gets SIGTERM.
    fn cancel<'a>(&'a self, id: &'a str) -> Asked<'a, ()>;

    /// The name of the worker of an allocation.
    fn worker_of(&self, id: &str) -> String;

    /// The allocation whose worker has this name, if it is one of this autoscaler's.
    fn id_of(&self, worker: &str) -> Option<String>;

    /// How it starts a worker, for people.
    fn shown(&self) -> String;

    /// Whether its workers are ended by a drain through Redis, and [`Self::cancel`] does nothing.
    fn drains(&self) -> bool {
        false
    }

    /// The most workers that it could have; `None` where only `--max-workers` says.
    fn most(&self) -> Option<u64> {
        None
    }
}

/// Calls programs of a provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// How long each may take.
    pub(super) limit: Duration,
}

impl Caller {
    /// Runs a program; its standard output where it ends with 0.
    pub(super) async fn call(&self, words: &[&str], stdin: &str) -> Result<String, ProviderError> {
        let finished = self.run(words, stdin).await?;
        if finished.code == Some(0) { Ok(finished.stdout) } else { Err(failure(words, &finished, self.limit)) }
    }

    /// Runs a program, whatever its exit code.
    pub(super) async fn run(&self, words: &[&str], stdin: &str) -> Result<Finished, ProviderError> {
        let program = Program {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            stdin: stdin.as_bytes().to_vec(),
            ..Program::default()
        };
        let name = words.first().copied().unwrap_or_default();
        let finished =
            program.run(self.limit).await.map_err(|error| ProviderError(format!("cannot run {name}: {error}")))?;
        if finished.is_late { Err(failure(words, &finished, self.limit)) } else { Ok(finished) }
    }
}

/// Lines of a message that are shown: the last ones.
const SHOWN: usize = 3;

fn failure(words: &[&str], finished: &Finished, limit: Duration) -> ProviderError {
    let name = words.first().copied().unwrap_or_default();
    let mut said: Vec<&str> = finished.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = said.split_off(said.len().saturating_sub(SHOWN)).join("; ");
    let how = match finished.code {
        _ if finished.is_late => format!("{name} did not answer within {} s and was killed", limit.as_secs_f64()),
        Some(code) => format!("{name} ended with exit code {code}"),
        None => format!("{name} was killed by a signal"),
    };
    ProviderError(if said.is_empty() { how } else { format!("{how}: {said}") })
}

/// `D-HH:MM:SS` without days is `HH:MM:SS`, which all batch systems read.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// An allocation that has ended, and how.
pub(super) fn ended(how: impl Into<String>) -> Standing {
    Standing::Ended(how.into())
}
