//! What waits in keepers: in each a line of tasks, the first behind the one that runs, every other behind the one before it.

use super::events::TaskKey;
use crate::model::Demand;

/// The lines of all keepers.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// Each with the one that it waits for, in the order of their keys, which is the order in which they are to run. A few a slot: to look through
    /// them all is quicker than to look one up.
    pairs: Vec<Follower>,
}

#[derive(Clone, Copy, Debug)]
struct Follower {
    key: TaskKey,
    behind: TaskKey,
    /// What it will need beyond what the one before it leaves.
    beyond: Demand,
    /// Its keeper has been told to give it back, and has not answered: it may still start.
    is_asked_back: bool,
}

impl Followers {
    /// Puts a task behind another, with what it needs beyond that one.
    pub(super) fn add(&mut self, key: TaskKey, behind: TaskKey, beyond: Demand) {
        let at = self.pairs.partition_point(|pair| pair.key < key);
        self.pairs.insert(at, Follower { key, behind, beyond, is_asked_back: false });
    }

    /// A task leaves its line because it starts: who waits behind it still does.
    pub(super) fn start(&mut self, key: TaskKey) {
        self.pairs.retain(|pair| pair.key != key);
    }

    /// A task is to come back.
    pub(super) fn ask_back(&mut self, key: TaskKey) {
        for pair in self.pairs.iter_mut().filter(|pair| pair.key == key) {
            pair.is_asked_back = true;
        }
    }

    /// A task leaves its line without having started: who waits for it waits for the one before it from now on.
    pub(super) fn drop_out(&mut self, key: TaskKey) {
        let Some(at) = self.pairs.iter().position(|pair| pair.key == key) else { return };
        let gone = self.pairs.remove(at);
        for pair in self.pairs.iter_mut().filter(|pair| pair.behind == key) {
            pair.behind = gone.behind;
            pair.beyond = pair.beyond.plus(&gone.beyond);
        }
    }

    fn after(&self, key: TaskKey) -> Option<Follower> {
        self.pairs.iter().find(|pair| pair.behind == key).copied()
    }

    /// The one that a task waits for.
    pub(super) fn before(&self, key: TaskKey) -> Option<TaskKey> {
        self.pairs.iter().find(|pair| pair.key == key).map(|pair| pair.behind)
    }

    /// The one that starts when this one has ended, unless it is asked for back.
    pub(super) fn next_after(&self, key: TaskKey) -> Option<TaskKey> {
        self.after(key).filter(|next| !next.is_asked_back).map(|next| next.key)
    }

    /// How many wait behind a task, and the last of its line: itself, where nothing waits. `None` while one of them is asked for back: what is put
    /// behind it then would wait in a line of which nobody knows what it begins with.
    pub(super) fn line(&self, first: TaskKey) -> Option<(u32, TaskKey)> {
        let (mut len, mut last) = (0, first);
        while let Some(next) = self.after(last) {
            if next.is_asked_back {
                return None;
            }
            (len, last) = (len + 1, next.key);
        }
        Some((len, last))
    }

    /// What they will need, at most, beyond the tasks that hold slots now. What is asked for back counts with those.
    pub(super) fn beyond(&self) -> Demand {
        let waiting = self.pairs.iter().filter(|pair| !pair.is_asked_back);
        waiting.fold(Demand::NONE, |sum, follower| sum.plus(&follower.beyond))
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.pairs.iter().map(|pair| pair.key)
    }

    /// Those that are not asked for back, best first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.pairs.iter().filter(|pair| !pair.is_asked_back).map(|pair| pair.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bytes;

    fn followers() -> Followers {
        let mut followers = Followers::default();
        // Two keepers, where 1 and 2 run.
        for (key, behind) in [(3, 1), (4, 2), (5, 3), (6, 5)] {
            let beyond = Demand::NONE.with_mem(Bytes(key));
            followers.add(key, behind, beyond);
        }
        followers
    }

    #[test]
    fn a_line_is_followed_to_its_last() {
        let followers = followers();
        assert_eq!([1, 2, 7].map(|first| followers.line(first)), [Some((3, 6)), Some((1, 4)), Some((0, 7))]);
        assert_eq!(followers.waiting().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }

    #[test]
    fn who_waits_for_a_task_that_starts_waits_on_behind_it() {
        let mut followers = followers();
        followers.start(3);
        assert_eq!((followers.line(1), followers.line(3)), (Some((0, 1)), Some((2, 6))));
    }

    #[test]
    fn who_waits_for_a_task_that_drops_out_moves_up() {
        let mut followers = followers();
        followers.drop_out(5);
        assert_eq!((followers.line(1), followers.next_after(3)), (Some((2, 6)), Some(6)));
        followers.drop_out(3);
        assert_eq!(followers.next_after(1), Some(6));
    }

    #[test]
    fn excess_demand_never_grows_by_a_start_or_a_recall() {
        let mut followers = followers();
        let beyond = |followers: &Followers| followers.beyond().mem();
        assert_eq!(beyond(&followers), Bytes(18));
        followers.drop_out(5);
        assert_eq!(beyond(&followers), Bytes(18), "the one behind it may need as much more than the one before it");
        followers.start(3);
        assert_eq!(beyond(&followers), Bytes(15), "it holds a slot now");
        followers.ask_back(4);
        assert_eq!(beyond(&followers), Bytes(11), "so does what is on its way back");
    }

    #[test]
    fn a_line_takes_no_more_while_one_of_it_is_asked_for_back() {
        let mut followers = followers();
        followers.ask_back(5);
        assert_eq!((followers.line(1), followers.line(2)), (None, Some((1, 4))));
        assert_eq!((followers.next_after(1), followers.next_after(3)), (Some(3), None));
        assert_eq!(followers.waiting().collect::<Vec<_>>(), [3, 4, 6]);
        // It came back, or it started after all.
        followers.drop_out(5);
        assert_eq!(followers.line(1), Some((2, 6)));
    }
}
