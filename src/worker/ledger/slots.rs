//! Which task is in which slot: in each the one that has it, and a pipeline of tasks that wait in its keeper, each for the end of the one before it.

use std::collections::VecDeque;

use crate::model::Demand;
use crate::worker::events::{SlotId, TaskKey};

/// All slots that were ever used, idle ones too.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    slots: Vec<Slot>,
    /// Those with nothing in them, the one that was used last at the end: its keeper is the likeliest to be in the caches.
    idle: Vec<SlotId>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Starts, runs or is being ended.
    first: Option<TaskKey>,
    /// In the order in which the keeper starts them.
    pipeline: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    key: TaskKey,
    /// What it will need beyond what the one before it leaves.
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

    /// Lets a task wait behind the last one of this slot.
    pub(super) fn append(&mut self, slot: SlotId, key: TaskKey, excess: Demand) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.pipeline.push_back(Waiting { key, excess, is_recalled: false });
        }
    }

    /// A task that waits is to come back. It counts as having a slot from now on, because it may start before it hears of it.
    pub(super) fn recall(&mut self, slot: SlotId, key: TaskKey) {
        let mut waiting = self.slots.get_mut(slot).into_iter().flat_map(|slot| &mut slot.pipeline);
        if let Some(waiting) = waiting.find(|waiting| waiting.key == key) {
            waiting.is_recalled = true;
        }
    }

    /// A task is in its slot no more. The one whose turn has come by that, if any. What waited for one that never had its turn waits for the one before
    /// it from now on, and may need as much more.
    pub(super) fn leave(&mut self, at: SlotId, key: TaskKey) -> Option<TaskKey> {
        let slot = self.slots.get_mut(at)?;
        let mut promoted = None;
        if slot.first == Some(key) {
            promoted = slot.pipeline.pop_front().map(|waiting| waiting.key);
            slot.first = promoted;
        } else {
            let index = slot.pipeline.iter().position(|waiting| waiting.key == key)?;
            let gone = slot.pipeline.remove(index)?;
            if let Some(behind) = slot.pipeline.get_mut(index) {
                behind.excess = behind.excess.plus(&gone.excess);
            }
        }
        if slot.first.is_none() {
            self.idle.push(at);
        }
        promoted
    }

    /// How many tasks come before this one in its slot.
    pub(super) fn position(&self, slot: SlotId, key: TaskKey) -> usize {
        let pipeline = self.slots.get(slot).map(|slot| &slot.pipeline);
        pipeline.and_then(|all| all.iter().position(|waiting| waiting.key == key)).map_or(0, |at| at + 1)
    }

    /// How many tasks wait in this slot, and the last of them, or the one that has it. `None` while one is recalled: what is put behind it then would wait
    /// in a pipeline of which nobody knows what it begins with.
    pub(super) fn pipeline(&self, slot: SlotId) -> Option<(u32, TaskKey)> {
        let slot = self.slots.get(slot)?;
        if slot.pipeline.iter().any(|waiting| waiting.is_recalled) {
            return None;
        }
        let last = slot.pipeline.back().map(|waiting| waiting.key).or(slot.first)?;
        Some((u32::try_from(slot.pipeline.len()).unwrap_or(u32::MAX), last))
    }

    /// Whether something waits behind each task that has a slot.
    pub(super) fn all_have_a_next(&self) -> bool {
        let is_followed =
            |slot: &Slot| slot.first.is_none() || slot.pipeline.front().is_some_and(|next| !next.is_recalled);
        self.slots.iter().all(is_followed)
    }

    /// Those that have a slot, and those that are on their way back from one.
    pub(super) fn active(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.slots.iter().flat_map(|slot| {
            let recalled = slot.pipeline.iter().filter(|waiting| waiting.is_recalled).map(|waiting| waiting.key);
            slot.first.into_iter().chain(recalled)
        })
    }

    /// Those that wait for the end of the one before them and are not to come back, slot by slot, each in its order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (SlotId, TaskKey)> + '_ {
        self.not_recalled().map(|(slot, waiting)| (slot, waiting.key))
    }

    /// What those that wait will need, at most, beyond the tasks that have the slots now.
    pub(super) fn excess(&self) -> Demand {
        self.not_recalled().fold(Demand::NONE, |sum, (_, waiting)| sum.plus(&waiting.excess))
    }

    fn not_recalled(&self) -> impl Iterator<Item = (SlotId, &Waiting)> + '_ {
        let all = self.slots.iter().enumerate();
        let all = all.flat_map(|(at, slot)| slot.pipeline.iter().map(move |waiting| (at, waiting)));
        all.filter(|(_, waiting)| !waiting.is_recalled)
    }

    /// Whether each idle slot is empty, and none is empty that is not idle.
    pub(super) fn is_consistent(&self) -> bool {
        let is_empty = |slot: &Slot| slot.first.is_none() && slot.pipeline.is_empty();
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

    /// Two slots: 1 runs with 3, 5 and 6 behind it, 2 with 4.
    fn table() -> SlotTable {
        let mut table = SlotTable::default();
        assert_eq!([1, 2].map(|key| table.occupy(key)), [0, 1]);
        for (slot, key) in [(0, 3), (1, 4), (0, 5), (0, 6)] {
            table.append(slot, key, excess(key));
        }
        table
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
    fn pipeline_moves_up_when_its_first_leaves() {
        let mut table = table();
        assert_eq!([0, 1, 2].map(|slot| table.pipeline(slot)), [Some((3, 6)), Some((1, 4)), None]);
        assert!(table.all_have_a_next());
        assert_eq!((table.leave(0, 1), table.leave(1, 2)), (Some(3), Some(4)));
        assert_eq!((table.pipeline(0), table.pipeline(1), active(&table)), (Some((2, 6)), Some((0, 4)), vec![3, 4]));
        assert!(!table.all_have_a_next());
        assert_eq!((table.position(0, 3), table.position(0, 5), table.position(0, 6)), (0, 1, 2));
        assert_eq!((table.leave(1, 4), table.occupy(7)), (None, 1));
    }

    #[test]
    fn excess_never_grows_when_a_task_starts_or_drops_out() {
        let mut table = table();
        assert_eq!(table.excess(), excess(18));
        table.leave(0, 5);
        assert_eq!(table.excess(), excess(18), "the one behind it may need as much more than the one before it");
        table.leave(0, 1);
        assert_eq!(table.excess(), excess(15), "3 has the slot now");
        table.recall(1, 4);
        assert_eq!(
            (table.excess(), active(&table)),
            (excess(11), vec![3, 2, 4]),
            "what is on its way back counts as active"
        );
    }

    #[test]
    fn pipeline_takes_no_more_while_one_of_it_is_recalled() {
        let mut table = table();
        table.recall(0, 5);
        assert_eq!((table.pipeline(0), table.pipeline(1)), (None, Some((1, 4))));
        assert_eq!(table.waiting().collect::<Vec<_>>(), [(0, 3), (0, 6), (1, 4)]);
        table.leave(0, 5);
        assert_eq!(table.pipeline(0), Some((2, 6)));
    }

    #[test]
    fn recalled_task_that_starts_after_all_has_the_slot() {
        let mut table = SlotTable::default();
        let slot = table.occupy(1);
        table.append(slot, 2, excess(7));
        table.recall(slot, 2);
        assert!(!table.all_have_a_next());
        assert_eq!(table.leave(slot, 1), Some(2));
        assert_eq!(active(&table), [2]);
        assert!(table.is_consistent());
    }
}
