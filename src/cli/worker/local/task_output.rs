//! Prints what tasks wrote, one after another: stdout to stdout, and what is kept of stderr to stderr.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use crate::cli::output::complain;
use crate::cli::status::{ExactStdout, StdoutSource};
use crate::cli::worker::load::program;
use crate::model::snapshot::TaskView;
use crate::view::log_text::LogText;

/// Prints all of them; blocks while whoever reads does not.
pub(super) fn print(tasks: &[TaskView]) -> io::Result<()> {
    let (is_shown, is_error_shown) = (io::stdout().is_terminal(), io::stderr().is_terminal());
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for task in tasks {
        let stdout = ExactStdout::of(task);
        match stdout.source {
            StdoutSource::Bytes(bytes) => copy(&mut bytes.as_slice(), &mut out, is_shown)?,
            StdoutSource::File(mut file) => copy(&mut file, &mut out, is_shown)?,
        }
        let stderr = task.last_attempt().map_or("", |last| last.stderr_tail.as_str());
        if stderr.is_empty() && stdout.note.is_none() {
            continue;
        }
        // The two may be one terminal.
        out.flush()?;
        copy(&mut stderr.as_bytes(), &mut io::stderr().lock(), is_error_shown)?;
        if let Some(note) = stdout.note {
            complain(program(), &format!("the output of task {} {note}", task.id));
        }
    }
    out.flush()?;
    drop(out);
    io::stdout().flush()
}

/// Bytes as they are; on a terminal as text on which it does not act, and which ends a line.
fn copy(from: &mut impl Read, to: &mut impl Write, is_terminal: bool) -> io::Result<()> {
    if !is_terminal {
        return io::copy(from, to).map(drop);
    }
    let mut text = LogText::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => to.write_all(text.push(&buffer[..count]).as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut rest = text.finish();
    if text.is_inside_line() {
        rest.push('\n');
    }
    to.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(text: &[u8], is_terminal: bool) -> Vec<u8> {
        let mut out = Vec::new();
        copy(&mut &text[..], &mut out, is_terminal).expect("memory");
        out
    }

    #[test]
    fn a_pipe_gets_bytes_and_a_terminal_text() {
        assert_eq!(copied(b"\x1b[2Ja\xff", false), b"\x1b[2Ja\xff");
        let shown = copied(b"\x1b[2Ja\xff", true);
        assert!(!shown.contains(&0x1b) && shown.ends_with(b"\n"), "{shown:?}");
        assert!(copied(b"", true).is_empty());
    }
}
