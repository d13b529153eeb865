//! Watches a run: shows its progress, passes on what ends, and ends it before its tasks where that was asked for.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;

use super::display::{ANSWER, ProgressDisplay};
use super::ended_writer::EndedWriter;
use super::run_context::RunContext;
use super::run_ends::RunEndCounter;
use crate::cli::exit::CliError;
use crate::cli::task_set::TaskSet;
use crate::model::TaskId;
use crate::model::WorkerName;
use crate::policy::halt::{Halt, HaltWhen};
use crate::queue::{Client, Connection, QueueError, control};
use crate::view::text::counted;

/// Between looks at the counts.
const LOOK: Duration = Duration::from_millis(200);
/// Between looks at what has ended, where something waits for that.
const LOOK_CLOSELY: Duration = Duration::from_millis(20);

/// Follows one run from its first claim to its end.
pub(super) struct RunWatch<'a> {
    client: Client,
    conn: Option<Connection>,
    members: &'a TaskSet,
    counter: RunEndCounter<'a>,
    display: ProgressDisplay,
    displayed: Instant,
    ended: Option<(UnboundedSender<TaskId>, JoinHandle<EndedWriter>)>,
    /// The worker of this run.
    worker: WorkerName,
    halt: Halt,
    is_halted: bool,
}

impl<'a> RunWatch<'a> {
    /// Before the first claim.
    pub(super) async fn new(
        run: &RunContext<'_>,
        conn: &Connection,
        (members, counter): (&'a TaskSet, RunEndCounter<'a>),
        worker: WorkerName,
        writer: Option<EndedWriter>,
    ) -> Result<Self, CliError> {
        let display = ProgressDisplay::new(run, conn, members, &counter).await?;
        let ended = writer.map(|writer| {
            let (sender, inbox) = mpsc::unbounded_channel();
            (sender, tokio::spawn(writer.run(inbox)))
        });
        Ok(Self {
            client: Client::new(&run.config.redis, &run.config.key_prefix, ANSWER)?,
            conn: None,
            members,
            counter,
            display,
            displayed: Instant::now(),
            ended,
            worker,
            halt: run.args.run.halt,
            is_halted: false,
        })
    }

    /// How long to wait for the next look.
    pub(super) fn interval(&self) -> Duration {
        if self.ended.is_some() || self.halt != Halt::Never { LOOK_CLOSELY } else { LOOK }
    }

    /// Looks at the queue; answers, once, that the run is to end now. What fails is tried again at the next look.
    pub(super) async fn look(&mut self, run: &RunContext<'_>) -> Option<HaltWhen> {
        // Bounded, and on a connection of its own: a server that does not answer must not keep a signal waiting.
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => tokio::time::timeout(ANSWER, self.client.connect()).await.ok()?.ok()?,
        };
        let halted = self.try_look(run, &conn).await.ok()?;
        self.conn = Some(conn);
        halted
    }

    async fn try_look(&mut self, run: &RunContext<'_>, conn: &Connection) -> Result<Option<HaltWhen>, QueueError> {
        self.poll(conn).await?;
        if self.displayed.elapsed() >= LOOK {
            self.displayed = Instant::now();
            self.display.look(run, self.members, conn, &self.counter).await?;
        }
        let decision = self.halt.decide(self.counter.ends(), self.counter.open());
        let Some(when) = decision.filter(|_| !self.is_halted) else { return Ok(None) };
        if when == HaltWhen::Soon {
            // As an operator would: what runs has all the time it needs.
            control::drain(conn, &self.worker, "").await?;
        }
        self.is_halted = true;
        Ok(Some(when))
    }

    async fn poll(&mut self, conn: &Connection) -> Result<(), QueueError> {
        let mut ids = Vec::new();
        let polled = self.counter.poll(conn, &mut ids).await;
        if let Some((sender, _)) = &self.ended {
            // Who does not listen has said why.
            for id in ids {
                let _ = sender.send(id);
            }
        }
        polled
    }

    /// Prints something else meanwhile, with no bar in its way.
    pub(super) fn pause_for(&self, print: impl FnOnce()) {
        self.display.pause_for(print);
    }

    /// After the last worker: passes on the rest. Answers with the reason where the run was ended before its tasks, and with what could not be written.
    pub(super) async fn finish(
        mut self,
        conn: &Connection,
    ) -> Result<(Option<String>, Result<(), CliError>), CliError> {
        self.poll(conn).await?;
        let ends = self.counter.ends();
        let reason = self.is_halted.then(|| {
            let failed = counted(ends.failed, "failure");
            format!("--halt {}: {failed}, {} finished in this run", self.halt, ends.finished)
        });
        let Some((sender, writer)) = self.ended else { return Ok((reason, Ok(()))) };
        drop(sender);
        let failed = |error| CliError::io("pass on the output of tasks", std::io::Error::other(error));
        let written = writer.await.map_err(failed)?.finish().await;
        Ok((reason, written))
    }
}
