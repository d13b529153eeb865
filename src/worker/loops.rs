//! Starts the loops of a worker, with what they share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::claim_reconciler::ClaimReconciler;
use super::events::{Event, TaskKey};
use super::file_thread::FileThread;
use super::heartbeater::Heartbeater;
use super::historian::Historian;
use super::indexer::Indexer;
use super::link::Link;
use super::local_orphans::LocalOrphans;
use super::node_extras::NodeExtras;
use super::pending_outcomes::{PendingOutcomes, Unreported};
use super::poller::Poller;
use super::reclaimer::Reclaimer;
use super::record_reconciler::RecordReconciler;
use super::releaser::Releaser;
use super::reloader::Reloader;
use super::reporter::Reporter;
use super::sampler::Sampler;
use super::signals;
use super::spool::Spool;
use super::timeout_monitor::{TimeoutMonitor, Watchlist};
use super::trust::Keyring;
use super::waker::Waker;
use crate::config::{Config, Watcher};
use crate::host::Probe;
use crate::model::{FieldOrder, WorkerName};
use crate::queue::Client;
use crate::queue::session::{ClaimRequest, Settle};

/// What the loops share.
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) client: Client,
    pub(super) worker: WorkerName,
    pub(super) order: FieldOrder,
    /// To the dispatcher.
    pub(super) events: mpsc::Sender<Event>,
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) watchlist: Arc<Watchlist>,
    /// Asks for a heartbeat at once.
    pub(super) heartbeat: Arc<Notify>,
    /// The process ids of the keepers.
    pub(super) keepers: Arc<Mutex<Vec<u32>>>,
}

impl Shared {
    /// Starts the loops that watch this machine: its load, and the time limits of what runs.
    pub(super) fn spawn_node_loops(&self, loops: &mut JoinSet<()>, probe: Probe, extras: NodeExtras) {
        let (keepers, config) = (Arc::clone(&self.keepers), self.config.subscribe());
        loops.spawn(Sampler { events: self.events.clone(), keepers, probe, extras, config }.run());
        let watchlist = Arc::clone(&self.watchlist);
        loops.spawn(TimeoutMonitor { watchlist, events: self.events.clone(), config: self.config.subscribe() }.run());
    }

    /// Starts the loops that ask Redis, or tell it something, but for the one that reports outcomes.
    pub(super) fn spawn_queue_loops(
        &self,
        loops: &mut JoinSet<()>,
        requests: mpsc::UnboundedReceiver<ClaimRequest>,
        gap: watch::Receiver<Option<(u64, u64)>>,
        keyring: Option<Arc<Keyring>>,
        local_orphans: LocalOrphans,
    ) {
        let Self { link, events, order, .. } = self;
        let (link, order) = (|| Arc::clone(link), *order);
        loops.spawn(Poller { link: link(), requests, events: events.clone(), keyring }.run());
        let now = Arc::clone(&self.heartbeat);
        loops.spawn(Heartbeater { link: link(), events: events.clone(), config: self.config.subscribe(), now }.run());
        let (client, worker, heartbeat) = (self.client.clone(), self.worker.clone(), Arc::clone(&self.heartbeat));
        loops.spawn(Waker { client, link: link(), worker, events: events.clone(), heartbeat }.run());
        loops.spawn(Reclaimer { link: link(), local_orphans, config: self.config.subscribe(), order }.run());
        loops.spawn(Indexer { link: link(), gap, order, found: events.clone() }.run());
        loops.spawn(RecordReconciler { link: link(), order }.run());
        loops.spawn(Releaser { link: link(), order }.run());
        loops.spawn(Historian { link: link() }.run());
        loops.spawn(ClaimReconciler { link: link(), events: events.clone() }.run());
    }

    /// Starts the loops that hear what people want of the worker: signals, a changed configuration, and the orders of a caller.
    pub(super) fn spawn_order_loops(
        &self,
        loops: &mut JoinSet<()>,
        watcher: Watcher,
        keyring: Option<Arc<Keyring>>,
        hangup_ends: bool,
        orders: Option<mpsc::Receiver<()>>,
    ) {
        loops.spawn(signals::run(self.events.clone(), hangup_ends));
        loops.spawn(
            Reloader {
                watcher: Some(watcher),
                files: FileThread::new("conf.json and the files and directories that it names"),
                client: self.client.clone(),
                config: self.config.clone(),
                events: self.events.clone(),
                keyring,
                on_hangup: !hangup_ends,
            }
            .run(),
        );
        if let Some(orders) = orders {
            loops.spawn(signals::obey(orders, self.events.clone()));
        }
    }

    /// Starts the loop that reports outcomes. It is none of the others: it outlives them, so that it can report what is left.
    pub(super) fn spawn_reporter(
        &self,
        settlements: mpsc::UnboundedReceiver<(TaskKey, Settle)>,
        spool: Option<Spool>,
        prefetches: Arc<AtomicBool>,
    ) -> JoinHandle<Unreported> {
        let reporter = Reporter {
            link: Arc::clone(&self.link),
            settlements,
            events: self.events.clone(),
            config: self.config.subscribe(),
            prefetches,
            outcomes: PendingOutcomes::new(spool),
            last_batch: Instant::now(),
        };
        tokio::spawn(reporter.run())
    }
}
