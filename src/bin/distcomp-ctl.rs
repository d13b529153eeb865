//! The `distcomp-ctl` program.

fn main() -> std::process::ExitCode {
    distcomp::cli::ctl::main()
}
