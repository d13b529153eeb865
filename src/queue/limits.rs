//! Limits: sets and lifts them, and shows how they stand. What counts against them is in `lua/shared/limits.lua`.

use std::collections::BTreeMap;

use super::client::Connection;
use super::error::QueueError;
use super::events::note_limit;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use crate::model::snapshot::LimitView;
use crate::model::{Class, Limit, LimitName, Needs};

/// Lanes of one cell that are looked at for what waits.
const LANES: isize = 1000;

/// Sets a limit, or lifts it with `None`. Workers that wait for room look again at once; nothing that runs is ended. `by` is who asked.
///
/// May be repeated.
///
/// # Errors
/// Those of any call.
pub async fn set(conn: &Connection, name: &LimitName, limit: Option<Limit>, by: &str) -> Result<(), QueueError> {
    let key = conn.name(Key::Limits);
    let mut pipe = redis::pipe();
    match limit {
        Some(limit) => pipe.hset(&key, name.as_str(), limit.to_string()).ignore(),
        None => pipe.hdel(&key, name.as_str()).ignore(),
    };
    pipe.publish(conn.name(Key::Wake), "todo").ignore();
    conn.pipe::<()>(&pipe).await?;
    let to = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    note_limit(conn, by, name.as_str(), &to).await;
    Ok(())
}

/// Sets limits that are not set; the others stay as they are. Answers which were set.
///
/// May be repeated.
///
/// # Errors
/// Those of any call.
pub async fn set_where_none(
    conn: &Connection,
    limits: &BTreeMap<LimitName, Limit>,
) -> Result<Vec<LimitName>, QueueError> {
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let key = conn.name(Key::Limits);
    let mut pipe = redis::pipe();
    for (name, limit) in limits {
        pipe.hset_nx(&key, name.as_str(), limit.to_string());
    }
    let set: Vec<bool> = conn.pipe(&pipe).await?;
    Ok(limits.keys().zip(set).filter(|(_, is_set)| *is_set).map(|(name, _)| name.clone()).collect())
}

/// The names of the limits that are set.
///
/// # Errors
/// Those of any call.
pub async fn names(conn: &Connection) -> Result<Vec<String>, QueueError> {
    Ok(lossy_string::list(conn.cmd(redis::cmd("HKEYS").arg(conn.name(Key::Limits))).await?))
}

/// One limit; `None` where none is set.
///
/// # Errors
/// Those of any call.
pub async fn get(conn: &Connection, name: &LimitName) -> Result<Option<Limit>, QueueError> {
    let found: Option<LossyString> =
        conn.cmd(redis::cmd("HGET").arg(conn.name(Key::Limits)).arg(name.as_str())).await?;
    Ok(found.map(|LossyString(text)| read(&text)))
}

/// What cannot be read stops all, as in the scripts.
fn read(text: &str) -> Limit {
    text.parse().unwrap_or(Limit { max: 0, per_node: None })
}

/// Every limit that is set, and how it stands; by name. Costs nothing more where none is.
///
/// # Errors
/// Those of any call.
pub async fn views(conn: &Connection) -> Result<Vec<LimitView>, QueueError> {
    let limits = all(conn).await?;
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let waiting = waiting(conn).await?;
    of_names(conn, limits, &waiting).await
}

/// The same, and those that only tasks name, which nothing limits.
///
/// # Errors
/// Those of any call.
pub async fn all_views(conn: &Connection) -> Result<Vec<LimitView>, QueueError> {
    let mut limits = all(conn).await?;
    let running = lossy_string::list(conn.cmd(redis::cmd("HKEYS").arg(conn.name(Key::LimitsAt))).await?);
    let waiting = waiting(conn).await?;
    let running = running.iter().flat_map(|line| Needs::of_line(line).limits().to_vec());
    for name in running.chain(waiting.keys().cloned()) {
        limits.entry(name).or_insert(None);
    }
    of_names(conn, limits, &waiting).await
}

/// What is set.
async fn all(conn: &Connection) -> Result<BTreeMap<LimitName, Option<Limit>>, QueueError> {
    let found = lossy_string::hash(conn.cmd(redis::cmd("HGETALL").arg(conn.name(Key::Limits))).await?);
    Ok(found.into_iter().filter_map(|(name, text)| Some((name.parse().ok()?, Some(read(&text))))).collect())
}

async fn of_names(
    conn: &Connection,
    limits: BTreeMap<LimitName, Option<Limit>>,
    waiting: &BTreeMap<LimitName, u64>,
) -> Result<Vec<LimitView>, QueueError> {
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = redis::pipe();
    for name in limits.keys() {
        pipe.scard(format!("{}{name}", conn.name(Key::LimitsIn)));
    }
    let used: Vec<u64> = conn.pipe(&pipe).await?;
    let mut views = Vec::with_capacity(limits.len());
    for ((name, limit), in_use) in limits.into_iter().zip(used) {
        let per_node = limit.and_then(|limit| limit.per_node);
        let nodes = if per_node.is_some() && in_use > 0 { nodes(conn, &name).await? } else { BTreeMap::new() };
        let waiting = waiting.get(&name).copied().unwrap_or(0);
        views.push(LimitView {
            limit: name.to_string(),
            max: limit.map(|limit| limit.max),
            per_node,
            in_use,
            waiting,
            nodes,
        });
    }
    Ok(views)
}

/// How many lines of a limit count on each host.
async fn nodes(conn: &Connection, name: &LimitName) -> Result<BTreeMap<String, u64>, QueueError> {
    let lines: Vec<Vec<u8>> =
        conn.cmd(redis::cmd("SMEMBERS").arg(format!("{}{name}", conn.name(Key::LimitsIn)))).await?;
    let mut nodes = BTreeMap::new();
    for part in lines.chunks(250) {
        let places: Vec<Option<LossyString>> =
            conn.cmd(redis::cmd("HMGET").arg(conn.name(Key::LimitsAt)).arg(part)).await?;
        for LossyString(place) in places.into_iter().flatten() {
            let host = place.split('\t').next().unwrap_or_default().to_owned();
            *nodes.entry(host).or_default() += 1;
        }
    }
    Ok(nodes)
}

/// How many tasks wait in lanes that name a limit, by limit; what is blocked, held or waits for its retry is not counted.
async fn waiting(conn: &Connection) -> Result<BTreeMap<LimitName, u64>, QueueError> {
    let cells = lossy_string::list(conn.cmd(redis::cmd("ZRANGE").arg(conn.name(Key::Cells)).arg(0).arg(-1)).await?);
    let cells: Vec<String> = cells.into_iter().filter(|cell| cell.contains("limit=")).collect();
    if cells.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    for cell in &cells {
        pipe.cmd("ZRANGE").arg(format!("{ready}h:{cell}")).arg(0).arg(LANES - 1);
    }
    let lanes: Vec<Vec<LossyString>> = conn.pipe(&pipe).await?;
    let lanes: Vec<String> = lanes.into_iter().flat_map(lossy_string::list).collect();
    if lanes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut pipe = redis::pipe();
    for lane in &lanes {
        pipe.zcard(format!("{ready}c:{lane}"));
    }
    let counts: Vec<u64> = conn.pipe(&pipe).await?;
    let mut waiting = BTreeMap::new();
    for (lane, count) in lanes.iter().zip(counts).filter(|(_, count)| *count > 0) {
        let needs = Class::of_lane(lane).and_then(|lane| Needs::of_class(lane.needs).ok()).unwrap_or_default();
        for name in needs.limits() {
            *waiting.entry(name.clone()).or_default() += count;
        }
    }
    Ok(waiting)
}
