//! Reads from the kernel: processes, mounts and cgroups from `/proc`, the boot id, clocks, random numbers.
//!
//! Each has one parser or source here. This module changes nothing and decides nothing.

pub mod boot;
pub mod cgroup;
pub mod mounts;
pub mod own_process;
pub mod random;
pub mod stat;
pub mod wall_clock;
