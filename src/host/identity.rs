//! The name of this machine and of who runs us, and the identity of its present boot.

use std::fs;

use nix::unistd::{Uid, User};

use crate::model::WorkerName;
use crate::sys::boot;

/// The name of this machine up to the first dot; `localhost` when it has none.
#[must_use]
pub fn short_host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    match name.split('.').next() {
        Some(label) if !label.is_empty() => label.to_owned(),
        Some(_) | None => "localhost".to_owned(),
    }
}

/// The name of a worker that was given none: the short host name, with what a worker name may not hold replaced by
/// hyphens and cut to 64 characters.
#[must_use]
pub fn default_worker_name() -> WorkerName {
    worker_name_of(&short_host_name())
}

/// Who runs this program: as the environment says, or else the account of the process.
#[must_use]
pub fn user_name() -> String {
    let said =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let account = || User::from_uid(Uid::effective()).ok().flatten().map(|account| account.name);
    said.or_else(account).unwrap_or_else(|| format!("user {}", Uid::effective()))
}

fn worker_name_of(host: &str) -> WorkerName {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = host.chars().take(64).map(|c| if is_allowed(c) { c } else { '-' }).collect();
    #[expect(clippy::expect_used, reason = "\"localhost\" is a worker name")]
    name.parse().or_else(|_| "localhost".parse()).expect("a worker name")
}

/// Within what a process id names one process: this boot, and the namespace of process ids, since containers of one machine may share its host name.
/// `None` where the kernel does not tell.
#[must_use]
pub fn process_space() -> Option<String> {
    let namespace =
        fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
    boot::id().map(|boot| format!("{boot} {namespace}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_becomes_a_worker_name() {
        assert_eq!(worker_name_of("node-1").as_str(), "node-1");
        assert_eq!(worker_name_of("gpu:1,ü").as_str(), "gpu-1--");
        assert_eq!(worker_name_of(&"x".repeat(200)).as_str().len(), 64);
        assert_eq!(worker_name_of("").as_str(), "localhost");
        assert!(!default_worker_name().as_str().is_empty());
    }

    #[test]
    fn the_boot_has_a_name() {
        assert!(process_space().is_some_and(|space| space.contains("pid:[")), "{:?}", process_space());
    }
}
