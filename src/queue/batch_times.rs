//! When batches start whose tasks wait for a time. Reads only.

use std::collections::HashMap;

use super::batches::members;
use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::{self, LossyString};
use crate::model::BatchName;
use crate::model::snapshot::BatchView;

/// Gates of times that are looked at, the next ones.
const TIMES: usize = 100;

/// Lines behind them that are looked at, and their bytes, about. Of what stands behind more, nothing is said.
const LINES: usize = 10_000;
const BYTES: usize = 4 << 20;

/// Lines in one call.
const PART: usize = 500;

/// Finds of batches and steps with blocked tasks when the first of those may start that wait for a time. The gates are gone through from the next time on,
/// so that the first one which holds a task of a batch is its answer. A time that has come is none.
///
/// # Errors
/// Those of any call.
pub async fn look_up(conn: &Connection, views: &mut [BatchView]) -> Result<(), QueueError> {
    let blocked = views.iter().enumerate().filter(|(_, view)| view.blocked > 0);
    let mut wanted: HashMap<BatchName, usize> = blocked.map(|(at, view)| (view.name.clone(), at)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let ready = conn.name(Key::Ready);
    let mut pipe = redis::pipe();
    pipe.zrange(format!("{ready}times"), 0, TIMES as isize - 1).cmd("TIME");
    let (times, (now, _)): (Vec<LossyString>, (u64, u64)) = conn.pipe(&pipe).await?;
    let (mut lines, mut bytes) = (0, 0);
    for gate in lossy_string::list(times) {
        let Some(seconds) = seconds_of(&gate) else { continue };
        let mut from = 0;
        loop {
            if wanted.is_empty() || lines >= LINES || bytes >= BYTES {
                return Ok(());
            }
            let mut range = redis::cmd("ZRANGE");
            range.arg(format!("{ready}{gate}")).arg(from).arg(from + PART - 1);
            let page: Vec<LossyString> = conn.cmd(&range).await?;
            let page = lossy_string::list(page);
            // `LANE<tab>LINE`.
            let held: Vec<String> =
                page.iter().filter_map(|entry| entry.split_once('\t')).map(|(_, line)| line.to_owned()).collect();
            for name in members(conn, &held).await?.into_iter().flatten().flat_map(|member| member.names) {
                for at in name.levels().filter_map(|level| wanted.remove(&level)) {
                    views[at].starts_at = (seconds > now).then_some(seconds);
                }
            }
            lines += page.len();
            bytes += page.iter().map(String::len).sum::<usize>();
            from += PART;
            if page.len() < PART {
                break;
            }
        }
    }
    Ok(())
}

/// The time of a gate, `b:@SECONDS`.
fn seconds_of(gate: &str) -> Option<u64> {
    gate.split_once(":@")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gates_of_times_have_a_time() {
        assert_eq!(["b:@1900000000", "b:s1", "b:@x"].map(seconds_of), [Some(1_900_000_000), None, None]);
    }
}
