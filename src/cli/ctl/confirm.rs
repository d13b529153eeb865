//! Asking before anything changes.

use std::io::{self, BufRead, IsTerminal, Write};

use super::args::Manner;
use crate::cli::exit::CliError;

/// Refuses at once what could not be asked later.
pub(super) fn check(manner: Manner) -> Result<(), CliError> {
    if manner.yes || manner.dry_run || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(CliError::Usage(
        "there is no terminal to ask on: give --yes to go on, or --dry-run to see what would change".to_owned(),
    ))
}

/// Asks; only `y` and `yes` are yes. The question was printed before.
pub(super) fn confirm(manner: Manner) -> Result<(), CliError> {
    if manner.yes {
        return Ok(());
    }
    let failed = |error| CliError::io("ask", error);
    let mut err = io::stderr().lock();
    write!(err, "Go on? [y/N] ").and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if is_yes(&answer) { Ok(()) } else { Err(CliError::Usage("nothing was changed".to_owned())) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!([" y\n", "YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "no", "yess", "1"].into_iter().any(is_yes));
    }
}
