//! The promises, one file each, kept by the real binaries and real processes.

mod containment;
mod keeper_output;
mod keepers;
