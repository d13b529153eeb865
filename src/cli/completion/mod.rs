//! Shell completion: small scripts for bash, zsh and fish, which ask `distcomp-ctl` what may follow on the line that is being typed. Flags come from the
//! definitions of the commands, worker names and task ids from the queue.

mod answer;
mod from_queue;
mod scripts;
mod typed;

pub(super) use answer::answer;
pub(super) use scripts::{Shell, script};
