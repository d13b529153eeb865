//! What keeps the tasks of a node apart: devices, cores, scratch directories. Through keepers where task lines cannot ask for it, else through workers.
mod cores;
mod devices;
mod offer;
mod scratch;

use std::fs;

/// The cores of a process as the kernel lists them.
fn cores_of(pid: impl std::fmt::Display) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or("").trim().to_owned()
}

/// The cores that this process may use, by number.
fn own_cores() -> Vec<usize> {
    distcomp::process::allowed_cores().into_iter().collect()
}

/// Whether there are two cores to tell apart.
fn has_two_cores() -> bool {
    let has = own_cores().len() >= 2;
    if !has {
        eprintln!("this machine has one core: nothing can be pinned to another");
    }
    has
}
