//! The daemon of a compute node.

use std::process::ExitCode;

fn main() -> ExitCode {
    distcomp::cli::worker::main()
}
