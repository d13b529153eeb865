//! Signs again what was signed, when its line is edited.
//!
//! Only a line that was signed by a key known here is signed again, until the same moment as before: our signature must not make a task valid that somebody
//! else has put into Redis, nor one that has expired.

use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::cli::keys::{signer, signing_key};
use crate::model::TaskLine;
use crate::queue::queue_identity;
use crate::signing::{PublicKey, QueueName, Seal, SecretKey, Signer, Verifier, VerifyError};
use crate::sys::wall_clock;

/// Signs edited lines; without a key it can only say which lines would need one.
pub(super) struct Resigner {
    with: Option<(Signer, Verifier)>,
}

impl Resigner {
    /// The key that the configuration names, if any.
    pub(super) fn key(session: &CtlContext) -> Result<Option<SecretKey>, CliError> {
        signing_key(&session.context.config, session.context.file.as_deref())
    }

    /// For the queue that we are connected to.
    pub(super) async fn new(session: &CtlContext, key: Option<SecretKey>) -> Result<Self, CliError> {
        let Some(key) = key else { return Ok(Self { with: None }) };
        let config = &session.context.config;
        // One that cannot be read vouches for nothing: its lines are refused, each with the name of its key.
        let mut known: Vec<PublicKey> =
            config.task_public_keys.iter().filter_map(|path| PublicKey::load(path).ok()).collect();
        known.push(key.public());
        let id = queue_identity::recorded(&session.conn).await?.unwrap_or_default();
        let verifier = Verifier::new(known, QueueName::of(config, id));
        // A dry run writes nothing, not even the identity of a queue that has none: nothing is signed there.
        let signer = match session.manner.dry_run {
            true => Signer::new(key, QueueName::of(config, String::new()), 0),
            false => signer(config, &session.conn, key, 0).await?,
        };
        Ok(Self { with: Some((signer, verifier)) })
    }

    /// Whether what was signed can be signed again: why not, as a text that follows the line.
    pub(super) fn check(&self, line: &str, signature: &[u8]) -> Result<Seal, String> {
        let Some((_, verifier)) = &self.with else {
            return Err(
                "it is signed, and task_signing_key is not set: without a key it cannot be signed again".to_owned()
            );
        };
        let now = wall_clock::now().map_or(u64::MAX, |now| now.as_secs());
        match verifier.verify(line, Some(signature), now) {
            Ok(()) => std::str::from_utf8(signature)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| format!("it cannot be signed again: {}", VerifyError::Unreadable)),
            Err(VerifyError::UnknownKey(key)) => Err(format!(
                "it cannot be signed again: it was signed by key {key}, which is neither task_signing_key nor in task_public_keys"
            )),
            Err(error) => Err(format!("it cannot be signed again: {error}")),
        }
    }

    /// The signature of the new line; `None` where the old one is not signed.
    pub(super) fn seal(&self, old: &str, signature: Option<&[u8]>, new: &TaskLine) -> Result<Option<String>, String> {
        let Some(signature) = signature else { return Ok(None) };
        let seal = self.check(old, signature)?;
        let Some((signer, _)) = &self.with else { return Ok(None) };
        let seal = signer.sign_until(new.as_str(), seal.expires).map_err(|error| format!("failed to {error}"))?;
        Ok(Some(seal.to_string()))
    }
}
