//! The steps of `distcomp-submit`, in order.

use std::process::ExitCode;

use serde_json::json;

use super::args::SubmitArgs;
use super::batches::BatchPlan;
use super::check::{CheckReport, check, live, warn_of_nothing};
use super::dry_run::{dry_run, say_dry_run};
use super::in_queue;
use super::origin::{Named, Origin, read_stdin_if_alone};
use super::reader::TaskReader;
use super::send::{Kept, Sending, Sent, send};
use super::sign::Signing;
use super::task_file::ParseRules;
use super::wait::wait;
use crate::cli::common::{Context, run};
use crate::cli::exit::{CliError, Exit};
use crate::cli::local::{self, Purpose};
use crate::cli::output::Out;
use crate::cli::spill_list::SpillList;
use crate::cli::task_set::TaskSet;
use crate::model::FieldOrder;
use crate::queue::guard::Access;
use crate::queue::submit::Submitted;
use crate::queue::{Connection, LiveWorkers, aside};
use crate::view::json::with_ids;
use crate::view::text::{amount, count, counted};

/// The whole command.
#[must_use]
pub fn main() -> ExitCode {
    run("distcomp-submit", submit)
}

async fn submit(mut args: SubmitArgs) -> Result<Exit, CliError> {
    read_stdin_if_alone(&mut args.files, &args.sources)?;
    let (context, access) = local::load("distcomp-submit", &args.common, &args.local, Purpose::Add).await?;
    let ended = submit_to(args, context).await;
    local::close(access, ended).await
}

async fn submit_to(args: SubmitArgs, context: Context) -> Result<Exit, CliError> {
    let signing = Signing::prepare(&context, args.expires.as_deref())?;
    if args.dry_run {
        return dry_run(&context, &args).await;
    }
    args.named().check()?;
    // Before they are read: a server that cannot be reached is told at once, not after a million lines.
    let (conn, order) = context.connect(Access::Write).await?;
    let rules = ParseRules { order, python_workers: context.config.python_workers && !context.is_local };
    let origin = Origin::open(args.named())?;
    let found = check(&context, &origin, rules, live(&conn).await, args.quiet)?;
    if found.invalid > 0 && !args.skip_invalid {
        let others = if found.valid > 0 { " (--skip-invalid submits the others)" } else { "" };
        return Err(CliError::Usage(format!(
            "{} of {} invalid: nothing was submitted{others}",
            count(found.invalid),
            counted(found.valid + found.invalid, "line")
        )));
    }
    if let Some(misread) = &found.misread {
        return Err(CliError::Usage(misread.clone()));
    }
    found.offers.warnings().iter().for_each(|warning| context.warn(warning));
    if let Some(note) = found.plan.note_of_hooks().filter(|_| !args.quiet) {
        context.say(&format!("note: {note}"));
    }
    in_queue::compare(&context, &conn, &found.plan).await?;
    let signer = signing.signer(&context, &conn).await?;
    warn_of_nothing(&context, &origin, &found);
    let mut kept = Kept { lines: args.wait.then(SpillList::new), ids: (args.json || args.parsable).then(Vec::new) };
    if context.is_local {
        take_back(&conn, &origin, rules).await?;
    }
    let sending =
        Sending { origin: &origin, rules, found: &found, rerun: args.rerun, signer, quiet: args.quiet, once: None };
    let Sent { tasks: submitted, hooks } = send(&context, &conn, &sending, &mut kept).await?;
    warn_of_members(&context, submitted, hooks);
    let ids: Vec<String> = kept.ids.take().unwrap_or_default().iter().map(ToString::to_string).collect();
    let blocked = if submitted.blocked > 0 { in_queue::open(&conn, &found.plan).await? } else { None };
    if !args.json {
        say_submitted(&args, submitted, &found.plan, blocked.as_deref(), &ids)?;
    }
    if let Some(repeated) = found.repeated.words().filter(|_| !args.quiet) {
        context.say(&repeated);
    }
    let batches = found.plan.name().map_or_else(|| found.plan.tops(), |name| vec![name]);
    let waited = match kept.lines {
        Some(lines) => Some(wait(&context, conn, lines, &batches, args.quiet).await?),
        None => None,
    };
    if args.json {
        let mut answer = json!({
            "added": submitted.added, "already_queued": submitted.queued, "running": submitted.running,
            "finished": submitted.finished, "failed": submitted.failed, "invalid": found.invalid, "ids": ids,
            "batch": found.plan.name(), "batches": found.plan.tops(), "blocked": submitted.blocked,
        });
        if let Some(waited) = &waited {
            let ends = waited.ends.map(|[finished, failed, gone, cancelled, blocked]| {
                json!({ "finished": finished, "failed": failed, "gone": gone, "cancelled": cancelled, "blocked": blocked })
            });
            answer["outcome"] = json!(ends);
            answer["failures"] = with_ids(json!(waited.failures));
        }
        let mut out = Out::new();
        out.json(&answer)?;
        out.finish()?;
    }
    Ok(waited.map_or(Exit::Done, |waited| waited.exit))
}

fn say_submitted(
    args: &SubmitArgs,
    submitted: Submitted,
    plan: &BatchPlan,
    blocked_by: Option<&str>,
    ids: &[String],
) -> Result<(), CliError> {
    let mut out = Out::new();
    if args.parsable && !plan.is_empty() {
        let names = plan.name().map_or_else(|| plan.tops(), |name| vec![name]);
        names.iter().try_for_each(|name| out.line(name.as_str()))?;
    } else if args.parsable {
        ids.iter().try_for_each(|id| out.line(id))?;
    } else if !args.quiet {
        out.line(&submitted_in_words(submitted, plan.words(), blocked_by))?;
    }
    out.finish()
}

/// `added 1 task to report, blocked: s1 has 1,000 open; skipped …`
fn submitted_in_words(submitted: Submitted, batch: Option<String>, blocked_by: Option<&str>) -> String {
    let Submitted { added, queued, running, finished, failed, blocked, .. } = submitted;
    let (number, to) = match &batch {
        // For scripts the line is as it was before there were batches.
        None => (added.to_string(), String::new()),
        Some(batch) => (count(added), format!(" to {batch}")),
    };
    let why = blocked_by.map_or_else(String::new, |why| format!(": {why}"));
    let blocked = match blocked {
        // What it waited for was this submission itself, which is complete by now.
        _ if blocked_by.is_none() => String::new(),
        0 => String::new(),
        all if all == added => format!(", blocked{why}"),
        some => format!(", {} of them blocked{why}", count(some)),
    };
    format!(
        "added {}{to}{blocked}; skipped {queued} already queued, {running} running, {finished} finished, {failed} failed",
        amount(&number, "task")
    )
}

/// What is to be heard about members of batches beside the numbers.
fn warn_of_members(context: &Context, submitted: Submitted, hooks: Submitted) {
    let over = hooks.finished + hooks.failed;
    if over > 0 && submitted.added > 0 {
        context.warn("a command for the end of the batch has run before; this user may not let it run again");
    }
}

impl SubmitArgs {
    pub(super) fn named(&self) -> Named<'_> {
        let Self { files, fields, sources, name, batch, .. } = self;
        Named { files, fields, sources, name: name.as_deref(), batch }
    }
}

/// Tasks that were checked and found good.
pub(crate) struct Files {
    origin: Origin,
    rules: ParseRules,
    found: CheckReport,
}

/// Opens and checks files for a run without a queue of its own; `None` when lines are bad, which have been reported.
pub(crate) fn open_files(context: &Context, named: Named<'_>, order: FieldOrder) -> Result<Option<Files>, CliError> {
    let rules = ParseRules { order, python_workers: false };
    let origin = Origin::open(named)?;
    let found = check(context, &origin, rules, LiveWorkers::default(), false)?;
    if found.invalid > 0 {
        let all = counted(found.valid + found.invalid, "line");
        context.say(&format!("{} of {all} invalid: nothing was run", count(found.invalid)));
        return Ok(None);
    }
    if let Some(misread) = &found.misread {
        return Err(CliError::Usage(misread.clone()));
    }
    Ok(Some(Files { origin, rules, found }))
}

impl Files {
    /// Says how they were read.
    pub(crate) fn say(&self, context: &Context) -> Result<Exit, CliError> {
        let mut out = Out::new();
        say_dry_run(&mut out, context, &self.found)?;
        out.finish()?;
        Ok(Exit::Done)
    }

    /// Goes through the tasks, from the first.
    pub(crate) fn walk(&self) -> TaskReader<'_> {
        TaskReader::new(&self.origin, self.rules)
    }

    /// That tasks are given more than once, where some are.
    pub(crate) fn repeated(&self) -> Option<String> {
        self.found.repeated.words()
    }

    /// The names of the columns from which the tasks are made, empty for those without one.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.origin.columns()
    }

    /// Which tasks these are.
    pub(crate) fn members(&self) -> Result<TaskSet, CliError> {
        let mut ids = Vec::with_capacity(usize::try_from(self.found.valid).unwrap_or(0));
        let mut walk = self.walk();
        while let Some(line) = walk.next()? {
            if let Ok(task) = line.task {
                ids.push(task.id());
            }
        }
        Ok(TaskSet::new(ids))
    }
}

/// Submits checked files; each line once, so that the numbers of the answer are numbers of tasks. What was set aside of them waits again.
pub(crate) async fn submit_files(
    context: &Context,
    conn: &Connection,
    files: &Files,
    members: &TaskSet,
    rerun: bool,
) -> Result<Submitted, CliError> {
    let Files { origin, rules, found } = files;
    take_back(conn, origin, *rules).await?;
    let once = (found.valid + found.hooks > members.len()).then_some(members);
    let sending = Sending { origin, rules: *rules, found, rerun, signer: None, quiet: false, once };
    if let Some(note) = found.plan.note_of_hooks() {
        context.say(&format!("note: {note}"));
    }
    in_queue::compare(context, conn, &found.plan).await?;
    let Sent { mut tasks, hooks } = send(context, conn, &sending, &mut Kept::default()).await?;
    warn_of_members(context, tasks, hooks);
    tasks += hooks;
    Ok(tasks)
}

/// Puts those of the lines back to todo that an earlier command has set aside.
async fn take_back(conn: &Connection, origin: &Origin, rules: ParseRules) -> Result<(), CliError> {
    if aside::count(conn).await? == 0 {
        return Ok(());
    }
    let mut walk = TaskReader::new(origin, rules);
    let mut batch = Vec::with_capacity(aside::BATCH);
    loop {
        let line = walk.next()?;
        let is_end = line.is_none();
        if let Some(Ok(task)) = line.map(|line| line.task) {
            batch.push(task.as_str().to_owned());
        }
        if batch.len() == aside::BATCH || (is_end && !batch.is_empty()) {
            aside::restore(conn, &batch, rules.order).await?;
            batch.clear();
        }
        if is_end {
            return Ok(());
        }
    }
}
