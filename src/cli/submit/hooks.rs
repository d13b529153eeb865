//! The commands for the end of a batch: a task each, which waits until all of the batch has ended and belongs to none.

use std::collections::BTreeMap;
use std::vec;

use super::batch_flags::HookKind;
use super::blocks::Scope;
use super::checked_line::{CheckedLine, Place};
use super::task_file::ParseRules;
use crate::model::{BatchName, Belonging};

/// Those of the batches that were met, and after the last task one after the other.
#[derive(Default)]
pub(super) struct Hooks<'a> {
    met: BTreeMap<BatchName, &'a Scope>,
    rest: Option<vec::IntoIter<(BatchName, HookKind, &'a Scope, String)>>,
}

impl<'a> Hooks<'a> {
    /// A task, and what holds for it.
    pub(super) fn meet(&mut self, scope: &'a Scope, belonging: Option<&Belonging>) {
        let Some(belonging) = belonging.filter(|_| scope.batch.hooks().next().is_some()) else { return };
        // The name that was given, unless it differs from task to task.
        let given = scope.base.as_ref().and_then(|base| base.parse().ok());
        let name = given.unwrap_or_else(|| belonging.name().top());
        self.met.entry(name).or_insert(scope);
    }

    /// After the last task: the next; `None` after the last of them.
    pub(super) fn next(&mut self, rules: ParseRules) -> Option<CheckedLine<'a>> {
        let met = &self.met;
        let rest = self.rest.get_or_insert_with(|| {
            let of = |(name, scope): (&BatchName, &&'a Scope)| {
                let (name, scope): (_, &'a Scope) = (name.clone(), scope);
                let all = scope.batch.hooks().map(|(kind, command)| (name.clone(), kind, scope, command.to_owned()));
                all.collect::<Vec<_>>()
            };
            met.iter().flat_map(of).collect::<Vec<_>>().into_iter()
        });
        let (name, kind, scope, command) = rest.next()?;
        // It asks for a slot, no more; three zeros are the same in every order of fields.
        let task = rules.check(&format!("shell,afterany={name}:0:0:0:{}", kind.command(&command)));
        Some(CheckedLine {
            place: Place::Hook(kind.flag()),
            task,
            is_meant: true,
            belonging: None,
            limits: Vec::new(),
            scope,
        })
    }
}
