//! The `distcomp-status` program.

fn main() -> std::process::ExitCode {
    distcomp::cli::status::main()
}
