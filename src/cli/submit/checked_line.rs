//! A line that is a task or should be one, where it stands, and what it belongs to.

use std::fmt;

use super::blocks::Scope;
use crate::model::{Belonging, Limit, LimitName, TaskLine};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In this line of a file, from 1.
    Line(&'a str, u64),
    /// It is made of a command, and is this one of them, from 1.
    Made(u64),
    /// It is made of this flag: a command for the end of a batch.
    Hook(&'static str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, number) => write!(f, "{file}:{number}"),
            Self::Made(number) => write!(f, "task {number}"),
            Self::Hook(flag) => f.write_str(flag),
        }
    }
}

/// A task, or what should be one.
pub(crate) struct CheckedLine<'a> {
    pub(crate) place: Place<'a>,
    /// The task, or what is wrong.
    pub(crate) task: Result<TaskLine, String>,
    /// Whether it is meant as a task line, since it begins with a type, or can be nothing else.
    pub(crate) is_meant: bool,
    /// The batch or step that it belongs to.
    pub(crate) belonging: Option<Belonging>,
    /// Limits that are to be set where none is set.
    pub(crate) limits: Vec<(LimitName, Limit)>,
    /// What holds there.
    pub(crate) scope: &'a Scope,
}

impl CheckedLine<'_> {
    /// Whether it is a command for the end of a batch, which is a task beside those that were asked for.
    pub(crate) fn is_hook(&self) -> bool {
        matches!(self.place, Place::Hook(_))
    }
}
