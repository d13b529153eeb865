//! The queue of a working directory, for commands that look at it or change it: through the server of the run that is at work there, or through one of
//! their own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::discover::Places;
use super::error::LocalError;
use super::place::{Place, has_queue};
use super::server::LocalServer;
use super::socket::{Answer, ping};

/// How long the server of a run that is at work may take to answer: it may be starting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long those who use our server may keep it from being stopped.
const LEAVE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// A way to the queue of a working directory, until [`Self::close`].
#[derive(Debug)]
pub struct LocalAccess {
    /// Our own server, where no other ran.
    server: Option<LocalServer>,
    place: Place,
    /// Held while another's server is used, so that it is not stopped in the middle if its owner only looked, as we do.
    reading: Option<File>,
}

impl LocalAccess {
    /// Finds the server of the run that is at work for `cwd`, or starts one on its data. `may_make`: where nothing has run yet, an empty queue is made.
    ///
    /// # Errors
    /// There is no queue, no server program, or a server that does not come up.
    pub async fn open(state_dir: &Path, cwd: &Path, may_make: bool) -> Result<Self, LocalError> {
        if !may_make && !has_queue(state_dir, cwd) {
            return Err(LocalError::NoQueue { cwd: cwd.to_owned() });
        }
        let place = Place::make(state_dir, cwd)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match place.try_lock() {
                Ok(lock) => {
                    let program = Places::of_process().find()?;
                    let server = LocalServer::start_in(&place, lock, &program).await?;
                    return Ok(Self { server: Some(server), place, reading: None });
                }
                Err(error @ LocalError::AlreadyRunning { .. }) => {
                    let reading = readers(&place).ok().filter(|file| file.try_lock_shared().is_ok());
                    if ping(&place.socket).await == Answer::Ready {
                        return Ok(Self { server: None, place, reading });
                    }
                    if Instant::now() > until {
                        return Err(error);
                    }
                    sleep(STEP).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The path of the server's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.socket.clone()
    }

    /// Whether the server is ours: no run is at work there.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.server.is_some()
    }

    /// Stops the server, if it is ours, once nobody else uses it, or after a few seconds.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn close(self) -> Result<(), LocalError> {
        drop(self.reading);
        let Some(server) = self.server else { return Ok(()) };
        if let Ok(file) = readers(&self.place) {
            let until = Instant::now() + LEAVE;
            while file.try_lock().is_err() && Instant::now() < until {
                sleep(STEP).await;
            }
        }
        server.stop().await
    }
}

fn readers(place: &Place) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(place.dir.join("readers"))
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
        assert_eq!(ping(&access.socket()).await, Answer::Ready);
        let second = LocalAccess::open(state.path(), cwd.path(), false).await.expect("the same server");
        assert!(second.server.is_none() && access.server.is_some());
        let socket = access.socket();
        let closing = tokio::spawn(access.close());
        sleep(Duration::from_millis(100)).await;
        assert_eq!(ping(&socket).await, Answer::Ready, "it is still used");
        second.close().await.expect("let go");
        closing.await.expect("no panic").expect("stopped");
        assert_eq!(ping(&socket).await, Answer::Nobody);
    }
}
