//! The way to each slot: a vector of senders. A slot is opened when something is first sent to it, and again when its keeper has died.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::actor::SlotActor;
use super::protocol::SlotMessage;
use super::run_spec::RunSpecs;
use crate::config::Config;
use crate::host::Job;
use crate::model::{TaskLine, WorkerName};
use crate::process::KeeperCommand;
use crate::worker::events::{Attempt, Event, SlotId, TaskKey};
use crate::worker::keeper_factory::KeeperFactory;
use crate::worker::node_extras::NodeExtras;
use crate::worker::placed::Placed;
use crate::worker::results::Results;
use crate::worker::sampler::Keepers;

/// The slots of a worker by number; the dispatcher names the slot.
pub struct SlotPool {
    keeper_factory: KeeperFactory,
    events: mpsc::Sender<Event>,
    keepers: Keepers,
    /// Whether this worker is a job of a batch system.
    is_in_job: bool,
    specs: RunSpecs,
    /// By slot.
    senders: Vec<mpsc::UnboundedSender<SlotMessage>>,
}

impl SlotPool {
    /// No slot yet; they are opened when they are needed.
    #[must_use]
    pub fn new(
        keeper_factory: KeeperFactory,
        events: mpsc::Sender<Event>,
        keepers: Keepers,
        worker: WorkerName,
        results: Results,
        node: NodeExtras,
    ) -> Self {
        let (is_in_job, specs) = (Job::of_process().is_one(), RunSpecs::new(worker, results, node));
        Self { keeper_factory, events, keepers, is_in_job, specs, senders: Vec::new() }
    }

    /// Hands a task to a slot, to start when all that was handed to it before has ended; not after the moment `before`.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one action of the dispatcher")]
    pub fn start(
        &mut self,
        slot: SlotId,
        key: TaskKey,
        task: &TaskLine,
        attempt: &Attempt,
        before: Instant,
        placed: &Placed,
        config: &Config,
    ) {
        let spec = Box::new(self.specs.of(task, attempt, before, placed, config));
        let command = SlotMessage::Keeper(KeeperCommand::Run { key, spec });
        let refused = match self.senders.get(slot) {
            Some(sender) => sender.send(command).map_err(|refused| refused.0),
            None => Err(command),
        };
        if let Err(command) = refused {
            // The first command of this slot, or its keeper has died: another keeper reads it when it is there.
            let sender = self.open(slot);
            let _ = sender.send(command);
        }
    }

    /// Tells a slot something about a task that it has. A slot whose keeper has died has none, and says so by itself.
    pub fn tell(&self, slot: SlotId, command: KeeperCommand) {
        if let Some(sender) = self.senders.get(slot) {
            let _ = sender.send(SlotMessage::Keeper(command));
        }
    }

    /// Where to ask for the output of a task that runs in this slot.
    #[must_use]
    pub fn sender(&self, slot: SlotId) -> Option<mpsc::UnboundedSender<SlotMessage>> {
        self.senders.get(slot).cloned()
    }

    fn open(&mut self, slot: SlotId) -> &mpsc::UnboundedSender<SlotMessage> {
        while self.senders.len() <= slot {
            // Replaced by that of an actor before it is used: slots are opened in their order.
            self.senders.push(mpsc::unbounded_channel().0);
        }
        let (sender, commands) = mpsc::unbounded_channel();
        let actor = SlotActor {
            is_in_job: self.is_in_job,
            keeper_factory: self.keeper_factory.clone(),
            commands,
            events: self.events.clone(),
            keepers: Arc::clone(&self.keepers),
            scratch: Vec::new(),
        };
        tokio::spawn(actor.run());
        self.senders[slot] = sender;
        &self.senders[slot]
    }
}
