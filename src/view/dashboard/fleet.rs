//! The workers as the pages show them: those that need attention first, narrowed by a filter, with totals, and each as one cell of a map.

use serde::Serialize;

use super::figures::{Figures, WorkerRow};
use super::ranks::in_order;
use crate::model::ResourceKind;
use crate::model::snapshot::{Overview, WorkerState, WorkerView};
use crate::view::text::{count, counted};

/// Workers that the table of a page shows at most.
pub(super) const SHOWN: usize = 500;

/// Workers that a narrow screen shows, as the style sheet has it.
pub(super) const ON_A_PHONE: usize = 50;

/// Workers from which on the page has a map of them.
const MAPPED: usize = 51;

/// Characters of a filter.
pub(super) const FILTER: usize = 200;

/// The workers that a filter leaves.
pub(super) struct Fleet<'a> {
    rows: Vec<&'a WorkerRow>,
    views: Vec<&'a WorkerView>,
    known: usize,
}

impl<'a> Fleet<'a> {
    /// Those whose row has every word of `filter` in its name, state, host, labels or what it waits for.
    pub(super) fn new(overview: &'a Overview, figures: &'a Figures, filter: &str) -> Self {
        let filter = filter.to_lowercase();
        let words: Vec<&str> = filter.split_whitespace().collect();
        let all = figures.workers.iter().zip(in_order(overview));
        let (rows, views) = all.filter(|(row, _)| words.iter().all(|word| has(row, word))).unzip();
        Self { rows, views, known: overview.workers.len() }
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a WorkerRow> {
        self.rows.iter().take(SHOWN).copied()
    }

    /// `500 of 1,200`, and how many the filter leaves where it is not all.
    pub(super) fn told(&self) -> String {
        let (found, shown) = (self.rows.len(), self.rows.len().min(SHOWN));
        let (known, found, shown) = (count(self.known as u64), count(found as u64), count(shown as u64));
        match (shown != found, found != known) {
            (false, false) => counted(self.known as u64, "worker"),
            (true, false) => format!("{shown} of {found} workers, those that are not live first"),
            (false, true) => format!("{found} of {known} workers match"),
            (true, true) => format!("{shown} of {found} that match, of {known} workers, those that are not live first"),
        }
    }

    /// What all of them have and use together. What a worker that is not heard of used last is no use of now.
    pub(super) fn totals(&self) -> Totals {
        let heard = || self.views.iter().filter(|worker| worker.is_alive());
        let sum = |number: fn(&WorkerView) -> u64| count(self.views.iter().map(|worker| number(worker)).sum());
        let load = |number: fn(&crate::model::snapshot::WorkerLoad) -> u64| -> u64 {
            heard().filter_map(|worker| worker.load.as_ref()).map(number).sum()
        };
        let is_heard = heard().next().is_some();
        let of_kind = |kind: ResourceKind| {
            if !is_heard {
                return "-".to_owned();
            }
            let total = |all: bool| {
                let sum = heard().map(|worker| if all { worker.usage.total } else { worker.usage.used });
                sum.map(|amounts| kind.shown(amounts.get(kind))).sum::<f64>()
            };
            format!("{:.1} / {:.1}", total(false), total(true))
        };
        Totals {
            name: match self.rows.len() {
                1 => "1 worker".to_owned(),
                number => format!("all {}", count(number as u64)),
            },
            states: self.states(),
            running: if is_heard {
                let (running, slots) = (load(|load| u64::from(load.running)), load(|load| u64::from(load.slots)));
                format!("{} / {}", count(running), count(slots))
            } else {
                "-".to_owned()
            },
            kinds: ResourceKind::OF_WORKERS.map(of_kind).to_vec(),
            finished: sum(|worker| worker.finished),
            failed: sum(|worker| worker.failed),
            timed_out: sum(|worker| worker.timed_out),
            returned: sum(|worker| worker.returned),
        }
    }

    /// `3 dead, 1,197 live`: how many are in each state.
    fn states(&self) -> String {
        let mut parts: Vec<(&str, u64)> = Vec::new();
        for row in &self.rows {
            match parts.last_mut() {
                Some((state, number)) if *state == row.state => *number += 1,
                _ => parts.push((row.state, 1)),
            }
        }
        // Live ones and Python's share a rank, so that they may alternate.
        let mut told: Vec<(&str, u64)> = Vec::new();
        for (state, number) in parts {
            match told.iter_mut().find(|(one, _)| *one == state) {
                Some((_, sum)) => *sum += number,
                None => told.push((state, number)),
            }
        }
        told.iter().map(|(state, number)| format!("{} {state}", count(*number))).collect::<Vec<_>>().join(", ")
    }

    /// A character for each worker: `0` to `9` for the tenth of its cores that is in use, a letter for one that is not live. Empty where
    /// there are few.
    pub(super) fn map(&self) -> String {
        if self.rows.len() < MAPPED {
            return String::new();
        }
        self.views.iter().map(|worker| cell(worker)).collect()
    }

    /// The names of the cells, in the same order.
    pub(super) fn names(&self) -> Vec<&'a str> {
        if self.rows.len() < MAPPED { Vec::new() } else { self.rows.iter().map(|row| row.name.as_str()).collect() }
    }
}

fn has(row: &WorkerRow, word: &str) -> bool {
    [row.name.as_str(), row.state, &row.host, &row.waits].iter().any(|text| text.to_lowercase().contains(word))
}

fn cell(worker: &WorkerView) -> char {
    match worker.state {
        WorkerState::Dead => 'd',
        WorkerState::Silent => 's',
        WorkerState::Suspect => 'u',
        WorkerState::Draining | WorkerState::Drained => 'r',
        WorkerState::Live | WorkerState::Python => {
            let [used, total] =
                [worker.usage.used, worker.usage.total].map(|amounts| amounts.get(ResourceKind::Cores) as f64);
            let tenth = if total > 0.0 { (used / total * 10.0).clamp(0.0, 9.0) as u32 } else { 0 };
            char::from_digit(tenth, 10).unwrap_or('0')
        }
    }
}

/// The row below the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Totals {
    pub(super) name: String,
    pub(super) states: String,
    pub(super) running: String,
    pub(super) kinds: Vec<String>,
    pub(super) finished: String,
    pub(super) failed: String,
    pub(super) timed_out: String,
    pub(super) returned: String,
}

#[cfg(test)]
mod tests {
    use super::super::history::Point;
    use super::super::many_workers::overview;
    use super::*;

    #[test]
    fn those_that_are_not_live_stand_first_and_are_not_in_use() {
        let overview = overview(60);
        let figures = Figures::of(&overview, &Point::default());
        let fleet = Fleet::new(&overview, &figures, "");
        let states: Vec<&str> = fleet.rows().map(|row| row.state).collect();
        assert_eq!(states.iter().position(|state| *state == "live"), Some(6), "{states:?}");
        assert_eq!(fleet.totals().states, "6 silent, 54 live");
        assert!(fleet.totals().kinds.contains(&"108.0 / 432.0".to_owned()), "{:?}", fleet.totals());
        assert_eq!((fleet.map().len(), fleet.names()[0]), (60, "node-0009"));
        assert!(fleet.map().starts_with("ssssss2"), "{}", fleet.map());
    }

    #[test]
    fn where_nobody_is_heard_nothing_is_added_up() {
        let mut overview = overview(3);
        for worker in &mut overview.workers {
            worker.state = WorkerState::Silent;
        }
        let figures = Figures::of(&overview, &Point::default());
        let totals = Fleet::new(&overview, &figures, "").totals();
        assert!(totals.kinds.iter().all(|kind| kind == "-") && totals.running == "-", "{totals:?}");
    }

    #[test]
    fn a_filter_says_how_many_of_all_it_leaves() {
        let overview = overview(1200);
        let figures = Figures::of(&overview, &Point::default());
        let told = |filter: &str| Fleet::new(&overview, &figures, filter).told();
        assert_eq!(told(""), "500 of 1,200 workers, those that are not live first");
        assert_eq!(told("NODE-11"), "100 of 1,200 workers match");
        assert_eq!(told("silent node-000"), "1 of 1,200 workers match");
        assert_eq!(told("node-0"), "500 of 1,000 that match, of 1,200 workers, those that are not live first");
        assert!(Fleet::new(&overview, &figures, "node-000").map().is_empty(), "ten need no map");
    }
}
