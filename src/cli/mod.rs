//! The four commands: flags → library calls → exit code.

pub mod worker;
