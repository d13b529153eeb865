//! Passes on each task that ends in a run: its output to the terminal or a pipe, its row to the job log.
//!
//! It works beside the run, on a connection of its own, so that nothing waits for whoever reads the output.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::joblog_file::JobLogFile;
use super::roster::{Entry, Roster};
use super::run_ends::RunEndCounter;
use super::task_output;
use crate::cli::exit::CliError;
use crate::cli::output::complain;
use crate::cli::worker::load::program;
use crate::model::TaskId;
use crate::model::snapshot::{TaskState, TaskView};
use crate::queue::{Client, Connection, inspect};

/// Tasks whose output is in memory at once.
const AT_ONCE: usize = 100;
/// Between attempts to reach a server that is being started again.
const RECONNECT: Duration = Duration::from_millis(200);

/// Writes each task that ends, in the order that was asked for.
pub(super) struct EndedWriter {
    client: Client,
    conn: Option<Connection>,
    roster: Roster,
    marks: Vec<Mark>,
    shows_output: bool,
    joblog: Option<JobLogFile>,
    /// Where the order of the command line is kept: the place of the next task to print.
    next: Option<usize>,
    /// What could not be written.
    failure: Option<CliError>,
}

/// What is known of a task.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The attempt that was passed on last; 0 for none.
    last: u32,
    /// It has ended in this run.
    has_ended: bool,
    /// It had ended before.
    is_old: bool,
}

/// What is wanted of it.
pub(super) struct Wanted {
    pub(super) shows_output: bool,
    pub(super) keeps_order: bool,
    pub(super) joblog: Option<JobLogFile>,
}

impl EndedWriter {
    /// Before the run. The job log gets the rows that it lacks of tasks that have ended before, such as those of a run that was killed.
    pub(super) async fn new(
        client: Client,
        roster: Roster,
        wanted: Wanted,
        counter: &RunEndCounter<'_>,
    ) -> Result<Self, CliError> {
        let mut marks = vec![Mark::default(); roster.len()];
        for (id, place) in roster.places() {
            marks[place].is_old = counter.has_ended(id);
        }
        let Wanted { shows_output, keeps_order, joblog } = wanted;
        let next = (shows_output && keeps_order).then_some(0);
        let mut writer = Self { client, conn: None, roster, marks, shows_output, joblog, next, failure: None };
        if writer.joblog.is_some() {
            let old: Vec<usize> = (0..writer.marks.len()).filter(|place| writer.marks[*place].is_old).collect();
            for places in old.chunks(AT_ONCE) {
                for (_, entry, task) in writer.read(places).await? {
                    writer.log(&task, &entry);
                }
            }
            writer.flush();
        }
        Ok(writer)
    }

    /// Passes on what the ids that come in name, until nothing more can come.
    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<TaskId>) -> Self {
        let mut ids = Vec::with_capacity(AT_ONCE);
        while inbox.recv_many(&mut ids, AT_ONCE).await > 0 {
            let places: Vec<usize> = ids.drain(..).filter_map(|id| self.roster.find(id)).collect();
            while let Err(error) = self.pass_on(&places).await {
                self.conn = None;
                if !matches!(error, CliError::Queue(_)) {
                    self.fail(error);
                    break;
                }
                tokio::time::sleep(RECONNECT).await;
            }
        }
        self
    }

    /// After the run: passes on what the log did not tell of. Answers with what could not be written.
    pub(super) async fn finish(mut self) -> Result<(), CliError> {
        let is_open = |mark: &Mark| !mark.has_ended && !mark.is_old;
        let rest: Vec<usize> = (0..self.marks.len()).filter(|place| is_open(&self.marks[*place])).collect();
        for places in rest.chunks(AT_ONCE) {
            self.pass_on(places).await?;
        }
        self.print_in_order(true).await?;
        self.failure.map_or(Ok(()), Err)
    }

    async fn pass_on(&mut self, places: &[usize]) -> Result<(), CliError> {
        let mut to_print = Vec::new();
        for (place, entry, task) in self.read(places).await? {
            let attempt = attempt_of(&task);
            let mark = &mut self.marks[place];
            if !has_ended(&task) || mark.last == attempt {
                continue;
            }
            (mark.last, mark.has_ended) = (attempt, true);
            self.log(&task, &entry);
            // Of those that come later in the order, each waits for its turn.
            if self.shows_output && self.next.is_none_or(|next| place < next) {
                to_print.push(task);
            }
        }
        self.flush();
        self.print(to_print).await;
        self.print_in_order(false).await
    }

    /// Prints as far as all before has been printed; at the end past what has not ended, too.
    async fn print_in_order(&mut self, is_end: bool) -> Result<(), CliError> {
        while let Some(begin) = self.next {
            let (mut next, mut places) = (begin, Vec::new());
            while let Some(mark) = self.marks.get(next).filter(|_| places.len() < AT_ONCE) {
                if mark.has_ended {
                    places.push(next);
                } else if !mark.is_old && !is_end {
                    break;
                }
                next += 1;
            }
            if next == begin {
                break;
            }
            let tasks = self.read(&places).await?.into_iter().map(|(_, _, task)| task).filter(has_ended).collect();
            self.next = Some(next);
            self.print(tasks).await;
        }
        Ok(())
    }

    /// Everything known about the tasks at these places.
    async fn read(&mut self, places: &[usize]) -> Result<Vec<(usize, Entry, TaskView)>, CliError> {
        let entries = places.iter().map(|place| self.roster.get(*place)).collect::<Result<Vec<Entry>, _>>()?;
        let lines: Vec<String> = entries.iter().map(|entry| entry.line.clone()).collect();
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let conn = match &self.conn {
            Some(conn) => conn,
            None => self.conn.insert(self.client.connect().await?),
        };
        let tasks = inspect::tasks(conn, &lines).await?;
        Ok(places.iter().copied().zip(entries).zip(tasks).map(|((place, entry), task)| (place, entry, task)).collect())
    }

    fn log(&mut self, task: &TaskView, entry: &Entry) {
        let added = self.joblog.as_mut().map_or(Ok(()), |log| log.add(task, &entry.command, entry.number));
        self.check_log(added);
    }

    fn flush(&mut self) {
        let flushed = self.joblog.as_mut().map_or(Ok(()), JobLogFile::flush);
        self.check_log(flushed);
    }

    /// A log that cannot be written is not written further: the next run with the same log adds what it lacks.
    fn check_log(&mut self, written: Result<(), CliError>) {
        if let Err(error) = written {
            self.joblog = None;
            self.fail(error);
        }
    }

    fn fail(&mut self, error: CliError) {
        complain(program(), &format!("{error}; the run continues"));
        self.failure.get_or_insert(error);
    }

    /// On a thread of its own: whoever reads may be slow.
    async fn print(&mut self, tasks: Vec<TaskView>) {
        if tasks.is_empty() || !self.shows_output {
            return;
        }
        let printed = tokio::task::spawn_blocking(move || task_output::print(&tasks)).await;
        let Err(error) = printed.map_err(io::Error::other).and_then(|printed| printed) else { return };
        (self.shows_output, self.next) = (false, None);
        if error.kind() == io::ErrorKind::BrokenPipe {
            complain(program(), "standard output is closed: the run continues and shows no more output");
        } else {
            self.fail(CliError::io("write the output of tasks", error));
        }
    }
}

/// Whether it waits for nothing more: one that will be tried again is in two places.
fn has_ended(task: &TaskView) -> bool {
    matches!(task.states.as_slice(), [TaskState::Finished] | [TaskState::Failed] | [TaskState::Cancelled])
}

/// Tells attempts of one task apart.
fn attempt_of(task: &TaskView) -> u32 {
    let mut hasher = DefaultHasher::new();
    if let Some(last) = task.attempts.last() {
        (last.attempt, last.end.to_bits(), last.start.map(f64::to_bits)).hash(&mut hasher);
    }
    // The upper half is as good as the lower.
    u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::sample_tests::ended_task;
    use super::*;

    #[test]
    fn attempts_are_told_apart_and_retries_have_not_ended() {
        let task = ended_task("a", 1, 1.0);
        assert_eq!(attempt_of(&task), attempt_of(&task.clone()));
        assert_ne!(attempt_of(&task), attempt_of(&ended_task("a", 1, 2.0)));
        assert!(has_ended(&task));
        assert!(!has_ended(&TaskView { states: vec![TaskState::Todo, TaskState::Failed], ..task.clone() }));
        assert!(has_ended(&TaskView { states: vec![TaskState::Cancelled], ..task.clone() }));
        assert!(!has_ended(&TaskView { states: Vec::new(), ..task }));
    }
}
