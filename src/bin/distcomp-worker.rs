//! The worker daemon of one node.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = distcomp::process::keeper_main_if_asked() {
        return code;
    }
    ExitCode::SUCCESS
}
