//! What an operator orders, as an address says it: `/operate/requeue?state=failed&kind=exit+3`, `/operate/pause?batch=s1`.

use form_urlencoded::parse;

use crate::model::snapshot::TaskState;
use crate::model::{BatchName, NoBatchName};
use crate::view::dashboard::source::is_id;

/// Tasks, batches or workers that one order may name.
const NAMED: usize = 500;

/// Bytes of a text.
const TEXT: usize = 1000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderVerb {
    /// Tasks wait again.
    Requeue,
    /// Tasks end as cancelled.
    Cancel,
    /// Tasks are gone.
    Purge,
    /// Nothing starts, of the queue or of batches.
    Pause,
    /// The opposite of a pause, or of a drain.
    Resume,
    /// Workers claim nothing more.
    Drain,
}

impl OrderVerb {
    const ALL: [Self; 6] = [Self::Requeue, Self::Cancel, Self::Purge, Self::Pause, Self::Resume, Self::Drain];

    /// `requeue`, `cancel`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
        }
    }

    /// With a capital letter, for buttons.
    pub(in crate::view) fn title(self) -> &'static str {
        match self {
            Self::Requeue => "Requeue",
            Self::Cancel => "Cancel",
            Self::Purge => "Purge",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Drain => "Drain",
        }
    }
}

/// To what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderTarget {
    /// The tasks with these ids.
    Tasks(Vec<String>),
    /// All tasks that match.
    Matching {
        /// In this state.
        state: Option<TaskState>,
        /// Of this kind of failure.
        kind: Option<String>,
        /// Of this batch or step.
        batch: Option<BatchName>,
        /// With this tag.
        tag: Option<String>,
        /// With this text in their line.
        include: Option<String>,
        /// Of this worker.
        worker: Option<String>,
    },
    /// The whole queue.
    Queue,
    /// These batches.
    Batches(Vec<BatchName>),
    /// These workers.
    Workers(Vec<String>),
}

/// What is to be done, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is to be done.
    pub verb: OrderVerb,
    /// To what.
    pub target: OrderTarget,
}

/// The parameters of a query, by name; empty ones are absent.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(query: &str) -> Result<Self, String> {
        let pairs = parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
        let pairs: Vec<(String, String)> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        match pairs.iter().find(|(_, value)| value.len() > TEXT) {
            Some((name, _)) => Err(format!("{name} is longer than {TEXT} bytes")),
            None if pairs.len() > NAMED => Err(format!("an order names at most {NAMED} tasks")),
            None => Ok(Self(pairs)),
        }
    }

    /// Every value of a name.
    fn all(&mut self, name: &str) -> Vec<String> {
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(|(one, _)| one == name);
        self.0 = rest;
        found.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    fn one(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut all = self.all(name);
        if all.len() > 1 {
            return Err(format!("{name} is given twice"));
        }
        Ok(all.pop())
    }

    /// Nothing that nobody asked for: a misspelt filter would select more than was meant.
    fn end(self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("{name} means nothing here")))
    }
}

fn batches(names: Vec<String>) -> Result<Vec<BatchName>, String> {
    names.iter().map(|name| name.parse().map_err(|error: NoBatchName| format!("batch: valid: {error}"))).collect()
}

impl Order {
    /// The order that an address gives.
    ///
    /// # Errors
    /// What is wrong with it, a whole sentence.
    pub(in crate::view::dashboard) fn parse(verb: &str, query: &str) -> Result<Self, String> {
        let mut asked = Parameters::of(query)?;
        // A form has one address for all of its buttons.
        let chosen = if verb == "chosen" { asked.one("verb")? } else { None };
        let verb = chosen.as_deref().unwrap_or(verb);
        let verb = OrderVerb::ALL.into_iter().find(|known| known.as_str() == verb).ok_or("no such action")?;
        let target = match verb {
            OrderVerb::Requeue | OrderVerb::Cancel | OrderVerb::Purge => tasks(&mut asked)?,
            OrderVerb::Pause | OrderVerb::Resume => {
                let named = batches(asked.all("batch"))?;
                let workers = if verb == OrderVerb::Resume { asked.all("worker") } else { Vec::new() };
                match (named.is_empty(), workers.is_empty()) {
                    (true, true) => OrderTarget::Queue,
                    (false, true) => OrderTarget::Batches(named),
                    (true, false) => OrderTarget::Workers(workers),
                    (false, false) => return Err("name batches or workers, not both".to_owned()),
                }
            }
            OrderVerb::Drain => match asked.all("worker") {
                none if none.is_empty() => return Err("no worker is named".to_owned()),
                workers => OrderTarget::Workers(workers),
            },
        };
        asked.end()?;
        Ok(Self { verb, target })
    }

    /// Whether it has to be confirmed by typing: what it takes does not come back.
    pub(super) fn is_final(&self) -> bool {
        self.verb == OrderVerb::Purge
    }

    /// The page from which one would give it, to go back to.
    pub(super) fn origin(&self) -> String {
        match &self.target {
            OrderTarget::Tasks(ids) if ids.len() == 1 => format!("/task/{}", ids[0]),
            OrderTarget::Tasks(_) => "/tasks".to_owned(),
            OrderTarget::Matching { kind: Some(_), .. } => "/failures".to_owned(),
            OrderTarget::Matching { batch: Some(batch), .. } => format!("/batch/{batch}"),
            OrderTarget::Matching { state, .. } => format!("/tasks?state={}", state.map_or("", TaskState::as_str)),
            OrderTarget::Batches(names) if names.len() == 1 => format!("/batch/{}", names[0]),
            OrderTarget::Batches(_) => "/batches".to_owned(),
            OrderTarget::Queue | OrderTarget::Workers(_) => "/operate".to_owned(),
        }
    }
}

fn tasks(asked: &mut Parameters) -> Result<OrderTarget, String> {
    let ids = asked.all("id");
    if !ids.is_empty() {
        return match ids.iter().find(|id| !is_id(id)) {
            Some(_) => Err("an id has 16 hex digits".to_owned()),
            None => Ok(OrderTarget::Tasks(ids)),
        };
    }
    let state = match asked.one("state")? {
        None => None,
        Some(name) => {
            Some(TaskState::ALL.into_iter().find(|state| state.as_str() == name).ok_or("there is no such state")?)
        }
    };
    let batch = asked.one("batch")?.map(|name| batches(vec![name])).transpose()?.and_then(|mut names| names.pop());
    let (kind, tag, include, worker) =
        (asked.one("kind")?, asked.one("tag")?, asked.one("include")?, asked.one("worker")?);
    let is_bare =
        state.is_none() && batch.is_none() && [&kind, &tag, &include, &worker].into_iter().all(Option::is_none);
    if is_bare {
        return Err("no task is selected".to_owned());
    }
    Ok(OrderTarget::Matching { state, kind, batch, tag, include, worker })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gives_one_order() {
        let id = "0123456789abcdef";
        let order = Order::parse("purge", &format!("id={id}&id=fedcba9876543210")).expect("an order");
        assert!(order.is_final());
        assert_eq!(order.target, OrderTarget::Tasks(vec![id.to_owned(), "fedcba9876543210".to_owned()]));
        let order = Order::parse("requeue", "state=failed&kind=exit+3&tag=&batch=s1").expect("an order");
        let OrderTarget::Matching { state, kind, batch, tag, .. } = &order.target else { panic!("{order:?}") };
        assert_eq!((*state, kind.as_deref(), tag), (Some(TaskState::Failed), Some("exit 3"), &None));
        assert_eq!(batch.as_ref().map(BatchName::as_str), Some("s1"));
        let chosen = Order::parse("chosen", &format!("id={id}&verb=cancel")).expect("an order");
        assert_eq!((chosen.verb, chosen.target), (OrderVerb::Cancel, OrderTarget::Tasks(vec![id.to_owned()])));
        assert_eq!(Order::parse("pause", "").expect("an order").target, OrderTarget::Queue);
        let drain = Order::parse("drain", "worker=n1&worker=n2").expect("an order");
        assert_eq!(drain.target, OrderTarget::Workers(vec!["n1".to_owned(), "n2".to_owned()]));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let many: String = (0..=NAMED).map(|at| format!("id={at:016x}&")).collect();
        for (verb, query) in [
            ("explode", "id=0123456789abcdef"),
            ("chosen", "id=0123456789abcdef"),
            ("cancel", "id=0123456789abcdef&verb=purge"),
            ("purge", ""),
            ("purge", "state="),
            ("purge", "all=1"),
            ("purge", "state=todo&worke=n1"),
            ("purge", "state=todo&state=failed"),
            ("purge", "state=every"),
            ("cancel", "id=0123"),
            ("cancel", "id=0123456789abcdef&state=todo"),
            ("cancel", &many),
            ("pause", "worker=n1"),
            ("resume", "worker=n1&batch=s1"),
            ("drain", ""),
            ("pause", "batch=a%20b"),
            ("requeue", &format!("include={}", "x".repeat(TEXT + 1))),
        ] {
            assert!(Order::parse(verb, query).is_err(), "{verb} {query}");
        }
    }
}
