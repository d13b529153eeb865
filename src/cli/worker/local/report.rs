//! The summary of a local run, on the terminal and in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::results::Results;
use super::run_context::RunContext;
use crate::cli::exit::{CliError, Exit};
use crate::cli::groups::{Groups, kinds_of};
use crate::cli::output::{Out, columns, stderr};
use crate::cli::task_set::{TallyTotals, TaskEnd, TaskSet, TaskTally};
use crate::host::short_host_name;
use crate::model::needs::show_class_needs;
use crate::model::snapshot::{Awaited, FailureGroup, TaskState};
use crate::model::{BatchHold, BatchName, Gate, TaskId, TaskLine};
use crate::queue::select::{HashEntry, StateScan, TaskGroup};
use crate::queue::{Connection, batch_views, inspect};
use crate::view::batches::way_out;
use crate::view::ctl_command::last_word;
use crate::view::failures::failures;
use crate::view::safe_text::safe;
use crate::view::text::{count, exact_resource, precise_duration, resources, tasks};
use crate::worker::node_extras::{NodeExtras, labels};
use crate::worker::start_checks::{look_at_node, new_probe};

/// Tasks whose output is in memory at once.
const AT_ONCE: usize = 100;

/// What became of the command line's tasks before this run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
}

impl Before {
    /// How many had ended.
    pub(super) fn ended(self) -> u64 {
        self.finished + self.failed + self.cancelled
    }
}

/// How a run went.
pub(super) struct Report {
    /// The command line's tasks.
    pub(super) totals: TallyTotals,
    groups: Vec<FailureGroup>,
    /// Where the results are, and what else there is to say about it.
    results: Result<(std::path::PathBuf, Option<std::path::PathBuf>), io::Error>,
}

impl Report {
    /// Goes through the queue once: judges this command line's tasks, and writes down all that have ended in this directory.
    pub(super) async fn make(
        run: &RunContext<'_>,
        conn: &Connection,
        dir: &Path,
        members: &TaskSet,
    ) -> Result<Self, CliError> {
        let mut tally = members.tally();
        for state in [TaskState::Todo, TaskState::InProgress] {
            let mut scan = StateScan::new(state);
            while let Some(page) = scan.next(conn).await? {
                for entry in page {
                    tally.note(TaskId::of(&entry.line), TaskEnd::Open);
                }
            }
        }
        let mut results = Results::begin(dir);
        let mut groups = Groups::default();
        for state in [TaskState::Finished, TaskState::Failed, TaskState::Cancelled] {
            let mut scan = StateScan::new(state);
            while let Some(page) = scan.next(conn).await? {
                for entry in &page {
                    tally.note(TaskId::of(&entry.line), TaskEnd::of(&[state]));
                }
                if state == TaskState::Failed {
                    let ours = page.iter().filter(|entry| is_failed(&tally, entry)).cloned().collect();
                    kinds_of(conn, ours).await?.iter().for_each(|failure| groups.add(failure));
                }
                write(conn, page, &mut results).await?;
            }
        }
        let groups = groups.finish(conn).await?;
        let results = results.and_then(Results::finish);
        if let Err(error) = &results {
            run.context.say(&format!(
                "cannot write the results to {}: {error}; the queue still holds them: distcomp-status --local export",
                dir.display()
            ));
        }
        Ok(Self { totals: tally.totals(), groups, results })
    }

    /// Prints it with what else there is to say about these tasks, and answers how the command ends as far as its tasks are concerned.
    pub(super) fn print(
        self,
        run: &RunContext<'_>,
        before: Before,
        took: Option<Duration>,
        notes: Vec<String>,
    ) -> Result<Exit, CliError> {
        let TallyTotals { gone, cancelled, failed, finished, open: _ } = self.totals;
        let mut lines = Vec::new();
        if !self.groups.is_empty() {
            lines.push(failures(&self.groups, columns()));
        }
        let mut line = format!("{} finished, {} failed", tasks(finished), count(failed));
        if cancelled > 0 {
            line.push_str(&format!(", {} cancelled", count(cancelled)));
        }
        if gone > 0 {
            line.push_str(&format!(", {} purged or edited during the run", count(gone)));
        }
        if let Some(took) = took {
            line.push_str(&format!(" in {}", precise_duration(took.as_secs_f64())));
            let earlier = before.ended();
            if earlier > 0 {
                line.push_str(&format!(" ({} of them in earlier runs)", count(earlier)));
            }
        }
        lines.push(line);
        lines.extend(notes);
        if let Ok((path, kept)) = &self.results {
            lines.push(format!("output and evidence of each task: {}", safe(&path.display().to_string())));
            if let Some(kept) = kept {
                lines.push(format!(
                    "results of tasks that will run again or were purged: {}",
                    safe(&kept.display().to_string())
                ));
            }
        }
        print(&lines, run.args.run.shows_output())?;
        if failed > 0 && took.is_some() {
            run.context.say("to run the failed ones again, repeat the command with --rerun-failed");
        }
        if cancelled > 0 && took.is_some() {
            run.context.say(
                "to run the cancelled ones after all: distcomp requeue --local --state cancelled, then the same command",
            );
        }
        Ok(if failed + cancelled + gone > 0 { Exit::TasksFailed } else { Exit::Done })
    }
}

/// On stdout, unless that has the output of tasks.
fn print(lines: &[String], is_to_stderr: bool) -> Result<(), CliError> {
    if is_to_stderr {
        let mut err = stderr();
        // Nobody is left to tell when stderr is gone.
        lines.iter().for_each(|line| drop(writeln!(err, "{line}")));
        return Ok(());
    }
    let mut out = Out::new();
    lines.iter().try_for_each(|line| out.line(line))?;
    out.finish()
}

fn is_failed(tally: &TaskTally<'_>, entry: &HashEntry) -> bool {
    tally.end_of(TaskId::of(&entry.line)) == Some(TaskEnd::Failed)
}

/// Writes tasks down; once the file has failed, the rest is left out.
async fn write(conn: &Connection, page: Vec<HashEntry>, results: &mut io::Result<Results>) -> Result<(), CliError> {
    let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
    for chunk in lines.chunks(AT_ONCE) {
        let Ok(file) = results else { return Ok(()) };
        for task in inspect::tasks(conn, chunk).await? {
            if let Err(error) = file.add(&task) {
                *results = Err(error);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Says why tasks of this command line did not run: they wait for what did not finish, their batch is held, or this machine is too small.
pub(super) async fn explain_rest(
    run: &RunContext<'_>,
    conn: &Connection,
    members: &TaskSet,
    left: u64,
) -> Result<(), CliError> {
    let rest = Rest::find(run, conn, members).await?;
    if rest.blocked > 0 {
        let why: Vec<String> = rest.gates.values().take(NAMED).map(Awaited::told).collect();
        let more = rest.gates.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(", and {more} more have not finished") } else { String::new() };
        let mut hints = Vec::new();
        for failed in rest.gates.values().filter(|awaited| awaited.has_failed()).take(NAMED) {
            // Tasks of other commands are none of those that --rerun-failed takes.
            let is_ours = has_failed_ones(conn, members, &failed.name).await?;
            hints.push(if is_ours {
                "--rerun-failed runs the failed ones again, and then these".to_owned()
            } else {
                format!("{}; then the same command with --all", way_out(failed))
            });
        }
        hints.dedup();
        let hints: String = hints.iter().map(|hint| format!("; {hint}")).collect();
        run.context.say(&format!("{} did not run, blocked: {}{more}{hints}", tasks(rest.blocked), why.join(", ")));
    }
    for (batch, (held, why)) in rest.held.iter().take(NAMED) {
        run.context.say(&format!(
            "{} of {batch} did not run, as the batch is held: {}; distcomp resume --local {}, then the same command, runs them",
            tasks(*held),
            safe(&why.to_string()),
            last_word(batch)
        ));
    }
    let held: u64 = rest.held.values().map(|(held, _)| *held).sum();
    let left = left.saturating_sub(rest.blocked + held);
    if left == 0 {
        return Ok(());
    }
    let (node, _) = look_at_node(&run.config, &mut new_probe(run.args.share())?);
    let mut has = resources(&node.total, |kind, total| {
        let of = if kind.is_counted() { String::new() } else { format!(" of {}", kind.noun()) };
        exact_resource(kind, total) + &of
    });
    if rest.some.iter().any(|task| task.needs().is_extended()) {
        let extras = NodeExtras::find(PathBuf::new()).await;
        let labels = labels(&run.config, &short_host_name());
        has = format!(
            "{has}, resources: {}, labels: {}; \"resources\" in conf.json and --label offer more",
            extras.shown(&run.config),
            labels.join(", ")
        );
    }
    run.context.say(&format!("{} did not run: this machine has only {has}", tasks(left)));
    for task in rest.some {
        let demand = resources(&task.demand().amounts, exact_resource);
        let needs = show_class_needs(task.needs().as_str());
        let needs = if needs.is_empty() { demand } else { format!("{demand}, {needs}") };
        run.context.say(&format!("{} needs {needs}: {}", task.id(), safe(task.as_str())));
    }
    Ok(())
}

/// Whether tasks of this command line have failed that belong to a batch.
async fn has_failed_ones(conn: &Connection, members: &TaskSet, batch: &BatchName) -> Result<bool, CliError> {
    let group = TaskGroup { batch: Some(batch.clone()), ..TaskGroup::default() };
    let mut scan = StateScan::of_group(TaskState::Failed, group);
    while let Some(page) = scan.next(conn).await? {
        if page.iter().any(|entry| members.contains(&entry.line)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Names and tasks that are shown.
const NAMED: usize = 3;

/// What is left of a command line.
#[derive(Default)]
struct Rest {
    /// Tasks that wait for others.
    blocked: u64,
    /// What has not finished of that for which they wait, or has failed.
    gates: BTreeMap<BatchName, Awaited>,
    /// How many of the other tasks are of a batch of which nothing starts, and why.
    held: BTreeMap<BatchName, (u64, BatchHold)>,
    /// The first of those that are left.
    some: Vec<TaskLine>,
}

impl Rest {
    async fn find(run: &RunContext<'_>, conn: &Connection, members: &TaskSet) -> Result<Self, CliError> {
        let mut rest = Self::default();
        let mut known: BTreeMap<BatchName, Awaited> = BTreeMap::new();
        let mut scan = StateScan::new(TaskState::Todo);
        while let Some(page) = scan.next(conn).await? {
            let mine = page.iter().filter(|entry| members.contains(&entry.line));
            let mine: Vec<TaskLine> = mine.filter_map(|entry| TaskLine::parse(&entry.line, run.order).ok()).collect();
            let gates = mine.iter().flat_map(|task| task.needs().gates()).filter_map(Gate::name);
            let new: BTreeSet<&BatchName> = gates.filter(|name| !known.contains_key(name)).collect();
            let new: Vec<BatchName> = new.into_iter().cloned().collect();
            known.extend(new.iter().cloned().zip(batch_views::awaited(conn, &new).await?));
            let held =
                batch_views::held_of(conn, &mine.iter().map(|task| task.as_str().to_owned()).collect::<Vec<_>>())
                    .await?;
            for (task, held) in mine.into_iter().zip(held) {
                let closed =
                    |gate: &&Gate| gate.name().and_then(|name| known.get(name)).is_some_and(|at| !at.opens(gate));
                let closed: Vec<&BatchName> =
                    task.needs().gates().iter().filter(closed).filter_map(Gate::name).collect();
                if closed.is_empty() {
                    if let Some((batch, why)) = held {
                        rest.held.entry(batch).or_insert((0, why)).0 += 1;
                        continue;
                    }
                    rest.some.push(task);
                    rest.some.truncate(NAMED);
                    continue;
                }
                rest.blocked += 1;
                let states = closed.into_iter().filter_map(|name| Some((name.clone(), known.get(name)?.clone())));
                rest.gates.extend(states);
            }
        }
        Ok(rest)
    }
}
