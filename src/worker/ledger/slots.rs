//! Which task is in which slot: in each the one that has it, and at most one more that waits in the keeper for the end of that one.

use crate::model::Demand;
use crate::worker::events::{SlotId, TaskKey};

/// All slots that were ever used, idle ones too.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    slots: Vec<Slot>,
    /// Those with nothing in them, the one that was used last at the end: its keeper is the likeliest to be in the caches.
    idle: Vec<SlotId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Starts, runs or is being ended.
    first: Option<TaskKey>,
    next: Option<Next>,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    key: TaskKey,
    /// What it will need beyond what the first one leaves.
    excess: Demand,
    /// The keeper was told to give it back and has not answered: it may still start.
    is_recalled: bool,
}

impl SlotTable {
    /// Puts a task into an idle slot.
    pub(super) fn occupy(&mut self, key: TaskKey) -> SlotId {
        let slot = self.idle.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].first = Some(key);
        slot
    }

    /// Lets a task wait behind the one that has this slot.
    pub(super) fn append(&mut self, slot: SlotId, key: TaskKey, excess: Demand) {
        debug_assert!(self.has_no_next(slot));
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.next = Some(Next { key, excess, is_recalled: false });
        }
    }

    /// A task that waits is to come back. It counts as having a slot from now on, because it may start before it hears of it.
    pub(super) fn recall(&mut self, slot: SlotId, key: TaskKey) {
        let next = self.slots.get_mut(slot).and_then(|slot| slot.next.as_mut());
        if let Some(next) = next.filter(|next| next.key == key) {
            next.is_recalled = true;
        }
    }

    /// A task is in its slot no more. The one whose turn has come by that, if any.
    pub(super) fn leave(&mut self, at: SlotId, key: TaskKey) -> Option<TaskKey> {
        let slot = self.slots.get_mut(at)?;
        let mut promoted = None;
        if slot.first == Some(key) {
            promoted = slot.next.take().map(|next| next.key);
            slot.first = promoted;
        } else if slot.next.is_some_and(|next| next.key == key) {
            slot.next = None;
        } else {
            return None;
        }
        if slot.first.is_none() {
            self.idle.push(at);
        }
        promoted
    }

    /// Whether the keeper of this slot may be given a task to start next.
    pub(super) fn has_no_next(&self, slot: SlotId) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.first.is_some() && slot.next.is_none())
    }

    /// Whether something waits behind each task that has a slot.
    pub(super) fn all_have_a_next(&self) -> bool {
        let is_followed = |slot: &Slot| slot.first.is_none() || slot.next.is_some_and(|next| !next.is_recalled);
        self.slots.iter().all(is_followed)
    }

    /// Those that have a slot, and those that are on their way back from one.
    pub(super) fn active(&self) -> impl Iterator<Item = TaskKey> + '_ {
        let recalled = |slot: &Slot| slot.next.filter(|next| next.is_recalled).map(|next| next.key);
        self.slots.iter().flat_map(move |slot| slot.first.into_iter().chain(recalled(slot)))
    }

    /// Those that wait for the end of the one before them and are not to come back.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (SlotId, TaskKey)> + '_ {
        self.nexts().map(|(slot, next)| (slot, next.key))
    }

    /// What those that wait will need, at most, beyond the tasks that have the slots now.
    pub(super) fn excess(&self) -> Demand {
        self.nexts().fold(Demand::NONE, |sum, (_, next)| sum.plus(&next.excess))
    }

    fn nexts(&self) -> impl Iterator<Item = (SlotId, &Next)> + '_ {
        let all = self.slots.iter().enumerate().filter_map(|(at, slot)| slot.next.as_ref().map(|next| (at, next)));
        all.filter(|(_, next)| !next.is_recalled)
    }

    /// Whether each idle slot is empty, and none is empty that is not idle.
    pub(super) fn is_consistent(&self) -> bool {
        let is_empty = |slot: &Slot| slot.first.is_none() && slot.next.is_none();
        self.idle.iter().all(|slot| self.slots.get(*slot).is_some_and(is_empty))
            && self.slots.iter().filter(|slot| is_empty(slot)).count() == self.idle.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bytes;

    fn excess(bytes: u64) -> Demand {
        Demand::NONE.with_mem(Bytes(bytes))
    }

    fn active(table: &SlotTable) -> Vec<TaskKey> {
        table.active().collect()
    }

    #[test]
    fn slot_used_last_is_used_first() {
        let mut table = SlotTable::default();
        assert_eq!([1, 2, 3].map(|key| table.occupy(key)), [0, 1, 2]);
        assert_eq!((table.leave(1, 2), table.leave(0, 1)), (None, None));
        assert_eq!((table.occupy(4), table.occupy(5), table.occupy(6)), (0, 1, 3));
        assert!(table.is_consistent());
    }

    #[test]
    fn next_task_has_the_slot_when_the_first_leaves_it() {
        let mut table = SlotTable::default();
        let slot = table.occupy(1);
        assert!(!table.all_have_a_next());
        table.append(slot, 2, excess(7));
        assert_eq!((active(&table), table.excess(), table.has_no_next(slot)), (vec![1], excess(7), false));
        assert!(table.all_have_a_next());
        assert_eq!(table.leave(slot, 1), Some(2));
        assert_eq!((active(&table), table.excess(), table.has_no_next(slot)), (vec![2], excess(0), true));
        assert_eq!(table.leave(slot, 2), None);
        assert_eq!(table.occupy(3), slot);
    }

    #[test]
    fn recalled_task_holds_its_slot_until_it_has_left_it() {
        let mut table = SlotTable::default();
        let slot = table.occupy(1);
        table.append(slot, 2, excess(7));
        table.recall(slot, 2);
        assert_eq!((active(&table), table.excess(), table.waiting().count()), (vec![1, 2], excess(0), 0));
        assert!(!table.has_no_next(slot), "it may start, and the keeper can have but one more");
        assert_eq!(table.leave(slot, 2), None);
        assert!(table.has_no_next(slot));
    }

    #[test]
    fn recalled_task_that_starts_after_all_has_the_slot() {
        let mut table = SlotTable::default();
        let slot = table.occupy(1);
        table.append(slot, 2, excess(7));
        table.recall(slot, 2);
        assert_eq!(table.leave(slot, 1), Some(2));
        assert_eq!(active(&table), [2]);
        assert!(table.is_consistent());
    }
}
