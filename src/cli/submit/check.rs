//! The first pass of a submission: checks every line and reports every fault. Nothing is sent.

use super::bashisms;
use super::batches::BatchPlan;
use super::faults::Faults;
use super::input::BatchChecksums;
use super::offers::Offers;
use super::origin::Origin;
use super::plausibility::Plausibility;
use super::profile::Profile;
use super::reader::TaskReader;
use super::repeats::{RepeatCounter, Repeated};
use super::task_file::ParseRules;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::output::warn_of;
use crate::cli::words::RUN;
use crate::model::TaskKind;
use crate::queue::{Connection, LiveWorkers, live_workers};
use crate::view::progress::Progress;
use crate::view::text::{counted, tasks};

/// Bashisms that are printed: they tend to be the same on every line.
const MOST_WARNED: u64 = 10;

/// What the first pass found.
#[derive(Default)]
pub(super) struct CheckReport {
    /// Lines that are tasks.
    pub(super) valid: u64,
    /// Lines that are not.
    pub(super) invalid: u64,
    /// To recognise the valid lines by when they are read again.
    pub(super) sums: BatchChecksums,
    /// Why the lines may not be what they seem, where that is reason enough to submit none.
    pub(super) misread: Option<String>,
    /// Tasks that a job log says have ended.
    pub(super) left_out: u64,
    /// What the tasks ask for.
    pub(super) profile: Profile,
    /// Tasks that are given more than once.
    pub(super) repeated: Repeated,
    /// What they ask for and no live worker offers.
    pub(super) offers: Offers,
    /// Commands for the ends of batches.
    pub(super) hooks: u64,
    /// The batches that they belong to.
    pub(super) plan: BatchPlan,
}

/// Checks every line and prints what is wrong, as `FILE:LINE: what`.
pub(super) fn check(
    context: &Context,
    origin: &Origin,
    rules: ParseRules,
    live: LiveWorkers,
    quiet: bool,
) -> Result<CheckReport, CliError> {
    let is_plain_shell = bashisms::is_plain_shell(&context.config.task_shell);
    let mut found =
        CheckReport { offers: Offers::new(&live.traits), plan: BatchPlan::of(origin), ..CheckReport::default() };
    let mut warned = 0;
    let mut doubts = Plausibility::new(&context.config, rules, origin.is_of_task_lines(), live.nodes);
    let mut progress = Progress::new("checked", origin.expected(), !quiet);
    let mut faults = Faults::new(&with_local(context), origin.is_of_task_lines());
    let mut repeats = RepeatCounter::default();
    let mut walk = TaskReader::new(origin, rules);
    while let Some(line) = walk.next()? {
        match &line.task {
            // It is sent beside the tasks that were asked for, and counted among none of them.
            Ok(_) if line.is_hook() => found.hooks += 1,
            Ok(task) => {
                found.valid += 1;
                found.sums.add(task.as_str(), line.belonging.as_ref());
                found.plan.look(&line, task);
                found.profile.add(task);
                repeats.add(task.as_str());
                found.offers.look(line.place, task);
                faults.good(line.place);
                if let Some(warning) = doubts.look(line.place, task) {
                    warn_of(&line.place.to_string(), &warning);
                }
                if is_plain_shell
                    && task.kind() == TaskKind::Shell
                    && let Some(what) = bashisms::find(task.cmd())
                {
                    warned += 1;
                    if warned <= MOST_WARNED {
                        let shell = context.config.task_shell.display();
                        warn_of(
                            &line.place.to_string(),
                            &format!(
                                "{what} requires bash, but {shell} runs the command; set task_shell to use another shell"
                            ),
                        );
                    }
                }
            }
            Err(problem) => {
                found.invalid += 1;
                found.plan.spoil(line.scope);
                faults.bad(line.place, line.is_meant, problem);
            }
        }
        if (found.valid + found.invalid).is_multiple_of(4096) {
            progress.set(found.valid + found.invalid);
        }
    }
    found.sums.close();
    found.plan.close();
    found.left_out = walk.left_out();
    found.plan.leave_out(walk.take_ended());
    found.plan.settle();
    found.repeated = repeats.finish();
    drop(progress);
    faults.end();
    found.misread = doubts.end(|warning| context.warn(warning));
    if faults.unsaid() > 0 {
        context.say(&format!("{} more invalid", counted(faults.unsaid(), "line")));
    }
    if found.left_out > 0 && !quiet {
        context.say(&format!("{} left out: the job log says that they have ended with 0", tasks(found.left_out)));
    }
    if warned > MOST_WARNED {
        context.warn(&format!("{} more use syntax of bash; see task_shell", counted(warned - MOST_WARNED, "command")));
    }
    match found.plan.disorder() {
        Some(disorder) => Err(CliError::Usage(disorder)),
        None => Ok(found),
    }
}

/// How the command begins that was typed.
fn with_local(context: &Context) -> String {
    let is_flag_needed = context.is_local && context.program != RUN;
    format!("{}{}", context.program, if is_flag_needed { " --local" } else { "" })
}

/// No task at all is no error, as an empty list is none; whoever reads only standard output must not be left to guess.
pub(super) fn warn_of_nothing(context: &Context, origin: &Origin, found: &CheckReport) {
    if found.valid + found.left_out + found.invalid == 0 {
        let why = if origin.is_composed() { "a source has no value" } else { "every line is empty or a comment" };
        let mut hooks = found.plan.drafts.values().flat_map(|draft| draft.settings.hooks());
        let hook =
            hooks.next().map(|(kind, _)| format!(", and {} runs only after tasks", kind.flag())).unwrap_or_default();
        context.warn(&format!("there is no task: {why}{hook}"));
    }
}

/// What the workers have that live; nothing where that cannot be known: it is good for a warning only.
pub(super) async fn live(conn: &Connection) -> LiveWorkers {
    live_workers(conn).await.unwrap_or_default()
}
