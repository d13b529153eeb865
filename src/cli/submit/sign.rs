//! Decides whether the lines are signed, with which key, and for how long.

use std::sync::Arc;

use crate::cli::common::Context;
use crate::cli::duration::parse_duration;
use crate::cli::exit::CliError;
use crate::cli::keys::{signer, signing_key};
use crate::queue::Connection;
use crate::signing::{SecretKey, Signer};

/// How long a signature counts where nothing else is said: 30 days.
const DEFAULT_SECONDS: u64 = 30 * 86_400;

/// A key that was found good, and how long what it signs counts.
pub(super) struct Signing {
    key: Option<SecretKey>,
    seconds: u64,
}

impl Signing {
    /// Loads the key before anything is connected or read.
    pub(super) fn prepare(context: &Context, expires: Option<&str>) -> Result<Self, CliError> {
        let key = signing_key(&context.config, context.file.as_deref())?;
        let seconds = match expires {
            None => DEFAULT_SECONDS,
            Some(_) if key.is_none() => {
                return Err(CliError::Usage("--expires requires task_signing_key".to_owned()));
            }
            Some(text) => match parse_duration("--expires", text)? as u64 {
                0 => {
                    return Err(CliError::Usage("--expires is 0, so no task could run; valid: 1s or more".to_owned()));
                }
                seconds => seconds,
            },
        };
        if key.is_none() && context.config.require_signed_tasks {
            context.warn("require_signed_tasks is set but task_signing_key is not: no worker will run these tasks");
        }
        Ok(Self { key, seconds })
    }

    /// The signer for the queue that we are connected to; `None` when lines are not signed.
    pub(super) async fn signer(self, context: &Context, conn: &Connection) -> Result<Option<Arc<Signer>>, CliError> {
        let Some(key) = self.key else { return Ok(None) };
        Ok(Some(Arc::new(signer(&context.config, conn, key, self.seconds).await?)))
    }
}
