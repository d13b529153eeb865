//! Every claim of this worker, each in exactly one place: held, starting, running, terminating or being settled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::events::TaskKey;
use super::followers::Followers;
use crate::model::{Amounts, Bytes, Demand, TaskLine};
use crate::policy::{Budget, Reservation};
use crate::queue::session::Claim;

/// Why a task is being ended before its time. Later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It reached its limit of this many seconds.
    TimedOut(u64),
    /// Memory ran low; whether it was the only task.
    LowMemory {
        /// Whether nothing else ran: then it is a failure.
        alone: bool,
    },
    /// The worker shuts down.
    Shutdown,
    /// The claim is no longer ours: the result is dropped.
    Revoked,
}

/// Where a claim is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Claimed and not started, since then.
    Held {
        /// Since when.
        since: Instant,
    },
    /// Waits in a keeper for the end of the task before it there, whose reservation stands for both; what it needs beyond that is reserved already.
    Queued {
        /// Since when.
        since: Instant,
    },
    /// Handed to a keeper.
    Starting,
    /// Running.
    Running {
        /// Its keeper.
        keeper: u32,
        /// Since when.
        since: Instant,
        /// Its limit in seconds as it was then, 0 = none: settings may change while it runs.
        limit: u64,
        /// Memory its tree held at the last sample.
        touched: Bytes,
    },
    /// Being ended.
    Terminating {
        /// What decides how its end is settled.
        cause: Cause,
        /// Memory its tree held when that was decided.
        touched: Bytes,
    },
    /// Over; Redis has not yet confirmed it.
    Settling,
}

/// One claim.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The claim.
    pub claim: Claim,
    /// The task.
    pub task: TaskLine,
    /// Where it is.
    pub place: Place,
}

impl Entry {
    fn reservation(&self) -> Option<Reservation> {
        let touched = match self.place {
            Place::Held { .. } | Place::Queued { .. } | Place::Settling => return None,
            Place::Starting => Bytes::ZERO,
            Place::Running { touched, .. } | Place::Terminating { touched, .. } => touched,
        };
        Some(Reservation { demand: *self.task.demand(), touched: Amounts::NONE.with_mem(touched) })
    }
}

/// All claims.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: HashMap<TaskKey, Entry>,
    by_line: HashMap<Arc<str>, TaskKey>,
    held: VecDeque<TaskKey>,
    /// Waiting in keepers.
    queued: Followers,
    /// Those that hold a slot: few beside what is held, and looked at with every event.
    active: Vec<TaskKey>,
    settling: u32,
    last_key: TaskKey,
}

impl Ledger {
    /// Enters a claim as held, behind those held already.
    pub fn hold(&mut self, claim: Claim, task: TaskLine, now: Instant) -> TaskKey {
        self.last_key += 1;
        let key = self.last_key;
        self.by_line.insert(Arc::clone(&claim.line), key);
        self.entries.insert(key, Entry { claim, task, place: Place::Held { since: now } });
        self.held.push_back(key);
        key
    }

    /// A key for a line that never becomes an entry: one that is not a task.
    pub fn next_key(&mut self) -> TaskKey {
        self.last_key += 1;
        self.last_key
    }

    /// An entry.
    #[must_use]
    pub fn get(&self, key: TaskKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// The entry of a line that is not yet being settled.
    #[must_use]
    pub fn active(&self, line: &str) -> Option<(TaskKey, &Entry)> {
        let key = *self.by_line.get(line)?;
        self.entries.get(&key).filter(|entry| entry.place != Place::Settling).map(|entry| (key, entry))
    }

    /// The entry of a line wherever it is, the latest where there are two.
    #[must_use]
    pub fn claim_of(&self, line: &str) -> Option<(TaskKey, &Entry)> {
        let key = *self.by_line.get(line)?;
        self.entries.get(&key).map(|entry| (key, entry))
    }

    /// Gives a claim another token: Redis handed out again what we have.
    pub fn retoken(&mut self, key: TaskKey, token: String) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.claim.token = token;
        }
    }

    /// Lets a held task wait in a keeper behind another, of which it is known that it has a slot or waits for one.
    pub fn queue(&mut self, key: TaskKey, behind: TaskKey, now: Instant) {
        let demand = |key| self.get(key).map_or(Demand::NONE, |entry| *entry.task.demand());
        let beyond = demand(key).beyond(&demand(behind));
        self.place(key, Place::Queued { since: now });
        self.queued.add(key, behind, beyond);
    }

    /// Moves an entry to another place; to that in a keeper by [`Self::queue`].
    pub fn place(&mut self, key: TaskKey, place: Place) {
        if let Some(entry) = self.entries.get_mut(&key) {
            let before = std::mem::replace(&mut entry.place, place.clone());
            self.leave(key, &before);
            match place {
                Place::Starting | Place::Running { .. } => self.queued.start(key),
                Place::Terminating { .. } => self.queued.ask_back(key),
                Place::Held { .. } | Place::Settling => self.queued.drop_out(key),
                Place::Queued { .. } => {}
            }
            // Keys are given in the order in which tasks are to run: what comes back goes where it was.
            match place {
                Place::Held { .. } => self.held.insert(self.held.partition_point(|held| *held < key), key),
                Place::Queued { .. } => {}
                Place::Starting | Place::Running { .. } | Place::Terminating { .. } => self.active.push(key),
                Place::Settling => self.settling += 1,
            }
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, key: TaskKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.leave(key, &entry.place);
        self.queued.drop_out(key);
        if self.by_line.get(&entry.claim.line) == Some(&key) {
            self.by_line.remove(&entry.claim.line);
        }
        Some(entry)
    }

    /// The held ones, best first.
    pub fn held(&self) -> impl ExactSizeIterator<Item = TaskKey> + '_ {
        self.held.iter().copied()
    }

    /// Everything that waits in keepers: it is asked for back, and holds a slot until it is there or has started. In the order in which to ask, the last
    /// first: a keeper whose task ends meanwhile starts the first that is left, and that must be the best.
    pub fn ask_back(&mut self) -> Vec<TaskKey> {
        let mut queued: Vec<TaskKey> = self.queued.waiting().collect();
        queued.reverse();
        for key in &queued {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.place = Place::Starting;
                self.active.push(*key);
                self.queued.ask_back(*key);
            }
        }
        queued
    }

    /// What waits in keepers, best first.
    pub fn queued(&self) -> impl Iterator<Item = (TaskKey, &Entry)> + '_ {
        self.queued.waiting().filter_map(|key| self.entries.get(&key).map(|entry| (key, entry)))
    }

    /// What starts in its keeper when this one has ended.
    #[must_use]
    pub fn next_after(&self, key: TaskKey) -> Option<TaskKey> {
        self.queued.next_after(key)
    }

    /// The task that one in a keeper waits for.
    #[must_use]
    pub fn before(&self, key: TaskKey) -> Option<TaskKey> {
        self.queued.before(key)
    }

    /// Whether a task runs or is about to: who waits behind it has to wait.
    #[must_use]
    pub fn is_ahead(&self, key: TaskKey) -> bool {
        let waits = |place: &Place| matches!(place, Place::Held { .. } | Place::Settling);
        self.entries.get(&key).is_some_and(|entry| !waits(&entry.place))
    }

    /// How many wait behind a running task, and the last of them: itself, where nothing waits. `None` while one is asked for back.
    #[must_use]
    pub fn line(&self, running: TaskKey) -> Option<(u32, TaskKey)> {
        self.queued.line(running)
    }

    /// Whether something waits behind each task that has a slot.
    #[must_use]
    pub fn all_are_followed(&self) -> bool {
        self.active.iter().all(|key| self.queued.next_after(*key).is_some())
    }

    /// Tasks that run undisturbed since `since` or later, the longest first: their slots may be given a next one.
    #[must_use]
    pub fn young(&self, since: Instant) -> Vec<TaskKey> {
        let started = |entry: &Entry| match entry.place {
            Place::Running { since, .. } => Some(since),
            Place::Held { .. }
            | Place::Queued { .. }
            | Place::Starting
            | Place::Terminating { .. }
            | Place::Settling => None,
        };
        let mut young: Vec<(Instant, TaskKey)> = self
            .with_slot()
            .filter_map(|(key, entry)| started(entry).filter(|started| *started >= since).map(|started| (started, key)))
            .collect();
        young.sort_unstable();
        young.into_iter().map(|(_, key)| key).collect()
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (TaskKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// Sets what the trees of running tasks hold, by keeper.
    pub fn sample(&mut self, by_keeper: &HashMap<u32, Bytes>) {
        for key in &self.active {
            if let Some(entry) = self.entries.get_mut(key)
                && let Place::Running { keeper, touched, .. } = &mut entry.place
                && let Some(now) = by_keeper.get(keeper)
            {
                *touched = *now;
            }
        }
    }

    /// The sum of all live reservations, and of what waits in keepers where it needs more than what it waits for.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let budget = Budget::of(self.with_slot().filter_map(|(_, entry)| entry.reservation()));
        Budget { untouched: budget.untouched.plus(&self.queued.beyond().amounts), ..budget }
    }

    /// How many are over and not yet confirmed.
    #[must_use]
    pub fn settling(&self) -> u32 {
        self.settling
    }

    /// The largest demand among running tasks, of each kind for itself: what one end may free.
    #[must_use]
    pub fn largest_running(&self) -> Demand {
        self.with_slot().fold(Demand::NONE, |largest, (_, entry)| largest.most(entry.task.demand()))
    }

    /// The task that started last, of those that run undisturbed.
    #[must_use]
    pub fn newest_running(&self) -> Option<TaskKey> {
        self.with_slot()
            .filter_map(|(key, entry)| match entry.place {
                Place::Running { since, .. } => Some((since, key)),
                Place::Held { .. }
                | Place::Queued { .. }
                | Place::Starting
                | Place::Terminating { .. }
                | Place::Settling => None,
            })
            .max()
            .map(|(_, key)| key)
    }

    /// Those that hold a slot, in no order.
    fn with_slot(&self) -> impl Iterator<Item = (TaskKey, &Entry)> + '_ {
        self.active.iter().filter_map(|key| self.entries.get(key).map(|entry| (*key, entry)))
    }

    /// Takes a key out of the list of the place it was in.
    fn leave(&mut self, key: TaskKey, place: &Place) {
        match place {
            Place::Held { .. } => {
                if let Ok(at) = self.held.binary_search(&key) {
                    self.held.remove(at);
                }
            }
            Place::Queued { .. } => {}
            Place::Starting | Place::Running { .. } | Place::Terminating { .. } => {
                if let Some(at) = self.active.iter().position(|active| *active == key) {
                    self.active.swap_remove(at);
                }
            }
            Place::Settling => self.settling -= 1,
        }
    }

    /// Whether nothing is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the books balance: every held key is an entry that is held, and the other way round. Asserted after every event in debug builds.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let is_held =
            |key: &TaskKey| matches!(self.entries.get(key).map(|entry| &entry.place), Some(Place::Held { .. }));
        let is_queued =
            |key: &TaskKey| matches!(self.entries.get(key).map(|entry| &entry.place), Some(Place::Queued { .. }));
        self.held.iter().all(is_held)
            && self.held.iter().is_sorted()
            && self.queued.waiting().all(|key| is_queued(&key))
            && self.queued.keys().all(|key| self.entries.contains_key(&key))
            && self.active.iter().all(|key| self.entries.get(key).is_some_and(|entry| entry.reservation().is_some()))
            && self.entries.values().filter(|entry| entry.reservation().is_some()).count() == self.active.len()
            && self.entries.values().filter(|entry| entry.place == Place::Settling).count() == self.settling as usize
            && self.entries.values().filter(|entry| matches!(entry.place, Place::Queued { .. })).count()
                == self.queued.waiting().count()
            && self.entries.values().filter(|entry| matches!(entry.place, Place::Held { .. })).count()
                == self.held.len()
            && self
                .by_line
                .iter()
                .all(|(line, key)| self.entries.get(key).is_some_and(|entry| entry.claim.line == *line))
    }
}
