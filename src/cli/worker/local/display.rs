//! Shows the progress of a local run: a bar on a terminal, elsewhere a line every 30 s, and the first failure of each kind.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::run_context::RunContext;
use super::run_ends::RunEndCounter;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::submit::StallNotice;
use crate::cli::task_set::TaskSet;
use crate::model::TaskId;
use crate::model::snapshot::{Counts, ProgressParts};
use crate::queue::{Connection, QueueError, inspect};
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// Between lines where stderr is no terminal.
const INTERVAL: Duration = Duration::from_secs(30);
/// Seconds in place of that; for tests.
const INTERVAL_VARIABLE: &str = "DISTCOMP_PROGRESS_SECONDS";
/// How long one look may take: the bar is a courtesy and holds up nothing.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// Columns of a reason and of a line that are shown.
const SHOWN: usize = 100;

/// Shows progress, and remembers what it has shown.
pub(super) struct ProgressDisplay {
    progress: Progress,
    total: u64,
    /// Where the counters of kinds stood at the beginning.
    old_kinds: HashMap<String, u64>,
    failures_seen: u64,
    is_pause_said: bool,
    stall: StallNotice,
    kinds_said: HashSet<String>,
    /// `None` on a terminal.
    interval: Option<Duration>,
    last_line: Instant,
}

impl ProgressDisplay {
    pub(super) async fn new(
        run: &RunContext<'_>,
        conn: &Connection,
        members: &TaskSet,
        counter: &RunEndCounter<'_>,
    ) -> Result<Self, CliError> {
        let counts = inspect::counts(conn).await?;
        let kinds = inspect::failure_groups(conn).await?;
        let asked = std::env::var(INTERVAL_VARIABLE).ok().and_then(|text| text.parse::<f64>().ok());
        let asked = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero());
        // A bar would be drawn over what tasks have written.
        let mut progress = Progress::new("done", members.len(), !run.args.run.shows_output());
        // What was done before is not the speed of this run.
        progress.see(&seen(members.len(), counter, &counts));
        Ok(Self {
            progress,
            total: members.len(),
            old_kinds: kinds.into_iter().map(|group| (group.kind, group.count)).collect(),
            failures_seen: counts.failed,
            is_pause_said: false,
            stall: StallNotice::new(),
            kinds_said: HashSet::new(),
            interval: (!std::io::stderr().is_terminal()).then_some(asked.unwrap_or(INTERVAL)),
            last_line: Instant::now(),
        })
    }

    /// Looks at the queue, and shows what there is to show.
    pub(super) async fn look(
        &mut self,
        run: &RunContext<'_>,
        members: &TaskSet,
        conn: &Connection,
        counter: &RunEndCounter<'_>,
    ) -> Result<(), QueueError> {
        let now = inspect::counts(conn).await?;
        let seen = seen(self.total, counter, &now);
        self.progress.note(&format!("running {} failed {}", seen.running, seen.failed));
        self.progress.see(&seen);
        self.say_line(&run.context, &seen);
        self.say_pause(&run.context, conn).await?;
        self.say_stall(&run.context, &seen, conn).await;
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

    /// Why nothing runs, once for each reason.
    async fn say_stall(&mut self, context: &Context, seen: &ProgressParts, conn: &Connection) {
        if seen.running > 0 || seen.waiting == 0 || self.is_pause_said {
            self.stall.moved();
        } else if self.stall.is_due()
            && let Some(why) = self.stall.why(conn, &[], &[]).await
        {
            self.pause_for(|| context.say(&why));
        }
    }

    fn say_line(&mut self, context: &Context, seen: &ProgressParts) {
        if self.interval.is_none_or(|interval| self.last_line.elapsed() < interval) {
            return;
        }
        self.last_line = Instant::now();
        context.say(&format!(
            "{} of {} done, {} running, {} failed, {}",
            count(seen.ended()),
            count(self.total),
            count(seen.running),
            count(seen.failed),
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

/// How far the run's tasks are. What others add meanwhile waits and runs like ours: of what runs, no more is its own than is left of it.
fn seen(total: u64, counter: &RunEndCounter<'_>, now: &Counts) -> ProgressParts {
    ProgressParts::of_set(total, counter.ended(), counter.ends().failed, now.in_progress)
}
