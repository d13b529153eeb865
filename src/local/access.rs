//! Gives commands access to the queue of a working directory: through the server of a run that is active there, or through a server of their
//! own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::discover::Places;
use super::error::LocalError;
use super::place::{Holder, Place, has_queue, holds_data};
use super::server::LocalServer;
use super::socket::{SocketState, ping};

/// How long the server of a run that is at work may take to answer: it may be starting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long those who use our server may keep it from being stopped.
const LEAVE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);
/// Between looks of a command that follows: whether a run wants the queue, and whether a server is there.
const LOOK: Duration = Duration::from_millis(200);

/// A way to the queue of a working directory, until [`Self::close`].
#[derive(Debug)]
pub struct LocalAccess {
    place: Place,
    is_own: bool,
    following: Following,
    /// Asks the task below to end.
    done: Arc<Notify>,
    /// Follows the queue once it is told to, and gives back what is held.
    keeper: JoinHandle<ServerHold>,
}

/// Tells a [`LocalAccess`] that its command only follows the queue from now on, and outlives a change of the server.
#[derive(Clone, Debug)]
pub struct Following(Arc<Notify>);

impl Following {
    /// From now on our server, if we have one, is handed over to a run that wants to start; and where no server is left, one is started.
    pub fn begin(&self) {
        self.0.notify_one();
    }
}

/// What a command holds of a place.
#[derive(Debug)]
struct ServerHold {
    /// Our own server, where no other ran.
    server: Option<LocalServer>,
    /// Held while another's server is used, so that it is not stopped in the middle if its owner only looked, as we do.
    reading: Option<File>,
}

impl LocalAccess {
    /// Finds the server of the run that is at work for `cwd`, or starts one on its data. `may_make`: where nothing has run yet, an empty queue is made.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// There is no queue, no server program, or a server that does not come up.
    pub async fn open(state_dir: &Path, cwd: &Path, may_make: bool) -> Result<Self, LocalError> {
        if !may_make && !has_queue(state_dir, cwd) {
            return Err(LocalError::NoQueue { cwd: cwd.to_owned() });
        }
        let place = Place::make(state_dir, cwd)?;
        let hold = ServerHold::take(&place).await?;
        let is_own = hold.server.is_some();
        let (following, done) = (Following(Arc::default()), Arc::new(Notify::new()));
        let keeper = tokio::spawn(keep(place.clone(), hold, following.clone(), Arc::clone(&done)));
        Ok(Self { place, is_own, following, done, keeper })
    }

    /// The path of the server's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.socket.clone()
    }

    /// Whether the server was started for us: no run is at work there.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// What tells that the command only follows the queue from now on.
    #[must_use]
    pub fn following(&self) -> Following {
        self.following.clone()
    }

    /// Stops the server, if it is ours, once nobody else uses it, or after a few seconds.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn close(self) -> Result<(), LocalError> {
        self.done.notify_one();
        // One that panicked has dropped the server, which ends it.
        let Ok(hold) = self.keeper.await else { return Ok(()) };
        drop(hold.reading);
        match hold.server {
            Some(server) => stop(&self.place, server).await,
            None => Ok(()),
        }
    }
}

impl ServerHold {
    /// Our own server, or a part in another's.
    async fn take(place: &Place) -> Result<Self, LocalError> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Where a run waits for the lock, its server comes soon.
            let locked = if place.is_wanted() { None } else { Some(place.try_lock(Holder::User)) };
            let refused = match locked {
                Some(Ok(lock)) => {
                    let program = Places::of_process().find()?;
                    let server = LocalServer::start_in(place, lock, &program).await?;
                    return Ok(Self { server: Some(server), reading: None });
                }
                Some(Err(error @ (LocalError::AlreadyRunning { .. } | LocalError::InUse { .. }))) => Some(error),
                Some(Err(error)) => return Err(error),
                None => None,
            };
            let reading = place.file("readers").ok();
            // It cannot be had while the server is about to be stopped.
            let is_stopping = reading.as_ref().is_some_and(|file| file.try_lock_shared().is_err());
            if !is_stopping && ping(&place.socket).await == SocketState::Ready {
                return Ok(Self { server: None, reading });
            }
            if let Some(error) = refused.filter(|_| Instant::now() > until) {
                return Err(error);
            }
            sleep(STEP).await;
        }
    }

    /// One look of a command that follows.
    async fn follow(&mut self, place: &Place) {
        // Whoever follows outlives the end of the server, and must not hold it up.
        self.reading = None;
        match self.server.take() {
            Some(server) if place.is_wanted() => {
                if let Err(error) = stop(place, server).await {
                    tracing::warn!(%error, "the private server was handed over, and had not ended well");
                }
            }
            Some(mut server) => self.server = server.is_running().then_some(server),
            None if holds_data(&place.dir)
                && !place.is_wanted()
                && ping(&place.socket).await == SocketState::Nobody =>
            {
                // A run that is at work starts its own again: it has the lock.
                if let (Ok(program), Ok(lock)) = (Places::of_process().find(), place.try_lock(Holder::User)) {
                    self.server = LocalServer::start_in(place, lock, &program).await.ok();
                }
            }
            None => {}
        }
    }
}

/// Holds what a command has of a place until it is done; from the moment that it follows, hands its server over to a run, and starts one where none is
/// left.
async fn keep(place: Place, mut hold: ServerHold, following: Following, done: Arc<Notify>) -> ServerHold {
    tokio::select! {
        () = following.0.notified() => {}
        () = done.notified() => return hold,
    }
    loop {
        hold.follow(&place).await;
        tokio::select! {
            () = sleep(LOOK) => {}
            () = done.notified() => return hold,
        }
    }
}

/// Stops our server once nobody else uses it, or after a few seconds; until it is gone, nobody begins to.
async fn stop(place: &Place, server: LocalServer) -> Result<(), LocalError> {
    let readers = place.file("readers").ok();
    if let Some(file) = &readers {
        let until = Instant::now() + LEAVE;
        while file.try_lock().is_err() && Instant::now() < until {
            sleep(STEP).await;
        }
    }
    let stopped = server.stop().await;
    drop(readers);
    stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_nothing_has_run_there_is_no_queue_to_look_at() {
        let (state, cwd) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let none = LocalAccess::open(state.path(), cwd.path(), false).await;
        assert!(matches!(none, Err(LocalError::NoQueue { .. })), "{none:?}");
        assert!(!state.path().join("local").exists(), "looking makes nothing");
        LocalAccess::open(state.path(), cwd.path(), true).await.expect("made").close().await.expect("stopped");
        let access = LocalAccess::open(state.path(), cwd.path(), false).await.expect("there is one now");
        assert_eq!(ping(&access.socket()).await, SocketState::Ready);
        let second = LocalAccess::open(state.path(), cwd.path(), false).await.expect("the same server");
        assert!(!second.is_own() && access.is_own());
        let socket = access.socket();
        let closing = tokio::spawn(access.close());
        sleep(Duration::from_millis(100)).await;
        assert_eq!(ping(&socket).await, SocketState::Ready, "it is still used");
        second.close().await.expect("let go");
        closing.await.expect("no panic").expect("stopped");
        assert_eq!(ping(&socket).await, SocketState::Nobody);
    }

    #[tokio::test]
    async fn run_takes_over_from_followers_which_continue_after_it() {
        let (state, cwd) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let first = LocalAccess::open(state.path(), cwd.path(), true).await.expect("made");
        let second = LocalAccess::open(state.path(), cwd.path(), false).await.expect("the same server");
        first.following().begin();
        second.following().begin();
        let run = LocalServer::start(state.path(), cwd.path(), false).await.expect("handed over");
        let other = LocalServer::start(state.path(), cwd.path(), false).await;
        assert!(matches!(other, Err(LocalError::AlreadyRunning { .. })), "{other:?}");
        run.stop().await.expect("stopped");
        let until = Instant::now() + PATIENCE;
        while ping(&first.socket()).await != SocketState::Ready {
            assert!(Instant::now() < until, "no server for those who follow");
            sleep(STEP).await;
        }
        first.close().await.expect("stopped");
        let until = Instant::now() + PATIENCE;
        while ping(&second.socket()).await != SocketState::Ready {
            assert!(Instant::now() < until, "no server for the other one");
            sleep(STEP).await;
        }
        second.close().await.expect("stopped");
    }
}
