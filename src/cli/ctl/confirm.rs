//! Asks the one question before anything changes.

use super::args::ChangeOptions;
use crate::cli::exit::CliError;
use crate::cli::question::{ask, can_ask};

/// Asks whether to go on, unless `--yes` has answered that. What the answer is about was printed before.
pub(super) fn confirm(manner: ChangeOptions) -> Result<(), CliError> {
    if manner.yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(CliError::Usage(
            "nothing was changed: without a terminal, --yes is required; --dry-run prints what would change".to_owned(),
        ));
    }
    if ask("Continue?")? { Ok(()) } else { Err(CliError::Usage("nothing was changed".to_owned())) }
}
