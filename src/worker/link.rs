//! The connection to Redis and the right to act on it. Every loop takes the present [`Session`] from here and reports what breaks; one loop makes it
//! anew: attach, reassert what runs, send recent reports again if Redis lost data, and only then let the others go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use super::claim_comparison::compare;
use super::events::Event;
use super::failpoint::failpoint;
use super::faults::{Doing, Faults};
use super::replay_buffer::ReplayBuffer;
use super::trust::Pin;
use crate::model::{FieldOrder, WorkerName};
use crate::queue::call_size;
use crate::queue::session::{AttachOptions, Registration, Settle};
use crate::queue::{Client, QueueError, Session};
use crate::sys::random;

/// At most one connection attempt a second, at random within the second, so that a fleet does not come back as one.
const LEAST_PAUSE: Duration = Duration::from_millis(1000);

/// For how long after a loss of data a result is kept whose line is nowhere.
const AFTER_LOSS: Duration = Duration::from_secs(60);

/// What the loops share.
pub struct Link {
    client: Client,
    worker: WorkerName,
    registration: Registration,
    session: watch::Sender<Option<Session>>,
    /// The last session's, so that its epoch is never used again.
    last_fence: Mutex<String>,
    /// The queue that signatures must be for, where they are required.
    pin: Option<Pin>,
    broken: Notify,
    server: Mutex<Server>,
    /// What Redis refuses, or does not answer, for now.
    pub faults: Faults,
    /// The field order of its lines.
    order: FieldOrder,
    /// An operator has drained it, as the last heartbeat's answer had it.
    is_drained: AtomicBool,
    /// Reports acknowledged a moment ago.
    pub replay_buffer: Mutex<ReplayBuffer>,
}

#[derive(Default)]
struct Server {
    run_id: String,
    lost_data: Option<Instant>,
    /// ReplayBuffer reports have yet to be sent again.
    owes_reports: bool,
}

impl Link {
    /// A link that has a session already.
    #[must_use]
    pub fn new(
        client: Client,
        registration: Registration,
        session: Session,
        run_id: String,
        pin: Option<Pin>,
        order: FieldOrder,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            worker: session.worker().clone(),
            registration,
            pin,
            last_fence: Mutex::new(session.fence().to_owned()),
            session: watch::Sender::new(Some(session)),
            broken: Notify::new(),
            server: Mutex::new(Server { run_id, lost_data: None, owes_reports: false }),
            faults: Faults::default(),
            order,
            is_drained: AtomicBool::default(),
            replay_buffer: Mutex::default(),
        })
    }

    /// The present session; `None` while there is none.
    #[must_use]
    pub fn present(&self) -> Option<Session> {
        self.session.borrow().clone()
    }

    /// The present session, waiting for one while there is none.
    pub async fn session(&self) -> Session {
        let mut receiver = self.session.subscribe();
        loop {
            let present = receiver.borrow_and_update().clone();
            if let Some(session) = present {
                return session;
            }
            if receiver.changed().await.is_err() {
                // The sender lives as long as we do.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells of an error of a call. A broken connection, or a fence, ends the session for everybody; a refusal is logged as far as it is news.
    ///
    /// Whether it is a refusal.
    pub fn report(&self, session: &Session, doing: Doing, error: &QueueError) -> bool {
        if !error.breaks_connection() && !matches!(error, QueueError::Fenced) {
            self.faults.failed(Instant::now(), doing, error);
            return true;
        }
        let ended = self.session.send_if_modified(|present| {
            let is_same = present.as_ref().is_some_and(|present| present.fence() == session.fence());
            if is_same {
                *present = None;
            }
            is_same
        });
        if ended {
            tracing::warn!(error = %error, "lost Redis");
            self.broken.notify_one();
        }
        false
    }

    /// Tells that a call has succeeded.
    pub fn worked(&self, doing: Doing) {
        self.faults.worked(Instant::now(), doing);
    }

    /// Remembers whether an operator has drained this worker.
    pub fn note_drain(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Ordering::Relaxed);
    }

    /// Whether a result whose line is nowhere is to be kept: Redis lost data a moment ago.
    #[must_use]
    pub fn keeps_results(&self) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.lost_data.is_some_and(|at| at.elapsed() < AFTER_LOSS)
    }

    /// Repairs the link whenever it breaks; ends with the error that makes it hopeless: another owns the name.
    pub async fn run(self: Arc<Self>, events: mpsc::Sender<Event>, max_retry: impl Fn() -> u32) -> QueueError {
        loop {
            self.broken.notified().await;
            if events.send(Event::LinkDown).await.is_err() {
                std::future::pending::<()>().await;
            }
            let mut is_first = true;
            loop {
                match self.repair(&events, max_retry()).await {
                    Ok(()) => break,
                    Err(QueueError::Fenced) => return QueueError::Fenced,
                    Err(error) => self.faults.failed(Instant::now(), Doing::Reconnect, &error),
                }
                is_first = false;
                tokio::time::sleep(LEAST_PAUSE.mul_f64(1.0 + random::fraction())).await;
            }
            if is_first {
                tracing::info!("Redis is back");
            } else {
                self.worked(Doing::Reconnect);
            }
        }
    }

    async fn repair(&self, events: &mpsc::Sender<Event>, max_retry: u32) -> Result<(), QueueError> {
        let conn = self.client.connect().await?;
        conn.load_scripts().await?;
        let run_id = conn.run_id().await?;
        if let Some(pin) = &self.pin {
            pin.meet_again(&conn).await?;
        }
        let owes_reports = {
            let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            if server.run_id != run_id {
                server.run_id = run_id;
                server.lost_data = Some(Instant::now());
                server.owes_reports = true;
            }
            server.owes_reports
        };
        // Our own fence, of whatever epoch, or a name that was declared dead may be taken; another instance may not.
        let last = self.last_fence.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_drained = self.is_drained.load(Ordering::Relaxed);
        let standing = AttachOptions { order: Some(self.order), is_drained, ..AttachOptions::default() };
        let session = Session::attach(conn, self.worker.clone(), &self.registration, Some(&last), standing).await?;
        session.fence().clone_into(&mut self.last_fence.lock().unwrap_or_else(PoisonError::into_inner));
        failpoint!("attached");
        if owes_reports {
            let again = self.replay_buffer.lock().unwrap_or_else(PoisonError::into_inner).all();
            for batch in call_size::parts(&again, 64, Settle::size) {
                session.settle(batch, max_retry, true).await.map_err(not_final)?;
            }
            self.server.lock().unwrap_or_else(PoisonError::into_inner).owes_reports = false;
        }
        // While no other call of ours is under way, both sides are final.
        if let Some(differences) = compare(&session, events, self.keeps_results()).await.map_err(not_final)? {
            let _ = events.send(differences.into_event()).await;
        }
        self.session.send_replace(Some(session));
        let _ = events.send(Event::LinkUp).await;
        Ok(())
    }
}

/// Only an attach that is refused is hopeless: a fence after it says that we were declared dead meanwhile, and the name may be had again.
fn not_final(error: QueueError) -> QueueError {
    if matches!(error, QueueError::Fenced) {
        QueueError::busy("declared dead while reconnecting".to_owned())
    } else {
        error
    }
}
