//! Whether batches can go on by themselves: judged by what they wait for, and what that waits for. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use super::batch_names::{gated, states};
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use super::{batch_steps, batch_views, batches};
use crate::model::snapshot::{Awaited, AwaitedState};
use crate::model::{BatchName, Needs};

/// Batches whose records are gone through in search of a way on, at most.
const MOST_REACHED: usize = 1000;

/// Gates of times that are looked at, and lines behind them. Where there are more, nothing counts as stuck.
const TIMES: usize = 100;
const LINES: usize = 20_000;

/// How deep what a batch waits for is looked at, to name the failure that keeps it from going on.
const DEPTH: usize = 16;

/// Batches of which more is open than is counted as blocked that are looked at more closely. Others can go on.
const JOINED: usize = 8;

/// Lines or gates in one call.
const PART: usize = 500;

/// Looks until two of them agree, at most: while they do not, something moves.
const LOOKS: usize = 5;

/// Of each batch that only waits: the names that it waits for.
type Waiting = BTreeMap<BatchName, BTreeSet<BatchName>>;

/// Of each of these names, whether nothing that waits for it can start without somebody's help: it has failed, or all that is open of its batch waits for
/// such names itself. Lines that a worker is about to let go or to give up, and those that time lets go, are a way on for the batches that wait behind the
/// same gate, and for what waits for those.
///
/// # Errors
/// Those of any call.
pub async fn are_stuck(conn: &Connection, names: &[BatchName]) -> Result<Vec<bool>, QueueError> {
    let mut look = Look::take(conn, names).await?;
    for _ in 0..LOOKS {
        let stuck = look.judge(conn, names).await?;
        if !stuck.contains(&true) {
            return Ok(stuck);
        }
        // A look takes many calls. It holds if nothing has changed from its first call to after its last one.
        let next = Look::take(conn, names).await?;
        if next == look {
            return Ok(stuck);
        }
        look = next;
    }
    Ok(vec![false; names.len()])
}

/// The first failure that keeps some names from going on, over the batches between. What a step waits for is known of some; its batch waits for all that
/// its steps do.
///
/// # Errors
/// Those of any call.
pub async fn cause(conn: &Connection, names: &[BatchName]) -> Result<Option<Awaited>, QueueError> {
    let mut seen = BTreeSet::new();
    let mut chain = batch_views::some(conn, names).await?;
    batch_steps::look_up(conn, &mut chain).await?;
    for _ in 0..DEPTH {
        let mut awaited = chain.iter().flat_map(|batch| &batch.after);
        if let Some(failed) = awaited.find(|awaited| awaited.has_failed()) {
            return Ok(Some(failed.clone()));
        }
        let names = chain.iter().flat_map(|batch| batch.after.iter().map(|awaited| &awaited.name).chain([&batch.name]));
        let next: Vec<BatchName> = names.map(BatchName::top).filter(|top| seen.insert(top.clone())).collect();
        if next.is_empty() {
            break;
        }
        chain = batch_views::some(conn, &next).await?;
    }
    Ok(None)
}

/// How some names stand, and what they wait for, over any number of batches.
#[derive(PartialEq)]
struct Look {
    known: BTreeMap<BatchName, Awaited>,
    waiting: Waiting,
    /// Names behind whose gates there are lines that a worker is to let go or to give up.
    moving: BTreeSet<BatchName>,
    /// Stopped batches whose tasks a worker is to give up.
    ending: BTreeSet<BatchName>,
}

impl Look {
    async fn take(conn: &Connection, names: &[BatchName]) -> Result<Self, QueueError> {
        let (known, waiting) = reach(conn, names).await?;
        let gates: Vec<(&BatchName, String)> = known.values().flat_map(movable).collect();
        let ready = conn.name(Key::Ready);
        let mut moving = BTreeSet::new();
        for part in gates.chunks(PART) {
            let mut pipe = redis::pipe();
            for (_, gate) in part {
                pipe.zcard(format!("{ready}{gate}"));
            }
            let held: Vec<u64> = conn.pipe(&pipe).await?;
            let held = part.iter().zip(held).filter(|(_, held)| *held > 0);
            moving.extend(held.map(|((name, _), _)| (*name).clone()));
        }
        let mut chores = redis::cmd("ZRANGE");
        chores.arg(format!("{ready}chores")).arg(0).arg(-1);
        let chores = if waiting.is_empty() { Vec::new() } else { lossy_string::list(conn.cmd(&chores).await?) };
        let ending = chores.iter().filter_map(|chore| chore.strip_prefix("x:")?.parse().ok()).collect();
        Ok(Self { known, waiting, moving, ending })
    }

    async fn judge(&self, conn: &Connection, names: &[BatchName]) -> Result<Vec<bool>, QueueError> {
        let Self { known, moving, ending, .. } = self;
        let mut waiting = self.waiting.clone();
        waiting.retain(|top, after| after.is_disjoint(moving) && !ending.contains(top));
        free(known, &mut waiting);
        if !waiting.is_empty() {
            let tops: BTreeSet<BatchName> = waiting.keys().cloned().collect();
            match waiting_for_times(conn, &tops).await? {
                Some(timed) => waiting.retain(|top, _| !timed.contains(top)),
                None => waiting.clear(),
            }
            free(known, &mut waiting);
        }
        Ok(names.iter().map(|name| is_stuck(name, known, &waiting)).collect())
    }
}

/// The gates on a name that hold nothing for long: they are open, or what is behind them is given up.
fn movable(awaited: &Awaited) -> impl Iterator<Item = (&BatchName, String)> {
    let kinds: &[&str] = match awaited.state() {
        AwaitedState::Done => &["b", "k", "a"],
        AwaitedState::Failed => &["k", "a"],
        AwaitedState::Open => &[],
    };
    kinds.iter().map(|kind| (&awaited.name, format!("{kind}:{}", awaited.name)))
}

/// These names and what they wait for, over any number of batches; and those batches that only wait.
async fn reach(conn: &Connection, names: &[BatchName]) -> Result<(BTreeMap<BatchName, Awaited>, Waiting), QueueError> {
    let mut known: BTreeMap<BatchName, Awaited> = BTreeMap::new();
    let mut waiting = Waiting::new();
    let mut tops: BTreeSet<BatchName> = BTreeSet::new();
    let mut next: Vec<BatchName> = names.to_vec();
    let mut joined = 0;
    while !next.is_empty() && known.len() < MOST_REACHED {
        let new: BTreeSet<BatchName> = next.drain(..).flat_map(|name| [name.top(), name]).collect();
        let new: Vec<BatchName> = new.into_iter().filter(|name| !known.contains_key(name)).collect();
        known.extend(new.iter().cloned().zip(states(conn, &new).await?));
        let open: Vec<BatchName> = new.into_iter().filter(|name| name.is_top() && tops.insert(name.clone())).collect();
        let (gated, records) = (gated(conn, &open).await?, batches::records(conn, &open).await?);
        for ((top, gated), record) in open.into_iter().zip(gated).zip(records) {
            let Some(record) = record.filter(|record| !record.after.is_empty()) else { continue };
            let open = known.get(&top).map_or(0, |state| state.open);
            let mut is_waiting = open > 0 && open <= gated;
            if open > gated && joined < JOINED {
                joined += 1;
                is_waiting = only_waits(conn, &top).await?;
            }
            if is_waiting {
                next.extend(record.after.iter().cloned());
                waiting.insert(top, record.after);
            }
        }
    }
    Ok((known, waiting))
}

/// Whether all that is open of a batch is blocked, some of it counted with the batch that it belonged to before.
async fn only_waits(conn: &Connection, top: &BatchName) -> Result<bool, QueueError> {
    let mut views = batch_views::some(conn, std::slice::from_ref(top)).await?;
    batch_steps::look_up(conn, &mut views).await?;
    Ok(views.iter().all(|view| view.open > 0 && view.blocked == view.open))
}

/// Which of these batches have tasks that wait for nothing but a time; `None` where there are too many lines to tell.
async fn waiting_for_times(
    conn: &Connection,
    tops: &BTreeSet<BatchName>,
) -> Result<Option<BTreeSet<BatchName>>, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    let last = TIMES as isize - 1;
    pipe.zrange(format!("{ready}times"), 0, last).zrange(format!("{ready}opening"), 0, last);
    let (times, opening): (Vec<LossyString>, Vec<LossyString>) = conn.pipe(&pipe).await?;
    let is_cut = times.len().max(opening.len()) >= TIMES;
    let (times, opening) = (lossy_string::list(times), lossy_string::list(opening));
    // One whose time has come is among those that open.
    let opening = opening.iter().filter(|gate| gate.get(2..).is_some_and(|name| name.starts_with('@')));
    let (mut found, mut looked_at) = (BTreeSet::new(), 0);
    for gate in times.iter().chain(opening) {
        let mut from = 0;
        loop {
            let mut range = redis::cmd("ZRANGE");
            range.arg(format!("{ready}{gate}")).arg(from).arg(from + PART - 1);
            let page: Vec<LossyString> = conn.cmd(&range).await?;
            let page = lossy_string::list(page);
            found.extend(page.iter().filter_map(|entry| only_timed(entry)).filter(|top| tops.contains(top)));
            if found.len() == tops.len() {
                return Ok(Some(found));
            }
            from += PART;
            looked_at += page.len();
            if page.len() < PART {
                break;
            }
            if looked_at >= LINES {
                return Ok(None);
            }
        }
    }
    Ok((!is_cut).then_some(found))
}

/// The batch of `LANE<tab>LINE`, a lane being `MEM:CPU:NEEDS:BATCH:WORKERS`; `None` where the line waits for batches too, as those are judged anyway.
fn only_timed(entry: &str) -> Option<BatchName> {
    let (lane, line) = entry.split_once('\t')?;
    if Needs::of_line(line).gates().iter().any(|gate| gate.name().is_some()) {
        return None;
    }
    lane.split(':').nth(3)?.parse().ok()
}

fn is_stuck(name: &BatchName, known: &BTreeMap<BatchName, Awaited>, waiting: &Waiting) -> bool {
    known.get(name).is_some_and(|state| {
        let is_going = state.open > 0 && !state.is_done() && state.submissions == 0;
        state.has_failed() || (is_going && waiting.contains_key(&name.top()))
    })
}

/// Takes away from the batches that only wait those that wait for something with a way on, until none is left of them: what then waits does so for ever,
/// in a circle too.
fn free(known: &BTreeMap<BatchName, Awaited>, waiting: &mut Waiting) {
    loop {
        let has_a_way_on = |after: &BTreeSet<BatchName>| {
            let mut closed = after.iter().filter(|name| !known.get(*name).is_some_and(Awaited::is_done)).peekable();
            closed.peek().is_none() || closed.any(|name| !is_stuck(name, known, waiting))
        };
        let freed: Vec<BatchName> =
            waiting.iter().filter(|(_, after)| has_a_way_on(after)).map(|(top, _)| top.clone()).collect();
        if freed.is_empty() {
            return;
        }
        freed.iter().for_each(|top| drop(waiting.remove(top)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BatchName {
        text.parse().expect("a name")
    }

    fn stuck(states: &[(&str, u64, u64)], waiting: &[(&str, &[&str])], names: &[&str]) -> Vec<bool> {
        let of_counts = |&(text, open, failed): &(&str, u64, u64)| {
            let name = name(text);
            let (cancelled, gone, tasks, submissions) = (0, 0, 9, 0);
            let (is_known, is_waived, held) = (true, false, None);
            (
                name.clone(),
                Awaited { name, open, failed, cancelled, gone, tasks, submissions, is_known, is_waived, held },
            )
        };
        let known: BTreeMap<BatchName, Awaited> = states.iter().map(of_counts).collect();
        let of = |(top, after): &(&str, &[&str])| (name(top), after.iter().map(|after| name(after)).collect());
        let names: Vec<BatchName> = names.iter().map(|text| name(text)).collect();
        let mut waiting: Waiting = waiting.iter().map(of).collect();
        free(&known, &mut waiting);
        names.iter().map(|name| is_stuck(name, &known, &waiting)).collect()
    }

    #[test]
    fn what_waits_for_a_failed_batch_is_stuck_down_the_line() {
        let states = [("a", 0, 1), ("b", 5, 0), ("c", 3, 0), ("d", 1, 0)];
        let waiting: &[(&str, &[&str])] = &[("b", &["a"]), ("c", &["b"])];
        assert_eq!(stuck(&states, waiting, &["a", "b", "c", "d"]), [true, true, true, false]);
    }

    #[test]
    fn steps_of_one_batch_are_stuck_together() {
        let states = [("s", 4, 1), ("s/prep", 0, 1), ("s/sim", 3, 0), ("s/report", 1, 0)];
        assert_eq!(stuck(&states, &[("s", &["s/prep", "s/sim"])], &["s/sim", "s/report"]), [true, true]);
        assert_eq!(stuck(&states, &[], &["s/sim"]), [false], "some of it runs");
    }

    #[test]
    fn one_way_on_is_enough() {
        let states = [("a", 0, 1), ("x", 2, 0), ("b", 5, 0), ("c", 1, 0)];
        let waiting: &[(&str, &[&str])] = &[("b", &["a", "x"]), ("c", &["b"])];
        assert_eq!(stuck(&states, waiting, &["b", "c"]), [false, false], "x runs");
        let circle: &[(&str, &[&str])] = &[("b", &["c"]), ("c", &["b"])];
        assert_eq!(stuck(&states, circle, &["b"]), [true], "a circle");
        assert_eq!(stuck(&states, &[("b", &["later"])], &["b"]), [false], "it may yet be submitted");
    }

    #[test]
    fn lines_that_wait_for_nothing_but_a_time_have_a_way_on() {
        let entry = |needs: &str| format!("0:1000:after:s:w1,\tshell,{needs}:0:1:0:echo a:b:c:d");
        assert_eq!(only_timed(&entry("begin=9999999999")), Some(name("s")));
        assert_eq!(only_timed(&entry("after=a,begin=9999999999")), None);
        assert_eq!(only_timed("0:1000:after::\tshell,begin=9999999999:0:1:0:echo"), None, "of no batch");
    }
}
