//! Starts the process trees of tasks, captures their output in bounded memory, and kills them completely at the end.
//!
//! **The processes.** The worker starts one *zygote*: this same binary, executed again in a hidden mode ([`keeper_main_if_asked`]). The zygote
//! forks one *keeper* for each slot. A keeper runs the tasks of its slot one after another, and everything below it belongs to them:
//!
//! ```text
//! worker ──control──▶ zygote          subreaper: kills what a dead keeper leaves behind
//!   │                   ├─ keeper 1   subreaper: runs, captures, terminates, checks that the tree is empty
//!   └──one socket each──┤    └─ task tree
//!                       └─ keeper 2 …
//! ```
//!
//! **Why no process escapes.** A process whose parent dies becomes a child of the nearest subreaper above it. So whatever a task does (daemonise, `setsid`,
//! clear its environment, ignore signals), it stays below its keeper. When the worker dies, even by SIGKILL, its sockets close: each keeper notices
//! it, kills its tree and exits, and so does the zygote. No privilege is needed.
//!
//! If a cgroup v2 is writable, all these processes are also in a [`WorkerCgroup`]. If worker and keepers are killed together, the next start kills what is
//! left in it.
//!
//! **Why it is fast.** A keeper has a few pages of private memory, so the cost of a start does not depend on the size of the worker. A keeper can also hold
//! the next commands before the present task has ended.
//!
//! This module must never signal a process that it cannot prove to be its own ([`terminate`]), block a task by a full pipe ([`output`]), or occupy a slot for
//! ever because a process cannot be killed (it reports `unkillable` instead).
//!
//! Reading order: `protocol` (commands and events), `zygote_handle` and `keeper_handle` (the worker's ends), `keeper` (its loop), `running_task` (one task),
//! `reaper` (kills the tree), [`terminate`] (sends signals).

mod affinity;
mod cgroup_meter;
mod codec;
mod confinement;
mod device_lock;
mod error;
mod isolation;
mod keeper;
mod keeper_handle;
mod kill_tagged;
mod oom_watch;
mod orphans;
pub mod output;
mod own_process;
mod program;
mod protocol;
mod raw_bytes;
mod reaper;
mod remove_tree;
mod reply_journal;
mod result_file;
mod running_task;
mod scratch;
pub mod signals;
mod slot_cgroups;
mod spawn;
mod syscalls;
mod tag_file;
mod tail;
pub mod terminate;
pub mod tree;
mod worker_cgroup;
mod worker_link;
mod zygote;
mod zygote_control;
mod zygote_handle;

pub use affinity::allowed_cores;
pub use confinement::{ConfineError, Confinement, TaskUser};
pub use device_lock::DeviceLocks;
pub use error::ProcessError;
pub use keeper_handle::Keeper;
pub use kill_tagged::{ProcessTag, kill_tagged};
pub use orphans::reap_orphans;
pub use own_process::{OpenFiles, disable_dumps, raise_open_files, return_large_blocks, slots_for};
pub use program::{Finished, Program};
pub use protocol::{
    DeviceHold, Ended, ExitStatus, KeeperCommand, KeeperEvent, MAX_SHOWN, Output, Part, RunSpec, Stdout, TaskKey,
};
pub use result_file::ResultPlace;
pub use scratch::{ScratchPlace, ScratchRecord, discard_broken_records, remove_scratch};
pub use slot_cgroups::{SlotCgroup, SlotCgroups};
pub use tag_file::TagFile;
pub use tree::{ProcessIdentity, descends_from, identity, is_alive};
pub use worker_cgroup::{WorkerCgroup, kill_recorded_cgroups, kill_stale_cgroups};
pub use zygote::keeper_main_if_asked;
pub use zygote_handle::{KeeperSettings, STALL_TOLERANCE, Zygote};

/// Feeds bytes to the decoders of both ends of a keeper's socket. A task that has taken over its keeper can send any bytes.
#[cfg(any(test, fuzzing))]
pub fn fuzz(mut bytes: &[u8]) {
    use codec::Decoded;

    fn sent_back<T: serde::Serialize>(message: &T, len: usize) -> Option<usize> {
        assert!(codec::encode(&mut Vec::new(), message).is_ok(), "what was received can be sent");
        Some(len)
    }

    loop {
        let command = match codec::decode::<KeeperCommand>(bytes) {
            Ok(Decoded::Message(command, len)) => sent_back(&command, len),
            Ok(Decoded::Needs(_)) | Err(_) => None,
        };
        let event = match codec::decode::<KeeperEvent>(bytes) {
            Ok(Decoded::Message(event, len)) => sent_back(&event, len),
            Ok(Decoded::Needs(_)) | Err(_) => None,
        };
        let Some(len) = command.or(event) else { break };
        assert!((1..=bytes.len()).contains(&len), "a message is a part of what was received");
        bytes = &bytes[len..];
    }
}
