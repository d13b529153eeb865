//! Executes what the dispatcher decides. Holds no state of tasks and decides nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::coalescing;
use super::dispatcher::{Decision, Reply};
use super::events::{Action, TaskKey};
use super::indexer::Gap;
use super::outputs::Outputs;
use super::slot::SlotPool;
use super::timeout_monitor::Watchlist;
use crate::config::Config;
use crate::process::KeeperCommand;
use crate::queue::session::{ClaimRequest, Settle};

/// What executes decisions.
pub(super) struct ActionExecutor {
    pub(super) slots: SlotPool,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) requests: mpsc::UnboundedSender<ClaimRequest>,
    pub(super) settlements: mpsc::UnboundedSender<(TaskKey, Settle)>,
    pub(super) watchlist: Arc<Watchlist>,
    pub(super) heartbeat: Arc<Notify>,
    pub(super) outputs: Outputs,
    /// For the reporter, which lets outcomes coalesce only where this holds.
    pub(super) prefetches: Arc<AtomicBool>,
    pub(super) index_gap: watch::Sender<Gap>,
}

impl ActionExecutor {
    /// Executes a decision. Broken off when the worker is to go: for how long Redis had been of no use, where that is why.
    pub(super) fn execute(&mut self, decision: Decision) -> ControlFlow<Option<Duration>> {
        coalescing::set(decision.coalesce);
        self.prefetches.store(decision.prefetches, Ordering::Relaxed);
        if let Some(now) = decision.index_gap {
            self.index_gap.send_if_modified(|old| old.replace(now) != Some(now));
        }
        decision.replies.into_iter().for_each(Reply::send);
        for action in decision.actions {
            if let Action::Exit { given_up } = action {
                return ControlFlow::Break(given_up);
            }
            self.execute_one(action);
        }
        ControlFlow::Continue(())
    }

    fn execute_one(&mut self, action: Action) {
        match action {
            Action::Claim(request) => {
                let _ = self.requests.send(request);
            }
            Action::Start { slot, key, task, attempt, before, placed } => {
                let config = Arc::clone(&self.config.borrow());
                self.slots.start(slot, key, &task, &attempt, before, &placed, &config);
            }
            Action::Move { slot, key, cores } => self.slots.tell(slot, KeeperCommand::Cores { key, cores }),
            Action::Recall { slot, key } => self.slots.tell(slot, KeeperCommand::Recall { key }),
            Action::Terminate { slot, key } => {
                let grace_ms = u64::try_from(self.config.borrow().kill_grace.as_millis()).unwrap_or(u64::MAX);
                self.slots.tell(slot, KeeperCommand::Terminate { key, grace_ms });
            }
            Action::Kill { slot, key } => self.slots.tell(slot, KeeperCommand::Kill { key }),
            Action::Arm { key, limit } => self.watchlist.arm(key, limit),
            Action::Disarm(key) => self.watchlist.disarm(key),
            Action::Settle(key, settle) => {
                let _ = self.settlements.send((key, *settle));
            }
            Action::ShowOutput { slot, key, request } => {
                if let Some(slot) = self.slots.sender(slot) {
                    self.outputs.show(key, request, slot);
                }
            }
            Action::Heartbeat => self.heartbeat.notify_one(),
            Action::Exit { .. } => {}
        }
    }
}
