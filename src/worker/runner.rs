//! One slot: hands tasks to its keeper and passes on what the keeper says.

use std::time::Duration;

use tokio::sync::mpsc;

use super::events::{Event, TaskKey};
use crate::process::{Keeper, KeeperCommand, KeeperEvent, ProcessError, RunSpec, Zygote};

/// What a slot is asked to do.
#[derive(Debug)]
pub enum SlotCommand {
    /// Run this when what runs has ended.
    Start(TaskKey, Box<RunSpec>),
    /// Forget it, unless it has started.
    Withdraw(TaskKey),
    /// End it: SIGTERM, then SIGKILL after this grace.
    Terminate(TaskKey, Duration),
    /// End it now.
    Kill(TaskKey),
}

/// The loop of one slot.
pub struct Runner {
    /// Makes the keeper.
    pub zygote: Zygote,
    /// What to do.
    pub commands: mpsc::UnboundedReceiver<SlotCommand>,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
    /// Told the keeper's process id once there is one.
    pub born: Box<dyn FnOnce(u32) + Send>,
}

impl Runner {
    /// Until the slots let go of it, or its keeper dies.
    pub async fn run(mut self) {
        let mut keeper = match self.zygote.keeper().await {
            Ok(keeper) => keeper,
            Err(error) => return self.refuse(&error).await,
        };
        (self.born)(keeper.pid());
        let pid = keeper.pid();
        // What runs, and what waits behind it.
        let mut mine: Vec<TaskKey> = Vec::new();
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    if let SlotCommand::Start(key, _) = command {
                        mine.push(key);
                    }
                    if keeper.send(into_keeper(command)).await.is_err() {
                        break;
                    }
                }
                event = keeper.recv() => {
                    let Ok(event) = event else { break };
                    match &event {
                        KeeperEvent::Ended(ended) => mine.retain(|key| *key != ended.seq),
                        KeeperEvent::SpawnFailed { seq, .. } | KeeperEvent::Withdrawn { seq } => mine.retain(|key| key != seq),
                        KeeperEvent::Started { .. } => {}
                    }
                    if self.events.send(from_keeper(event, pid)).await.is_err() {
                        return;
                    }
                }
            }
        }
        // The zygote kills what the keeper has left before it lets us know.
        let _ = discard(&self.zygote, keeper).await;
        // What was on its way is as lost as what was there.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let SlotCommand::Start(key, _) = command {
                mine.push(key);
            }
        }
        for key in mine {
            let _ = self.events.send(Event::KeeperLost { key }).await;
        }
    }

    /// There is no keeper: whatever was to start here has failed for want of one.
    async fn refuse(mut self, error: &ProcessError) {
        while let Ok(command) = self.commands.try_recv() {
            if let SlotCommand::Start(key, _) = command {
                let failed = Event::SpawnFailed { key, error: error.to_string(), is_ours: true };
                let _ = self.events.send(failed).await;
            }
        }
    }
}

async fn discard(zygote: &Zygote, keeper: Keeper) -> Result<(), ProcessError> {
    zygote.discard(keeper).await
}

fn into_keeper(command: SlotCommand) -> KeeperCommand {
    match command {
        SlotCommand::Start(seq, spec) => KeeperCommand::Run { seq, spec },
        SlotCommand::Withdraw(seq) => KeeperCommand::Withdraw { seq },
        SlotCommand::Terminate(seq, grace) => {
            KeeperCommand::Terminate { seq, grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }
        }
        SlotCommand::Kill(seq) => KeeperCommand::Kill { seq },
    }
}

fn from_keeper(event: KeeperEvent, keeper: u32) -> Event {
    match event {
        KeeperEvent::Started { seq, .. } => Event::Started { key: seq, keeper },
        KeeperEvent::SpawnFailed { seq, error, is_transient } => {
            Event::SpawnFailed { key: seq, error, is_ours: is_transient }
        }
        KeeperEvent::Ended(ended) => Event::Ended { key: ended.seq, ended },
        KeeperEvent::Withdrawn { seq } => Event::Withdrawn { key: seq },
    }
}
