//! Failures and cancelled tasks, the newest first, from the sets of their groups: of one group, however rare it is, or merged over all of them. After those
//! come the ones that are in no set, in no order.

use super::super::client::Connection;
use super::super::error::QueueError;
use super::super::keys::Key;
use super::super::kinds;
use super::collector::Collector;
use super::details;
use crate::model::Outcome;
use crate::model::listing::{PageCursor, TaskRow};
use crate::model::snapshot::TaskState;

/// Groups that are merged.
const GROUPS: usize = 1000;

/// One step; answers where the next begins.
pub(super) async fn step(
    conn: &Connection,
    found: &mut Collector,
    cursor: PageCursor,
) -> Result<Option<PageCursor>, QueueError> {
    let (upto, behind) = match cursor {
        PageCursor::Failed(ms, behind) => (Some(ms), behind),
        PageCursor::Start
        | PageCursor::Ready(_)
        | PageCursor::Delayed(_)
        | PageCursor::Gated(..)
        | PageCursor::Parked(..)
        | PageCursor::Finished(..)
        | PageCursor::Scan(..) => (None, 0),
    };
    let groups = groups(conn, found).await?;
    let Merged { lines, skipped, is_cut } = next_lines(conn, &groups, (upto, behind), found.step()).await?;
    let last = lines.last().map(|(ms, _)| *ms);
    let of_last = lines.iter().filter(|(ms, _)| Some(*ms) == last).count() as u64;
    let of_last = if last == upto { of_last + skipped } else { of_last };
    found.looked(lines.len(), lines.iter().map(|(_, line)| line.len()).sum());
    let rows: Vec<TaskRow> = lines.iter().filter_map(|(_, line)| found.row(line)).collect();
    let mut rows = details::failures(conn, found, rows).await?;
    details::ends(conn, found, &mut rows).await?;
    found.add(conn, rows).await?;
    match last {
        Some(last) if is_cut => Ok(Some(PageCursor::Failed(last, of_last))),
        Some(_) | None => Ok(has_others(conn, found, &groups).await?.then_some(PageCursor::Scan(0, 1))),
    }
}

/// Lines of all groups in one order.
struct Merged {
    lines: Vec<(u64, String)>,
    /// Of the moment at which they begin, so many were there before.
    skipped: u64,
    /// Whether there are more.
    is_cut: bool,
}

/// The next lines, `rows` at most and at least one where there is one.
async fn next_lines(
    conn: &Connection,
    groups: &[String],
    (upto, behind): (Option<u64>, u64),
    rows: usize,
) -> Result<Merged, QueueError> {
    let behind = usize::try_from(behind).unwrap_or(usize::MAX);
    let mut limit = if behind == 0 { (2 * rows / groups.len().max(1)).clamp(2, rows) } else { behind + rows };
    loop {
        let mut lines: Vec<(u64, String)> = Vec::new();
        // Of this moment and before it something may be missing. Of a moment all have to be there: their order is that of their lines.
        let mut missing = None;
        for part in parts(conn, groups, upto, limit).await? {
            if part.len() == limit {
                missing = missing.max(part.last().map(|(ms, _)| *ms));
            }
            lines.extend(part);
        }
        lines.retain(|(ms, _)| missing.is_none_or(|missing| *ms > missing));
        lines.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| b.1.cmp(&a.1)));
        let skipped = lines.iter().take_while(|(ms, _)| Some(*ms) == upto).count().min(behind);
        lines.drain(..skipped);
        if lines.is_empty() && missing.is_some() {
            limit *= 4;
            continue;
        }
        let is_cut = lines.len() > rows || missing.is_some();
        lines.truncate(rows);
        return Ok(Merged { lines, skipped: skipped as u64, is_cut });
    }
}

/// The groups that are asked for.
async fn groups(conn: &Connection, found: &Collector) -> Result<Vec<String>, QueueError> {
    if found.state() == TaskState::Cancelled {
        return Ok(vec![Outcome::CANCELLED_GROUP.to_owned()]);
    }
    if let Some(kind) = &found.filter().kind {
        return Ok(vec![kind.clone()]);
    }
    let mut groups = kinds::counted(conn).await?;
    groups.retain(|(group, _)| group != Outcome::CANCELLED_GROUP);
    groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(groups.into_iter().take(GROUPS).map(|(group, _)| group).collect())
}

/// The last lines of each group up to a moment, the newest first.
async fn parts(
    conn: &Connection,
    groups: &[String],
    upto: Option<u64>,
    limit: usize,
) -> Result<Vec<Vec<(u64, String)>>, QueueError> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let upto = upto.map_or_else(|| "+inf".to_owned(), |ms| ms.to_string());
    let mut pipe = redis::pipe();
    for group in groups {
        let key = format!("{}{group}", conn.name(Key::KindsOf));
        pipe.cmd("ZRANGE").arg(key).arg(&upto).arg("-inf").arg("BYSCORE").arg("REV");
        pipe.arg("LIMIT").arg(0).arg(limit).arg("WITHSCORES");
    }
    let found: Vec<Vec<(Vec<u8>, f64)>> = conn.pipe(&pipe).await?;
    let line = |(line, ms): (Vec<u8>, f64)| Some((ms as u64, String::from_utf8(line).ok()?));
    Ok(found.into_iter().map(|lines| lines.into_iter().filter_map(line).collect()).collect())
}

/// Whether there are failures that no set has.
async fn has_others(conn: &Connection, found: &Collector, groups: &[String]) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    for group in groups {
        pipe.zcard(format!("{}{group}", conn.name(Key::KindsOf)));
    }
    let sets: Vec<u64> = if groups.is_empty() { Vec::new() } else { conn.pipe(&pipe).await? };
    let listed: u64 = sets.into_iter().sum();
    let counted = kinds::counted(conn).await?;
    let of_groups = |wanted: &dyn Fn(&str) -> bool| -> u64 {
        counted.iter().filter(|(group, _)| wanted(group)).map(|(_, count)| *count).sum()
    };
    if found.state() == TaskState::Cancelled || found.filter().kind.is_some() {
        return Ok(of_groups(&|group| groups.iter().any(|one| one == group)) > listed);
    }
    let failed: u64 = conn.cmd(redis::cmd("HLEN").arg(conn.name(Key::Failed))).await?;
    Ok(failed > listed + of_groups(&|group| group == Outcome::CANCELLED_GROUP))
}
