//! Asks the one question before anything changes.

use std::io::{self, BufRead, IsTerminal, Write};

use nix::sys::termios::{FlushArg, tcflush};

use super::args::ChangeOptions;
use crate::cli::exit::CliError;

/// Asks; only `y` and `yes` are yes. What the answer is about was printed before. What was typed before the question is shown is no answer to it.
pub(super) fn confirm(manner: ChangeOptions) -> Result<(), CliError> {
    if manner.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "nothing was changed: without a terminal, --yes is required; --dry-run prints what would change".to_owned(),
        ));
    }
    let failed = |error| CliError::io("ask", error);
    tcflush(io::stdin(), FlushArg::TCIFLUSH).map_err(|error| failed(error.into()))?;
    let mut err = io::stderr().lock();
    write!(err, "Continue? [y/N] ").and_then(|()| err.flush()).map_err(failed)?;
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
