//! Runs a worker: hands each event to the dispatcher, has its decisions executed, and shuts the loops down in order.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::action_executor::ActionExecutor;
use super::coalescing;
use super::dispatcher::{Dispatcher, Identity};
use super::events::{Event, Moment, Sample};
use super::expiry;
use super::keeper_factory::KeeperFactory;
use super::link::Link;
use super::local_orphans::LocalOrphans;
use super::loops::Shared;
use super::metrics::Metrics;
use super::node_extras::NodeExtras;
use super::outputs::Outputs;
use super::pending_outcomes::Unreported;
use super::placement::Placement;
use super::results::Results;
use super::slot::SlotPool;
use super::spool::Spool;
use super::timeout_monitor::Watchlist;
use super::trust::{Keyring, Pin};
use crate::config::{Config, Watcher};
use crate::host::Probe;
use crate::queue::session::Registration;
use crate::queue::{Client, QueueError, Session};
use crate::sys::boot;

/// Events waiting for the dispatcher, at most; senders wait then.
const EVENTS: usize = 4096;

/// The longest wait for an event where no time is due.
const IDLE_TICK: Duration = Duration::from_secs(3600);

/// Less than this is no sleep, but two clocks that were not read at one moment.
const LEAST_SLEEP: Duration = Duration::from_millis(500);

/// How long the farewell to Redis may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Everything a worker needs to run: it has its name, its node is clean, and it holds nothing.
pub struct Setup {
    /// Where Redis is.
    pub client: Client,
    /// The right to act.
    pub session: Session,
    /// Identity of the server process.
    pub run_id: String,
    /// What it says of itself.
    pub registration: Registration,
    /// What does not change.
    pub identity: Identity,
    /// The settings.
    pub config: Arc<Config>,
    /// The file they came from.
    pub watcher: Watcher,
    /// When the worker was started, by [`boot::clock_ms`].
    pub started_ms: u64,
    /// Unreported outcomes.
    pub spool: Option<Spool>,
    /// Clears up after the dead of this machine.
    pub local_orphans: LocalOrphans,
    /// Makes keepers.
    pub keeper_factory: KeeperFactory,
    /// Where long outputs go.
    pub results: Results,
    /// Looks at the node.
    pub probe: Probe,
    /// What the node has besides memory and cores.
    pub extras: NodeExtras,
    /// Which tasks may run, and the queue they must be signed for; `None` where no signature is required.
    pub trust: Option<(Arc<Keyring>, Pin)>,
    /// Whether SIGHUP ends the worker: on a terminal, and with `--local`.
    pub hangup_ends: bool,
    /// Where to tell of itself, if anywhere.
    pub metrics: Option<Metrics>,
    /// Each message ends the worker as a signal does: the first lets what runs end, the second does not.
    pub orders: Option<mpsc::Receiver<()>>,
}

/// Runs a worker until it is told to go and has nothing left.
///
/// # Errors
/// [`QueueError::Fenced`] when another worker took the name while Redis was out of reach: everything it ran is killed.
pub async fn run(setup: Setup) -> Result<(), QueueError> {
    let (events, inbox) = mpsc::channel(EVENTS);
    // Unbounded, since the dispatcher must never wait for a loop that waits for it; both are bounded by what the worker has claimed.
    let (requests, wanted) = mpsc::unbounded_channel();
    let (settlements, outcomes) = mpsc::unbounded_channel();
    let (index_gap, gaps) = watch::channel(None);
    let prefetches = Arc::new(AtomicBool::default());
    let (keyring, pin) = setup.trust.unzip();
    let Identity { worker, order, .. } = setup.identity.clone();
    let since = setup.registration.since;
    let link = Link::new(setup.client.clone(), setup.registration, setup.session, setup.run_id, pin, order);
    let shared = Shared {
        link: Arc::clone(&link),
        client: setup.client,
        worker,
        order,
        events,
        config: watch::Sender::new(Arc::clone(&setup.config)),
        watchlist: Arc::new(Watchlist::default()),
        heartbeat: Arc::new(Notify::new()),
        keepers: Arc::new(Mutex::new(Vec::new())),
    };
    // The first heartbeat and the first claim already know the node.
    let mut probe = setup.probe;
    let devices = setup.extras.held_devices(&setup.config);
    let first = Sample { node: probe.sample(), devices, ..Sample::default() };

    let mut loops = JoinSet::new();
    shared.spawn_node_loops(&mut loops, probe, setup.extras.clone());
    shared.spawn_queue_loops(&mut loops, wanted, gaps, keyring.clone(), setup.local_orphans);
    shared.spawn_order_loops(&mut loops, setup.watcher, keyring, setup.hangup_ends, setup.orders);
    if let Some(lifetime) = expiry::lifetime(&setup.config) {
        loops.spawn(expiry::run(lifetime, setup.started_ms, shared.events.clone()));
    }
    if let Some(metrics) = &setup.metrics {
        metrics.attach(shared.events.clone());
    }
    let reporter = shared.spawn_reporter(outcomes, setup.spool, Arc::clone(&prefetches));
    let max_retry = shared.config.subscribe();
    let mut repairing =
        tokio::spawn(Arc::clone(&link).run(shared.events.clone(), move || max_retry.borrow().max_retry));
    let placement = Placement::new(setup.extras.clone(), &setup.config, &setup.identity.host, since);
    let slots = SlotPool::new(
        setup.keeper_factory.clone(),
        shared.events,
        shared.keepers,
        shared.worker,
        setup.results,
        setup.extras,
    );
    let mut executor = ActionExecutor {
        slots,
        config: shared.config.subscribe(),
        requests,
        settlements,
        watchlist: shared.watchlist,
        heartbeat: shared.heartbeat,
        outputs: Outputs::new(Arc::clone(&link)),
        prefetches,
        index_gap,
    };
    let dispatcher = Dispatcher::new(Moment::present(), setup.identity, setup.config, first.node)
        .with_placement(placement)
        .awaiting_judgement();
    let ended = drive(dispatcher, Event::Sampled(first), &mut executor, inbox, &mut repairing).await;
    coalescing::set(Duration::ZERO);

    // The way out: first whoever only looks, then everything that makes new work, then what tells Redis, then the processes, then the name.
    drop(setup.metrics);
    loops.shutdown().await;
    repairing.abort();
    drop(executor);
    say_farewell(reporter, &link, ended.is_ok()).await;
    setup.keeper_factory.shutdown().await;
    match ended? {
        Some(lasted) => Err(link.faults.given_up(lasted)),
        None => Ok(()),
    }
}

/// Hands each event to the dispatcher, and has done what it decides, until it decides to exit or the name is another's. For how long Redis had been of no
/// use, where that is why it exits.
async fn drive(
    mut dispatcher: Dispatcher,
    first: Event,
    executor: &mut ActionExecutor,
    mut inbox: mpsc::Receiver<Event>,
    repairing: &mut JoinHandle<QueueError>,
) -> Result<Option<Duration>, QueueError> {
    let mut detector = SuspendDetector::default();
    let mut event = first;
    loop {
        let moment = Moment::present();
        if let Some(time) = detector.since_last()
            && let ControlFlow::Break(given_up) = executor.execute(dispatcher.handle(moment, Event::Slept(time)))
        {
            return Ok(given_up);
        }
        let decision = dispatcher.handle(moment, event);
        let tick = decision.next_tick.unwrap_or_else(|| moment.now + IDLE_TICK);
        if let ControlFlow::Break(given_up) = executor.execute(decision) {
            return Ok(given_up);
        }
        event = tokio::select! {
            event = inbox.recv() => event.unwrap_or(Event::Tick),
            () = tokio::time::sleep_until(tick.into()) => Event::Tick,
            lost = &mut *repairing => return Err(lost.unwrap_or(QueueError::Fenced)),
        };
    }
}

/// Lets the reporter send what is left, then frees the worker's name, while it is ours. What cannot be sent is in the spool, or it is said what is lost.
async fn say_farewell(reporter: JoinHandle<Unreported>, link: &Link, is_name_ours: bool) {
    if !is_name_ours {
        tracing::error!("another worker took this name while Redis was unreachable; killing all running tasks");
        return reporter.abort();
    }
    let farewell = async {
        if let Ok(unreported) = reporter.await {
            unreported.log(link.faults.last().as_ref());
        }
        if let Some(session) = link.present()
            && let Err(error) = session.detach().await
        {
            tracing::warn!(
                error = %error.without_place(),
                "failed to free the worker's name; other hosts can take it when its lease expires"
            );
        }
    };
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!("stopped while Redis did not answer; unreported outcomes are in the spool");
    }
}

/// Notices that the machine was asleep (a notebook whose lid was closed, a node that was suspended for the night): compares a clock that stands still
/// meanwhile with one that does not.
struct SuspendDetector {
    /// When both were read last: the one that stands still, and milliseconds of the other.
    last: (Instant, u64),
}

impl Default for SuspendDetector {
    fn default() -> Self {
        Self { last: (Instant::now(), boot::clock_ms()) }
    }
}

impl SuspendDetector {
    /// How long the machine has slept since this was asked last; `None` when it has not.
    fn since_last(&mut self) -> Option<Duration> {
        self.between((Instant::now(), boot::clock_ms()))
    }

    /// The same, with both clocks as arguments.
    fn between(&mut self, now: (Instant, u64)) -> Option<Duration> {
        let last = std::mem::replace(&mut self.last, now);
        let passed = Duration::from_millis(now.1.saturating_sub(last.1));
        let slept = passed.saturating_sub(now.0.saturating_duration_since(last.0));
        (slept >= LEAST_SLEEP).then_some(slept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_told_once_and_a_long_wait_is_none() {
        let mut detector = SuspendDetector::default();
        let (start, ms) = detector.last;
        let after = |awake: u64, asleep: u64| (start + Duration::from_millis(awake), ms + awake + asleep);
        assert_eq!(detector.between(after(3_600_000, 1)), None);
        let night = 8 * 3_600_000;
        assert_eq!(detector.between(after(3_600_010, night)), Some(Duration::from_millis(night - 1)));
        assert_eq!(detector.between(after(3_700_000, night)), None);
        assert_eq!(SuspendDetector::default().since_last(), None);
    }
}
