//! Loads the keys that the configuration names. A fault of a key file reads like any other fault of the configuration.

use std::path::{Path, PathBuf};

use super::exit::CliError;
use crate::config::{Config, ConfigErrors, DEFAULT_FILE, Fault, FaultSource};
use crate::queue::{Connection, queue_identity};
use crate::signing::{KeyError, PublicKey, QueueName, SecretKey, Signer, public_path};
use crate::sys::wall_clock;

/// The keys whose signatures count, each with its file; none where no signature is required. `file` is the configuration's own.
pub(crate) fn public_keys(config: &Config, file: Option<&Path>) -> Result<Vec<(PathBuf, PublicKey)>, CliError> {
    if !config.require_signed_tasks {
        return Ok(Vec::new());
    }
    PublicKey::load_all(&config.task_public_keys).map_err(|wrong| {
        let told = wrong.into_iter().map(|(index, error)| {
            let path = &config.task_public_keys[index];
            let valid = match error {
                KeyError::Secret => format!("the public key, usually {}", public_path(path).display()),
                KeyError::Changeable(_) => format!("mode 644 (`chmod 644 {}`)", path.display()),
                KeyError::Unreadable(_)
                | KeyError::Open(_)
                | KeyError::Public
                | KeyError::Malformed(_)
                | KeyError::Uncreatable(_)
                | KeyError::NoRandomness => "the file KEY.pub that `distcomp-ctl keygen --out KEY` wrote".to_owned(),
            };
            fault(&format!("task_public_keys[{index}]"), path, &error, valid)
        });
        errors(file, told.collect())
    })
}

/// The key that a submitter signs with, if it is to sign.
pub(crate) fn signing_key(config: &Config, file: Option<&Path>) -> Result<Option<SecretKey>, CliError> {
    let Some(path) = &config.task_signing_key else { return Ok(None) };
    SecretKey::load(path).map(Some).map_err(|error| {
        let valid = match error {
            KeyError::Open(_) => format!("mode 600 (`chmod 600 {}`)", path.display()),
            KeyError::Public => "the secret key: the file without .pub".to_owned(),
            KeyError::Unreadable(_)
            | KeyError::Changeable(_)
            | KeyError::Secret
            | KeyError::Malformed(_)
            | KeyError::Uncreatable(_)
            | KeyError::NoRandomness => "the file KEY that `distcomp-ctl keygen --out KEY` wrote".to_owned(),
        };
        errors(file, vec![fault("task_signing_key", path, &error, valid)])
    })
}

/// A signer for the queue of a connection, whose signatures count for this many seconds.
pub(crate) async fn signer(
    config: &Config,
    conn: &Connection,
    key: SecretKey,
    seconds: u64,
) -> Result<Signer, CliError> {
    let fresh = queue_identity::fresh().map_err(|error| CliError::io("get random numbers", error))?;
    let id = queue_identity::settle(conn, &fresh, None).await?;
    let expires = wall_clock::unix_seconds().saturating_add(seconds);
    Ok(Signer::new(key, QueueName::of(config, id), expires))
}

fn fault(key: &str, path: &Path, error: &KeyError, valid: String) -> Fault {
    Fault {
        key: key.to_owned(),
        source: FaultSource::File,
        found: format!("{:?}", path.display().to_string()),
        problem: error.to_string(),
        valid,
    }
}

fn errors(file: Option<&Path>, faults: Vec<Fault>) -> CliError {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    CliError::Config(ConfigErrors { path, faults, warnings: Vec::new() })
}
