//! What waits, in the order in which it will be claimed: first what may be claimed, by priority and then by submission, over all lanes of the index; then
//! retries in their backoff, by when it ends; then what waits behind gates; then what belongs to batches that are held; and last what no worker has found
//! yet, as others write it. How a share between users or batches changes the order of equals is not foreseen here.

use std::collections::BTreeMap;

use super::super::client::Connection;
use super::super::error::QueueError;
use super::super::keys::{Key, STOP_FIELD, home};
use super::super::lanes::lanes;
use super::super::lossy_string::{self, LossyString};
use super::collector::{Collector, ROWS};
use super::details::decode;
use crate::model::listing::{PageCursor, TaskRow, WaitingPlace};

/// Lanes that are looked at, best first. What is in others is among the last.
const LANES: usize = 4096;

/// Of these, those that are looked at first.
const FIRST_LANES: usize = 64;

/// One step; answers where the next begins.
pub(super) async fn step(
    conn: &Connection,
    found: &mut Collector,
    cursor: PageCursor,
) -> Result<Option<PageCursor>, QueueError> {
    match cursor {
        PageCursor::Ready(behind) => ready(conn, found, Some(behind)).await,
        PageCursor::Delayed(at) => delayed(conn, found, at).await,
        PageCursor::Gated(gate, at) => gated(conn, found, gate, at).await,
        PageCursor::Parked(lane, at) => parked(conn, found, lane, at).await,
        PageCursor::Start | PageCursor::Failed(..) | PageCursor::Finished(..) | PageCursor::Scan(..) => {
            ready(conn, found, None).await
        }
    }
}

/// A part of what stands in lanes, merged.
#[derive(Default)]
struct Merged {
    lines: Vec<(u64, String)>,
    /// Up to this score nothing is missing.
    whole_to: Option<u64>,
}

impl Merged {
    fn is_missing_beyond(&mut self, score: u64) {
        self.whole_to = Some(self.whole_to.map_or(score, |known| known.min(score)));
    }

    fn whole(&self) -> usize {
        self.lines.iter().filter(|(score, _)| self.whole_to.is_none_or(|to| *score <= to)).count()
    }
}

async fn ready(
    conn: &Connection,
    found: &mut Collector,
    behind: Option<u64>,
) -> Result<Option<PageCursor>, QueueError> {
    let all = lanes(conn, LANES).await?;
    let head = |lane: usize| all.heads.get(lane).map(|head| *head as u64);
    let rows = found.step();
    let (mut lines, mut beyond) = (Vec::new(), BTreeMap::new());
    let (mut asked, mut upto) = (0, FIRST_LANES.min(all.first.len()));
    let mut merged;
    loop {
        let limit = (2 * rows / (upto - asked).max(1)).clamp(2, rows);
        for (lane, part) in (asked..upto).zip(parts(conn, &all.first[asked..upto], behind, limit).await?) {
            if part.len() == limit {
                beyond.insert(lane, part.last().map_or(0, |(score, _)| *score));
            }
            lines.extend(part);
        }
        asked = upto;
        merged = Merged { lines: lines.clone(), whole_to: beyond.values().min().copied() };
        // What is in lanes that were not asked comes after their heads.
        if let Some(head) = head(asked).or_else(|| head(asked.wrapping_sub(1)).filter(|_| all.all > asked as u64)) {
            merged.is_missing_beyond(head.saturating_sub(1));
        }
        if merged.whole() >= rows || asked == all.first.len() {
            break;
        }
        upto = (asked * 4).min(all.first.len());
    }
    let is_last = merged.whole_to.is_none();
    merged.lines.retain(|(score, _)| merged.whole_to.is_none_or(|to| *score <= to));
    merged.lines.sort();
    let is_cut = merged.lines.len() > rows;
    merged.lines.truncate(rows);
    let last = merged.lines.last().map(|(score, _)| *score);
    let lines: Vec<String> = merged.lines.into_iter().map(|(_, line)| line).collect();
    add(conn, found, &lines, |_| WaitingPlace::Ready).await?;
    Ok(Some(match last {
        Some(last) if is_cut || !is_last => PageCursor::Ready(last),
        Some(_) | None => PageCursor::Delayed(0),
    }))
}

/// The first lines of each lane behind a score.
async fn parts(
    conn: &Connection,
    lanes: &[String],
    behind: Option<u64>,
    limit: usize,
) -> Result<Vec<Vec<(u64, String)>>, QueueError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let from = behind.map_or_else(|| "-inf".to_owned(), |score| format!("({score}"));
    let mut pipe = redis::pipe();
    for lane in lanes {
        let key = format!("{}c:{lane}", conn.name(Key::Ready));
        pipe.cmd("ZRANGEBYSCORE").arg(key).arg(&from).arg("+inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
    }
    let found: Vec<Vec<(Vec<u8>, f64)>> = conn.pipe(&pipe).await?;
    let line = |(line, score): (Vec<u8>, f64)| Some((score as u64, String::from_utf8(line).ok()?));
    Ok(found.into_iter().map(|lines| lines.into_iter().filter_map(line).collect()).collect())
}

/// Adds those that are wanted and wait.
async fn add(
    conn: &Connection,
    found: &mut Collector,
    lines: &[String],
    place: impl Fn(&str) -> WaitingPlace,
) -> Result<(), QueueError> {
    found.looked(lines.len(), lines.iter().map(String::len).sum());
    let rows: Vec<TaskRow> = lines.iter().filter_map(|line| found.row(line)).collect();
    if rows.is_empty() {
        return found.add(conn, rows).await.map(drop);
    }
    let mut pipe = redis::pipe();
    for row in &rows {
        pipe.hexists(conn.name(home(&row.line)), &row.line);
    }
    let waits: Vec<bool> = conn.pipe(&pipe).await?;
    let waiting = rows.into_iter().zip(waits).filter(|(_, waits)| *waits);
    let rows = waiting.map(|(row, _)| TaskRow { place: Some(place(&row.line)), ..row }).collect();
    found.add(conn, rows).await.map(drop)
}

async fn delayed(conn: &Connection, found: &mut Collector, at: u64) -> Result<Option<PageCursor>, QueueError> {
    let last = at + found.step() as u64 - 1;
    let mut pipe = redis::pipe();
    pipe.cmd("ZRANGE").arg(conn.name(Key::Delayed)).arg(at).arg(last).arg("WITHSCORES");
    pipe.cmd("TIME").get(format!("{}time", conn.name(Key::Ready)));
    type Answers = (Vec<(Vec<u8>, f64)>, (u64, u64), Option<LossyString>);
    let (delayed, (now, _), time): Answers = conn.pipe(&pipe).await?;
    // These moments are of the index's own time, which may be ahead of the server's clock.
    let ahead_ms = time.and_then(|LossyString(time)| time.split(':').nth(1)?.parse::<f64>().ok()).unwrap_or(0.0);
    let until: BTreeMap<String, u64> = delayed
        .iter()
        .filter_map(|(line, until)| {
            let left = (((until - ahead_ms) / 1000.0).ceil() as u64).saturating_sub(now);
            Some((String::from_utf8(line.clone()).ok()?, left))
        })
        .collect();
    let lines: Vec<String> = delayed.into_iter().filter_map(|(line, _)| String::from_utf8(line).ok()).collect();
    add(conn, found, &lines, |line| WaitingPlace::Backoff(until.get(line).copied().unwrap_or(0))).await?;
    let is_last = (lines.len() as u64) <= last - at;
    Ok(Some(if is_last { PageCursor::Gated(0, 0) } else { PageCursor::Delayed(last + 1) }))
}

async fn gated(conn: &Connection, found: &mut Collector, gate: u64, at: u64) -> Result<Option<PageCursor>, QueueError> {
    let ready = conn.name(Key::Ready);
    let mut gates = lossy_string::list(conn.cmd(redis::cmd("SMEMBERS").arg(format!("{ready}gates"))).await?);
    gates.sort();
    let Some(name) = usize::try_from(gate).ok().and_then(|gate| gates.get(gate)) else {
        return Ok(Some(PageCursor::Parked(0, 0)));
    };
    let last = at + found.step() as u64 - 1;
    let lines: Vec<Vec<u8>> = conn.cmd(redis::cmd("ZRANGE").arg(format!("{ready}{name}")).arg(at).arg(last)).await?;
    let is_last = (lines.len() as u64) <= last - at;
    let line_of = |member: Vec<u8>| Some(String::from_utf8(member).ok()?.split_once('\t')?.1.to_owned());
    let lines: Vec<String> = lines.into_iter().filter_map(line_of).collect();
    let waits_for = name.split_once(':').map_or(name.as_str(), |(_, waits_for)| waits_for);
    let begin = waits_for.strip_prefix('@').and_then(|seconds| seconds.parse().ok());
    let place = begin.map_or_else(|| WaitingPlace::Batch(waits_for.to_owned()), WaitingPlace::Begin);
    add(conn, found, &lines, |_| place.clone()).await?;
    Ok(Some(if is_last { PageCursor::Gated(gate + 1, 0) } else { PageCursor::Gated(gate, last + 1) }))
}

async fn parked(
    conn: &Connection,
    found: &mut Collector,
    lane: u64,
    at: u64,
) -> Result<Option<PageCursor>, QueueError> {
    let ready = conn.name(Key::Ready);
    let lanes = conn.cmd(redis::cmd("HGETALL").arg(format!("{ready}parked"))).await?;
    let lanes: BTreeMap<String, String> = lossy_string::hash(lanes).into_iter().collect();
    let Some((name, batch)) = usize::try_from(lane).ok().and_then(|lane| lanes.iter().nth(lane)) else {
        return Ok(has_unindexed(conn).await?.then_some(PageCursor::Scan(0, 0)));
    };
    let last = at + found.step() as u64 - 1;
    let lines: Vec<Vec<u8>> = conn.cmd(redis::cmd("ZRANGE").arg(format!("{ready}c:{name}")).arg(at).arg(last)).await?;
    let is_last = (lines.len() as u64) <= last - at;
    let lines: Vec<String> = lines.into_iter().filter_map(|line| String::from_utf8(line).ok()).collect();
    add(conn, found, &lines, |_| WaitingPlace::Held(batch.clone())).await?;
    Ok(Some(if is_last { PageCursor::Parked(lane + 1, 0) } else { PageCursor::Parked(lane, last + 1) }))
}

/// Whether more waits than is in the index.
async fn has_unindexed(conn: &Connection) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hlen(conn.name(Key::Todo)).hlen(conn.name(Key::Waiting)).hexists(conn.name(Key::Todo), STOP_FIELD);
    pipe.get(conn.name(Key::Count));
    let mut replies = conn.pipe::<Vec<redis::Value>>(&pipe).await?.into_iter();
    let mut take = || replies.next().unwrap_or(redis::Value::Nil);
    let (plain, apart): (u64, u64) = (decode(take())?, decode(take())?);
    let stopping: bool = decode(take())?;
    let indexed: Option<u64> = decode(take())?;
    Ok((plain + apart).saturating_sub(u64::from(stopping)) > indexed.unwrap_or(0))
}

const _: () = assert!(ROWS > 1, "a lane that is cut gives at least two lines");
