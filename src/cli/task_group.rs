//! The flags that select tasks by what they belong to, for every command that selects tasks. A further one is added here, and in
//! [`TaskGroup`], by which every scan goes.

use clap::builder::NonEmptyStringValueParser;

use crate::cli::exit::CliError;
use crate::cli::known_batches::{batch_name, known};
use crate::cli::near::by_nearness;
use crate::model::snapshot::TaskState;
use crate::model::{BatchName, FailureKind, Outcome};
use crate::queue::select::{TaskGroup, unrecorded_kinds};
use crate::queue::{Connection, kinds};
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// Kinds that an error lists.
const LISTED: usize = 12;

/// Columns of a kind that an error shows.
const SHOWN: usize = 60;

/// The flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GroupArgs {
    /// Select tasks that failed in this way, as distcomp-status failures shows it: "exit 3", "signal 9", "timed out", oom, ...
    #[arg(long, value_name = "KIND", value_parser = NonEmptyStringValueParser::new())]
    pub kind: Option<String>,
    /// Select tasks of this batch, or of this step of one
    #[arg(long, value_name = "NAME", value_parser = batch_name)]
    pub batch: Option<BatchName>,
    /// Select tasks that were submitted with this tag
    #[arg(long, value_name = "TAG", value_parser = NonEmptyStringValueParser::new())]
    pub tag: Option<String>,
}

impl GroupArgs {
    /// Whether none of them is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.kind.is_none() && self.batch.is_none() && self.tag.is_none()
    }

    /// The states in which such tasks are, given `--state`; `None` where neither says it. Flags that exclude each other are refused.
    pub(crate) fn states(&self, state: Option<TaskState>) -> Result<Option<Vec<TaskState>>, CliError> {
        let Some(kind) = &self.kind else { return Ok(state.map(|state| vec![state])) };
        let is_cancelled = FailureKind::named(kind) == Some(FailureKind::Ended(Outcome::Cancelled));
        let own = if is_cancelled { TaskState::Cancelled } else { TaskState::Failed };
        let is_possible = match state {
            None => true,
            Some(TaskState::Cancelled) => is_cancelled,
            // One that will be retried has failed before.
            Some(TaskState::Failed | TaskState::Todo | TaskState::InProgress) => !is_cancelled,
            Some(TaskState::Finished) => false,
        };
        if is_possible {
            return Ok(Some(vec![state.unwrap_or(own)]));
        }
        let state = state.unwrap_or(own);
        let why = match state {
            TaskState::Finished => "finished tasks have no failure".to_owned(),
            TaskState::Cancelled => "cancelled tasks have not failed; leave --kind out".to_owned(),
            TaskState::Todo | TaskState::InProgress | TaskState::Failed => {
                "cancelled tasks have a state of their own: --state cancelled".to_owned()
            }
        };
        Err(CliError::Usage(format!("--kind {:?} cannot be used with --state {}: {why}", kind, state.as_str())))
    }

    /// Finds what they name. A kind that no task has is an error, unless it is one that workers give, and so is a batch of which nothing is known.
    pub(crate) async fn resolve(&self, conn: &Connection) -> Result<TaskGroup, CliError> {
        if let Some(batch) = &self.batch {
            known(conn, std::slice::from_ref(batch)).await?;
        }
        let kind = self.resolve_kind(conn).await?;
        Ok(TaskGroup { kind, batch: self.batch.clone(), tag: self.tag.clone() })
    }

    async fn resolve_kind(&self, conn: &Connection) -> Result<Option<String>, CliError> {
        let Some(asked) = &self.kind else { return Ok(None) };
        let is_it = |kind: &str| kind.eq_ignore_ascii_case(asked.trim());
        let mut known = kinds::counted(conn).await?;
        let named = known.iter().map(|(kind, _)| kind).find(|kind| is_it(kind)).cloned();
        if let Some(kind) = named.or_else(|| FailureKind::named(asked).map(|kind| kind.to_string())) {
            return Ok(Some(kind));
        }
        for (kind, count) in unrecorded_kinds(conn).await? {
            match known.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, sum)) => *sum += count,
                None => known.push((kind, count)),
            }
        }
        match known.iter().map(|(kind, _)| kind).find(|kind| is_it(kind)) {
            Some(kind) => Ok(Some(kind.clone())),
            None => Err(CliError::Usage(unknown_kind(asked, known))),
        }
    }
}

/// What kinds there are, the nearest first.
fn unknown_kind(asked: &str, mut known: Vec<(String, u64)>) -> String {
    let shown = |kind: &str| shorten(&safe(kind), SHOWN);
    let head = format!("no failure is of the kind {:?}", shown(asked));
    if known.is_empty() {
        return format!("{head}: no task has failed");
    }
    known.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    by_nearness(asked, &mut known, |(kind, _)| kind.as_str());
    let rest = known.len().saturating_sub(LISTED);
    let listed: Vec<String> =
        known.iter().take(LISTED).map(|(kind, number)| format!("{} ({})", shown(kind), count(*number))).collect();
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{head}; there are: {}{rest}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_says_the_state_unless_that_is_said() {
        use TaskState::{Cancelled, Failed, Finished, InProgress, Todo};
        let states = |kind: Option<&str>, state| {
            GroupArgs { kind: kind.map(str::to_owned), ..GroupArgs::default() }.states(state).ok()
        };
        assert_eq!(states(None, None), Some(None));
        assert_eq!(states(None, Some(Finished)), Some(Some(vec![Finished])));
        assert_eq!(states(Some("oom"), None), Some(Some(vec![Failed])));
        for state in [Failed, Todo, InProgress] {
            assert_eq!(states(Some("exit 3"), Some(state)), Some(Some(vec![state])));
            assert_eq!(states(Some("cancelled"), Some(state)), None);
        }
        assert_eq!(states(Some("Cancelled"), None), Some(Some(vec![Cancelled])));
        assert_eq!(states(Some("cancelled"), Some(Cancelled)), Some(Some(vec![Cancelled])));
        assert_eq!(states(Some("exit 3"), Some(Cancelled)), None);
        assert_eq!(states(Some("exit 3"), Some(Finished)), None);
    }

    #[test]
    fn unknown_kind_is_answered_with_the_nearest_first() {
        let known = [("exit 3", 1200), ("timed out", 2), ("worker lost", 40)];
        let text = unknown_kind("timd out", known.map(|(kind, count)| (kind.to_owned(), count)).to_vec());
        assert_eq!(
            text,
            "no failure is of the kind \"timd out\"; there are: timed out (2), exit 3 (1,200), worker lost (40)"
        );
        assert!(unknown_kind("x", Vec::new()).ends_with("no task has failed"));
        let many = (0..20).map(|n| (format!("exit {n}"), n)).collect();
        assert!(unknown_kind("?", many).ends_with("exit 8 (8) and 8 more"));
    }
}
