//! Says who signed a task, by the keys that this configuration names and the identity that the queue shows.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::keys::signing_key;
use crate::config::Config;
use crate::queue::{QueueError, queue_identity};
use crate::signing::{PublicKey, QueueName, Seal, Verifier, VerifyError};
use crate::sys::wall_clock;
use crate::view::text::moment;

/// What is known of the signature of a line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Signature {
    verdict: Verdict,
    /// Short name of the key that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The file of that key here.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Until when it counts, seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// What it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Of this line and this queue, by a key that is known here.
    Good,
    /// The same, once.
    Expired,
    /// Not of this line and this queue.
    Wrong,
    /// By a key that this configuration does not name: there is no telling.
    UnknownKey,
    /// No signature at all, though there is something.
    Unreadable,
    /// Nothing, where signatures are asked for.
    Missing,
    /// The Redis user may not look.
    Hidden,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match (&self.key, &self.file) {
            (Some(key), Some(file)) => format!("by {key} ({})", file.display()),
            (Some(key), None) => format!("by {key}"),
            (None, _) => String::new(),
        };
        let until = self.expires.map_or_else(String::new, |at| moment(at as f64));
        match self.verdict {
            Verdict::Good => write!(f, "{by}, good until {until}"),
            Verdict::Expired => write!(f, "{by}, expired {until}: workers that require signatures do not run the task"),
            Verdict::Wrong => write!(f, "NO: the signature {by} is not of this line and this queue"),
            Verdict::UnknownKey => {
                write!(f, "not checked: signed {by}, a key that task_public_keys does not list here")
            }
            Verdict::Unreadable => write!(f, "NO: its signature cannot be read"),
            Verdict::Missing => write!(f, "by nobody"),
            Verdict::Hidden => write!(f, "unknown: this Redis user may not read signatures"),
        }
    }
}

/// Looks at the signature of a line. `None` where there is none and nobody here asks for one.
pub(super) async fn look(session: &StatusContext, line: &str) -> Result<Option<Signature>, CliError> {
    let config = &session.context.config;
    let is_asked =
        config.require_signed_tasks || !config.task_public_keys.is_empty() || config.task_signing_key.is_some();
    let blank = |verdict| Some(Signature { verdict, key: None, file: None, expires: None });
    let (text, id) = match queue_identity::signature_of(&session.conn, line).await {
        Ok(found) => found,
        Err(QueueError::Denied { .. }) => return Ok(blank(Verdict::Hidden).filter(|_| is_asked)),
        Err(error) => return Err(error.into()),
    };
    let Some(text) = text else { return Ok(blank(Verdict::Missing).filter(|_| is_asked)) };
    let Some(seal) = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<Seal>().ok()) else {
        return Ok(blank(Verdict::Unreadable));
    };
    let keys = known_keys(session, config);
    let now = wall_clock::now().map_or(u64::MAX, |now| now.as_secs());
    let file = keys.iter().find(|(_, key)| key.id() == seal.key).map(|(file, _)| file.clone());
    let verifier =
        Verifier::new(keys.into_iter().map(|(_, key)| key).collect(), QueueName::of(config, id.unwrap_or_default()));
    let verdict = match verifier.verify(line, Some(&text), now) {
        Ok(()) => Verdict::Good,
        Err(VerifyError::Expired(_)) => Verdict::Expired,
        Err(VerifyError::Wrong) => Verdict::Wrong,
        Err(VerifyError::UnknownKey(_)) => Verdict::UnknownKey,
        Err(VerifyError::Unreadable | VerifyError::Missing) => Verdict::Unreadable,
    };
    Ok(Some(Signature { verdict, key: Some(seal.key.to_string()), file, expires: Some(seal.expires) }))
}

/// The keys that the configuration names and that can be used; looking needs none, so that a bad one is only told of.
fn known_keys(session: &StatusContext, config: &Config) -> Vec<(PathBuf, PublicKey)> {
    let mut keys = Vec::new();
    for path in &config.task_public_keys {
        match PublicKey::load(path) {
            Ok(key) => keys.push((path.clone(), key)),
            Err(error) => session.context.warn(&format!("task_public_keys: {} {error}", path.display())),
        }
    }
    // A submitter knows its own.
    if let (Some(path), Ok(Some(own))) = (&config.task_signing_key, signing_key(config, None)) {
        keys.push((path.clone(), own.public()));
    }
    keys
}
