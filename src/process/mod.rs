//! Child process trees: started cheaply, captured in bounded memory, and gone without a trace when they end.
//!
//! **Who is who.** The worker starts one *zygote*, this same binary re-executed in a hidden mode ([`keeper_main_if_asked`]). The zygote
//! forks one *keeper* per slot. A keeper runs its slot's tasks one after another and owns everything below it:
//!
//! ```text
//! worker ──control──▶ zygote          subreaper: kills what a dead keeper leaves behind
//!   │                   ├─ keeper 1   subreaper: runs, captures, terminates, confirms that the tree is empty
//!   └──one socket each──┤    └─ task tree
//!                       └─ keeper 2 …
//! ```
//!
//! **Why this contains.** A process whose parent dies goes to the nearest subreaper above it, so whatever a task does (daemonise, `setsid`,
//! clear its environment, ignore signals), it stays below its keeper and is found there. The sockets are lifelines: when the worker dies, even
//! by SIGKILL, each keeper reads the end of its socket, kills its tree and exits; so does the zygote. No privilege is needed.
//!
//! Where a cgroup of version 2 is writable, all these processes are also in a [`WorkerCgroup`], which the next start kills if worker and keepers have
//! died at one moment.
//!
//! **Why it is cheap.** A keeper is a few pages of private memory, so starting a child from it does not depend on the size of the worker, and it
//! may hold the next command before the last one has ended.
//!
//! What this module must never do: signal a process it cannot prove to be below it ([`terminate`]), block a task by a full pipe
//! ([`output`]), or keep a slot busy for ever over a process that cannot be killed (it reports `unkillable` instead).
//!
//! Reading order: `protocol` (commands and events), `zygote_handle` and `keeper_handle` (the worker's ends), `keeper` (the loop), `running_task` (one task),
//! `reaper` (emptying the tree), [`terminate`] (the one place that signals).

mod cgroup_meter;
mod codec;
mod confinement;
mod error;
mod keeper;
mod keeper_handle;
mod kill_tagged;
mod oom_watch;
mod orphans;
pub mod output;
mod own_process;
mod protocol;
mod raw_bytes;
mod reaper;
mod reply_journal;
mod result_file;
mod running_task;
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

pub use confinement::{ConfineError, Confinement, TaskUser};
pub use error::ProcessError;
pub use keeper_handle::Keeper;
pub use kill_tagged::{ProcessTag, kill_tagged};
pub use orphans::reap_orphans;
pub use own_process::{OpenFiles, disable_dumps, raise_open_files, return_large_blocks, slots_for};
pub use protocol::{Ended, ExitStatus, KeeperCommand, KeeperEvent, MAX_SHOWN, Output, Part, RunSpec, Stdout};
pub use result_file::ResultPlace;
pub use slot_cgroups::{SlotCgroup, SlotCgroups};
pub use tag_file::TagFile;
pub use tree::{ProcessIdentity, descends_from, identity, is_alive};
pub use worker_cgroup::{WorkerCgroup, kill_recorded_cgroups, kill_stale_cgroups};
pub use zygote::keeper_main_if_asked;
pub use zygote_handle::{KeeperSettings, STALL_TOLERANCE, Zygote};

/// Feeds bytes to the decoders of both ends of a keeper's socket: a keeper that a task has taken over may send anything.
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
