//! Every claim of this worker, each in exactly one place: held, in a slot, or being settled. The only owner of which task waits where.
#![deny(clippy::disallowed_methods)]

mod slots;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use slots::SlotTable;

use super::events::{SlotId, TaskKey};
use crate::model::{Amounts, Bytes, Demand, TaskLine};
use crate::policy::{Budget, Reservation};
use crate::queue::session::Claim;

/// Why a task is being ended before its time. Later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
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
pub enum ClaimState {
    /// Claimed and not started, since then.
    Held {
        /// When it was claimed, or came back from a slot.
        since: Instant,
    },
    /// Waits in a slot for the end of the task that has it, whose reservation stands for both; what it needs beyond that is reserved already.
    Queued {
        /// Its slot.
        slot: SlotId,
        /// When it was handed to the slot.
        since: Instant,
    },
    /// Handed to an idle slot, or recalled from one, or its turn there has come: it may run by now.
    Starting {
        /// Its slot.
        slot: SlotId,
    },
    /// Running.
    Running {
        /// Its slot.
        slot: SlotId,
        /// Its keeper.
        keeper: u32,
        /// When its process started.
        since: Instant,
        /// Its limit in seconds as it was then, 0 = none: settings may change while it runs.
        limit: u64,
        /// Memory its tree held at the last sample.
        touched: Bytes,
    },
    /// Being ended.
    Terminating {
        /// Its slot.
        slot: SlotId,
        /// What decides how its end is settled.
        cause: StopReason,
        /// Memory its tree held when that was decided.
        touched: Bytes,
    },
    /// Over; Redis has not yet confirmed it.
    Settling,
}

impl ClaimState {
    /// The slot that it is in.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        match self {
            Self::Held { .. } | Self::Settling => None,
            Self::Queued { slot, .. }
            | Self::Starting { slot }
            | Self::Running { slot, .. }
            | Self::Terminating { slot, .. } => Some(*slot),
        }
    }
}

/// One claim.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The claim.
    pub claim: Claim,
    /// The task.
    pub task: TaskLine,
    /// Where it is.
    pub state: ClaimState,
}

impl Entry {
    fn reservation(&self) -> Option<Reservation> {
        let touched = match self.state {
            ClaimState::Held { .. } | ClaimState::Queued { .. } | ClaimState::Settling => return None,
            ClaimState::Starting { .. } => Bytes::ZERO,
            ClaimState::Running { touched, .. } | ClaimState::Terminating { touched, .. } => touched,
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
    slots: SlotTable,
    settling: u32,
    last_key: TaskKey,
}

impl Ledger {
    /// Enters a claim as held, behind those held already.
    pub fn hold(&mut self, claim: Claim, task: TaskLine, now: Instant) -> TaskKey {
        self.last_key += 1;
        let key = self.last_key;
        self.by_line.insert(Arc::clone(&claim.line), key);
        self.entries.insert(key, Entry { claim, task, state: ClaimState::Held { since: now } });
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
        self.entries.get(&key).filter(|entry| entry.state != ClaimState::Settling).map(|entry| (key, entry))
    }

    /// The entry of a line wherever it is, the latest where there are two.
    #[must_use]
    pub fn claim_of(&self, line: &str) -> Option<(TaskKey, &Entry)> {
        let key = *self.by_line.get(line)?;
        self.entries.get(&key).map(|entry| (key, entry))
    }

    /// Gives a claim another token: Redis handed out again what we have.
    pub fn replace_token(&mut self, key: TaskKey, token: String) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.claim.token = token;
        }
    }

    /// Starts a held task in an idle slot. `None` where it is not held.
    pub fn start(&mut self, key: TaskKey) -> Option<SlotId> {
        self.take_held(key)?;
        let slot = self.slots.occupy(key);
        self.set(key, ClaimState::Starting { slot });
        Some(slot)
    }

    /// Lets a held task wait in a slot for the end of the last that is in it, which [`Self::open_slots`] names. `None` where it is not held.
    pub fn start_after(&mut self, key: TaskKey, slot: SlotId, before: TaskKey, now: Instant) -> Option<SlotId> {
        self.take_held(key)?;
        self.slots.append(slot, key, self.excess_over(key, before));
        self.set(key, ClaimState::Queued { slot, since: now });
        Some(slot)
    }

    /// What a task needs beyond what another leaves when it has ended.
    #[must_use]
    pub fn excess_over(&self, key: TaskKey, before: TaskKey) -> Demand {
        let demand = |key| self.get(key).map_or(Demand::NONE, |entry| *entry.task.demand());
        demand(key).excess_over(&demand(before))
    }

    /// A task's process runs. False where nobody waits for its start.
    pub fn started(&mut self, key: TaskKey, keeper: u32, limit: u64, now: Instant) -> bool {
        let Some(ClaimState::Queued { slot, .. } | ClaimState::Starting { slot }) =
            self.get(key).map(|entry| &entry.state)
        else {
            return false;
        };
        let slot = *slot;
        // Where the end of the one before it has not been heard of, it has the slot together with that one.
        self.slots.recall(slot, key);
        self.set(key, ClaimState::Running { slot, keeper, since: now, limit, touched: Bytes::ZERO });
        true
    }

    /// A task in a slot is being ended, or recalled where it waits: the slot, and the cause, which an earlier one may outrank. `None` where it is in no
    /// slot.
    pub fn terminate(&mut self, key: TaskKey, cause: StopReason) -> Option<(SlotId, StopReason)> {
        let (slot, cause, touched) = match self.get(key)?.state {
            ClaimState::Queued { slot, .. } | ClaimState::Starting { slot } => (slot, cause, Bytes::ZERO),
            ClaimState::Running { slot, touched, .. } => (slot, cause, touched),
            ClaimState::Terminating { slot, cause: old, touched } => (slot, old.max(cause), touched),
            ClaimState::Held { .. } | ClaimState::Settling => return None,
        };
        self.slots.recall(slot, key);
        self.set(key, ClaimState::Terminating { slot, cause, touched });
        Some((slot, cause))
    }

    /// A task that was in a slot, and did not start there, is held again, where it was.
    pub fn hold_again(&mut self, key: TaskKey, now: Instant) {
        self.leave(key);
        self.set(key, ClaimState::Held { since: now });
        // Keys are given in the order in which tasks are to run.
        self.held.insert(self.held.partition_point(|held| *held < key), key);
    }

    /// A task is over, or goes back unstarted: nothing of it is here any more but what Redis has to be told.
    pub fn settle(&mut self, key: TaskKey) {
        if self.entries.contains_key(&key) {
            self.leave(key);
            self.set(key, ClaimState::Settling);
            self.settling += 1;
        }
    }

    fn take_held(&mut self, key: TaskKey) -> Option<()> {
        self.held.remove(self.held.binary_search(&key).ok()?).map(|_| ())
    }

    fn set(&mut self, key: TaskKey, state: ClaimState) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = state;
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, key: TaskKey) -> Option<Entry> {
        self.leave(key);
        let entry = self.entries.remove(&key)?;
        if self.by_line.get(&entry.claim.line) == Some(&key) {
            self.by_line.remove(&entry.claim.line);
        }
        Some(entry)
    }

    /// The held ones, best first.
    pub fn held(&self) -> impl ExactSizeIterator<Item = TaskKey> + '_ {
        self.held.iter().copied()
    }

    /// Recalls everything that waits in a slot: it has the slot together with the one before it until it is back or has started.
    pub fn recall_all(&mut self) -> Vec<(SlotId, TaskKey)> {
        let mut waiting: Vec<(SlotId, TaskKey)> = self.slots.waiting().collect();
        // The last of each slot first: a keeper whose task ends meanwhile starts the first that is left, and that must be the best.
        waiting.reverse();
        for (slot, key) in &waiting {
            self.slots.recall(*slot, *key);
            self.set(*key, ClaimState::Starting { slot: *slot });
        }
        waiting
    }

    /// What waits in slots, in no order.
    pub fn queued(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.slots.waiting().filter_map(|(_, key)| self.entries.get(&key))
    }

    /// Whether something waits behind each task that has a slot.
    #[must_use]
    pub fn all_have_a_next(&self) -> bool {
        self.slots.all_have_a_next()
    }

    /// Slots whose task has run undisturbed since `since` or later, the longest first; with how many wait there, and the last of these, or that task. None
    /// in which a task is recalled.
    #[must_use]
    pub fn open_slots(&self, since: Instant) -> Vec<(SlotId, u32, TaskKey)> {
        let mut open: Vec<(Instant, TaskKey, SlotId)> = self
            .with_slot()
            .filter_map(|(key, entry)| match entry.state {
                ClaimState::Running { slot, since, .. } => Some((since, key, slot)),
                ClaimState::Held { .. }
                | ClaimState::Queued { .. }
                | ClaimState::Starting { .. }
                | ClaimState::Terminating { .. }
                | ClaimState::Settling => None,
            })
            .filter(|(started, ..)| *started >= since)
            .collect();
        open.sort_unstable();
        let pipeline = |slot| self.slots.pipeline(slot).map(|(waiting, last)| (slot, waiting, last));
        open.into_iter().filter_map(|(.., slot)| pipeline(slot)).collect()
    }

    /// How many tasks come before this one in its slot.
    #[must_use]
    pub fn position(&self, key: TaskKey) -> usize {
        let slot = self.get(key).and_then(|entry| entry.state.slot());
        slot.map_or(0, |slot| self.slots.position(slot, key))
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (TaskKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// Sets what the trees of running tasks hold, by keeper.
    pub fn sample(&mut self, by_keeper: &HashMap<u32, Bytes>) {
        for key in self.slots.active() {
            if let Some(entry) = self.entries.get_mut(&key)
                && let ClaimState::Running { keeper, touched, .. } = &mut entry.state
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
        Budget { untouched: budget.untouched.plus(&self.slots.excess().amounts), ..budget }
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
            .filter_map(|(key, entry)| match entry.state {
                ClaimState::Running { since, .. } => Some((since, key)),
                ClaimState::Held { .. }
                | ClaimState::Queued { .. }
                | ClaimState::Starting { .. }
                | ClaimState::Terminating { .. }
                | ClaimState::Settling => None,
            })
            .max()
            .map(|(_, key)| key)
    }

    /// Those that hold a slot, in no order.
    fn with_slot(&self) -> impl Iterator<Item = (TaskKey, &Entry)> + '_ {
        self.slots.active().filter_map(|key| self.entries.get(&key).map(|entry| (key, entry)))
    }

    /// Takes a key out of the list of the place it is in. The turn of what waited behind it comes.
    fn leave(&mut self, key: TaskKey) {
        let Some(entry) = self.entries.get(&key) else { return };
        match entry.state {
            ClaimState::Held { .. } => {
                let _ = self.take_held(key);
            }
            ClaimState::Queued { slot, .. }
            | ClaimState::Starting { slot }
            | ClaimState::Running { slot, .. }
            | ClaimState::Terminating { slot, .. } => {
                let promoted = self.slots.leave(slot, key);
                let is_queued =
                    |key: &TaskKey| matches!(self.get(*key), Some(Entry { state: ClaimState::Queued { .. }, .. }));
                if let Some(next) = promoted.filter(is_queued) {
                    self.set(next, ClaimState::Starting { slot });
                }
            }
            ClaimState::Settling => self.settling -= 1,
        }
    }

    /// Whether nothing is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the books balance: each claim is in the list of its place, and each list has only what is there. Asserted after every event in debug
    /// builds.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let place = |key: TaskKey| self.entries.get(&key).map(|entry| &entry.state);
        let count =
            |is_there: fn(&ClaimState) -> bool| self.entries.values().filter(|entry| is_there(&entry.state)).count();
        let is_held = |state: &ClaimState| matches!(state, ClaimState::Held { .. });
        let is_queued = |state: &ClaimState| matches!(state, ClaimState::Queued { .. });
        let is_active = |state: &ClaimState| state.slot().is_some() && !matches!(state, ClaimState::Queued { .. });
        self.held.iter().all(|key| place(*key).is_some_and(is_held))
            && self.held.iter().is_sorted()
            && self.held.len() == count(is_held)
            && self.slots.is_consistent()
            && self
                .slots
                .waiting()
                .all(|(slot, key)| place(key).is_some_and(|it| is_queued(it) && it.slot() == Some(slot)))
            && self.slots.waiting().count() == count(is_queued)
            && self.slots.active().all(|key| place(key).is_some_and(is_active))
            && self.slots.active().count() == count(is_active)
            && self.settling as usize == count(|place| *place == ClaimState::Settling)
            && self
                .by_line
                .iter()
                .all(|(line, key)| self.entries.get(key).is_some_and(|entry| entry.claim.line == *line))
    }
}
