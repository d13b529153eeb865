//! The `distcomp-submit` program.

fn main() -> std::process::ExitCode {
    distcomp::cli::submit::main()
}
