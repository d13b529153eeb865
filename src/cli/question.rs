//! Asks a person before anything changes. Every command that asks does it here, so that an answer is always an answer to what was shown.

use std::io::{self, BufRead, IsTerminal, Write};

use nix::sys::termios::{FlushArg, tcflush};

use super::exit::CliError;

/// Whether somebody sees a question and can answer it.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Discards what was typed so far and not read yet: it was typed before the question that is shown next, and is no answer to it.
///
/// # Errors
/// What the system says of the terminal.
pub(super) fn discard_typed() -> io::Result<()> {
    tcflush(io::stdin(), FlushArg::TCIFLUSH).map_err(Into::into)
}

/// Shows the question and waits for a line; only `y` and `yes` are yes.
///
/// # Errors
/// What the system says of the terminal.
pub(super) fn ask(question: &str) -> Result<bool, CliError> {
    let failed = |error| CliError::io("ask", error);
    discard_typed().map_err(failed)?;
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(is_yes(&answer))
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
