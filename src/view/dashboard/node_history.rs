//! What was in use of each worker's node over the last ten minutes, in memory and bounded.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::model::ResourceKind;
use crate::model::snapshot::Overview;
use crate::view::safe_text::safe;

/// Looks, five seconds apart.
const LOOKS: usize = 120;

/// Seconds between two of them.
const STEP: f64 = 5.0;

/// Workers whose figures are kept.
const WORKERS: usize = 2000;

const KINDS: usize = ResourceKind::OF_WORKERS.len();

/// Percent of each kind of resource; [`UNKNOWN`] where the worker was not heard of.
type Percents = [u8; KINDS];
const UNKNOWN: u8 = u8::MAX;

/// The looks, oldest first.
#[derive(Debug, Default)]
pub(super) struct NodeHistory {
    times: VecDeque<f64>,
    nodes: BTreeMap<String, VecDeque<Percents>>,
}

impl NodeHistory {
    /// Adds what was read at `now`, if it is time for that.
    pub(super) fn add(&mut self, now: f64, overview: &Overview) {
        if self.times.back().is_some_and(|last| now - last < STEP - 0.5) {
            return;
        }
        let looks = self.times.len();
        for worker in overview.workers.iter().filter(|worker| worker.is_alive()) {
            let name = safe(&worker.name);
            if !self.nodes.contains_key(&*name) && self.nodes.len() >= WORKERS {
                continue;
            }
            let percents = ResourceKind::OF_WORKERS
                .map(|kind| percent(worker.usage.used.get(kind) as f64, worker.usage.total.get(kind) as f64));
            let node = self.nodes.entry(name.into_owned()).or_default();
            node.resize(looks, [UNKNOWN; KINDS]);
            node.push_back(percents);
        }
        self.times.push_back((now * 10.0).round() / 10.0);
        let old = self.times.len().saturating_sub(LOOKS);
        self.times.drain(..old);
        for node in self.nodes.values_mut() {
            node.resize(looks + 1, [UNKNOWN; KINDS]);
            node.drain(..old);
        }
        self.nodes.retain(|_, node| node.iter().any(|percents| percents[0] != UNKNOWN));
    }

    /// The looks at these workers, in percent; null where nothing is known.
    pub(super) fn columns<'a>(&self, names: impl Iterator<Item = &'a str>) -> Value {
        let row = |name: &str| {
            let node = self.nodes.get(name)?;
            let mut row = json!({ "name": name });
            for (at, kind) in ResourceKind::OF_WORKERS.into_iter().enumerate() {
                let known = node.iter().map(|percents| Some(percents[at]).filter(|percent| *percent != UNKNOWN));
                row[kind.stem()] = json!(known.collect::<Vec<Option<u8>>>());
            }
            Some(row)
        };
        json!({ "t": self.times, "workers": names.filter_map(row).collect::<Vec<_>>() })
    }
}

fn percent(part: f64, whole: f64) -> u8 {
    if whole > 0.0 { (part / whole * 100.0).round().clamp(0.0, 100.0) as u8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::many_workers::overview;
    use super::*;

    #[test]
    fn a_worker_that_is_silent_has_a_gap_and_the_room_is_bounded() {
        let mut history = NodeHistory::default();
        let (all, few) = (overview(20), overview(5));
        for look in 0..1000_u32 {
            history.add(f64::from(look) * 5.0, if look % 2 == 0 { &all } else { &few });
        }
        let columns = history.columns(["node-0000", "node-0010", "node-0009"].into_iter());
        let looks = |at: usize| columns["workers"][at]["cores"].as_array().expect("looks").clone();
        assert_eq!((looks(0).len(), columns["t"].as_array().map(Vec::len)), (LOOKS, Some(LOOKS)));
        assert_eq!(looks(0)[..2], [json!(25), json!(25)]);
        assert_eq!(looks(1).iter().filter(|look| look.is_null()).count(), LOOKS / 2);
        assert_eq!(columns["workers"][2], Value::Null, "one that was silent all the time is not there");
        for look in 1000..1200_u32 {
            history.add(f64::from(look) * 5.0, &few);
        }
        assert_eq!(history.nodes.len(), 5);
    }
}
