//! The machine we run on: its free memory and cores, limits of containers and cgroups included, and its name.
//!
//! It reads and never changes anything; it needs no privilege, and a file that is missing only makes the answer
//! coarser. Start with [`Probe`].

mod allocation;
mod cgroup;
mod cpu;
pub mod gpus;
mod identity;
mod probe;
mod processes;
mod program;
mod supervisor;

pub use allocation::Job;
pub use identity::{default_worker_name, process_space, short_host_name, user_name};
pub use probe::{Probe, ProbeError, Share};
pub use processes::rss_by_root;
pub use supervisor::is_supervised;
