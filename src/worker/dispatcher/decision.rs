//! The one way out of the dispatcher.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::model::meters::WorkerFigures;
use crate::queue::session::Heartbeat;
use crate::worker::events::{Action, Inventory};

/// What follows from an event.
#[derive(Debug)]
pub struct Decision {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What those who asked are told.
    pub replies: Vec<Reply>,
    /// When [`Event::Tick`](crate::worker::events::Event::Tick) is wanted, at the latest; `None` where no time is due. Never a moment that has passed.
    pub next_tick: Option<Instant>,
    /// How long events may coalesce before the next are read; zero: not at all.
    pub coalesce: Duration,
    /// Whether slots are refilled from what was prefetched. Then no slot waits for a settlement, and outcomes may coalesce.
    pub prefetches: bool,
    /// Waiting and indexed lines, as the claim that was answered found them; `None` where no claim was answered.
    pub index_gap: Option<(u64, u64)>,
}

/// An answer on its way to who asked for it.
#[derive(Debug)]
pub enum Reply {
    /// The heartbeat that is due.
    Heartbeat(oneshot::Sender<Heartbeat>, Box<Heartbeat>),
    /// Every claim of the worker.
    Inventory(oneshot::Sender<Inventory>, Inventory),
    /// The worker's figures.
    Figures(oneshot::Sender<WorkerFigures>, Box<WorkerFigures>),
}

impl Reply {
    /// Sends the answer. Whoever asked may have given up waiting.
    pub fn send(self) {
        match self {
            Self::Heartbeat(to, heartbeat) => drop(to.send(*heartbeat)),
            Self::Inventory(to, inventory) => drop(to.send(inventory)),
            Self::Figures(to, figures) => drop(to.send(*figures)),
        }
    }
}
