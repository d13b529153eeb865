//! What the kernel tells and gives: processes, mounts and cgroups by `/proc`, this boot, the time of day, random numbers. Each is read in one place
//! and one way; whoever decides by it is elsewhere.
//!
//! Nothing here acts on anything.

pub mod boot;
pub mod cgroup;
pub mod mounts;
pub mod random;
pub mod stat;
pub mod wall_clock;
