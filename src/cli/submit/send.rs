//! The second pass of a submission: sends the valid lines in order, with several batches in flight.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::check::CheckReport;
use super::input::BatchChecksums;
use super::origin::Origin;
use super::reader::TaskReader;
use super::task_file::ParseRules;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::spill_list::SpillList;
use crate::cli::task_set::{TaskEnd, TaskSet, TaskTally};
use crate::model::TaskId;
use crate::queue::Connection;
use crate::queue::submit::{BATCH, NewTask, Submitted, prepare, submit_in};
use crate::signing::{SignError, Signer};
use crate::view::progress::Progress;
use crate::view::text::{count, tasks};

/// Batches on their way at once: the next is parsed here while the server works on those before it.
const IN_FLIGHT: usize = 8;

/// What is sent, and how.
pub(super) struct Sending<'a> {
    pub(super) origin: &'a Origin,
    pub(super) rules: ParseRules,
    /// What the first pass found.
    pub(super) found: &'a CheckReport,
    /// Also what is finished or out of retries.
    pub(super) rerun: bool,
    /// Signs each line.
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) quiet: bool,
    /// Sends each of these once, however often it is there.
    pub(super) once: Option<&'a TaskSet>,
}

/// What is kept of the tasks that are sent.
#[derive(Default)]
pub(super) struct Kept {
    /// Their lines, for waiting on them.
    pub(super) lines: Option<SpillList>,
    /// Their ids, in order.
    pub(super) ids: Option<Vec<TaskId>>,
}

/// Sends what the first pass found to be valid.
pub(super) async fn send(
    context: &Context,
    conn: &Connection,
    sending: &Sending<'_>,
    kept: &mut Kept,
) -> Result<Submitted, CliError> {
    let Sending { origin, rules, found, rerun, ref signer, quiet, once } = *sending;
    prepare(conn, rerun).await?;
    let mut batches = Batches::new(origin, rules, found);
    batches.once = once.map(TaskSet::tally);
    let mut total = Submitted::default();
    let mut progress = Progress::new("submitted", found.valid, !quiet);
    let mut failure = None;
    {
        let source = stream::iter(std::iter::from_fn(|| batches.next(kept).transpose()));
        let mut replies = source
            .map(|batch| seal(batch, signer.clone()))
            .buffered(IN_FLIGHT)
            .map(|batch| {
                // Unconstrained: a future is written when it is first polled, so batches keep their order.
                tokio::task::unconstrained(async move {
                    let batch = batch?;
                    Ok::<_, CliError>((batch.len(), submit_in(conn, &batch, rerun, Some(rules.order)).await?))
                })
            })
            .buffered(IN_FLIGHT);
        while let Some(reply) = replies.next().await {
            match reply {
                Ok((lines, submitted)) => {
                    total += submitted;
                    progress.advance(lines as u64);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
    }
    drop(progress);
    match failure {
        Some(error) => {
            // Batches may have gone in whose answer did not come.
            let seen = total.added + total.queued + total.running + total.finished + total.failed;
            let open = found.valid.saturating_sub(seen).min((IN_FLIGHT * BATCH) as u64);
            context.say(&format!(
                "stopped: {} were added, perhaps the next {} too; submitting the same files again is safe",
                tasks(total.added),
                count(open)
            ));
            Err(error)
        }
        None => Ok(total),
    }
}

/// Signs a batch, where lines are signed: on another thread, since each takes tens of microseconds.
async fn seal(batch: Result<Vec<NewTask>, CliError>, signer: Option<Arc<Signer>>) -> Result<Vec<NewTask>, CliError> {
    let Some(signer) = signer else { return batch };
    let mut batch = batch?;
    let failed = |error| CliError::io("sign the tasks", error);
    let signed = tokio::task::spawn_blocking(move || {
        for task in &mut batch {
            task.seal(signer.sign(task.line())?.to_string());
        }
        Ok(batch)
    });
    let signed: Result<_, SignError> = signed.await.map_err(|error| failed(error.into()))?;
    signed.map_err(|error| failed(std::io::Error::other(error)))
}

/// The valid lines in batches, compared with what the first pass read.
struct Batches<'a> {
    walk: TaskReader<'a>,
    expected: &'a BatchChecksums,
    invalid: u64,
    seen: BatchChecksums,
    is_over: bool,
    /// What has been sent, where each line is sent once.
    once: Option<TaskTally<'a>>,
}

impl<'a> Batches<'a> {
    fn new(origin: &'a Origin, rules: ParseRules, found: &'a CheckReport) -> Self {
        let walk = TaskReader::new(origin, rules);
        Self {
            walk,
            expected: &found.sums,
            invalid: found.invalid,
            seen: BatchChecksums::default(),
            is_over: false,
            once: None,
        }
    }

    fn next(&mut self, kept: &mut Kept) -> Result<Option<Vec<NewTask>>, CliError> {
        if self.is_over {
            return Ok(None);
        }
        let read = self.read();
        self.is_over = !read.as_ref().is_ok_and(|(_, is_full)| *is_full);
        let (batch, _) = read?;
        if let Some(lines) = &mut kept.lines {
            let failed = |error| CliError::io("store the submitted lines in a temporary file", error);
            batch.iter().try_for_each(|task| lines.push(task.line())).map_err(failed)?;
        }
        if let Some(ids) = &mut kept.ids {
            ids.extend(batch.iter().map(|task| TaskId::of(task.line())));
        }
        let is_empty = batch.is_empty();
        let batch = match &mut self.once {
            Some(once) => batch.into_iter().filter(|task| once.note(TaskId::of(task.line()), TaskEnd::Open)).collect(),
            None => batch,
        };
        Ok((!is_empty).then_some(batch))
    }

    /// The lines up to the end of a batch, and whether that was it, and not the end of all.
    fn read(&mut self) -> Result<(Vec<NewTask>, bool), CliError> {
        let changed = || CliError::Usage("the task file changed during the submission".to_owned());
        let mut batch = Vec::new();
        let mut is_full = false;
        while !is_full {
            let Some(line) = self.walk.next()? else { break };
            match line.task {
                Ok(task) => {
                    is_full = self.seen.add(task.as_str());
                    batch.push(NewTask::of(&task));
                }
                // Bad lines that the first pass counted are skipped; another one is a change.
                Err(_) => self.invalid = self.invalid.checked_sub(1).ok_or_else(changed)?,
            }
        }
        self.seen.close();
        let is_same = match batch.len() {
            0 => self.seen.len() == self.expected.len(),
            _ => self.expected.get(self.seen.len() - 1) == self.seen.get(self.seen.len() - 1),
        };
        let is_end_same = is_full || self.seen.len() == self.expected.len();
        if is_same && is_end_same { Ok((batch, is_full)) } else { Err(changed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldOrder;
    use std::io::{Seek, SeekFrom, Write};

    const RULES: ParseRules = ParseRules { order: FieldOrder::MemCpuPrio, python_workers: false };

    fn count(origin: &Origin) -> CheckReport {
        let mut found = CheckReport::default();
        let mut walk = TaskReader::new(origin, RULES);
        while let Some(line) = walk.next().unwrap() {
            match line.task {
                Ok(task) => {
                    found.valid += 1;
                    found.sums.add(task.as_str());
                }
                Err(_) => found.invalid += 1,
            }
        }
        found.sums.close();
        found
    }

    fn drain(origin: &Origin, found: &CheckReport) -> Result<usize, CliError> {
        let mut batches = Batches::new(origin, RULES, found);
        let mut lines = 0;
        while let Some(batch) = batches.next(&mut Kept::default())? {
            lines += batch.len();
        }
        Ok(lines)
    }

    #[test]
    fn whole_and_partial_batches_come_out_whole() {
        for lines in [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            for n in 0..lines {
                writeln!(file, "shell:1:1:1:{n}x").unwrap();
            }
            let origin = Origin::of_files(&[file.path().to_owned()]).unwrap();
            let found = count(&origin);
            assert_eq!(drain(&origin, &found).unwrap(), lines);
        }
    }

    #[test]
    fn batches_of_long_lines_are_short() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(100_000);
        for n in 0..7 {
            writeln!(file, "shell:1:1:1:{n}{long}").unwrap();
        }
        let origin = Origin::of_files(&[file.path().to_owned()]).unwrap();
        let found = count(&origin);
        let mut batches = Batches::new(&origin, RULES, &found);
        let lengths: Vec<usize> =
            std::iter::from_fn(|| batches.next(&mut Kept::default()).unwrap()).map(|batch| batch.len()).collect();
        assert_eq!(lengths, [3, 3, 1]);
    }

    #[test]
    fn a_file_that_changed_in_between_is_not_sent_on() {
        for edit in ["shell:1:1:1:b", "bad line here", "# shell:1:1:1"] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            writeln!(file, "shell:1:1:1:a").unwrap();
            let origin = Origin::of_files(&[file.path().to_owned()]).unwrap();
            let found = count(&origin);
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(edit.as_bytes()).unwrap();
            assert!(drain(&origin, &found).is_err(), "{edit}");
        }
    }

    #[test]
    fn lines_appended_in_between_are_a_change() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for n in 0..BATCH {
            writeln!(file, "shell:1:1:1:{n}x").unwrap();
        }
        let origin = Origin::of_files(&[file.path().to_owned()]).unwrap();
        let found = count(&origin);
        writeln!(file, "shell:1:1:1:more").unwrap();
        assert!(drain(&origin, &found).is_err());
    }
}
