//! What the kernel tells and gives: processes, mounts and cgroups by `/proc`, this boot. Each is read in one place
//! and one way; whoever decides by it is elsewhere.
//!
//! Nothing here acts on anything.

pub mod boot;
pub mod cgroup;
pub mod mounts;
pub mod stat;
