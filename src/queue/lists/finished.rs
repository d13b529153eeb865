//! What has finished, the newest first, from the stream that `settle.lua` adds to. After its end come those that finished before it begins, or by Python
//! workers, in no order.

use std::collections::HashMap;

use redis::Value;

use super::super::client::Connection;
use super::super::error::QueueError;
use super::super::keys::Key;
use super::collector::Collector;
use super::details;
use crate::model::listing::{PageCursor, TaskRow};

/// Between the record of an attempt and its entry in the stream, at most: both are of one call.
const SAME_CALL_MS: f64 = 1000.0;

/// An entry of the stream.
struct Entry {
    ms: u64,
    number: u64,
    lines: Vec<String>,
}

/// One step; answers where the next begins.
pub(super) async fn step(
    conn: &Connection,
    found: &mut Collector,
    cursor: PageCursor,
) -> Result<Option<PageCursor>, QueueError> {
    let (upto, behind) = match cursor {
        PageCursor::Finished(ms, number, behind) => (format!("{ms}-{number}"), behind),
        PageCursor::Start
        | PageCursor::Ready(_)
        | PageCursor::Delayed(_)
        | PageCursor::Gated(..)
        | PageCursor::Parked(..)
        | PageCursor::Failed(..)
        | PageCursor::Scan(..) => ("+".to_owned(), 0),
    };
    let most = found.step();
    // An entry may have hundreds of lines.
    let count = most / 4 + 2;
    let mut cmd = redis::cmd("XREVRANGE");
    cmd.arg(conn.name(Key::Ended)).arg(&upto).arg("-").arg("COUNT").arg(count);
    let entries: Vec<Entry> = conn.cmd::<Vec<Value>>(&cmd).await?.into_iter().filter_map(entry).collect();
    let is_last = entries.len() < count;
    let oldest = entries.last().map_or(0, |entry| entry.ms);
    let all_read = entries.last().map(|entry| PageCursor::Finished(entry.ms, entry.number, entry.lines.len() as u64));
    let (taken, next) = take(entries, behind, most);
    add(conn, found, taken).await?;
    if next.is_some() || !is_last {
        return Ok(next.or(all_read));
    }
    let finished: u64 = conn.cmd(redis::cmd("HLEN").arg(conn.name(Key::Finished))).await?;
    Ok((finished > 0).then_some(PageCursor::Scan(0, oldest)))
}

/// The first lines of some entries, behind so many of the first entry; and where the next begins, if they have more.
fn take(entries: Vec<Entry>, behind: u64, most: usize) -> (Vec<(u64, String)>, Option<PageCursor>) {
    let mut taken = Vec::new();
    let mut skip = usize::try_from(behind).unwrap_or(usize::MAX);
    for entry in entries {
        // Within a call, the last to be settled is the newest.
        for (at, line) in entry.lines.into_iter().rev().enumerate().skip(skip) {
            if taken.len() == most {
                return (taken, Some(PageCursor::Finished(entry.ms, entry.number, at as u64)));
            }
            taken.push((entry.ms, line));
        }
        skip = 0;
    }
    (taken, None)
}

/// Adds those that stand in the hash, and have not finished again since.
async fn add(conn: &Connection, found: &mut Collector, lines: Vec<(u64, String)>) -> Result<(), QueueError> {
    found.looked(lines.len(), lines.iter().map(|(_, line)| line.len()).sum());
    let mut at: HashMap<String, u64> = HashMap::new();
    let rows: Vec<TaskRow> = lines
        .into_iter()
        .filter_map(|(ms, line)| {
            let row = found.row(&line)?;
            at.entry(row.id.clone()).or_insert(ms);
            Some(row)
        })
        .collect();
    if rows.is_empty() {
        return found.add(conn, rows).await.map(drop);
    }
    let mut pipe = redis::pipe();
    for row in &rows {
        pipe.hexists(conn.name(Key::Finished), &row.line);
    }
    let there: Vec<bool> = conn.pipe(&pipe).await?;
    let mut rows: Vec<TaskRow> = rows.into_iter().zip(there).filter(|(_, there)| *there).map(|(row, _)| row).collect();
    details::ends(conn, found, &mut rows).await?;
    rows.retain(|row| {
        let ms = at.get(&row.id).copied().unwrap_or(0) as f64;
        row.end.as_ref().is_none_or(|end| end.at * 1000.0 <= ms + SAME_CALL_MS)
    });
    found.add(conn, rows).await.map(drop)
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let [Value::BulkString(id), Value::Array(lines)] = parts.as_slice() else { return None };
    let (ms, number) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let line = |value: &Value| {
        let Value::BulkString(line) = value else { return None };
        String::from_utf8(line.clone()).ok().filter(|line| !line.is_empty())
    };
    Some(Entry { ms: ms.parse().ok()?, number: number.parse().ok()?, lines: lines.iter().filter_map(line).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_within_a_call_and_goes_on_there() {
        let entry =
            |ms: u64, lines: &[&str]| Entry { ms, number: 0, lines: lines.iter().map(ToString::to_string).collect() };
        let entries = || vec![entry(9, &["a", "b", "c"]), entry(5, &["d"]), entry(4, &[])];
        let lines = |taken: &[(u64, String)]| taken.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>();
        let (taken, next) = take(entries(), 0, 2);
        assert_eq!((lines(&taken), next), (vec!["c".to_owned(), "b".to_owned()], Some(PageCursor::Finished(9, 0, 2))));
        let (taken, next) = take(entries(), 2, 2);
        assert_eq!((lines(&taken), next), (vec!["a".to_owned(), "d".to_owned()], None));
    }

    #[test]
    fn an_entry_of_others_is_passed_over() {
        let bytes = |text: &[u8]| Value::BulkString(text.to_vec());
        let of = |id: &[u8], lines: &[&[u8]]| {
            entry(Value::Array(vec![bytes(id), Value::Array(lines.iter().map(|line| bytes(line)).collect())]))
        };
        let read = of(b"7-1", &[b"a", b"", b"\xff", b"b"]).expect("an entry");
        assert_eq!((read.ms, read.number, read.lines), (7, 1, vec!["a".to_owned(), "b".to_owned()]));
        assert!(of(b"7", &[b"a"]).is_none() && entry(Value::Nil).is_none());
    }
}
