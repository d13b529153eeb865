//! Parses `/proc/PID/stat`: the state, parent, process group and start time of a process.

use std::fs::File;
use std::io::Read as _;

/// The fields of `/proc/PID/stat` that this program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The state, a letter, see proc(5).
    pub state: u8,
    /// Process id of its parent; 0 for the first process, and for one whose parent is in another namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Start time in clock ticks since boot. Together with the pid it identifies the process.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads a living or zombie process; `None` if there is none with this pid, or `/proc` hides it.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        // One read returns the whole line, which is shorter than the buffer. A tree may have thousands of processes.
        let mut line = [0; 1024];
        let len = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        Self::parse(line.get(..len)?)
    }

    /// The second field is the name of the program in parentheses. It may contain any bytes, even blanks and parentheses, so fields are counted from the
    /// last `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let mut fields = std::str::from_utf8(text.get(end + 1..)?).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Fields 3, 4 and 5 are consumed, so field 22 is the seventeenth from here.
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { state, parent, group, start_ticks })
    }

    /// Whether it runs. A zombie has ended and does not count.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_parentheses_and_blanks_shifts_no_field() {
        let text = b"77 (a) b) (\xff) S 1 70 70 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 9 9";
        assert_eq!(Stat::parse(text), Some(Stat { state: b'S', parent: 1, group: 70, start_ticks: 424_242 }));
        assert_eq!(Stat::parse(b"77 (cut"), None);
        assert_eq!(Stat::parse(b"77 (cut) S 1 2"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn zombie_is_not_running() {
        let of = |state| Stat { state, parent: 1, group: 1, start_ticks: 1 };
        assert!(of(b'D').is_running() && of(b'T').is_running());
        assert!(!of(b'Z').is_running() && !of(b'X').is_running());
    }
}
