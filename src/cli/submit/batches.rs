//! The batches that a submission adds to: collected while the lines are checked, compared with the queue before the first line goes in.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::batch_flags::BatchSettings;
use super::blocks::{Scope, fixed_part};
use super::checked_line::{CheckedLine, Place};
use super::circles::{Disorder, Order};
use super::origin::Origin;
use crate::model::{BatchName, Belonging, Gate, Limit, LimitName, TaskLine};
use crate::queue::batches::BatchRecord;
use crate::view::text::tasks;

/// Names that the record of a batch says that it waits for, at most.
const MOST_RECORDED: usize = 64;

/// Names that are waited for, and steps that are told of, at most.
pub(super) const MOST_KEPT: usize = 10_000;

/// What a batch is to become.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) settings: BatchSettings,
    /// What its tasks wait for: all batches, and so many steps.
    pub(super) after: BTreeSet<BatchName>,
    /// Whether a failure elsewhere, or in an earlier step, leaves tasks of it blocked.
    waits_for_success: bool,
}

/// What one submission will tell the queue about its batches.
#[derive(Debug, Default)]
pub(super) struct BatchPlan {
    /// The name that was given, where it is one for all.
    given: Option<BatchName>,
    /// The latest time before which a task does not start, in seconds since the epoch.
    pub(super) begin: u64,
    /// By the batch, the top level of its names.
    pub(super) drafts: BTreeMap<BatchName, Draft>,
    /// Names that are known before a task is: also of steps without tasks.
    pub(super) declared: BTreeSet<BatchName>,
    /// How many tasks each name has, in the order of names.
    pub(super) tasks: BTreeMap<BatchName, u64>,
    /// Limits that tasks name, the first ones.
    pub(super) named_limits: BTreeSet<LimitName>,
    /// Limits that are to be set where none is set.
    pub(super) limits: BTreeMap<LimitName, Limit>,
    /// A limit that is said to be both.
    conflict: Option<(LimitName, Limit, Limit)>,
    /// How many tasks wait for a name.
    pub(super) awaited: BTreeMap<BatchName, u64>,
    /// Hashes of all names and their levels.
    own: HashSet<u64>,
    order: Order,
    /// What the lines looked at last have in common, and how many they are.
    run: Option<Run>,
    /// Names of lines that are no tasks.
    spoilt: BTreeSet<BatchName>,
    /// Names of tasks that have ended before, as a job log says.
    ended: BTreeSet<BatchName>,
}

#[derive(Debug)]
struct Run {
    belonging: Option<Belonging>,
    gates: Vec<Gate>,
    settings: BatchSettings,
    lines: u64,
}

impl BatchPlan {
    /// With what the directives say before a task is made.
    pub(super) fn of(origin: &Origin) -> Self {
        let bases: BTreeSet<Option<&String>> = match origin.what().files() {
            [] => [origin.scope().base.as_ref()].into(),
            files => files.iter().map(|(_, blocks)| blocks.first().base.as_ref()).collect(),
        };
        let given = if bases.len() == 1 { bases.into_iter().next().flatten() } else { None };
        let mut plan = Self { given: given.and_then(|base| base.parse().ok()), ..Self::default() };
        // A batch is one without tasks too: what waits for it goes on.
        if let Some(name) = plan.given.clone().filter(|_| origin.is_composed()) {
            plan.declare(&name);
            plan.drafts.entry(name.top()).or_default().settings = origin.scope().batch.clone();
        }
        for (input, blocks) in origin.what().files() {
            for (name, _) in &blocks.names {
                plan.declare(name);
                let draft = plan.drafts.entry(name.top()).or_default();
                let scopes = blocks.all().filter(|scope| scope.base.as_ref().is_some_and(|base| is_of(base, name)));
                let settings = scopes.fold(BatchSettings::default(), |settings, scope| settings.over(&scope.batch));
                draft.settings = std::mem::take(&mut draft.settings).over(&settings);
            }
            for (name, after, line) in &blocks.edges {
                plan.order.add(name, after, || format!("{}:{line}", input.name()));
            }
        }
        plan
    }

    fn declare(&mut self, name: &BatchName) {
        self.declared.insert(name.clone());
        self.own.extend(name.levels().map(|level| hash(&level)));
    }

    /// A task, and what it belongs to and waits for.
    pub(super) fn look(&mut self, line: &CheckedLine<'_>, task: &TaskLine) {
        for (name, limit) in &line.limits {
            let known = *self.limits.entry(name.clone()).or_insert(*limit);
            if known != *limit && self.conflict.is_none() {
                self.conflict = Some((name.clone(), known, *limit));
            }
        }
        for name in task.needs().limits() {
            if self.named_limits.len() < MOST_KEPT && !self.named_limits.contains(name) {
                self.named_limits.insert(name.clone());
            }
        }
        let gates = task.needs().gates();
        if line.belonging.is_none() && gates.is_empty() {
            return;
        }
        let is_same =
            |run: &&mut Run| run.belonging == line.belonging && run.gates == gates && run.settings == line.scope.batch;
        if let Some(run) = self.run.as_mut().filter(is_same) {
            run.lines += 1;
            return;
        }
        self.close();
        let (belonging, settings) = (line.belonging.clone(), line.scope.batch.clone());
        if let Some(name) = belonging.as_ref().map(Belonging::name) {
            let place = || match line.place {
                Place::Line(..) => line.place.to_string(),
                // All tasks of a command wait for the same.
                Place::Made(_) | Place::Hook(_) => String::new(),
            };
            gates.iter().filter_map(Gate::name).for_each(|after| self.order.add(name, after, place));
        }
        self.run = Some(Run { belonging, gates: gates.to_vec(), settings, lines: 1 });
    }

    /// The last line was looked at.
    pub(super) fn close(&mut self) {
        let Some(Run { belonging, gates, settings, lines }) = self.run.take() else { return };
        let begins =
            gates.iter().filter_map(|gate| if let Gate::Begin(seconds) = gate { Some(*seconds) } else { None });
        self.begin = begins.fold(self.begin, u64::max);
        let after = gates.iter().filter_map(Gate::name);
        for name in after.clone() {
            if self.awaited.len() < MOST_KEPT || self.awaited.contains_key(name) {
                *self.awaited.entry(name.clone()).or_default() += lines;
            }
        }
        let Some(belonging) = belonging else { return };
        let name = belonging.name();
        self.own.extend(name.levels().map(|level| hash(&level)));
        if self.tasks.len() < MOST_KEPT || self.tasks.contains_key(name) {
            *self.tasks.entry(name.clone()).or_default() += lines;
        }
        let draft = self.drafts.entry(name.top()).or_default();
        draft.settings = std::mem::take(&mut draft.settings).over(&settings);
        for name in after {
            note(&mut draft.after, name);
        }
        draft.waits_for_success |= gates.iter().any(|gate| matches!(gate, Gate::After(_)));
    }

    /// A line that is no task. A step of which nothing is left must not count as done because it is empty.
    pub(super) fn spoil(&mut self, scope: &Scope) {
        let name = scope.settings.name.as_deref().and_then(fixed_part);
        let name = name.and_then(|name| name.parse::<BatchName>().ok());
        self.spoilt.extend(name.filter(|name| !self.spoilt.contains(name)));
    }

    /// Tasks that are left out because they have ended before. Their batches are submitted all the same: others may wait for them.
    pub(super) fn leave_out(&mut self, names: BTreeMap<BatchName, &Scope>) {
        for (name, scope) in names {
            self.declare(&name);
            let draft = self.drafts.entry(name.top()).or_default();
            draft.settings = std::mem::take(&mut draft.settings).over(&scope.batch);
            self.ended.insert(name);
        }
    }

    /// All lines were looked at: forgets the names of which every line is faulty.
    pub(super) fn settle(&mut self) {
        if self.tasks.len() >= MOST_KEPT {
            return;
        }
        for name in std::mem::take(&mut self.spoilt) {
            let has_tasks = |all: &BatchName| self.tasks.keys().chain(&self.ended).any(|name| name.is_within(all));
            if !has_tasks(&name) {
                self.declared.remove(&name);
                self.own.remove(&hash(&name));
            }
            let top = name.top();
            if !has_tasks(&top) {
                self.declared.retain(|name| name.top() != top);
                self.drafts.remove(&top);
                self.own.remove(&hash(&top));
            }
        }
        self.given.take_if(|given| !self.drafts.contains_key(&given.top()));
    }

    /// Whether anything belongs to a batch.
    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// The batches.
    pub(super) fn tops(&self) -> Vec<BatchName> {
        self.drafts.keys().cloned().collect()
    }

    /// Whether a name, or a step of it, is among those of this submission.
    pub(super) fn has(&self, name: &BatchName) -> bool {
        self.own.contains(&hash(name))
    }

    /// What is wrong with the tasks as a whole, in words: with their order, or with what they say of a limit.
    pub(super) fn disorder(&self) -> Option<String> {
        if let Some((name, one, other)) = &self.conflict {
            return Some(format!("--limit {name} is {one} and {other}; valid: one number for a name"));
        }
        self.order
            .disorder()
            .map(|Disorder { place, what }| if place.is_empty() { what } else { format!("{place}: {what}") })
    }

    /// What is worth knowing of a command for the end of a batch that may not come to an end.
    pub(super) fn note_of_hooks(&self) -> Option<String> {
        let may_stay_blocked = |draft: &Draft| draft.waits_for_success && !draft.settings.kill_on_invalid_dep;
        let mut drafts = self.drafts.iter().filter(|(_, draft)| may_stay_blocked(draft));
        let (name, kind) =
            drafts.find_map(|(name, draft)| draft.settings.hooks().next().map(|(kind, _)| (name, kind)))?;
        Some(format!(
            "{} runs when all of {name} has ended: if a step fails, those that wait for it stay blocked and {name} does not end; --kill-on-invalid-dep ends it",
            kind.flag()
        ))
    }

    /// What waits for what, by names.
    pub(super) fn edges(&self) -> impl Iterator<Item = (&BatchName, &BatchName)> {
        self.order.edges()
    }

    /// The name that was given, where there is one for all: of a step, if all tasks are of that.
    pub(super) fn name(&self) -> Option<BatchName> {
        if let Some(given) = self.given.as_ref().filter(|given| self.drafts.keys().all(|top| *top == given.top())) {
            return Some(given.clone());
        }
        let mut tops = self.drafts.keys();
        let (Some(top), None) = (tops.next(), tops.next()) else { return None };
        let mut names = self.tasks.keys();
        match (names.next(), names.next()) {
            (Some(name), None) => Some(name.clone()),
            _ => Some(top.clone()),
        }
    }

    /// The names in words, for a sentence: `s1`, `s1 and s2`, `s1, s2 and 8 more batches`.
    pub(super) fn words(&self) -> Option<String> {
        if let Some(name) = self.name() {
            return Some(name.to_string());
        }
        let names: Vec<&BatchName> = self.drafts.keys().collect();
        match names.as_slice() {
            [] => None,
            [one, two] => Some(format!("{one} and {two}")),
            [one, two, rest @ ..] => Some(format!("{one}, {two} and {} more batches", rest.len())),
            [one] => Some(one.to_string()),
        }
    }

    /// Which names the tasks belong to, for somebody who wants to see before anything goes in: one of each line.
    pub(super) fn shown(&self) -> Vec<String> {
        const SHOWN: usize = 20;
        let shown = self.tasks.iter().take(SHOWN).map(|(name, number)| format!("{name}: {}", tasks(*number)));
        let more = self.tasks.len().saturating_sub(SHOWN);
        shown.chain((more > 0).then(|| format!("and {more} more steps"))).collect()
    }
}

impl Draft {
    /// What is known of the batch from now on.
    pub(super) fn record(&self, known: Option<BatchRecord>, by: &str, now: u64) -> BatchRecord {
        let mut record =
            known.unwrap_or_else(|| BatchRecord { by: by.to_owned(), created: now, ..BatchRecord::default() });
        if self.settings.max_fails.is_some() {
            record.max_fails.clone_from(&self.settings.max_fails);
        }
        record.kill_on_invalid_dep |= self.settings.kill_on_invalid_dep;
        self.after.iter().for_each(|name| note(&mut record.after, name));
        record
    }
}

/// Whether a batch's name as it was written is that of this batch, or of one that it is a step of.
fn is_of(base: &str, name: &BatchName) -> bool {
    base.parse::<BatchName>().is_ok_and(|base| base.top() == name.top())
}

/// Names of batches are all kept, and so many of steps: one for each task would make a record of megabytes.
fn note(names: &mut BTreeSet<BatchName>, name: &BatchName) {
    if name.is_top() || names.len() < MOST_RECORDED {
        names.insert(name.clone());
    }
}

fn hash(name: &BatchName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
