//! From how a process ended to what Redis is told: values, reasons and records.
#![deny(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::time::Duration;

use super::ledger::{Entry, StopReason};
use crate::model::{
    AttemptRecord, Bytes, FinishedValue, Outcome, PeakSource, StdoutRecord, TaskId, TaskLine, TrimmedSpace, WorkerName,
    ascii_json, failure_reason,
};
use crate::policy::{MemoryEnd, MemoryRetry, retry};
use crate::process::{Ended, ExitStatus, Stdout};
use crate::queue::session::{MoreMemory, Settle, Settlement};

const SIGKILL: i32 = nix::libc::SIGKILL;
const SIGTERM: i32 = nix::libc::SIGTERM;

/// More than a process usually maps of programs and libraries.
const SHARED_BYTES: u64 = 64 << 20;

/// Bytes of the tails kept in a record.
pub const TAIL_BYTES: usize = 4096;

/// What the settlement needs to know besides the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// This worker.
    pub worker: &'a WorkerName,
    /// The host, for the place of files.
    pub host: &'a str,
    /// Base of the backoff; zero = none.
    pub backoff: Duration,
    /// A random number from 0 to 1.
    pub jitter: f64,
    /// Whether tasks are held to the memory that they declare.
    pub enforces_memory: bool,
    /// How much more memory is declared after a kill for want of it.
    pub memory_retry: MemoryRetry,
    /// The most memory that this node could give to one task.
    pub node_mem: Bytes,
}

/// Whether SIGTERM ended it, or a shell says so of what it ran.
#[must_use]
pub fn is_terminated(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Signaled(SIGTERM)) || status == ExitStatus::Exited(128 + SIGTERM)
}

/// The settlement of an attempt that ran.
#[must_use]
pub fn settle_ended(context: Context<'_>, entry: &Entry, cause: Option<StopReason>, ended: &Ended) -> Settle {
    let limit_reached = |limit: u64| ended.duration >= Duration::from_secs(limit);
    let outcome = match (cause, ended.status) {
        (Some(StopReason::TimedOut(limit)), _) if limit_reached(limit) => Outcome::TimedOut(limit),
        (Some(StopReason::LowMemory { alone: true }), _) => Outcome::Memory,
        (Some(StopReason::LowMemory { alone: false } | StopReason::Shutdown), status)
            if status != ExitStatus::Exited(0) =>
        {
            Outcome::Returned
        }
        // As in Slurm: a command that goes on without a part of it, such as the left side of a pipe, has not done what it was to do.
        (_, ExitStatus::Exited(0)) if has_limit(context, entry) && ended.oom_kills > 0 => Outcome::Signal(SIGKILL),
        (_, ExitStatus::Exited(code)) => Outcome::Exit(code),
        (_, ExitStatus::Signaled(number)) => Outcome::Signal(number),
    };
    let mut record = record(context, entry, outcome);
    record.start_ms = Some(ended.start_ms);
    record.end_ms = ended.end_ms;
    let (peak, source) = peak(ended.group_peak_bytes, ended.peak_bytes);
    record.peak_bytes = Some(peak).filter(|peak| *peak > 0);
    record.peak_source = record.peak_bytes.map(|_| source);
    let settlement = if outcome == Outcome::Returned {
        Settlement::Return
    } else if outcome == Outcome::Exit(0) {
        record.stdout = Some(kept(context.host, ended));
        record.stderr_tail = tail(&String::from_utf8_lossy(&ended.stderr_tail), TAIL_BYTES);
        let text = stdout_text(context.host, &ended.stdout);
        Settlement::Finish { value: FinishedValue::write(context.worker, &text) }
    } else {
        let stderr = String::from_utf8_lossy(&ended.stderr_tail);
        record.stdout = Some(kept_of_failure(context.host, ended));
        record.stdout_tail = tail(&stdout_tail(&ended.stdout), TAIL_BYTES);
        record.stderr_tail = tail(&stderr, TAIL_BYTES);
        let note = out_of_memory(&entry.task, outcome, ended);
        let end = memory_end(context, entry, outcome, ended);
        let more = end.and_then(|end| more_memory(context, entry, Bytes(peak), end));
        fail(context, entry, Failure { outcome, note, more }, &stderr)
    };
    Settle { record: Some(record), settlement, ..unstarted(entry) }
}

/// The peak memory of an attempt, of the two that were measured. The cgroup leaves out the pages of programs and libraries that others have read before;
/// where it has seen much less than the largest process, or nothing at all, pages that earlier tasks had read made room for this one.
fn peak(of_group: Option<u64>, of_process: u64) -> (u64, PeakSource) {
    match of_group {
        Some(peak) if peak > 0 && peak.saturating_add(SHARED_BYTES) >= of_process => (peak, PeakSource::Cgroup),
        Some(_) | None => (of_process, PeakSource::LargestProcess),
    }
}

/// What the kernel did to a task that failed, where it ran out of memory.
fn out_of_memory(task: &TaskLine, failure: Outcome, ended: &Ended) -> Option<String> {
    let is_candidate = matches!(failure, Outcome::Exit(_) | Outcome::Signal(_));
    if !is_candidate || (ended.oom_kills == 0 && !ended.is_oom_likely) {
        return None;
    }
    let killed = match ended.status {
        ExitStatus::Exited(0) => "a part of it was killed by the kernel, although the command exited with 0",
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) => "killed by the kernel",
    };
    Some(match task.demand().mem() {
        declared if ended.oom_kills > 0 && declared > Bytes::ZERO => {
            format!("out of memory (oom): {killed}, it may use the {declared} that it declares")
        }
        _ => format!("out of memory (oom): {killed}"),
    })
}

/// Whether the task was held to the memory that it declares.
fn has_limit(context: Context<'_>, entry: &Entry) -> bool {
    context.enforces_memory && entry.task.demand().mem() > Bytes::ZERO
}

/// How want of memory ended a task that failed; `None` where something else did.
fn memory_end(context: Context<'_>, entry: &Entry, failure: Outcome, ended: &Ended) -> Option<MemoryEnd> {
    if failure == Outcome::Memory {
        return Some(MemoryEnd::Alone);
    }
    match out_of_memory(&entry.task, failure, ended) {
        Some(_) if has_limit(context, entry) && ended.oom_kills > 0 => Some(MemoryEnd::AtLimit),
        Some(_) => Some(MemoryEnd::NodeRanOut),
        None => None,
    }
}

fn more_memory(context: Context<'_>, entry: &Entry, peak: Bytes, end: MemoryEnd) -> Option<MoreMemory> {
    let is_learnt = entry.task.class().needs.learn().is_some();
    let wanted = context.memory_retry.next(entry.task.demand().mem(), peak, end, is_learnt)?;
    let node = context.memory_retry.most.is_none().then_some(context.node_mem);
    Some(MoreMemory { wanted, node })
}

/// The settlement of an attempt that could not be started, through no fault of this node.
#[must_use]
pub fn settle_unspawnable(context: Context<'_>, entry: &Entry, error: &str, now_ms: u64) -> Settle {
    let mut record = record(context, entry, Outcome::Spawn);
    record.end_ms = now_ms;
    record.stderr_tail = tail(error, TAIL_BYTES);
    let settlement = fail(context, entry, Failure::of(Outcome::Spawn), error);
    Settle { record: Some(record), settlement, ..unstarted(entry) }
}

/// The settlement of an attempt whose keeper was killed, and its tree with it: nobody saw how it ended.
#[must_use]
pub fn settle_unseen(context: Context<'_>, entry: &Entry, cause: Option<StopReason>, now_ms: u64) -> Settle {
    let outcome = match cause {
        Some(StopReason::TimedOut(limit)) => Outcome::TimedOut(limit),
        Some(StopReason::LowMemory { alone: true }) => Outcome::Memory,
        Some(StopReason::LowMemory { alone: false } | StopReason::Shutdown | StopReason::Revoked) => Outcome::Returned,
        None => Outcome::Signal(SIGKILL),
    };
    let mut record = record(context, entry, outcome);
    record.end_ms = now_ms;
    let settlement = if outcome.is_cut_short() {
        Settlement::Return
    } else {
        let text = "its keeper was killed or stopped";
        record.stderr_tail = text.to_owned();
        let end = (outcome == Outcome::Memory).then_some(MemoryEnd::Alone);
        let more = end.and_then(|end| more_memory(context, entry, Bytes::ZERO, end));
        fail(context, entry, Failure { more, ..Failure::of(outcome) }, text)
    };
    Settle { record: Some(record), settlement, ..unstarted(entry) }
}

/// Gives a claim back that never started.
#[must_use]
pub fn settle_unstarted(entry: &Entry) -> Settle {
    unstarted(entry)
}

fn unstarted(entry: &Entry) -> Settle {
    Settle {
        line: entry.claim.line.clone(),
        id: entry.task.id(),
        token: entry.claim.token.clone(),
        class: Some(entry.task.class().clone()),
        record: None,
        settlement: Settlement::Return,
    }
}

/// Refuses a claimed line for ever, as no task or as not signed.
#[must_use]
pub fn settle_refused(line: std::sync::Arc<str>, token: String, outcome: Outcome, problem: &str) -> Settle {
    Settle {
        id: TaskId::of(&line),
        line,
        token,
        class: None,
        record: None,
        settlement: Settlement::Fail {
            reason: ascii_json(&failure_reason::write(&outcome.to_string(), problem)),
            outcome,
            delay: Duration::ZERO,
            is_final: true,
            more_memory: None,
        },
    }
}

fn record(context: Context<'_>, entry: &Entry, outcome: Outcome) -> AttemptRecord {
    let token = entry.claim.token.clone();
    let declared_bytes = entry.task.declared_instead().map(|mem| mem.0);
    AttemptRecord {
        token,
        declared_bytes,
        ..AttemptRecord::bare(entry.claim.attempt, context.worker.clone(), 0, outcome)
    }
}

/// How an attempt failed.
struct Failure {
    outcome: Outcome,
    /// What is known of it beside.
    note: Option<String>,
    /// What the next attempt declares.
    more: Option<MoreMemory>,
}

impl Failure {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, note: None, more: None }
    }
}

fn fail(context: Context<'_>, entry: &Entry, failure: Failure, stderr: &str) -> Settlement {
    let Failure { outcome, note, more: more_memory } = failure;
    let delay = retry::backoff(context.backoff, context.jitter);
    let mut head = outcome.to_string();
    // Nothing in the line tells where such a limit comes from.
    if matches!(outcome, Outcome::TimedOut(_)) && entry.task.timeout().is_none() {
        head.push_str(" (default_task_timeout_seconds)");
    }
    if let Some(note) = note {
        head.push_str(": ");
        head.push_str(&note);
    }
    if more_memory.is_some() {
        head.push(MoreMemory::MARK);
    }
    let reason = ascii_json(&failure_reason::write(&head, stderr));
    Settlement::Fail { reason, outcome, delay, is_final: false, more_memory }
}

/// How the output of a success can be had byte for byte: with what its text leaves out, or from its file.
fn kept(host: &str, ended: &Ended) -> StdoutRecord {
    match (&ended.stdout, &ended.stdout_file) {
        (Stdout::Whole(bytes), None) => match TrimmedSpace::of(bytes) {
            Some(stripped) => StdoutRecord::beside(stripped),
            // By a keeper that knew no better.
            None => elsewhere(host, ended, &Err("no file was made".to_owned())),
        },
        (Stdout::Whole(_), Some(file)) | (Stdout::Overflowed { file, .. }, _) => elsewhere(host, ended, file),
    }
}

/// The same of a failure, which keeps a tail.
fn kept_of_failure(host: &str, ended: &Ended) -> StdoutRecord {
    match &ended.stdout {
        Stdout::Whole(bytes) if bytes.len() <= TAIL_BYTES && std::str::from_utf8(bytes).is_ok() => {
            StdoutRecord::Plain(0)
        }
        Stdout::Whole(_) => StdoutRecord::Elsewhere { bytes: ended.stdout.total_bytes(), file: None, error: None },
        Stdout::Overflowed { file, .. } => elsewhere(host, ended, file),
    }
}

fn elsewhere(host: &str, ended: &Ended, file: &Result<PathBuf, String>) -> StdoutRecord {
    let (file, error) = match file {
        Ok(path) => (Some(format!("{host}:{}", path.display())), None),
        Err(error) => (None, Some(error.clone())),
    };
    StdoutRecord::Elsewhere { bytes: ended.stdout.total_bytes(), file, error }
}

fn stdout_text(host: &str, stdout: &Stdout) -> String {
    match stdout {
        Stdout::Whole(bytes) => String::from_utf8_lossy(bytes).trim().to_owned(),
        Stdout::Overflowed { head, tail, total_bytes, file } => {
            let place = match file {
                Ok(path) => format!("the whole in {host}:{}", path.display()),
                Err(error) => format!("the middle could not be kept on {host}: {error}"),
            };
            let head = String::from_utf8_lossy(head);
            let tail = String::from_utf8_lossy(tail);
            format!("{}\n… {total_bytes} bytes in all, {place} …\n{}", head.trim_start(), tail.trim_end())
        }
    }
}

fn stdout_tail(stdout: &Stdout) -> String {
    match stdout {
        Stdout::Whole(bytes) => String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned(),
        Stdout::Overflowed { tail, .. } => String::from_utf8_lossy(tail).into_owned(),
    }
}

/// The last `limit` bytes of a text, cut at a character.
fn tail(text: &str, limit: usize) -> String {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_is_of_the_largest_process_where_a_cgroup_saw_nothing() {
        const MIB: u64 = 1 << 20;
        assert_eq!(peak(Some(0), 3 * MIB), (3 * MIB, PeakSource::LargestProcess));
        assert_eq!(peak(Some(MIB), 3 * MIB), (MIB, PeakSource::Cgroup));
        assert_eq!(peak(Some(MIB), 300 * MIB), (300 * MIB, PeakSource::LargestProcess));
        assert_eq!(peak(None, 0), (0, PeakSource::LargestProcess));
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(stdout_text("h", &Stdout::Whole(b" a\xffb\n".to_vec())), "a\u{fffd}b");
    }
}
