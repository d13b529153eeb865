//! Writes the manual pages and shell completions of all programs: `distcomp-ctl generate DIR`, for packages.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;

use super::completion::{Shell, script};
use super::ctl::CtlArgs;
use super::exit::CliError;
use super::manual;
use super::status::StatusArgs;
use super::submit::SubmitArgs;
use super::worker::WorkerArgs;

/// All programs.
pub(super) const PROGRAMS: [&str; 5] =
    ["distcomp", "distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"];

/// Writes `DIR/man/man1/*.1`, `DIR/man/man5/*.5` and `DIR/completions/`; says how many files.
pub(super) fn generate(dir: &Path) -> Result<usize, CliError> {
    let failed = |error| CliError::io(format!("write below {}", dir.display()), error);
    let mut files = 0;
    for program in PROGRAMS {
        for shell in Shell::ALL {
            let path = dir.join("completions").join(shell.file_of(program));
            write(&path, script(shell, &[program]).as_bytes()).map_err(failed)?;
            files += 1;
        }
    }
    let commands = [WorkerArgs::command(), SubmitArgs::command(), StatusArgs::command(), CtlArgs::command()];
    for page in manual::pages(&commands).map_err(failed)? {
        write(&dir.join("man").join(page.path), page.text.as_bytes()).map_err(failed)?;
        files += 1;
    }
    Ok(files)
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}
