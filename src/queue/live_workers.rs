//! What the workers that live now have: how large their nodes are, and what ours offer beside memory and cores.

use std::collections::HashMap;

use super::client::Connection;
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use crate::model::snapshot::PYTHON_DEAD_AFTER_SECONDS;
use crate::model::{Traits, Usage};

/// Workers whose offers are read, at most: enough for a warning.
const MOST_READ: usize = 1000;

/// See the module. Nothing of it need be true any more.
#[derive(Clone, Debug, Default)]
pub struct LiveWorkers {
    /// The nodes of all workers, Python's too.
    pub nodes: Vec<Usage>,
    /// Resources and labels of the workers of this project.
    pub traits: Vec<Traits>,
}

/// The workers that have reported within the last minute. A user that may not read what they offer learns the size of their nodes alone.
///
/// # Errors
/// As every question to Redis.
pub async fn live_workers(conn: &Connection) -> Result<LiveWorkers, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Status)).cmd("TIME");
    let (status, (now, _)): (HashMap<LossyString, LossyString>, (u64, u64)) = conn.pipe(&pipe).await?;
    let fresh = status.iter().filter_map(|(name, text)| Some((name, live_node(&text.0, now)?)));
    let (names, nodes): (Vec<&LossyString>, Vec<Usage>) = fresh.unzip();
    if names.is_empty() {
        return Ok(LiveWorkers::default());
    }
    let mut read = redis::cmd("HMGET");
    read.arg(conn.name(Key::Capacity));
    for LossyString(name) in names.into_iter().take(MOST_READ) {
        read.arg(name);
    }
    let offers: Vec<Option<LossyString>> = match conn.cmd(&read).await {
        Err(QueueError::Denied { .. }) => Vec::new(),
        read => read?,
    };
    let traits = offers.iter().flatten().filter_map(|LossyString(text)| traits_of(text)).collect();
    Ok(LiveWorkers { nodes, traits })
}

/// The end of `MEM:CPU:RESOURCES:LABELS:END`.
fn traits_of(capacity: &str) -> Option<Traits> {
    capacity.splitn(3, ':').nth(2)?.parse().ok()
}

/// The node of a `worker_status` (`TIME:USEDCORES:CORES:USEDGB:GB`), if it is fresh.
fn live_node(text: &str, now: u64) -> Option<Usage> {
    let (heartbeat, figures) = text.split_once(':')?;
    let heartbeat: f64 = heartbeat.parse().ok()?;
    let is_fresh = heartbeat >= 0.0 && now.saturating_sub(heartbeat as u64) < PYTHON_DEAD_AFTER_SECONDS;
    is_fresh.then(|| Usage::of_status(figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_offers_follows_its_size() {
        let traits = traits_of("68719476736:8000:gpus@1000/1000:host=n1,ssd:").expect("traits");
        assert_eq!(traits.to_string(), "gpus@1000/1000:host=n1,ssd:");
        for text in ["", "1:2", "1:2:x"] {
            assert_eq!(traits_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_fresh_nodes_count() {
        let node = Usage::of_status("1.00:32.00:2.00:64.50");
        assert_eq!(live_node("1000:1.00:32.00:2.00:64.50", 1059), Some(node));
        assert_eq!(live_node("1000:1.00:32.00:2.00:64.50", 1060), None);
        assert_eq!(live_node("2000:1.00:32.00:2.00:64.50", 1000), Some(node), "a clock ahead of the server's");
        assert_eq!(live_node("x:1:2", 5), None);
    }
}
