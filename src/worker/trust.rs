//! Which tasks this worker trusts: those signed by one of its keys for the queue that it knows.
//!
//! A worker remembers the identity of its queue from the first time on, as ssh remembers a host: whoever can write Redis cannot have it take tasks that
//! were signed for another queue by giving this one the other's identity.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::queue::session::ClaimReply;
use crate::queue::{Connection, QueueError, queue_identity};
use crate::signing::{PublicKey, Verifier};
use crate::sys::wall_clock;

/// So few are judged on the spot: handing them to another thread would take longer.
const AT_ONCE: usize = 4;

/// The identity that a worker knows its queue by, and the file where it keeps it.
#[derive(Clone, Debug)]
pub struct Pin {
    file: PathBuf,
    id: Option<String>,
}

impl Pin {
    /// What is remembered in `file`, if anything.
    ///
    /// # Errors
    /// When there is a file that cannot be read: to go on without it would be to trust anew.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        let id = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text.trim().to_owned()).filter(|id| !id.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, id })
    }

    /// The identity, once it is known.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Meets the queue: the first time its identity is taken as found, or given; from then on it must stay.
    ///
    /// # Errors
    /// Those of any call; [`QueueError::Mismatch`] when it is another queue, or when the identity cannot be kept.
    pub async fn meet(&mut self, conn: &Connection, fresh: &str) -> Result<String, QueueError> {
        if let Some(id) = &self.id {
            return queue_identity::settle(conn, id, Some(&self.file)).await;
        }
        let id = queue_identity::settle(conn, fresh, None).await?;
        let kept = tempfile::NamedTempFile::new_in(self.file.parent().unwrap_or(&self.file)).and_then(|file| {
            std::fs::write(file.path(), format!("{id}\n"))?;
            file.persist(&self.file).map_err(|error| error.error)
        });
        kept.map_err(|error| QueueError::Mismatch(format!("cannot store it in {}: {error}", self.file.display())))?;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Whether a worker that remembers this would start: nothing is written.
    ///
    /// # Errors
    /// As [`Self::meet`].
    pub async fn look(&self, conn: &Connection) -> Result<(), QueueError> {
        match (&self.id, queue_identity::recorded(conn).await?) {
            (Some(_), Some(_)) => self.meet_again(conn).await,
            (_, None) | (None, Some(_)) => Ok(()),
        }
    }

    /// Meets the queue again after a reconnect. One that lost its identity with its data gets it back.
    ///
    /// # Errors
    /// As [`Self::meet`].
    pub async fn meet_again(&self, conn: &Connection) -> Result<(), QueueError> {
        match &self.id {
            Some(id) => queue_identity::settle(conn, id, Some(&self.file)).await.map(drop),
            None => Ok(()),
        }
    }
}

/// The keys that count now: read again when the worker is told to, so that a key can be added or dropped while tasks run.
#[derive(Debug)]
pub struct Keyring {
    verifier: RwLock<Arc<Verifier>>,
}

impl Keyring {
    /// With the keys that the worker starts with.
    #[must_use]
    pub fn new(verifier: Verifier) -> Arc<Self> {
        Arc::new(Self { verifier: RwLock::new(Arc::new(verifier)) })
    }

    /// What judges the next claims.
    #[must_use]
    pub fn now(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files of the keys. One that cannot be used leaves all as it was; so does a list without any, which nobody can mean.
    pub fn read_again(&self, paths: &[PathBuf]) {
        let keys = match PublicKey::load_all(paths) {
            Ok(keys) if keys.is_empty() => return,
            Ok(keys) => keys,
            Err(wrong) => {
                for (index, error) in wrong {
                    let file = paths[index].display();
                    tracing::error!("task_public_keys[{index}]: {file} {error}; the old keys stay in force");
                }
                return;
            }
        };
        let old = self.now();
        let new = old.with_keys(keys.into_iter().map(|(_, key)| key).collect());
        if new == *old {
            return;
        }
        let ids: Vec<String> = new.ids().map(|id| id.to_string()).collect();
        tracing::info!(keys = ids.join(", "), "public keys reloaded: they apply to tasks claimed from now on");
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }
}

/// Takes the claims that must not run out of an answer. Many are judged on another thread, since each takes tens of microseconds.
///
/// `None` when that thread failed; then nothing may run.
pub async fn judge(keyring: &Keyring, reply: ClaimReply) -> Option<ClaimReply> {
    let verifier = keyring.now();
    if reply.claims.len() <= AT_ONCE {
        return Some(sort(&verifier, reply));
    }
    tokio::task::spawn_blocking(move || sort(&verifier, reply)).await.ok()
}

fn sort(verifier: &Verifier, mut reply: ClaimReply) -> ClaimReply {
    // By this node's clock: the server's belongs to those who may be lying.
    let now = wall_clock::now().map_or(u64::MAX, |now| now.as_secs());
    let mut signatures = std::mem::take(&mut reply.signatures).into_iter();
    for claim in std::mem::take(&mut reply.claims) {
        // One for each; should one be missing, its line is not signed.
        let signature = signatures.next().flatten();
        match verifier.verify(&claim.line, signature.as_deref(), now) {
            Ok(()) => reply.claims.push(claim),
            Err(problem) => {
                reply.unsigned.push((claim, problem.to_string()));
            }
        }
    }
    reply
}
