//! A worker's check of the signature of a task line before it runs the task.

use ed25519_dalek::Signature;

use super::seal::{BadSeal, Seal, message};
use super::{KeyId, PublicKey, QueueName};

/// Judges signatures for one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    keys: Vec<PublicKey>,
    queue: QueueName,
}

/// Why a line may not run. The text fits after `not signed: `, and holds nothing that a stranger could choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is no signature.
    #[error("it has no signature")]
    Missing,
    /// There is something else in its place.
    #[error("its signature cannot be read")]
    Unreadable,
    /// Made with a key that is none of ours.
    #[error("its signature is of key {0}, which this worker does not know")]
    UnknownKey(KeyId),
    /// Made for another line or queue, with another expiry, or altered since.
    #[error("its signature is not of this line and this queue")]
    Wrong,
    /// It was good until this second.
    #[error("its signature has expired, at {}", moment(*.0))]
    Expired(u64),
}

impl Verifier {
    /// Accepts signatures for `queue` by any of `keys`.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, queue: QueueName) -> Self {
        Self { keys, queue }
    }

    /// The same for other keys.
    #[must_use]
    pub fn with_keys(&self, keys: Vec<PublicKey>) -> Self {
        Self { keys, queue: self.queue.clone() }
    }

    /// The names of its keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(PublicKey::id)
    }

    /// Judges what lies beside a line, at the second `now` since the epoch.
    ///
    /// # Errors
    /// Why the line may not run.
    pub fn verify(&self, line: &str, seal: Option<&[u8]>, now: u64) -> Result<(), VerifyError> {
        let text = std::str::from_utf8(seal.ok_or(VerifyError::Missing)?).map_err(|_| VerifyError::Unreadable)?;
        let seal: Seal = text.parse().map_err(|BadSeal| VerifyError::Unreadable)?;
        let mut keys = self.keys.iter().filter(|key| key.id == seal.key).peekable();
        if keys.peek().is_none() {
            return Err(VerifyError::UnknownKey(seal.key));
        }
        let message = message(&self.queue, seal.expires, &seal.nonce, line);
        let signature = Signature::from_bytes(&seal.signature);
        // Strict: no two signatures of one message by changing bits that do not count.
        if !keys.any(|key| key.key.verify_strict(&message, &signature).is_ok()) {
            return Err(VerifyError::Wrong);
        }
        // Only now is the expiry known to be the submitter's word.
        if now >= seal.expires { Err(VerifyError::Expired(seal.expires)) } else { Ok(()) }
    }
}

fn moment(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "an unknown time".to_owned(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::{SecretKey, Signer};

    fn key() -> SecretKey {
        let dir = tempfile::tempdir().expect("dir");
        SecretKey::create(&dir.path().join("key")).expect("made")
    }

    fn queue() -> QueueName {
        QueueName { id: "q".to_owned(), db: 0, prefix: String::new() }
    }

    #[test]
    fn only_the_line_the_queue_and_the_time_it_was_made_for() {
        let (ours, other) = (key(), key());
        let verifier = Verifier::new(vec![other.public(), ours.public()], queue());
        let id = ours.id();
        let signer = Signer::new(ours, queue(), 100);
        let seal = signer.sign("line").expect("signed").to_string();
        let judge = |line: &str, seal: &str, now| verifier.verify(line, Some(seal.as_bytes()), now);
        assert_eq!(judge("line", &seal, 99), Ok(()));
        assert_eq!(judge("line", &seal, 100), Err(VerifyError::Expired(100)));
        assert_eq!(judge("lime", &seal, 99), Err(VerifyError::Wrong));
        assert_eq!(judge("line ", &seal, 99), Err(VerifyError::Wrong));
        assert_eq!(judge("line", &seal.replace(".100.", ".999."), 99), Err(VerifyError::Wrong), "a later expiry");
        assert_eq!(judge("line", &seal[..seal.len() - 1], 99), Err(VerifyError::Unreadable));
        assert_eq!(judge("line", "", 99), Err(VerifyError::Unreadable));
        assert_eq!(verifier.verify("line", Some(b"\xff"), 99), Err(VerifyError::Unreadable));
        assert_eq!(verifier.verify("line", None, 99), Err(VerifyError::Missing));
        for queue in [
            QueueName { id: "r".to_owned(), ..queue() },
            QueueName { db: 1, ..queue() },
            QueueName { prefix: "p".to_owned(), ..queue() },
        ] {
            let elsewhere = Verifier::new(verifier.keys.clone(), queue);
            assert_eq!(elsewhere.verify("line", Some(seal.as_bytes()), 99), Err(VerifyError::Wrong));
        }
        let stranger = Verifier::new(vec![other.public()], queue());
        assert_eq!(stranger.verify("line", Some(seal.as_bytes()), 99), Err(VerifyError::UnknownKey(id)));
        let claimed = seal.replace(&id.to_string(), &other.id().to_string());
        assert_eq!(
            stranger.verify("line", Some(claimed.as_bytes()), 99),
            Err(VerifyError::Wrong),
            "a lie about the key"
        );
    }

    #[test]
    fn every_changed_byte_of_a_signature_is_noticed() {
        let key = key();
        let verifier = Verifier::new(vec![key.public()], queue());
        let seal = Signer::new(key, queue(), 100).sign("line").expect("signed").to_string().into_bytes();
        for at in 0..seal.len() {
            for bit in 0..8 {
                let mut changed = seal.clone();
                changed[at] ^= 1 << bit;
                assert!(verifier.verify("line", Some(&changed), 1).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn the_same_line_signed_again_has_another_signature() {
        let signer = Signer::new(key(), queue(), 100);
        assert_ne!(signer.sign("line").expect("signed"), signer.sign("line").expect("signed"));
    }
}
