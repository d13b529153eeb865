//! `/proc/PID/stat`: the state, parent, group and start of a process.

use std::fs::File;
use std::io::Read as _;

/// What `/proc/PID/stat` says of one process, as far as we need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter, see proc(5).
    pub state: u8,
    /// Process id of its parent; 0 for the first process, and for one whose parent is in another namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// When it started, in clock ticks since boot: with the pid, this tells it from later processes of that number.
    pub start_ticks: u64,
}

impl Stat {
    /// Of a living or zombie process; `None` when there is none of that pid, or it is hidden from us.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        // One read: the kernel gives the line whole, and it is shorter than this. A tree may hold thousands of processes.
        let mut line = [0; 1024];
        let len = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        Self::parse(line.get(..len)?)
    }

    /// The second field is the program's name in parentheses, which may be any bytes, blanks and parentheses among them, so fields are counted from
    /// the last `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let mut fields = std::str::from_utf8(text.get(end + 1..)?).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Fields 3, 4 and 5 are taken; 22 is the seventeenth from here.
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { state, parent, group, start_ticks })
    }

    /// A process that has ended and only waits for its parent to notice counts as dead.
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
