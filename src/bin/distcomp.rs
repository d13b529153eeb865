//! The `distcomp` program, in front of the four others.

fn main() -> std::process::ExitCode {
    distcomp::cli::front::main()
}
