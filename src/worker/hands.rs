//! Performs what the dispatcher decides. Holds no state of tasks and decides nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Notify, mpsc, watch};

use super::events::{Action, Event, TaskKey};
use super::outputs::Outputs;
use super::slots::Slots;
use super::timeout_monitor::Watchlist;
use crate::config::Config;
use crate::queue::session::{ClaimRequest, Settle};

/// What performs actions.
pub(super) struct Hands {
    pub(super) slots: Slots,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) requests: mpsc::UnboundedSender<ClaimRequest>,
    pub(super) settlements: mpsc::UnboundedSender<(TaskKey, Settle)>,
    pub(super) watchlist: Arc<Watchlist>,
    pub(super) beat: Arc<Notify>,
    pub(super) outputs: Outputs,
    pub(super) looks_ahead: Arc<AtomicBool>,
}

impl Hands {
    /// Slots are free before the dispatcher hears of it, so that it can fill them in the same breath.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Ended { key, .. } | Event::SpawnFailed { key, .. } | Event::Withdrawn { key } => {
                self.slots.free(*key);
            }
            Event::KeeperLost { key, .. } => self.slots.forget(*key),
            Event::Sampled(_)
            | Event::Claimed(_)
            | Event::ClaimFailed { .. }
            | Event::ReportRefused
            | Event::Started { .. }
            | Event::Overdue(_)
            | Event::Settled(_)
            | Event::BeatDue(_)
            | Event::Beaten(_)
            | Event::Woken
            | Event::OutputWanted(_)
            | Event::Tick
            | Event::Slept(_)
            | Event::Terminate
            | Event::Reconfigured(_)
            | Event::LinkDown
            | Event::Inventory(_)
            | Event::Reasserted { .. }
            | Event::LinkUp
            | Event::FiguresDue(_) => {}
        }
    }

    /// True when the worker is to go.
    pub(super) fn perform_all(&mut self, actions: Vec<Action>) -> bool {
        let mut is_over = false;
        for action in actions {
            match action {
                Action::Claim(request) => {
                    let _ = self.requests.send(request);
                }
                Action::Start { key, task, attempt, before } => {
                    let config = Arc::clone(&self.config.borrow());
                    self.slots.start(key, &task, attempt, before, &config);
                }
                Action::Queue { key, behind, task, attempt, before } => {
                    let config = Arc::clone(&self.config.borrow());
                    self.slots.queue(key, behind, &task, attempt, before, &config);
                }
                Action::Withdraw(key) => self.slots.withdraw(key),
                Action::Terminate(key) => {
                    let grace = self.config.borrow().kill_grace;
                    self.slots.terminate(key, grace);
                }
                Action::Kill(key) => self.slots.kill(key),
                Action::Arm { key, limit } => self.watchlist.arm(key, limit),
                Action::Disarm(key) => self.watchlist.disarm(key),
                Action::Settle(key, settle) => {
                    let _ = self.settlements.send((key, *settle));
                }
                Action::ShowOutput { key, request } => {
                    if let Some(commands) = self.slots.commands(key) {
                        self.outputs.show(key, request, commands);
                    }
                }
                Action::Beat => self.beat.notify_one(),
                Action::Exit => is_over = true,
            }
        }
        is_over
    }
}
