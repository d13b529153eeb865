//! The second pass of a submission: sends the valid lines in order, with several batches in flight.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::check::CheckReport;
use super::input::BatchChecksums;
use super::origin::Origin;
use super::reader::TaskReader;
use super::submission::Submission;
use super::task_file::ParseRules;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::near::nearest;
use crate::cli::spill_list::SpillList;
use crate::cli::task_set::{TaskEnd, TaskSet, TaskTally};
use crate::model::TaskId;
use crate::queue::limits;
use crate::queue::submit::{BATCH, NewTask, Submitted, prepare, submit_in};
use crate::queue::{Connection, QueueError};
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

/// What became of the tasks, and of the commands for the ends of their batches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) tasks: Submitted,
    pub(super) hooks: Submitted,
}

/// Sends what the first pass found to be valid.
///
/// The submission to each batch begins before the first line and ends after the last: while it is under way, nothing starts that waits for one of them. One
/// that is cut short stays so, until the same is submitted again or somebody closes the batch.
pub(super) async fn send(
    context: &Context,
    conn: &Connection,
    sending: &Sending<'_>,
    kept: &mut Kept,
) -> Result<Sent, CliError> {
    let Sending { found, rerun, ref signer, quiet, .. } = *sending;
    prepare(conn, rerun).await?;
    set_limits(context, conn, found, quiet).await?;
    let submission = match found.plan.is_empty() {
        true => None,
        false => Some(Submission::begin(conn, &found.plan).await?),
    };
    let mut total = Submitted::default();
    let mut progress = Progress::new("submitted", found.valid, !quiet);
    let mut batches = Batches::new(sending.origin, sending.rules, found);
    batches.once = sending.once.map(TaskSet::tally);
    let ended = send_all(conn, sending, &submission, (&mut batches, kept), |lines, submitted| {
        total += submitted;
        progress.advance(lines);
    })
    .await;
    drop(progress);
    if let Err(error) = ended {
        // Batches may have gone in whose answer did not come.
        let seen = total.added + total.queued + total.running + total.finished + total.failed;
        let open = found.valid.saturating_sub(seen).min((IN_FLIGHT * BATCH) as u64);
        let blocks = submission.as_ref().map_or("", |_| ", and what waits for this batch stays blocked until then");
        context.say(&format!(
            "stopped: {} were added, perhaps the next {} too; submitting the same files again is safe{blocks}",
            tasks(total.added),
            count(open)
        ));
        return Err(error);
    }
    let hooks = seal(Ok(std::mem::take(&mut batches.hooks)), signer.clone()).await?;
    let hooks = send_hooks(conn, &hooks, sending, total.added > 0).await?;
    if total.crowded > 0 {
        // The submission stays under way, so that no gate on a batch opens that lacks what it was to have.
        return Err(CliError::Usage(format!(
            "{} to 8 batches already, as many as a task may, and did not join this one: what waits for it does not start; distcomp-ctl close BATCH says that \
             it is complete as it is",
            if total.crowded == 1 { "1 task belongs".to_owned() } else { format!("{} belong", tasks(total.crowded)) }
        )));
    }
    if let Some(submission) = submission {
        submission.end().await?;
    }
    Ok(Sent { tasks: total, hooks })
}

/// Sets the limits that the flags give a number and that nobody has set; says which of those that tasks name limit nothing.
async fn set_limits(context: &Context, conn: &Connection, found: &CheckReport, quiet: bool) -> Result<(), QueueError> {
    let set = limits::set_where_none(conn, &found.plan.limits).await?;
    for (name, limit) in &found.plan.limits {
        if set.contains(name) {
            if !quiet {
                context.say(&format!("set limit {name} to {limit}"));
            }
        } else if let Some(known) = limits::get(conn, name).await?.filter(|known| known != limit) {
            context.warn(&format!(
                "limit {name} is {known} already and stays so; distcomp-ctl limit {name} {limit} changes it"
            ));
        }
    }
    let known = if found.plan.named_limits.is_empty() { Vec::new() } else { limits::names(conn).await? };
    for name in found.plan.named_limits.iter().filter(|name| !known.iter().any(|known| known == name.as_str())) {
        let near = nearest(name.as_str(), &known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        context.warn(&format!("limit {name} is not set{near}: distcomp-ctl limit {name} N sets it"));
    }
    Ok(())
}

/// Sends the lines, with several batches on their way at once.
async fn send_all(
    conn: &Connection,
    sending: &Sending<'_>,
    submission: &Option<Submission<'_>>,
    (batches, kept): (&mut Batches<'_>, &mut Kept),
    mut done: impl FnMut(u64, Submitted),
) -> Result<(), CliError> {
    let Sending { rules, rerun, ref signer, .. } = *sending;
    let source = stream::iter(std::iter::from_fn(|| batches.next(kept).transpose()));
    let mut replies = source
        .map(|batch| seal(batch, signer.clone()))
        .buffered(IN_FLIGHT)
        .map(|batch| {
            // Unconstrained: a future is written when it is first polled, so batches keep their order.
            tokio::task::unconstrained(async move {
                let batch = batch?;
                loop {
                    let id = submission.as_ref().map(Submission::id);
                    match (submit_in(conn, &batch, rerun, Some(rules.order), id).await, submission) {
                        // Somebody has closed the batch, or a later submission took this one for dead: it goes on.
                        (Err(QueueError::SubmissionClosed), Some(submission)) => submission.begin_again().await?,
                        (submitted, _) => return Ok::<_, CliError>((batch.len() as u64, submitted?)),
                    }
                }
            })
        })
        .buffered(IN_FLIGHT);
    while let Some(reply) = replies.next().await {
        let (lines, submitted) = reply?;
        done(lines, submitted);
    }
    Ok(())
}

/// Sends the commands for the ends of the batches. Those that have run run again if the batch has new tasks; a user that may only add leaves it at that.
async fn send_hooks(
    conn: &Connection,
    hooks: &[NewTask],
    sending: &Sending<'_>,
    is_new_round: bool,
) -> Result<Submitted, CliError> {
    let mut total = Submitted::default();
    let order = Some(sending.rules.order);
    for part in hooks.chunks(BATCH) {
        total += match submit_in(conn, part, is_new_round || sending.rerun, order, None).await {
            Err(QueueError::Denied { .. }) if !sending.rerun => submit_in(conn, part, false, order, None).await?,
            submitted => submitted?,
        };
    }
    Ok(total)
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
    /// The commands for the ends of batches, which come last.
    hooks: Vec<NewTask>,
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
            hooks: Vec::new(),
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
            let is_hook = line.is_hook();
            match line.task {
                Ok(task) if is_hook => self.hooks.push(NewTask::of(&task)),
                Ok(task) => {
                    is_full = self.seen.add(task.as_str(), line.belonging.as_ref());
                    let mut new = NewTask::of(&task);
                    new.join(line.belonging);
                    batch.push(new);
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
                    found.sums.add(task.as_str(), line.belonging.as_ref());
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
