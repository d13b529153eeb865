//! Looks at the node: free memory and cores, and what the trees of running tasks hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::events::{Event, Sample};
use super::node_extras::NodeExtras;
use crate::config::Config;
use crate::host::{Probe, rss_by_root};
use crate::model::{Amounts, Bytes};

/// Between looks while tasks run: memory may run low.
const BUSY: Duration = Duration::from_millis(500);

/// Between looks while none does.
const IDLE: Duration = Duration::from_secs(2);

/// The keepers whose trees are to be measured; the slots keep it true.
pub type Keepers = Arc<Mutex<Vec<u32>>>;

/// Sends the dispatcher a look at the node at each interval.
pub struct Sampler {
    /// Where samples go.
    pub events: mpsc::Sender<Event>,
    /// Whose trees to measure.
    pub keepers: Keepers,
    /// The node.
    pub probe: Probe,
    /// Its devices.
    pub extras: NodeExtras,
    /// Which of them count.
    pub config: watch::Receiver<Arc<Config>>,
}

impl Sampler {
    /// Until the dispatcher is gone.
    pub async fn run(mut self) {
        loop {
            let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut node = self.probe.sample();
            let touched = if keepers.is_empty() { Default::default() } else { rss_by_root(&keepers) };
            if self.probe.has_share_of_memory() {
                // What our own tasks hold is not free, whatever else the node has.
                let held: Bytes = touched.values().copied().sum();
                node.free = node.free.min(&node.total.minus(&Amounts::NONE.with_mem(held)));
            }
            // Keepers stay when their tasks have gone: a pass over all processes is for what runs below them.
            let is_idle = touched.values().all(|bytes| *bytes == Bytes::ZERO);
            let config = Arc::clone(&self.config.borrow());
            let devices = self.extras.held_devices(&config);
            if self.events.send(Event::Sampled(Sample { node, touched, devices })).await.is_err() {
                return;
            }
            tokio::time::sleep(if is_idle { IDLE } else { BUSY }).await;
        }
    }
}
