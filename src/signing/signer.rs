//! A submitter's signature of a task line.

use ed25519_dalek::Signer as _;

use super::seal::{NONCE, Seal, message};
use super::{QueueName, SecretKey};
use crate::sys::random;

/// Signs lines for one queue, all with the same expiry.
#[derive(Debug)]
pub struct Signer {
    key: SecretKey,
    queue: QueueName,
    expires: u64,
}

/// The system has no random numbers to give.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("sign: the system provides no random numbers")]
pub struct SignError;

impl Signer {
    /// A signer whose signatures count until the second `expires` since the epoch.
    #[must_use]
    pub fn new(key: SecretKey, queue: QueueName, expires: u64) -> Self {
        Self { key, queue, expires }
    }

    /// Signs a line.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, line: &str) -> Result<Seal, SignError> {
        self.sign_until(line, self.expires)
    }

    /// Signs a line until another second since the epoch.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign_until(&self, line: &str, expires: u64) -> Result<Seal, SignError> {
        let mut nonce = [0; NONCE];
        random::fill(&mut nonce).map_err(|_| SignError)?;
        let signature = self.key.key.sign(&message(&self.queue, expires, &nonce, line)).to_bytes();
        Ok(Seal { expires, key: self.key.id(), nonce, signature })
    }
}
