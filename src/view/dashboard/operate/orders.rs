//! The orders of the last while, each with how far it is. They are in memory alone: what an order did is in the event log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::desk::{CarryOut, OrderDesk, Prepared};
use super::order::Order;
use crate::sys::random;

/// Orders that are remembered.
const REMEMBERED: usize = 32;

/// How long a question stands: what it says of the queue was true when it was asked.
const STANDS: Duration = Duration::from_secs(600);

/// Orders that are looked into or carried out at once; more wait.
const AT_ONCE: usize = 2;

/// What is asked before an order is carried out.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) what: String,
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// How far an order is.
enum Stage {
    Preparing,
    Asking(Arc<Question>, CarryOut),
    Running(Arc<Question>),
    Done(Arc<Question>, String),
    Failed(String),
    Expired,
}

/// The same, to be shown.
#[derive(Clone)]
pub(super) enum Progress {
    Preparing,
    Asking(Arc<Question>),
    Running(Arc<Question>),
    Done(Arc<Question>, String),
    Failed(String),
    Expired,
}

/// One order of somebody.
pub(super) struct OrderEntry {
    /// Part of its address; nobody can guess it.
    pub(super) id: String,
    pub(super) order: Order,
    /// Who gave it.
    pub(super) by: String,
    /// The session that gave it, and that alone may confirm it.
    pub(super) session: [u8; 32],
    began: Instant,
    stage: Mutex<Stage>,
}

impl OrderEntry {
    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(super) fn progress(&self) -> Progress {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*stage, Stage::Asking(..)) && self.began.elapsed() > STANDS {
            *stage = Stage::Expired;
        }
        match &*stage {
            Stage::Preparing => Progress::Preparing,
            Stage::Asking(question, _) => Progress::Asking(Arc::clone(question)),
            Stage::Running(question) => Progress::Running(Arc::clone(question)),
            Stage::Done(question, told) => Progress::Done(Arc::clone(question), told.clone()),
            Stage::Failed(why) => Progress::Failed(why.clone()),
            Stage::Expired => Progress::Expired,
        }
    }

    /// Takes what carries it out: whoever comes a second time finds nothing.
    fn take(&self) -> Option<(Arc<Question>, CarryOut)> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let Stage::Asking(question, _) = &*stage else { return None };
        let question = Arc::clone(question);
        let running = Stage::Running(Arc::clone(&question));
        match std::mem::replace(&mut *stage, running) {
            Stage::Asking(_, carry_out) => Some((question, carry_out)),
            Stage::Preparing | Stage::Running(_) | Stage::Done(..) | Stage::Failed(_) | Stage::Expired => None,
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self.progress(), Progress::Preparing | Progress::Running(_))
    }
}

/// All orders.
pub(in crate::view::dashboard) struct Orders {
    desk: Arc<dyn OrderDesk>,
    entries: Mutex<VecDeque<Arc<OrderEntry>>>,
    turns: Arc<Semaphore>,
}

impl Orders {
    pub(in crate::view::dashboard) fn new(desk: Arc<dyn OrderDesk>) -> Self {
        Self { desk, entries: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Begins to look into an order; `None` when too many are under way.
    pub(super) fn prepare(&self, order: Order, by: &str, session: [u8; 32]) -> Option<Arc<OrderEntry>> {
        let mut id = [0; 16];
        random::fill(&mut id).ok()?;
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (stage, began) = (Mutex::new(Stage::Preparing), Instant::now());
        let entry = Arc::new(OrderEntry { id, order, by: by.to_owned(), session, began, stage });
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() >= REMEMBERED {
                let oldest = entries.iter().position(|entry| !entry.is_under_way())?;
                entries.remove(oldest);
            }
            entries.push_back(Arc::clone(&entry));
        }
        let (desk, turns, job) = (Arc::clone(&self.desk), Arc::clone(&self.turns), Arc::clone(&entry));
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            match desk.prepare(job.order.clone()).await {
                Ok(Prepared { what, count, examples, notes, carry_out }) => {
                    job.set(Stage::Asking(Arc::new(Question { what, count, examples, notes }), carry_out));
                }
                Err(why) => job.set(Stage::Failed(why)),
            }
        });
        Some(entry)
    }

    /// An order of this session.
    pub(super) fn find(&self, id: &str, session: &[u8; 32]) -> Option<Arc<OrderEntry>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find(|entry| entry.id == id && entry.session == *session).map(Arc::clone)
    }

    /// All of them, the last one first.
    pub(super) fn all(&self) -> Vec<Arc<OrderEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().map(Arc::clone).collect()
    }

    /// Carries an order out that has been confirmed; false if there is nothing to confirm any more.
    pub(super) fn carry_out(&self, entry: &Arc<OrderEntry>) -> bool {
        let Some((question, carry_out)) = entry.take() else { return false };
        let (turns, job) = (Arc::clone(&self.turns), Arc::clone(entry));
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            match carry_out(job.by.clone()).await {
                Ok(told) => job.set(Stage::Done(question, told)),
                Err(why) => job.set(Stage::Failed(why)),
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::view::dashboard::operate::desk::OrderFuture;

    #[derive(Default)]
    struct Desk(Arc<AtomicUsize>);

    impl OrderDesk for Desk {
        fn prepare(self: Arc<Self>, _order: Order) -> OrderFuture<Prepared> {
            let done = Arc::clone(&self.0);
            let carry_out: CarryOut = Box::new(move |by| {
                Box::pin(async move { Ok(format!("{} by {by}", done.fetch_add(1, Ordering::Relaxed) + 1)) })
            });
            let (what, examples, notes) = ("do it".to_owned(), Vec::new(), Vec::new());
            Box::pin(async move { Ok(Prepared { what, count: 1, examples, notes, carry_out }) })
        }
    }

    async fn until(entry: &OrderEntry, wanted: fn(&Progress) -> bool) -> Progress {
        loop {
            match entry.progress() {
                found if wanted(&found) => return found,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn confirmed_order_is_carried_out_once_and_by_its_session() {
        let desk = Arc::new(Desk::default());
        let orders = Orders::new(Arc::clone(&desk) as Arc<dyn OrderDesk>);
        let order = Order::parse("pause", "").expect("an order");
        let entry = orders.prepare(order, "ann", [1; 32]).expect("a place");
        assert!(!orders.carry_out(&entry), "nothing was asked yet");
        until(&entry, |found| matches!(found, Progress::Asking(_))).await;
        assert!(orders.find(&entry.id, &[2; 32]).is_none() && orders.find(&entry.id, &[1; 32]).is_some());
        assert!(orders.carry_out(&entry) && !orders.carry_out(&entry));
        let Progress::Done(_, told) = until(&entry, |found| matches!(found, Progress::Done(..))).await else {
            unreachable!("it was waited for")
        };
        assert_eq!((told.as_str(), desk.0.load(Ordering::Relaxed)), ("1 by ann", 1));
        assert!(!orders.carry_out(&entry));
    }

    #[tokio::test]
    async fn orders_are_bounded_and_old_ones_go() {
        let orders = Orders::new(Arc::new(Desk::default()));
        let order = || Order::parse("pause", "").expect("an order");
        let first = orders.prepare(order(), "ann", [1; 32]).expect("a place");
        until(&first, |found| matches!(found, Progress::Asking(_))).await;
        for _ in 0..REMEMBERED {
            assert!(orders.prepare(order(), "ann", [1; 32]).is_some());
        }
        assert!(orders.find(&first.id, &[1; 32]).is_none());
        assert!(orders.prepare(order(), "ann", [1; 32]).is_none(), "all the others are under way");
    }
}
