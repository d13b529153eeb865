//! What an autoscaler knows of the allocations that it has asked for: how far each has come, and which of them came to nothing.
//!
//! The provider's own list and the workers that are registered say everything; this only remembers what they said last. An allocation that the list does not
//! show any more still counts until it is known to be gone: a list may be late, or wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::scaling::Own;

/// How an allocation stands at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a node.
    Pending,
    /// It has a node.
    Running,
    /// It has ended; how, in the provider's words.
    Ended(String),
}

/// An allocation in the provider's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id there.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
}

/// What has become of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its worker has attached.
    Attached(String),
    /// It ended before its worker attached, for this reason.
    Failed(String, String),
    /// Its worker has not attached in time: it is to be cancelled.
    Overdue(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Running,
    /// The list does not show it.
    Unlisted,
}

#[derive(Clone, Debug)]
struct Allocation {
    stage: Stage,
    since: Instant,
    is_attached: bool,
    /// It is overdue and counts as failed.
    is_given_up: bool,
}

/// The allocations of one autoscaler.
#[derive(Clone, Debug)]
pub struct Allocations {
    known: BTreeMap<String, Allocation>,
    start_timeout: Duration,
}

impl Allocations {
    /// None yet. A worker has so long to attach after its allocation began.
    #[must_use]
    pub fn new(start_timeout: Duration) -> Self {
        Self { known: BTreeMap::new(), start_timeout }
    }

    /// The provider has accepted one, or had before this process began.
    pub fn accepted(&mut self, now: Instant, id: &str) {
        let new = Allocation { stage: Stage::Pending, since: now, is_attached: false, is_given_up: false };
        self.known.entry(id.to_owned()).or_insert(new);
    }

    /// Notes that workers have attached.
    pub fn attached<'a>(&mut self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in ids {
            if let Some(of) = self.known.get_mut(id).filter(|of| !of.is_attached) {
                of.is_attached = true;
                changes.push(Change::Attached(id.clone()));
            }
        }
        changes
    }

    /// Takes in what the provider lists, or `None` where it has no list, and whose workers live.
    pub fn update(&mut self, now: Instant, list: Option<&[Listed]>, live: &BTreeSet<String>) -> Vec<Change> {
        let mut changes = self.attached(live);
        for id in live {
            let found = Allocation { stage: Stage::Running, since: now, is_attached: true, is_given_up: false };
            self.known.entry(id.clone()).or_insert(found);
        }
        match list {
            Some(list) => self.compare(now, list, live, &mut changes),
            None => self.known.retain(|id, of| {
                of.stage = Stage::Running;
                !of.is_attached || live.contains(id)
            }),
        }
        for (id, of) in &mut self.known {
            let is_late = of.stage == Stage::Running && now.saturating_duration_since(of.since) >= self.start_timeout;
            if is_late && !of.is_attached && !of.is_given_up {
                of.is_given_up = true;
                changes.push(Change::Overdue(id.clone()));
            }
        }
        changes
    }

    fn compare(&mut self, now: Instant, list: &[Listed], live: &BTreeSet<String>, changes: &mut Vec<Change>) {
        let listed: BTreeMap<&str, &Standing> = list.iter().map(|one| (one.id.as_str(), &one.standing)).collect();
        for (id, standing) in &listed {
            let stage = match standing {
                Standing::Pending => Stage::Pending,
                Standing::Running => Stage::Running,
                Standing::Ended(_) => continue,
            };
            self.accepted(now, id);
            if let Some(of) = self.known.get_mut(*id).filter(|of| of.stage != stage) {
                (of.stage, of.since) = (stage, now);
            }
        }
        let timeout = self.start_timeout;
        self.known.retain(|id, of| {
            let why = match listed.get(id.as_str()) {
                Some(Standing::Pending | Standing::Running) => return true,
                Some(Standing::Ended(how)) => Some(format!("it ended before its worker attached: {how}")),
                None => None,
            };
            if of.is_attached || of.is_given_up {
                // A list that leaves out what lives is wrong.
                return live.contains(id);
            }
            if of.stage != Stage::Unlisted {
                (of.stage, of.since) = (Stage::Unlisted, now);
            }
            let is_late = now.saturating_duration_since(of.since) >= timeout;
            let why = why
                .or_else(|| is_late.then(|| "the provider does not list it, and its worker did not attach".to_owned()));
            why.is_none_or(|why| {
                changes.push(Change::Failed(id.clone(), why));
                false
            })
        });
    }

    /// Those that the list does not show, and of which nothing else is known.
    #[must_use]
    pub fn unlisted(&self) -> Vec<String> {
        self.those(|of| of.stage == Stage::Unlisted && !of.is_attached)
    }

    /// Those whose worker has not attached.
    #[must_use]
    pub fn unattached(&self) -> Vec<String> {
        self.those(|of| !of.is_attached && !of.is_given_up)
    }

    /// Those that hold a node, or wait for one, as far as is known.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.those(|_| true)
    }

    /// One that the list does not show is gone for certain.
    pub fn gone(&mut self, id: &str) -> Option<Change> {
        let of = self.known.remove(id)?;
        let why = "it ended before its worker attached".to_owned();
        (!of.is_attached && !of.is_given_up).then(|| Change::Failed(id.to_owned(), why))
    }

    /// One was cancelled, where no list would show its end.
    pub fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }

    /// How many have come how far.
    #[must_use]
    pub fn own(&self) -> Own {
        let mut own = Own::default();
        for of in self.known.values() {
            match of.stage {
                _ if of.is_attached => own.attached += 1,
                _ if of.is_given_up => own.given_up += 1,
                Stage::Pending => own.pending += 1,
                Stage::Running | Stage::Unlisted => own.starting += 1,
            }
        }
        own
    }

    fn those(&self, is_one: impl Fn(&Allocation) -> bool) -> Vec<String> {
        self.known.iter().filter(|(_, of)| is_one(of)).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMEOUT: Duration = Duration::from_secs(600);

    fn list(text: &str) -> Vec<Listed> {
        let one = |part: &str| {
            let (id, state) = part.split_at(1);
            let standing = match state {
                "p" => Standing::Pending,
                "r" => Standing::Running,
                _ => Standing::Ended("FAILED".to_owned()),
            };
            Listed { id: id.to_owned(), standing }
        };
        text.split_whitespace().map(one).collect()
    }

    fn live(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn own(pending: u64, starting: u64, attached: u64) -> Own {
        Own { pending, starting, attached, given_up: 0 }
    }

    #[test]
    fn allocation_goes_from_the_list_to_its_worker_and_out() {
        let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
        all.accepted(now, "1");
        assert_eq!((all.update(now, Some(&list("1p")), &live("")), all.own()), (vec![], own(1, 0, 0)));
        assert_eq!((all.update(now, Some(&list("1r")), &live("")), all.own()), (vec![], own(0, 1, 0)));
        let attached = vec![Change::Attached("1".to_owned())];
        assert_eq!((all.update(now, Some(&list("1r")), &live("1")), all.own()), (attached, own(0, 0, 1)));
        assert_eq!(all.update(now, Some(&list("1e")), &live("")), vec![]);
        assert_eq!(all.own(), own(0, 0, 0));
    }

    #[test]
    fn end_before_the_worker_attached_is_a_failure_once() {
        let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
        all.accepted(now, "1");
        let failed = Change::Failed("1".to_owned(), "it ended before its worker attached: FAILED".to_owned());
        assert_eq!(all.update(now, Some(&list("1e")), &live("")), vec![failed]);
        assert_eq!(all.update(now, Some(&list("1e")), &live("")), vec![], "it is known no more");
    }

    #[test]
    fn what_the_list_leaves_out_counts_until_it_is_gone() {
        let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
        all.accepted(now, "1");
        all.update(now, Some(&[]), &live("2"));
        assert_eq!((all.own(), all.unlisted()), (own(0, 1, 1), vec!["1".to_owned()]));
        assert!(matches!(all.gone("1"), Some(Change::Failed(id, _)) if id == "1"));
        all.accepted(now, "3");
        all.update(now, Some(&[]), &live(""));
        let changes = all.update(now + TIMEOUT, Some(&[]), &live(""));
        assert!(matches!(&changes[..], [Change::Failed(id, _)] if id == "3"), "{changes:?}");
        assert_eq!(all.own(), own(0, 0, 0));
    }

    #[test]
    fn worker_that_never_attaches_is_overdue_and_still_counts() {
        let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
        all.accepted(now, "1");
        let later = now + TIMEOUT * 9;
        assert_eq!(all.update(later, Some(&list("1p")), &live("")), vec![], "it may wait for long");
        all.update(later, Some(&list("1r")), &live(""));
        let overdue = vec![Change::Overdue("1".to_owned())];
        assert_eq!(all.update(later + TIMEOUT, Some(&list("1r")), &live("")), overdue);
        assert_eq!(all.update(later + TIMEOUT, Some(&list("1r")), &live("")), vec![]);
        assert_eq!((all.own().all(), all.own().starting), (1, 0), "its place is taken, and nothing is to come of it");
        assert_eq!((all.update(later + TIMEOUT, Some(&list("1e")), &live("")), all.own().all()), (vec![], 0));
    }

    #[test]
    fn without_a_list_the_workers_say_everything() {
        let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
        all.accepted(now, "1");
        assert_eq!((all.update(now, None, &live("")), all.own()), (vec![], own(0, 1, 0)));
        assert_eq!(all.update(now, None, &live("1")), vec![Change::Attached("1".to_owned())]);
        all.update(now, None, &live(""));
        assert_eq!(all.own().all(), 0);
        all.accepted(now, "2");
        assert_eq!(all.update(now + TIMEOUT, None, &live("")), vec![Change::Overdue("2".to_owned())]);
        all.forget("2");
        assert_eq!(all.own().all(), 0);
    }

    proptest! {
        /// Whatever the list says, what was accepted counts until it has failed, or its worker was there and is gone.
        #[test]
        fn no_list_hides_an_allocation(lists in proptest::collection::vec("([1-4][pre] ){0,4}", 0..12), accepted in 1..5_u32) {
            let (now, mut all) = (Instant::now(), Allocations::new(TIMEOUT));
            (1..=accepted).for_each(|id| all.accepted(now, &id.to_string()));
            let mut failed = BTreeSet::new();
            for (step, text) in lists.iter().enumerate() {
                for change in all.update(now + TIMEOUT / 20 * step as u32, Some(&list(text)), &live("")) {
                    match change {
                        Change::Failed(id, _) | Change::Overdue(id) => { failed.insert(id); }
                        Change::Attached(_) => prop_assert!(false, "nobody attached"),
                    }
                }
                let held: BTreeSet<String> = all.all().into_iter().collect();
                for id in (1..=accepted).map(|id| id.to_string()) {
                    prop_assert!(held.contains(&id) || failed.contains(&id), "{id} is lost");
                }
                prop_assert_eq!(all.own().all(), held.len() as u64);
            }
        }
    }
}
