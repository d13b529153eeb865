//! Shows the progress of a local run: a bar on a terminal, elsewhere a line every 30 s, and the first failure of each kind.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::run_context::RunContext;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::task_set::TaskSet;
use crate::model::TaskId;
use crate::model::snapshot::Counts;
use crate::policy::estimate::TaskCounts;
use crate::queue::{Client, Connection, QueueError, inspect};
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// Between lines where stderr is no terminal.
const INTERVAL: Duration = Duration::from_secs(30);
/// Seconds in place of that; for tests.
const INTERVAL_VARIABLE: &str = "DISTCOMP_PROGRESS_SECONDS";
/// How long one look may take: the bar is a courtesy and holds up nothing.
const ANSWER: Duration = Duration::from_secs(1);
/// Columns of a reason and of a line that are shown.
const SHOWN: usize = 100;

/// Shows progress, and remembers what it has shown.
pub(super) struct ProgressDisplay {
    progress: Progress,
    client: Client,
    conn: Option<Connection>,
    total: u64,
    /// Failures here that are not this run's.
    old_failures: u64,
    /// Where the counters of kinds stood at the beginning.
    old_kinds: HashMap<String, u64>,
    failures_seen: u64,
    is_pause_said: bool,
    kinds_said: HashSet<String>,
    /// `None` on a terminal.
    interval: Option<Duration>,
    last_line: Instant,
}

impl ProgressDisplay {
    pub(super) async fn new(run: &RunContext<'_>, conn: &Connection, members: &TaskSet) -> Result<Self, CliError> {
        let counts = inspect::counts(conn).await?;
        let kinds = inspect::failure_groups(conn).await?;
        let asked = std::env::var(INTERVAL_VARIABLE).ok().and_then(|text| text.parse::<f64>().ok());
        let asked = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero());
        let mut progress = Progress::new("done", members.len(), true);
        // What was done before is not the speed of this run.
        progress.see(seen(members.len(), &counts));
        Ok(Self {
            progress,
            client: Client::new(&run.config.redis, &run.config.key_prefix, ANSWER)?,
            conn: None,
            total: members.len(),
            old_failures: counts.failed,
            old_kinds: kinds.into_iter().map(|group| (group.kind, group.count)).collect(),
            failures_seen: counts.failed,
            is_pause_said: false,
            kinds_said: HashSet::new(),
            interval: (!std::io::stderr().is_terminal()).then_some(asked.unwrap_or(INTERVAL)),
            last_line: Instant::now(),
        })
    }

    /// Looks at the queue, and shows what there is to show. What fails is tried again at the next look.
    pub(super) async fn look(&mut self, run: &RunContext<'_>, members: &TaskSet) {
        // Bounded, and on a connection of its own: a server that does not answer must not keep a signal waiting.
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => match tokio::time::timeout(ANSWER, self.client.connect()).await {
                Ok(Ok(conn)) => conn,
                Ok(Err(_)) | Err(_) => return,
            },
        };
        if self.try_look(run, members, &conn).await.is_ok() {
            self.conn = Some(conn);
        }
    }

    async fn try_look(&mut self, run: &RunContext<'_>, members: &TaskSet, conn: &Connection) -> Result<(), QueueError> {
        let now = inspect::counts(conn).await?;
        // What others add meanwhile waits and runs like ours: the bar then lags, and never runs ahead.
        let done = self.total.saturating_sub(now.todo + now.in_progress);
        let failed = now.failed.saturating_sub(self.old_failures);
        self.progress.note(&format!("running {} failed {failed}", now.in_progress));
        self.progress.see(seen(self.total, &now));
        self.say_line(&run.context, done, failed, &now);
        self.say_pause(&run.context, conn).await?;
        if now.failed > self.failures_seen {
            self.say_kinds(&run.context, members, conn).await?;
        }
        self.failures_seen = now.failed;
        Ok(())
    }

    /// A run that waits for an operator says so, once for each pause.
    async fn say_pause(&mut self, context: &Context, conn: &Connection) -> Result<(), QueueError> {
        let paused_by = inspect::paused_by(conn).await?;
        if let Some(who) = paused_by.as_ref().filter(|_| !self.is_pause_said) {
            let text = format!("the queue is paused by {}: distcomp-ctl --local resume goes on", safe(who));
            self.pause_for(|| context.say(&text));
        }
        self.is_pause_said = paused_by.is_some();
        Ok(())
    }

    fn say_line(&mut self, context: &Context, done: u64, failed: u64, now: &Counts) {
        if self.interval.is_none_or(|interval| self.last_line.elapsed() < interval) {
            return;
        }
        self.last_line = Instant::now();
        context.say(&format!(
            "{} of {} done, {} running, {} failed, {}",
            count(done),
            count(self.total),
            count(now.in_progress),
            count(failed),
            self.progress.pace()
        ));
    }

    /// The first failure of each kind, as it happens: a sweep that fails as a whole should not run to its end unseen.
    async fn say_kinds(&mut self, context: &Context, members: &TaskSet, conn: &Connection) -> Result<(), QueueError> {
        for group in inspect::failure_groups(conn).await? {
            let before = self.old_kinds.get(&group.kind).copied().unwrap_or(0);
            if group.count <= before || self.kinds_said.contains(&group.kind) {
                continue;
            }
            // The sample of a kind that earlier runs have met is theirs.
            let text = if before > 0 {
                format!("first failure: {}", safe(&group.kind))
            } else if members.contains(&group.sample) {
                let (reason, line) = (shorten(&safe(&group.reason), SHOWN), shorten(&safe(&group.sample), SHOWN));
                format!("first failure: {reason}\ntask {}: {line}", TaskId::of(&group.sample))
            } else {
                continue;
            };
            self.kinds_said.insert(group.kind);
            self.pause_for(|| context.say(&text));
        }
        Ok(())
    }

    /// Prints something else meanwhile, with no bar in its way.
    pub(super) fn pause_for(&self, print: impl FnOnce()) {
        self.progress.pause_for(print);
    }
}

/// How far the run's tasks are: of what waits and runs, no more is its own than is left of it.
fn seen(total: u64, now: &Counts) -> TaskCounts {
    let ended = total.saturating_sub(now.todo + now.in_progress);
    let running = now.in_progress.min(total - ended);
    TaskCounts { ended, running, waiting: total - ended - running }
}
