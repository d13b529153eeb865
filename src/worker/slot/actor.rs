//! The loop of one slot: hands tasks to its keeper and passes on what the keeper says. It ends with its keeper.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::protocol::{SlotMessage, SlotProtocol, over};
use crate::process::{self, Keeper, KeeperCommand, KeeperEvent, ProcessError, ScratchPlace};
use crate::sys::boot;
use crate::worker::events::{Event, TaskKey};
use crate::worker::failpoint::failpoint;
use crate::worker::keeper_factory::KeeperFactory;
use crate::worker::outcome;
use crate::worker::sampler::Keepers;

/// How long a keeper that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// How long the signal of a batch system may take from a task to its worker.
const SIGNAL: Duration = Duration::from_millis(500);

/// The loop of one slot.
pub(super) struct SlotActor {
    /// Whether this worker is a job of a batch system.
    pub(super) is_in_job: bool,
    /// Makes the keeper.
    pub(super) keeper_factory: KeeperFactory,
    /// What to do.
    pub(super) commands: mpsc::UnboundedReceiver<SlotMessage>,
    /// The dispatcher.
    pub(super) events: mpsc::Sender<Event>,
    /// Where keepers are listed while they live.
    pub(super) keepers: Keepers,
    /// Directories that its keeper makes for the runs it has, and removes after them.
    pub(super) scratch: Vec<(TaskKey, ScratchPlace)>,
}

impl SlotActor {
    /// Until the slots let go of it, or its keeper dies.
    pub(super) async fn run(mut self) {
        let (keeper, _group) = match self.keeper_factory.keeper().await {
            Ok(keeper) => keeper,
            Err(error) => return self.refuse(&error).await,
        };
        let (pid, maker) = (keeper.pid(), self.keeper_factory.zygote().pid());
        self.listed(|keepers| keepers.push(pid));
        let lost = self.serve(keeper).await;
        self.listed(|keepers| keepers.retain(|keeper| *keeper != pid));
        let (mut keeper, mut mine) = match lost {
            Served::Over => return,
            Served::SetupFailed(error, mine) => return self.refuse_all(mine, &error).await,
            Served::Lost(keeper, mine) => (keeper, mine),
        };
        self.retire(&keeper, maker).await;
        // What it had to say before, should it have been stopped or killed by the task that it had just started.
        while let Ok(Ok(event)) = tokio::time::timeout(GONE, keeper.recv()).await {
            if let Some(over) = over(&event) {
                mine.retain(|key| *key != over);
            }
            if let Some(event) = from_keeper(event, pid) {
                let _ = self.events.send(event).await;
            }
        }
        self.remove_scratch().await;
        // What is sent from here on finds another keeper.
        self.commands.close();
        for (index, key) in mine.into_iter().enumerate() {
            // What waited behind the first had not started.
            let _ = self.events.send(Event::KeeperLost { key, had_it: index == 0 }).await;
        }
        while let Some(message) = self.commands.recv().await {
            if let SlotMessage::Keeper(KeeperCommand::Run { key, .. }) = message {
                let _ = self.events.send(Event::KeeperLost { key, had_it: false }).await;
            }
        }
    }

    /// Runs tasks until the keeper is dead or does not answer, or there is nobody left to run for.
    async fn serve(&mut self, mut keeper: Keeper) -> Served {
        let pid = keeper.pid();
        let mut slot = SlotProtocol::default();
        loop {
            let answer_due = slot.answer_due();
            tokio::select! {
                // What the keeper has said before anything else: after a moment in which we stood still, it and the timer are due together.
                biased;
                event = keeper.recv() => {
                    let Ok(event) = event else { break };
                    match &event {
                        KeeperEvent::Started { .. } => {
                            failpoint!("spawned");
                        }
                        KeeperEvent::Ended(_) => {
                            failpoint!("ended");
                        }
                        KeeperEvent::SetupFailed { error } => {
                            let error = ProcessError::SetupFailed(error.clone());
                            return Served::SetupFailed(error, slot.into_tasks());
                        }
                        KeeperEvent::SpawnFailed { .. }
                        | KeeperEvent::DeviceBusy { .. }
                        | KeeperEvent::Recalled { .. }
                        | KeeperEvent::Output(_) => {}
                    }
                    if let Some(over) = over(&event) {
                        self.scratch.retain(|(key, _)| *key != over);
                    }
                    if let Some(event) = slot.note_event(Instant::now(), event)
                        && let Some(event) = from_keeper(event, pid)
                    {
                        self.let_a_signal_pass(&event).await;
                        if self.events.send(event).await.is_err() {
                            return Served::Over;
                        }
                    }
                }
                message = self.commands.recv() => {
                    let command = match message {
                        None => return Served::Over,
                        Some(SlotMessage::Show { key, stdout_from, stderr_from, to }) => {
                            if !slot.note_viewer(key, &to) {
                                continue;
                            }
                            KeeperCommand::Show { key, stdout_from, stderr_from }
                        }
                        Some(SlotMessage::Keeper(command)) => command,
                    };
                    if let KeeperCommand::Run { key, spec } = &command {
                        failpoint!("starting");
                        if boot::clock_ms() >= spec.start_by_ms {
                            // We were frozen on the way here: another may have it by now.
                            if self.events.send(Event::Recalled { key: *key }).await.is_err() {
                                return Served::Over;
                            }
                            continue;
                        }
                    }
                    if let KeeperCommand::Run { key, spec } = &command
                        && let Some(place) = &spec.scratch
                    {
                        self.scratch.push((*key, place.clone()));
                    }
                    slot.note_command(Instant::now(), &command);
                    // That it has gone is heard below, after all that it said.
                    let _ = keeper.send(command).await;
                }
                () = tokio::time::sleep_until(answer_due.unwrap_or_else(Instant::now)), if answer_due.is_some() => {
                    if slot.extends(Instant::now()) {
                        continue;
                    }
                    tracing::error!(keeper = pid, "a keeper does not answer; killing it");
                    break;
                }
            }
        }
        Served::Lost(keeper, slot.into_tasks())
    }

    /// A batch system that ends a job signals all of its processes at once: the worker hears of its own signal before the end of its tasks is judged.
    async fn let_a_signal_pass(&self, event: &Event) {
        if self.is_in_job && matches!(event, Event::Ended { ended, .. } if outcome::is_terminated(ended.status)) {
            tokio::time::sleep(SIGNAL).await;
        }
    }

    /// Kills a keeper and waits until the zygote has killed what it kept, so that nothing is started again beside its own remains.
    async fn retire(&self, keeper: &Keeper, maker: u32) {
        let of = |pid: u32| i32::try_from(pid).ok().and_then(process::identity);
        let (kept, made) = (of(keeper.pid()), of(maker));
        let zygote = self.keeper_factory.zygote();
        let _ = zygote.discard(keeper).await;
        let end = Instant::now() + GONE;
        until_gone(kept, end).await;
        // The zygote looks after its dead before it listens: once it has answered, it has done so.
        let answer = zygote.keeper().await;
        if zygote.pid() != maker || answer.is_err() {
            if zygote.pid() != maker || matches!(answer, Err(ProcessError::ZygoteGone)) {
                // Its end is heard of before it is over, and until then it takes in what its keeper left: below it, that would pass for kept.
                until_gone(made, end).await;
            }
            let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.keeper_factory.kill_strays(keepers).await;
        }
    }

    /// Removes what a dead keeper could not.
    async fn remove_scratch(&mut self) {
        for (_, place) in std::mem::take(&mut self.scratch) {
            let removed = tokio::task::spawn_blocking(move || place.remove_left()).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "cannot remove the scratch directory of a task; the next start of this worker tries again");
            }
        }
    }

    /// The keeper ended at its start: none of these has been started, and none was its end.
    async fn refuse_all(self, mine: Vec<TaskKey>, error: &ProcessError) {
        tracing::error!(error = %error, "a keeper exited at its start");
        for key in mine {
            let failed = Event::SpawnFailed { key, error: error.to_string(), is_node_fault: true };
            let _ = self.events.send(failed).await;
        }
        self.refuse(error).await;
    }

    /// There is no keeper: whatever was to start here has failed for want of one.
    async fn refuse(mut self, error: &ProcessError) {
        self.commands.close();
        while let Some(message) = self.commands.recv().await {
            if let SlotMessage::Keeper(KeeperCommand::Run { key, .. }) = message {
                let failed = Event::SpawnFailed { key, error: error.to_string(), is_node_fault: true };
                let _ = self.events.send(failed).await;
            }
        }
    }

    fn listed(&self, change: impl FnOnce(&mut Vec<u32>)) {
        change(&mut self.keepers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// How serving a keeper came to its end.
enum Served {
    /// There is nobody left to run for.
    Over,
    /// It is dead, or did not answer; the tasks it had.
    Lost(Keeper, Vec<TaskKey>),
    /// It never was of use; the tasks that were handed to it.
    SetupFailed(ProcessError, Vec<TaskKey>),
}

/// Waits until a process is gone, or a zombie, which has no children; not after `end`.
async fn until_gone(who: Option<process::ProcessIdentity>, end: Instant) {
    while who.is_some_and(|who| process::is_alive(who.pid, who.start_ticks)) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What the dispatcher is told of it, if anything.
fn from_keeper(event: KeeperEvent, keeper: u32) -> Option<Event> {
    Some(match event {
        KeeperEvent::Started { key, .. } => Event::Started { key, keeper },
        KeeperEvent::SpawnFailed { key, error, is_node_fault } => Event::SpawnFailed { key, error, is_node_fault },
        KeeperEvent::DeviceBusy { key, resource, device } => Event::DeviceBusy { key, resource, device },
        KeeperEvent::Ended(ended) => Event::Ended { key: ended.key, ended },
        KeeperEvent::Recalled { key } => Event::Recalled { key },
        KeeperEvent::Output(_) | KeeperEvent::SetupFailed { .. } => return None,
    })
}
