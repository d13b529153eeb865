//! What an edit would make of the tasks that were selected: all of it is checked before anything changes.

use std::collections::{BTreeMap, HashSet};

use super::context::CtlContext;
use super::resign::Resigner;
use crate::cli::exit::CliError;
use crate::cli::orders::Selected;
use crate::cli::spill_list::SpillList;
use crate::cli::submit::{Offers, ParseRules, Place};
use crate::compose::LineEdit;
use crate::model::snapshot::TaskState;
use crate::model::{TaskId, TaskLine};
use crate::queue::call_size::CALL_BYTES;
use crate::queue::{inspect, queue_identity};
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten, tasks};

/// Lines looked at in one round trip.
const AT_ONCE: usize = 200;

/// Pairs of lines that are shown.
const EXAMPLES: usize = 3;

/// Kinds of faults that are shown.
const FAULTS: usize = 20;

/// Columns of a line that are shown.
const SHOWN: usize = 76;

/// What is to be done, and what is left alone.
pub(super) struct EditPlan {
    /// The lines that wait and would become others.
    pub(super) lines: SpillList,
    /// The first few of them, and what they would become.
    pub(super) examples: Vec<(String, String)>,
    /// Tasks that are what they would be.
    pub(super) unchanged: u64,
    /// Tasks that run.
    pub(super) running: u64,
    /// Tasks that wait no longer, and do not run.
    pub(super) ended: u64,
    /// Of those to change, those whose new line is in the queue already.
    pub(super) taken: u64,
    /// What is wrong with the new lines: how many, and one of the old ones.
    faults: BTreeMap<String, (u64, String)>,
    /// What no worker offers.
    pub(super) offers: Offers,
}

/// Looks at what was selected.
pub(super) struct Planner<'a> {
    pub(super) session: &'a CtlContext,
    pub(super) edit: &'a LineEdit,
    pub(super) rules: ParseRules,
    pub(super) resigner: &'a Resigner,
}

impl Planner<'_> {
    pub(super) async fn plan(&self, selected: Selected, offers: Offers) -> Result<EditPlan, CliError> {
        let failed = |error| CliError::io("store the selected lines in a temporary file", error);
        let mut plan = EditPlan {
            lines: SpillList::new(),
            examples: Vec::new(),
            unchanged: 0,
            running: 0,
            ended: 0,
            taken: 0,
            faults: BTreeMap::new(),
            offers,
        };
        let manner = self.session.manner;
        let mut progress = Progress::new("checked", selected.lines.len(), !manner.json && !manner.quiet);
        let mut made = HashSet::new();
        let mut reader = selected.lines.read().map_err(failed)?;
        loop {
            let batch = reader.take(AT_ONCE, CALL_BYTES).map_err(failed)?;
            if batch.is_empty() {
                return Ok(plan);
            }
            progress.advance(batch.len() as u64);
            let changes = self.waiting(batch, &mut plan).await?;
            let new: Vec<String> = changes.iter().map(|(_, new)| new.as_str().to_owned()).collect();
            let there = inspect::states(&self.session.conn, &new).await?;
            for ((old, new), there) in changes.into_iter().zip(there) {
                // Each of two lines that become the same is a line that is there for the other.
                if !there.is_empty() || !made.insert(new.id()) {
                    plan.taken += 1;
                }
                if plan.examples.len() < EXAMPLES {
                    plan.examples.push((old.clone(), new.as_str().to_owned()));
                }
                plan.lines.push(&old).map_err(failed)?;
            }
        }
    }

    /// Those of a batch that wait and change, with what they become.
    async fn waiting(&self, batch: Vec<String>, plan: &mut EditPlan) -> Result<Vec<(String, TaskLine)>, CliError> {
        let states = inspect::states(&self.session.conn, &batch).await?;
        let (mut changes, mut old) = (Vec::new(), Vec::new());
        for (line, states) in batch.into_iter().zip(states) {
            if states.contains(&TaskState::InProgress) {
                plan.running += 1;
            } else if !states.contains(&TaskState::Todo) || states.contains(&TaskState::Finished) {
                plan.ended += 1;
            } else {
                match self.make(&line) {
                    Ok((task, new)) if task == new => plan.unchanged += 1,
                    Ok((_, new)) => {
                        plan.offers.look(Place::Hook("--set"), &new);
                        old.push(line.clone());
                        changes.push((line, new));
                    }
                    Err(fault) => plan.fault(fault, &line),
                }
            }
        }
        let signatures = queue_identity::signatures_of(&self.session.conn, &old).await?;
        for (line, signature) in old.iter().zip(signatures) {
            if let Some(Err(fault)) = signature.map(|signature| self.resigner.check(line, &signature)) {
                plan.fault(fault, line);
            }
        }
        Ok(changes)
    }

    fn make(&self, line: &str) -> Result<(TaskLine, TaskLine), String> {
        let task = TaskLine::parse(line, self.rules.order).map_err(|error| format!("it is no task line: {error}"))?;
        let new = self.edit.apply(&task, self.rules.order).map_err(|error| error.to_string())?;
        let new = if new == task { new } else { self.rules.check(new.as_str())? };
        Ok((task, new))
    }
}

impl EditPlan {
    fn fault(&mut self, fault: String, line: &str) {
        let (number, _) = self.faults.entry(fault).or_insert_with(|| (0, line.to_owned()));
        *number += 1;
    }

    /// Says everything that is wrong, and refuses.
    pub(super) fn refuse_faults(&self, session: &CtlContext) -> Result<(), CliError> {
        if self.faults.is_empty() {
            return Ok(());
        }
        for (fault, (number, line)) in self.faults.iter().take(FAULTS) {
            let task = format!("{} {}", TaskId::of(line), shorten(&safe(line), SHOWN - 17));
            let whose = if *number == 1 { String::new() } else { format!("{}, such as ", tasks(*number)) };
            session.context.say(&format!("{whose}{task}\n{}", safe(fault)));
        }
        let more = self.faults.len().saturating_sub(FAULTS);
        let more = if more > 0 { format!(" ({} more faults)", count(more as u64)) } else { String::new() };
        Err(CliError::Usage(format!("nothing was changed: not every new line would be valid{more}")))
    }

    /// The pairs that are shown, each on two lines.
    pub(super) fn shown(&self) -> String {
        let lead = match self.examples.len() as u64 {
            0 => return String::new(),
            shown if shown == self.lines.len() => ":",
            _ => ", such as:",
        };
        let short = |line: &str| shorten(&safe(line), SHOWN - 3);
        let pairs = self.examples.iter().map(|(old, new)| format!("\n{}\n-> {}", short(old), short(new)));
        pairs.fold(lead.to_owned(), |text, pair| text + &pair)
    }

    /// What is left alone, and why; empty where everything changes.
    pub(super) fn left(&self) -> String {
        let parts = [(self.running, "running"), (self.ended, "not waiting"), (self.unchanged, "unchanged")];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{} {what}", count(number)))
            .collect();
        parts.join(", ")
    }
}
