//! `--resume`: the commands that a job log of GNU parallel says have ended with 0.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};

use crate::model::TaskId;

/// Commands that need not run again: eight bytes each.
#[derive(Debug, Default)]
pub struct Done {
    commands: HashSet<TaskId>,
}

/// How the file begins.
const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand";
/// Its columns; the last one, the command, may itself hold tabs.
const COLUMNS: usize = 9;

impl Done {
    /// Reads a job log.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(mut file: impl BufRead) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut done = Self::default();
        let mut line = Vec::new();
        // A device like /dev/zero has no end, nor a line.
        file.by_ref().take(HEADER.len() as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(done);
        }
        if line.strip_suffix(b"\n").unwrap_or(&line) != HEADER.as_bytes() {
            return Err(wrong("it is no job log of GNU parallel (--joblog): the first line is not its header"));
        }
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                return Ok(done);
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches('\n');
            let columns: Vec<&str> = text.splitn(COLUMNS, '\t').collect();
            // A line that was cut off by the end of a disk says nothing about its job.
            if let [_, _, _, _, _, _, "0", "0", command] = columns.as_slice() {
                // Line breaks are written as NUL.
                done.commands.insert(key(&command.replace('\0', "\n")));
            }
        }
    }

    /// Whether this command has ended with 0.
    #[must_use]
    pub fn contains(&self, command: &str) -> bool {
        !self.commands.is_empty() && self.commands.contains(&key(command))
    }
}

/// The same for commands whose words are the same, however they are quoted: GNU parallel quotes in other ways than we do.
fn key(command: &str) -> TaskId {
    match shlex::split(command) {
        Some(words) => TaskId::of(&words.join("\0")),
        None => TaskId::of(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Done {
        Done::read(format!("{HEADER}\n{rows}").as_bytes()).unwrap()
    }

    #[test]
    fn only_what_ended_with_0_is_done() {
        let done = read(concat!(
            "1\t:\t1.5\t0.1\t0\t0\t0\t0\t./sim a\\ b\n",
            "2\t:\t1.5\t0.1\t0\t0\t1\t0\t./sim c\n",
            "3\t:\t1.5\t0.1\t0\t0\t0\t15\t./sim d\n",
            "4\t:\t1.5\t0.1\t0\t0\t-1\t0\t./sim e\n",
            "5\t:\t1.5\t0.1\t0\t0\t0\t0\tprintf 'x\ty'\n",
            "6\t:\t1.5\t0.1"
        ));
        let commands = ["./sim 'a b'", "./sim c", "./sim d", "./sim e", "printf \"x\ty\"", "./sim a b"];
        assert_eq!(commands.map(|command| done.contains(command)), [true, false, false, false, true, false]);
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        assert!(Done::read(&b"./sim 1\n"[..]).unwrap_err().to_string().contains("no job log"));
        assert!(!Done::read(&b""[..]).unwrap().contains(""));
    }
}
