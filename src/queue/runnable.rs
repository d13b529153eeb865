//! Reads what may run now, lane by lane. Cost grows with the number of lanes, a few microseconds each, and not with the queue.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::client::Connection;
use super::error::QueueError;
use super::keys::{Key, STOP_FIELD};
use super::lanes::lanes;
use super::lossy_string::{self, LossyString};
use crate::model::learnt::Peaks;
use crate::model::snapshot::{Runnable, RunnableGroup};
use crate::model::{Bytes, Class, Lane, Needs};

/// Lanes that are read at most: those whose tasks come first.
const LANES: usize = 10_000;

/// What may run now. Four round trips, and one more where memory is learnt.
///
/// # Errors
/// Those of any call.
pub async fn runnable(conn: &Connection) -> Result<Runnable, QueueError> {
    let state = State::read(conn).await?;
    let found = lanes(conn, LANES).await?;
    let is_held = |lane: &Lane<'_>| state.held.contains(lane.batch);
    let lanes: Vec<(&String, Lane<'_>)> = (found.first.iter())
        .filter_map(|name| Some((name, Class::of_lane(name)?)))
        .filter(|(_, lane)| !is_held(lane))
        .collect();
    let counts = counts(conn, lanes.iter().map(|(name, _)| name.as_str())).await?;
    let mut groups: Vec<RunnableGroup> = Vec::with_capacity(lanes.len());
    // Neighbours of different batches ask for the same.
    let mut known: HashMap<&str, Needs> = HashMap::new();
    for ((_, lane), waiting) in lanes.iter().zip(counts).filter(|(_, waiting)| *waiting > 0) {
        let needs = known.entry(lane.needs).or_insert_with(|| Needs::of_class(lane.needs).unwrap_or_default());
        match groups.last_mut() {
            Some(last) if last.demand == lane.demand && last.needs == *needs => last.waiting += waiting,
            Some(_) | None => {
                groups.push(RunnableGroup { demand: lane.demand, needs: needs.clone(), waiting, is_unknown: false });
            }
        }
    }
    learn(conn, &mut groups).await?;
    let left_out = found.all.saturating_sub(found.first.len() as u64);
    Ok(Runnable { groups, left_out, unsorted: state.unsorted, is_halted: state.is_halted })
}

/// What is to be known beside the lanes.
struct State {
    held: HashSet<String>,
    unsorted: u64,
    is_halted: bool,
}

impl State {
    async fn read(conn: &Connection) -> Result<Self, QueueError> {
        let ready = conn.name(Key::Ready);
        let mut pipe = redis::pipe();
        pipe.hkeys(conn.name(Key::BatchHeld)).hlen(conn.name(Key::Todo)).hlen(conn.name(Key::Waiting));
        pipe.hexists(conn.name(Key::Todo), STOP_FIELD).get(conn.name(Key::Paused)).get(conn.name(Key::Count));
        pipe.hgetall(format!("{ready}gated")).zcard(format!("{ready}opening")).get(format!("{ready}time")).cmd("TIME");
        type Answers = (
            Vec<LossyString>,
            u64,
            u64,
            bool,
            Option<LossyString>,
            Option<u64>,
            redis::Value,
            u64,
            Option<LossyString>,
            (u64, u64),
        );
        let (held, plain, extended, stopping, paused, indexed, gated, opening, time, (now, micros)): Answers =
            conn.pipe(&pipe).await?;
        let gated =
            lossy_string::hash(redis::from_redis_value(gated).map_err(|e| QueueError::Protocol(e.to_string()))?);
        let gated = gated.values().filter_map(|n| n.parse::<u64>().ok()).fold(0, u64::saturating_add);
        let waiting = (plain + extended).saturating_sub(u64::from(stopping));
        let unknown = waiting.saturating_sub(gated).saturating_sub(indexed.unwrap_or(0));
        // Times of backoffs are of the index's own time, which may be ahead of the server's clock.
        let ahead = time.and_then(|LossyString(time)| time.split(':').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
        let index_ms = now * 1000 + micros / 1000 + ahead;
        let mut pipe = redis::pipe();
        let due = |key: String, until: u64| {
            let mut cmd = redis::cmd("ZRANGEBYSCORE");
            cmd.arg(key).arg("-inf").arg(until).arg("LIMIT").arg(0).arg(1);
            cmd
        };
        pipe.add_command(due(conn.name(Key::Delayed), index_ms));
        pipe.add_command(due(format!("{ready}times"), now));
        let (delayed, gates): (Vec<Vec<u8>>, Vec<Vec<u8>>) = conn.pipe(&pipe).await?;
        let due = delayed.len() as u64 + gates.len() as u64 + opening;
        let held = lossy_string::list(held).into_iter().collect();
        Ok(Self { held, unsorted: unknown.saturating_add(due), is_halted: stopping || paused.is_some() })
    }
}

/// How many wait in each lane.
async fn counts<'a>(conn: &Connection, lanes: impl Iterator<Item = &'a str>) -> Result<Vec<u64>, QueueError> {
    let ready = conn.name(Key::Ready);
    let (mut pipe, mut is_empty) = (redis::pipe(), true);
    for lane in lanes {
        pipe.zcard(format!("{ready}c:{lane}"));
        is_empty = false;
    }
    if is_empty { Ok(Vec::new()) } else { conn.pipe(&pipe).await }
}

/// Puts the memory that is learnt in the place of none.
async fn learn(conn: &Connection, groups: &mut [RunnableGroup]) -> Result<(), QueueError> {
    let asks =
        |group: &RunnableGroup| group.needs.learn().filter(|_| group.demand.mem() == Bytes::ZERO).map(str::to_owned);
    let families: BTreeSet<String> = groups.iter().filter_map(asks).collect();
    if families.is_empty() {
        return Ok(());
    }
    let names: Vec<&String> = families.iter().collect();
    let found: Vec<Option<LossyString>> = conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::Learnt)).arg(&names)).await?;
    let amount = |text: Option<LossyString>| text.and_then(|LossyString(text)| Peaks::parse(&text)?.suggested());
    let known: HashMap<&String, Option<Bytes>> = names.into_iter().zip(found.into_iter().map(amount)).collect();
    for group in groups {
        let Some(family) = asks(group) else { continue };
        match known.get(&family).copied().flatten() {
            Some(mem) => group.demand = group.demand.with_mem(mem),
            None => group.is_unknown = true,
        }
    }
    Ok(())
}
