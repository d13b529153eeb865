//! Runs the worker of a local run, from its first claim to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::run_context::RunContext;
use super::run_watch::RunWatch;
use super::server_watch::watch_server;
use crate::cli::exit::{CliError, Exit};
use crate::local::LocalServer;
use crate::policy::halt::HaltWhen;
use crate::process::signals::{self, SignalRequest};
use crate::worker::{self, Setup};

/// How much longer than the grace of its tasks a worker that was told to end at once may take. What it has not reported is in its spool.
const LEAVE: Duration = Duration::from_secs(5);
/// The same where the server takes nothing that it could report.
const LEAVE_UNREPORTED: Duration = Duration::from_millis(500);

/// How the worker ended.
pub(super) enum Ended {
    /// Nothing was left that this machine could run.
    Done,
    /// A signal.
    Signal(Exit),
    /// The private server cannot be used any more; it has been said why.
    Broken,
}

/// Runs a worker in this process until nothing is left that this machine could run, a signal, or the loss of the server.
pub(super) async fn run_worker(
    run: &RunContext<'_>,
    mut setup: Setup,
    server: &mut LocalServer,
    watch: &mut RunWatch<'_>,
) -> Result<Ended, CliError> {
    let (orders, inbox) = mpsc::channel(2);
    setup.orders = Some(inbox);
    let signals = Signals::note(run.context.program);
    let mut worker = tokio::spawn(worker::run(setup));
    let mut is_broken = false;
    let mut leave_at: Option<Instant> = None;
    let refuses = AtomicBool::new(false);
    let leave_in = || {
        let more = if refuses.load(Ordering::Relaxed) { LEAVE_UNREPORTED } else { LEAVE };
        run.config.kill_grace + more
    };
    let mut keeping = std::pin::pin!(watch_server(run, server, &refuses));
    let ended = loop {
        tokio::select! {
            ended = &mut worker => break Some(ended),
            why = &mut keeping, if !is_broken => {
                watch.pause_for(|| run.context.say(&why));
                is_broken = true;
                // What runs could not be recorded: at once.
                for _ in 0..2 {
                    let _ = orders.try_send(());
                }
                leave_at = Some(Instant::now() + leave_in());
            }
            () = tokio::time::sleep(watch.interval()) => {
                if watch.look(run).await == Some(HaltWhen::Now) {
                    for _ in 0..2 {
                        let _ = orders.try_send(());
                    }
                    leave_at = Some(Instant::now() + leave_in());
                }
            }
        }
        if leave_at.is_none() && signals.count() >= 2 {
            leave_at = Some(Instant::now() + leave_in());
        }
        if leave_at.is_some_and(|at| at <= Instant::now()) {
            // It cannot tell what it has to tell. Its keepers end with it; the next run takes up what it leaves.
            worker.abort();
            break None;
        }
    };
    if is_broken {
        return Ok(Ended::Broken);
    }
    match ended {
        None => {}
        Some(Ok(ended)) => ended?,
        Some(Err(error)) => return Err(CliError::io("run the worker", std::io::Error::other(error))),
    }
    Ok(signals.first().map_or(Ended::Done, Ended::Signal))
}

/// The signals that ask to end; the worker itself acts on them.
struct Signals {
    first: Arc<AtomicU8>,
    count: Arc<AtomicU32>,
}

impl Signals {
    fn note(program: &'static str) -> Self {
        let signals = Self { first: Arc::default(), count: Arc::default() };
        let (first, count) = (Arc::clone(&signals.first), Arc::clone(&signals.count));
        tokio::spawn(async move {
            let wanted = [SignalRequest::Interrupt, SignalRequest::Terminate, SignalRequest::Hangup];
            let Ok(mut asked) = signals::Signals::of(&wanted) else { return };
            loop {
                let number = match asked.next().await {
                    SignalRequest::Interrupt => 2,
                    SignalRequest::Terminate => 15,
                    SignalRequest::Hangup => 1,
                };
                if count.fetch_add(1, Ordering::Relaxed) == 0 {
                    first.store(number, Ordering::Relaxed);
                    crate::cli::output::complain(
                        program,
                        "waiting for running tasks to end; interrupt again to stop them now",
                    );
                }
            }
        });
        signals
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    fn first(&self) -> Option<Exit> {
        match self.first.load(Ordering::Relaxed) {
            0 => None,
            2 => Some(Exit::Interrupted),
            _ => Some(Exit::Terminated),
        }
    }
}
