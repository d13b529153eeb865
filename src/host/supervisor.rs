//! Finds out whether something restarts this process when it exits: systemd, a container, runit and the like.

use std::ffi::OsStr;
use std::io::IsTerminal;

/// Programs whose children are services.
const SUPERVISORS: [&str; 9] =
    ["systemd", "runsv", "s6-supervise", "supervise", "supervisord", "tini", "docker-init", "dumb-init", "catatonit"];

/// What tells a service from a command that a person has typed.
#[derive(Clone, Copy, Debug, Default)]
struct Signs<'a> {
    /// `NOTIFY_SOCKET` is set.
    has_notify_socket: bool,
    /// `INVOCATION_ID` is set. The shells of a desktop inherit it, too.
    has_invocation: bool,
    /// Standard input or standard error is a terminal.
    has_terminal: bool,
    /// This process, and its parent.
    pids: (u32, u32),
    /// The name of the parent.
    parent: &'a str,
}

impl Signs<'_> {
    fn are_of_a_service(self) -> bool {
        let is_child_of_one = self.pids.1 == 1 || SUPERVISORS.contains(&self.parent);
        !self.has_terminal && (self.has_notify_socket || self.has_invocation || self.pids.0 == 1 || is_child_of_one)
    }
}

/// Whether a supervisor would start this process again. Read at start: later the parent may be another.
#[must_use]
pub fn is_supervised() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| value != OsStr::new(""));
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let signs = Signs {
        has_notify_socket: is_set("NOTIFY_SOCKET"),
        has_invocation: is_set("INVOCATION_ID"),
        has_terminal: std::io::stdin().is_terminal() || std::io::stderr().is_terminal(),
        pids: (std::process::id(), parent),
        parent: name.trim_end(),
    };
    signs.are_of_a_service()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_is_told_from_a_command_at_a_terminal() {
        let by_hand = Signs { pids: (100, 99), parent: "bash", ..Signs::default() };
        assert!(!by_hand.are_of_a_service());
        assert!(Signs { has_invocation: true, ..by_hand }.are_of_a_service());
        assert!(Signs { has_notify_socket: true, ..by_hand }.are_of_a_service());
        assert!(Signs { pids: (1, 0), ..by_hand }.are_of_a_service());
        assert!(Signs { parent: "runsv", ..by_hand }.are_of_a_service());
        assert!(!Signs { has_invocation: true, has_terminal: true, ..by_hand }.are_of_a_service());
    }
}
