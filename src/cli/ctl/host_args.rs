//! The flags that name hosts and how ssh reaches them: of `up`, `down` and `autoscale ssh`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::common::path_parser;
use crate::cli::exit::CliError;

/// A file of hosts, and how they are reached.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// File of hosts: [USER@]HOST[:PORT], one a line; # begins a comment
    #[arg(long, value_name = "FILE", value_parser = path_parser(), value_hint = ValueHint::FilePath)]
    pub hosts: PathBuf,
    /// Directory on the hosts in which the workers start [default: the path of the present one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<String>,
    /// Program for sessions, with its flags, such as "ssh -F FILE" [default: ssh]
    #[arg(long, value_name = "COMMAND", env = "DISTCOMP_SSH")]
    pub ssh: Option<String>,
}

impl HostArgs {
    /// The directory on the hosts.
    pub(super) fn dir(&self) -> Result<String, CliError> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let here = std::env::current_dir().map_err(|error| CliError::io("find the present directory", error))?;
        here.into_os_string().into_string().map_err(|here| {
            CliError::Usage(format!("the present directory, {}, is not UTF-8: give --dir", here.display()))
        })
    }
}
