//! What runs: its start, its end, and ending it early.

use std::sync::Arc;
use std::time::Instant;

use super::{Dispatcher, Skip};
use crate::model::Bytes;
use crate::policy::Lifecycle;
use crate::process::Ended;
use crate::queue::follow::OutputRequest;
use crate::queue::session::{Revoked, Settle, Settled, Settlement};
use crate::worker::events::{Action, TaskKey};
use crate::worker::ledger::{ClaimState, Entry, StopReason};
use crate::worker::outcome;

/// The most lines remembered as given back for memory.
const REMEMBERED: usize = 64;

impl Dispatcher {
    pub(super) fn started(&mut self, now: Instant, key: TaskKey, keeper: u32) {
        let Some(entry) = self.ledger.get(key) else { return };
        let limit = match entry.task.timeout() {
            Some(limit) => limit,
            None => self.config.default_timeout.map_or(0, |limit| limit.as_secs()),
        };
        if !self.ledger.started(key, keeper, limit, now) {
            return;
        }
        self.outbox.add_started(key);
        if limit > 0 {
            self.actions.push(Action::Arm { key, limit });
        }
    }

    pub(super) fn spawn_failed(&mut self, now: Instant, key: TaskKey, error: &str, is_node_fault: bool) {
        let Some(entry) = self.ledger.get(key) else { return };
        tracing::warn!(task = %entry.task.id(), error, "could not start");
        if is_node_fault {
            self.intake.pause(now);
            self.give_back_unstarted(key);
        } else {
            let settle = outcome::settle_unspawnable(self.context(), entry, error, self.moment.unix_ms);
            self.settle(key, settle);
        }
    }

    /// Neither the task's fault nor the node's: another worker has the device, or what an earlier one left running.
    pub(super) fn device_busy(&mut self, key: TaskKey, resource: &str, device: &str) {
        self.placement.found_busy(resource, device);
        if let Some(entry) = self.ledger.get(key) {
            tracing::warn!(task = %entry.task.id(), resource, device, "another process of this node has the device; returning the task");
            self.never_ran(key);
        }
    }

    /// Moves the tasks that share cores, where other tasks have taken some of these for themselves, or given them back.
    pub(super) fn move_shared(&mut self) {
        let (keys, cores) = self.placement.moves();
        for key in keys {
            if let Some(slot) = self.ledger.get(key).and_then(|entry| entry.state.slot()) {
                self.actions.push(Action::Move { slot, key, cores: cores.clone() });
            }
        }
    }

    pub(super) fn ended(&mut self, now: Instant, key: TaskKey, ended: &Ended) {
        self.completion_rate.ended(now, ended.duration);
        self.meters.task_seconds.add(ended.duration.as_secs_f64());
        self.intake.task_ended();
        self.actions.push(Action::Disarm(key));
        let Some(entry) = self.ledger.get(key) else { return };
        let (cause, touched) = match entry.state {
            ClaimState::Terminating { cause, touched, .. } => (Some(cause), touched),
            ClaimState::Held { .. }
            | ClaimState::Queued { .. }
            | ClaimState::Starting { .. }
            | ClaimState::Running { .. }
            | ClaimState::Settling => (None, Bytes::ZERO),
        };
        // Whoever ends the worker with its whole tree ends no task for what that has done.
        let is_swept = cause.is_none() && outcome::is_terminated(ended.status) && self.departure.is_swept(now);
        let cause = if is_swept { Some(StopReason::Shutdown) } else { cause };
        if let Some(left) = &ended.scratch_left {
            tracing::warn!(task = %entry.task.id(), left, "cannot remove the scratch directory of the task; the next start of this worker tries again");
        }
        if ended.unkillable {
            tracing::error!(task = %entry.task.id(), "a process of the task survives SIGKILL, because it waits in the kernel");
        }
        if cause == Some(StopReason::Revoked) {
            tracing::info!(task = %entry.task.id(), "killed: the claim is no longer ours");
            self.finish_revoked(key);
            return;
        }
        if cause == Some(StopReason::LowMemory { alone: false }) {
            let peak = touched.max(Bytes(ended.peak_bytes));
            // Full of lines that others took since: what is known of those is worth least.
            if self.skip.len() >= REMEMBERED {
                self.skip.retain(|_, skip| *skip == Skip::Dying);
            }
            self.skip.insert(Arc::clone(&entry.claim.line), Skip::Memory(peak));
        }
        let settle = outcome::settle_ended(self.context(), entry, cause, ended);
        tracing::info!(
            task = %settle.id,
            attempt = entry.claim.attempt,
            seconds = ended.duration.as_secs_f64(),
            result = %describe(&settle),
            "ended"
        );
        self.settle(key, settle);
    }

    pub(super) fn keeper_lost(&mut self, key: TaskKey, had_it: bool) {
        self.actions.push(Action::Disarm(key));
        let Some(entry) = self.ledger.get(key) else { return };
        tracing::error!(task = %entry.task.id(), "its keeper died; its process tree was killed");
        let cause = match entry.state {
            ClaimState::Running { .. } => None,
            // The first thing it did may have kept us from hearing of its start.
            ClaimState::Starting { .. } if had_it => None,
            ClaimState::Terminating { cause, .. } => Some(cause),
            // It had not started: the keeper died of something else.
            ClaimState::Held { .. }
            | ClaimState::Queued { .. }
            | ClaimState::Starting { .. }
            | ClaimState::Settling => {
                return self.never_ran(key);
            }
        };
        if cause == Some(StopReason::Revoked) {
            self.finish_revoked(key);
        } else {
            // A task that kills its keeper must not do so for ever: it counts as an attempt.
            let settle = outcome::settle_unseen(self.context(), entry, cause, self.moment.unix_ms);
            self.settle(key, settle);
        }
    }

    /// It never ran: dropped when it is not ours any more, else given back.
    pub(super) fn never_ran(&mut self, key: TaskKey) {
        let Some(entry) = self.ledger.get(key) else { return };
        if matches!(entry.state, ClaimState::Terminating { cause: StopReason::Revoked, .. }) {
            self.finish_revoked(key);
        } else {
            self.give_back_unstarted(key);
        }
    }

    pub(super) fn overdue(&mut self, key: TaskKey) {
        let Some(entry) = self.ledger.get(key) else { return };
        let ClaimState::Running { limit, .. } = entry.state else { return };
        let limit_of = if entry.task.timeout().is_some() { "the line" } else { "default_task_timeout_seconds" };
        tracing::warn!(task = %entry.task.id(), limit, limit_of, "timed out; terminating its process tree");
        self.end_early(key, StopReason::TimedOut(limit));
    }

    /// Ends a running task: at once for memory and on the second signal, else with its grace.
    pub(super) fn end_early(&mut self, key: TaskKey, cause: StopReason) {
        let Some((slot, cause)) = self.ledger.terminate(key, cause) else { return };
        let at_once = matches!(cause, StopReason::LowMemory { .. }) || self.departure.lifecycle() == Lifecycle::Killing;
        self.actions.push(if at_once { Action::Kill { slot, key } } else { Action::Terminate { slot, key } });
    }

    /// A task that does not run yet has nothing to show; who asked asks again.
    pub(super) fn output_wanted(&mut self, request: OutputRequest) {
        let is_running =
            |state: &ClaimState| matches!(state, ClaimState::Running { .. } | ClaimState::Terminating { .. });
        let found = self.ledger.iter().find(|(_, entry)| is_running(&entry.state) && entry.task.id() == request.id);
        if let Some((key, entry)) = found
            && let Some(slot) = entry.state.slot()
        {
            self.actions.push(Action::ShowOutput { slot, key, request });
        }
    }

    /// One task a check: the newest is killed and given back while free memory is below the trigger.
    pub(super) fn relieve_memory(&mut self) {
        if self.node.free.mem() >= self.limits().trigger {
            return;
        }
        let is_relieving =
            |state: &ClaimState| matches!(state, ClaimState::Terminating { cause: StopReason::LowMemory { .. }, .. });
        if self.ledger.iter().any(|(_, entry)| is_relieving(&entry.state)) {
            return;
        }
        let Some(key) = self.ledger.newest_running() else { return };
        let alone = self.ledger.budget().tasks == 1;
        if let Some(entry) = self.ledger.get(key) {
            tracing::warn!(task = %entry.task.id(), free = %self.node.free.mem(), alone, "memory is low; returning the newest task");
        }
        // First what waits behind it, or its keeper would start the next in its place.
        self.recall_all();
        self.end_early(key, StopReason::LowMemory { alone });
    }

    pub(super) fn settle(&mut self, key: TaskKey, settle: Settle) {
        self.ledger.settle(key);
        self.meters.ended(settle.outcome());
        self.actions.push(Action::Settle(key, Box::new(settle)));
    }

    pub(super) fn give_back_unstarted(&mut self, key: TaskKey) {
        if let Some(entry) = self.ledger.get(key) {
            let settle = outcome::settle_unstarted(entry);
            self.outbox.give_back(key);
            self.settle(key, settle);
        }
    }

    /// Nothing of it runs here any more, which is said at once.
    pub(super) fn finish_revoked(&mut self, key: TaskKey) {
        let Some(Entry { claim, .. }) = self.ledger.remove(key) else { return };
        self.skip.remove(&claim.line);
        self.outbox.add_stopped(Revoked { line: claim.line.to_string(), token: claim.token });
        self.actions.push(Action::Heartbeat);
    }

    pub(super) fn settled(&mut self, batch: Vec<(TaskKey, Settled)>) {
        self.intake.settled();
        for (key, settled) in batch {
            let entry = self.ledger.remove(key);
            self.outbox.confirm(key, entry.is_some());
            if let Some(entry) = entry {
                match settled {
                    Settled::Lost | Settled::Gone => {
                        self.meters.fenced += 1;
                        tracing::warn!(task = %entry.task.id(), ?settled, "late result refused: the claim was no longer ours");
                    }
                    Settled::Ordered => {
                        self.meters.fenced += 1;
                        tracing::info!(task = %entry.task.id(), "outcome refused: the task was requeued, cancelled or purged in the meantime");
                        // Claims passed it over until now.
                        self.intake.hurry();
                    }
                    Settled::OutOfRetries => tracing::warn!(task = %entry.task.id(), "out of retries"),
                    // This worker may take it again in a while, which only the answer to a claim tells.
                    Settled::WillRetry => self.intake.hurry(),
                    Settled::WillRetryLarger => {
                        self.meters.memory_retries += 1;
                        self.intake.hurry();
                    }
                    Settled::Recorded | Settled::Duplicate => {}
                }
            }
        }
        self.look_again();
    }
}

fn describe(settle: &Settle) -> String {
    match &settle.settlement {
        Settlement::Finish { .. } => "finished".to_owned(),
        Settlement::Fail { outcome, .. } => outcome.to_string(),
        Settlement::Return => "returned".to_owned(),
    }
}
