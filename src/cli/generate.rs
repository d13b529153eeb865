//! Generates the manual pages and shell completions of all programs from the definitions of their flags: `distcomp-ctl generate DIR`, for
//! packages.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::ctl::CtlArgs;
use super::exit::CliError;
use super::front;
use super::status::StatusArgs;
use super::submit::SubmitArgs;
use super::worker::WorkerArgs;

/// Writes `DIR/man/man1/*.1` and `DIR/completions/`; says how many files.
pub(super) fn generate(dir: &Path) -> Result<usize, CliError> {
    let failed = |error| CliError::io(format!("write below {}", dir.display()), error);
    let (man, completions) = (dir.join("man/man1"), dir.join("completions"));
    fs::create_dir_all(&man).map_err(failed)?;
    fs::create_dir_all(&completions).map_err(failed)?;
    let mut files = 0;
    for command in commands() {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command.clone(), &name, &completions).map_err(failed)?;
            files += 1;
        }
        files += pages(command, &man).map_err(failed)?;
    }
    Ok(files)
}

fn commands() -> [Command; 5] {
    [front::command(), WorkerArgs::command(), SubmitArgs::command(), StatusArgs::command(), CtlArgs::command()]
}

/// The page of a command, then those of its subcommands, `distcomp-status-show.1`.
fn pages(mut command: Command, dir: &Path) -> std::io::Result<usize> {
    command.build();
    let mut pages = 0;
    let mut all = vec![command];
    while let Some(command) = all.pop() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        all.extend(command.get_subcommands().cloned());
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        fs::write(dir.join(format!("{name}.1")), page)?;
        pages += 1;
    }
    Ok(pages)
}
