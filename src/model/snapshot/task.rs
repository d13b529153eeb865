//! What the commands show of a task and its attempts.

use serde::{Deserialize, Serialize, Serializer};

use crate::model::learnt::{FEW, Family, Peaks};
use crate::model::{
    AttemptRecord, BatchName, Bytes, FinishedValue, Needs, Outcome, PeakSource, StdoutRecord, TrimmedSpace,
};

/// The state a task line is in, in the words of the hashes. Cancelled tasks stand in `failed_tasks` too, where the group of their failure tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// In `todo_tasks`: it waits to be claimed.
    Todo,
    /// Claimed by a worker.
    InProgress,
    /// In `finished_tasks`: it has ended with success.
    Finished,
    /// Has failed; while it is in todo as well, it will be tried again.
    Failed,
    /// An operator has cancelled it.
    Cancelled,
}

impl TaskState {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Todo, Self::InProgress, Self::Finished, Self::Failed, Self::Cancelled];

    /// Of a line in `failed_tasks`, from the group of its failure, if it has one.
    #[must_use]
    pub fn of_failure(group: Option<&str>) -> Self {
        if group == Some(Outcome::CANCELLED_GROUP) { Self::Cancelled } else { Self::Failed }
    }

    /// `todo`, `in_progress`, `finished`, `failed`, `cancelled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a task stands, in one word for programs; the hashes may hold it in two states at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It waits to be claimed, for the first time or again.
    Waiting,
    /// It waits for a batch or for a time.
    Blocked,
    /// A worker has claimed it.
    Running,
    /// It has ended with success.
    Finished,
    /// It has failed and is out of retries.
    Failed,
    /// An operator has cancelled it.
    Cancelled,
    /// The queue does not have it.
    None,
}

impl Standing {
    /// From the states that a task is in. What it may wait for is not among them.
    #[must_use]
    pub fn of(states: &[TaskState]) -> Self {
        let has = |state| states.contains(&state);
        if has(TaskState::InProgress) {
            Self::Running
        } else if has(TaskState::Todo) {
            Self::Waiting
        } else if has(TaskState::Finished) {
            Self::Finished
        } else if has(TaskState::Failed) {
            Self::Failed
        } else if has(TaskState::Cancelled) {
            Self::Cancelled
        } else {
            Self::None
        }
    }

    /// `waiting`, `blocked`, `running`, `finished`, `failed`, `cancelled`, `none`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::None => "none",
        }
    }
}

/// Everything known about one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Its line. In JSON also `needs`, where it has any.
    #[serde(flatten, serialize_with = "with_needs")]
    pub line: String,
    /// The batches and steps that it belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchName>,
    /// The words that it was submitted with, to select it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where it is. A task to be tried again is in todo and in failed; an unknown one nowhere.
    pub states: Vec<TaskState>,
    /// The worker that has it in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What an operator has ordered for it while it runs there, `requeue`, `cancel` or `purge`: it is being stopped, and then goes where the order says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered: Option<String>,
    /// `WORKER: JSON` of a finished one. In JSON also `finished_on`, that worker, and `output`, the text.
    #[serde(flatten, serialize_with = "with_output")]
    pub result: Option<String>,
    /// The workers it failed on, with repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// The group of its failure, `exit 3`, `timed out`, …, while it stands in `failed_tasks`; of a cancelled one `cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a finished one, whether its output can be had from here byte for byte, as of its last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_exact: Option<bool>,
    /// How often a worker was lost while running it.
    pub lost: u64,
    /// Whether it may be what its worker was lost to: it runs apart from other such tasks until it has outlived that time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
    /// The memory in bytes that it declares now, where that is more than its line says: attempts were killed for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declares_memory_bytes: Option<u64>,
    /// Of one whose memory is learnt: what is known of its family, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Family>,
    /// Every attempt kept, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptView {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The worker.
    pub worker: String,
    /// How it ended. In JSON `result`: `exit 0`, `signal 9 (SIGKILL)`, `timed out after 300 s`, `returned`, …; `exit_code` and `signal`, where it has one.
    #[serde(flatten, serialize_with = "in_words")]
    pub outcome: Outcome,
    /// Start, seconds since the epoch, by the clock of its worker; of a lost attempt, when it was claimed, by the clock of Redis. `None` where it never
    /// started.
    pub start: Option<f64>,
    /// End, seconds since the epoch, by the clock of its worker.
    pub end: f64,
    /// When Redis took the record, seconds since the epoch, by the clock of Redis: ages go by this. `None` in records of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<f64>,
    /// Peak memory in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Where that was read: `cgroup` or `largest_process`.
    pub peak_memory_source: Option<String>,
    /// The memory in bytes that it declared, where that was not what its line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_memory_bytes: Option<u64>,
    /// Whether its stdout can be had from here byte for byte: with `stdout_stripped` around it, the text of `result`, or of a failure `stdout_tail`, is
    /// what the task wrote. `None` where that is not known, in records of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_exact: Option<bool>,
    /// The white space before and after that text, which the text is without; `None` where there is none, or it would not be exact with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_stripped: Option<TrimmedSpace>,
    /// Length of its stdout in bytes, where it is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_bytes: Option<u64>,
    /// `HOST:PATH` of the file with all of its stdout, where it is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<String>,
    /// Why there is no such file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_file_error: Option<String>,
    /// Place of the task in the order of submission, where it is known; numbers may be left out between two tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The last 4 KiB of stdout, of a failure.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdout_tail: String,
    /// The last 4 KiB of stderr.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
}

impl TaskView {
    /// `being requeued`, `being cancelled` or `being purged`, of one that runs and is being stopped for that.
    #[must_use]
    pub fn being(&self) -> Option<&'static str> {
        match self.ordered.as_deref()? {
            "requeue" => Some("being requeued"),
            "cancel" => Some("being cancelled"),
            "purge" => Some("being purged"),
            _ => Some("being stopped"),
        }
    }

    /// The memory that it declares now, where that is not what its line says.
    #[must_use]
    pub fn declares(&self) -> Option<Bytes> {
        let learnt = || self.learnt.as_ref().and_then(|family| family.peaks.suggested());
        self.declares_memory_bytes.map(Bytes).or_else(learnt)
    }

    /// `declares 0.40 GB after 2 kills for memory (its line says 0.10 GB)`, where it declares more than its line, which says `line`; and what is known of a
    /// task whose memory is learnt.
    #[must_use]
    pub fn memory_now(&self, line: Bytes) -> Option<String> {
        let Some(now) = self.declares_memory_bytes else { return self.learns() };
        let mut declared: Vec<u64> = (self.attempts.iter().filter(|attempt| attempt.attempt > 0))
            .map(|attempt| attempt.declared_memory_bytes.unwrap_or(line.0))
            .collect();
        declared.push(now);
        let kills = declared.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let kills = match kills {
            0 => "kills for memory".to_owned(),
            1 => "a kill for memory".to_owned(),
            more => format!("{more} kills for memory"),
        };
        Some(format!("declares {} after {kills} (its line says {line})", Bytes(now)))
    }

    fn learns(&self) -> Option<String> {
        let needs = Needs::of_line(&self.line);
        let family = needs.learn()?;
        let peaks = self.learnt.as_ref().map(|family| &family.peaks);
        Some(match peaks.and_then(Peaks::suggested) {
            Some(mem) => format!("declares {mem}: 99 of 100 tasks of {family} used no more, and a fifth was added"),
            None => format!(
                "learns how much memory tasks of {family} use: {} of {FEW} have finished, and until then one runs at a time on a node",
                peaks.map_or(0, |peaks| peaks.tasks)
            ),
        })
    }

    /// The last attempt that a worker made; the record of a cancellation is none.
    #[must_use]
    pub fn last_attempt(&self) -> Option<&AttemptView> {
        self.attempts.iter().rev().find(|attempt| attempt.attempt > 0)
    }

    /// Its value in `finished_tasks`.
    #[must_use]
    pub fn finished(&self) -> Option<FinishedValue<'_>> {
        self.result.as_deref().map(FinishedValue::parse)
    }

    /// The text of a finished one's output, as `finished_tasks` has it: without white space at its ends.
    #[must_use]
    pub fn output(&self) -> Option<String> {
        Some(self.finished()?.output())
    }

    /// The output of a finished one, byte for byte; `None` where it is not to be had from here.
    #[must_use]
    pub fn exact_output(&self) -> Option<String> {
        let attempt = self.last_attempt().filter(|attempt| attempt.stdout_exact == Some(true))?;
        let text = self.output()?;
        Some(attempt.stdout_stripped.as_ref().map_or_else(|| text.clone(), |stripped| stripped.around(&text)))
    }
}

fn with_needs<S: Serializer>(line: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        line: &'a str,
        #[serde(skip_serializing_if = "Needs::is_empty")]
        needs: Needs,
    }
    Line { line, needs: Needs::of_line(line) }.serialize(serializer)
}

fn with_output<S: Serializer>(result: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Finished<'a> {
        result: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        finished_on: Option<&'a str>,
        output: String,
    }
    let finished = result.as_deref().map(|result| {
        let value = FinishedValue::parse(result);
        Finished { result, finished_on: value.worker, output: value.output() }
    });
    finished.serialize(serializer)
}

fn in_words<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Words {
        result: String,
        exit_code: Option<i32>,
        signal: Option<i32>,
    }
    let words = Words { result: outcome.to_string(), exit_code: outcome.exit_code(), signal: outcome.signal() };
    words.serialize(serializer)
}

impl From<AttemptRecord> for AttemptView {
    fn from(record: AttemptRecord) -> Self {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let kept = record.stdout;
        let stripped = kept.as_ref().map(StdoutRecord::stripped);
        let (bytes, file, error) = match kept {
            Some(StdoutRecord::Elsewhere { bytes, file, error }) => (Some(bytes), file, error),
            Some(StdoutRecord::Plain(_) | StdoutRecord::Around(_)) | None => (None, None, None),
        };
        Self {
            attempt: record.attempt,
            worker: record.worker.to_string(),
            outcome: record.outcome,
            start: record.start_ms.map(seconds),
            end: seconds(record.end_ms),
            settled: record.taken_after_ms.map(|after| seconds(record.end_ms.saturating_add_signed(after))),
            peak_memory_bytes: record.peak_bytes,
            peak_memory_source: record.peak_source.map(|source| {
                match source {
                    PeakSource::Cgroup => "cgroup",
                    PeakSource::LargestProcess => "largest_process",
                }
                .to_owned()
            }),
            stdout_exact: stripped.as_ref().map(Option::is_some),
            stdout_stripped: stripped.flatten().filter(|stripped| *stripped != TrimmedSpace::default()),
            stdout_bytes: bytes,
            stdout_file: file,
            stdout_file_error: error,
            declared_memory_bytes: record.declared_bytes,
            sequence: record.sequence,
            stdout_tail: record.stdout_tail,
            stderr_tail: record.stderr_tail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_in_two_states_stands_where_it_goes_on() {
        use TaskState::{Cancelled, Failed, Finished, InProgress, Todo};
        for (states, expected) in [
            (&[][..], Standing::None),
            (&[Todo], Standing::Waiting),
            (&[Todo, Failed], Standing::Waiting),
            (&[InProgress, Failed], Standing::Running),
            (&[Finished], Standing::Finished),
            (&[Failed], Standing::Failed),
            (&[Cancelled], Standing::Cancelled),
            (&[Todo, Cancelled], Standing::Waiting),
        ] {
            let standing = Standing::of(states);
            assert_eq!(standing, expected, "{states:?}");
            assert_eq!(serde_json::to_value(standing).expect("JSON"), standing.as_str());
        }
    }

    #[test]
    fn only_the_group_of_cancelled_tasks_is_no_failure() {
        assert_eq!(TaskState::of_failure(Some(&Outcome::Cancelled.group())), TaskState::Cancelled);
        for group in [None, Some("exit 3"), Some("timed out"), Some("cancelled: x")] {
            assert_eq!(TaskState::of_failure(group), TaskState::Failed, "{group:?}");
        }
        for state in TaskState::ALL {
            assert_eq!(serde_json::to_value(state).expect("JSON"), state.as_str());
        }
    }
}
