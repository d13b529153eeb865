//! What Python workers have done, of which they keep no count.

use std::collections::HashMap;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::FinishedValue;
use crate::model::snapshot::WorkerView;

/// Entries of `finished_tasks` that are looked at, at most: beyond that the counts are estimates.
const ENTRIES: u64 = 500;

/// Bytes of them that are fetched, about: an entry holds all that a task has printed.
const BYTES: u64 = 128 << 10;

/// Counts what Python workers have finished. They keep no count; what they ran stands in `finished_tasks`, each value led by the name of its worker. Of a
/// long hash the beginning stands for the whole: its order is that of a hash function.
pub(super) async fn count_finished(
    conn: &Connection,
    finished: u64,
    workers: &mut [WorkerView],
) -> Result<(), QueueError> {
    if finished == 0 || !workers.iter().any(|worker| worker.is_python) {
        return Ok(());
    }
    let (mut of, mut seen, mut bytes, mut cursor) = (HashMap::<String, u64>::new(), 0_u64, 0_u64, 0_u64);
    let is_whole = loop {
        // The first few tell how large they are.
        let step = if seen == 0 { 10 } else { ((BYTES - bytes) * seen / bytes.max(1)).clamp(1, ENTRIES) };
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::Finished)).arg(cursor).arg("COUNT").arg(step);
        let (next, page): (u64, Vec<(LossyString, LossyString)>) = conn.cmd(&scan).await?;
        for (LossyString(line), LossyString(value)) in page {
            seen += 1;
            bytes += (line.len() + value.len()) as u64;
            if let Some(worker) = FinishedValue::parse(&value).worker {
                *of.entry(worker.to_owned()).or_default() += 1;
            }
        }
        cursor = next;
        if cursor == 0 {
            break true;
        }
        if seen >= ENTRIES || bytes >= BYTES {
            break false;
        }
    };
    for worker in workers.iter_mut().filter(|worker| worker.is_python) {
        let counted = of.get(&worker.name).copied().unwrap_or_default();
        worker.is_estimate = !is_whole;
        worker.finished =
            if is_whole { counted } else { (counted as f64 * finished as f64 / seen.max(1) as f64).round() as u64 };
    }
    Ok(())
}
