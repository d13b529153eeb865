//! Repairs derived data (counts, reasons, claims, orders, index entries) of lines that others have moved or deleted, one bounded step at a
//! time.

use std::time::Duration;

use super::args::Args;
use super::call_size;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lock::try_lock;
use super::lossy_string;
use super::records::{ReconcileArgs, ReconcileStep};
use super::scripts;

/// How many entries one step looks at, about.
const STEP: u64 = 64;

/// Wrong entries of one kind that a pass remembers; the rest is found by the next.
const MOST: usize = 10_000;

/// What is compared, by the names of `lua/reconcile.lua`; those that count others come after them.
const KINDS: [&str; 22] = [
    "attempts",
    "lost",
    "grown",
    "reasons",
    "kinds",
    "retrying",
    "groups",
    "samples",
    "signatures",
    "held",
    "blocked",
    "reserved",
    "marks",
    "refused",
    "capacity",
    "load",
    "workers",
    "idle",
    "members",
    "edited",
    "blamed",
    "limits",
];

/// A kind of one worker's own.
const CLAIMS: &str = "claims";

/// A kind of one limit's own.
const LIMITED: &str = "limited";

/// One hash to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedHash {
    /// What it holds.
    pub kind: &'static str,
    /// The worker or the limit that it is of; empty for the fleet's.
    pub of: String,
}

/// Everything that is to be compared now: cost grows with the number of workers and of limits.
///
/// # Errors
/// Those of any call.
pub async fn subjects(conn: &Connection) -> Result<Vec<DerivedHash>, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hkeys(conn.name(Key::Owner)).hkeys(conn.name(Key::Limits));
    let (owners, limits) = conn.pipe(&pipe).await?;
    let shared = KINDS.into_iter().map(|kind| DerivedHash { kind, of: String::new() });
    let own = lossy_string::list(owners).into_iter().map(|of| DerivedHash { kind: CLAIMS, of });
    let limits = lossy_string::list(limits);
    let mut pipe = redis::pipe();
    for name in &limits {
        pipe.scard(format!("{}{name}", conn.name(Key::LimitsIn)));
    }
    let used: Vec<u64> = if limits.is_empty() { Vec::new() } else { conn.pipe(&pipe).await? };
    let in_use = limits.into_iter().zip(used).filter(|(_, used)| *used > 0).map(|(of, _)| of);
    let limited = in_use.map(|of| DerivedHash { kind: LIMITED, of });
    Ok(own.chain(shared).chain(limited).collect())
}

/// Where looking at one subject stands.
#[derive(Debug, Default)]
pub struct ReconcileScan {
    cursor: String,
    /// Fields that seem wrong.
    pub suspects: Vec<Vec<u8>>,
}

impl ReconcileScan {
    /// Takes one bounded step; true at the end. Changes nothing.
    ///
    /// # Errors
    /// Those of any call; the look can go on afterwards.
    pub async fn step(&mut self, conn: &Connection, subject: &DerivedHash) -> Result<bool, QueueError> {
        let mut args = arguments(subject, "look");
        let cursor = if self.cursor.is_empty() { "0" } else { &self.cursor };
        args.record(ReconcileStep { cursor, count: STEP });
        let mut reply: Vec<Vec<u8>> = conn.script(&scripts::RECONCILE, None, &args).await?;
        if reply.is_empty() {
            return Err(QueueError::Protocol("reconcile answered nothing".to_owned()));
        }
        let rest = reply.split_off(1);
        let room = MOST.saturating_sub(self.suspects.len());
        self.suspects.extend(rest.into_iter().take(room));
        self.cursor = reply.pop().and_then(|cursor| String::from_utf8(cursor).ok()).unwrap_or_default();
        Ok(self.cursor == "0" || self.cursor.is_empty())
    }
}

/// Judges suspects again and mends those that are still wrong; answers how many, a bounded part in each step. May be repeated.
///
/// # Errors
/// Those of any call; what was mended stays mended.
pub async fn mend(conn: &Connection, subject: &DerivedHash, suspects: &[Vec<u8>]) -> Result<u64, QueueError> {
    let mut mended = 0;
    for part in call_size::parts(suspects, usize::try_from(STEP).unwrap_or(1), Vec::len) {
        let mut args = arguments(subject, "mend");
        args.list(part);
        mended += conn.script::<u64>(&scripts::RECONCILE, None, &args).await?;
    }
    Ok(mended)
}

fn arguments(subject: &DerivedHash, mode: &str) -> Args {
    let mut args = Args::new();
    args.record(ReconcileArgs { kind: subject.kind, worker: &subject.of, mode });
    args
}

/// Takes the lock under which one worker at a time compares; it is not given back, so that the next pass of whichever worker begins when it has run out.
///
/// # Errors
/// Those of any call.
pub async fn lock(conn: &Connection, holder: &str, for_at_most: Duration) -> Result<bool, QueueError> {
    try_lock(conn, Key::MendLock, holder, for_at_most).await
}
