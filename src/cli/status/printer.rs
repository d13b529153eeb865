//! Prints the streams of a task for `logs`, and counts what was printed, so that the record of the task continues from there.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use super::args::LogsArgs;
use super::console_writer::{ConsoleWriter, Target};
use crate::cli::exit::CliError;
use crate::cli::output::has_colours;
use crate::queue::follow::Stream;
use crate::view::safe_json;

/// A line of a task's output that is longer is printed in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// What a task wrote to one stream, up to the end of a line.
#[derive(serde::Serialize)]
struct Object<'a> {
    stream: &'static str,
    text: &'a str,
}

/// Task output on our own streams, each on its own.
pub(super) struct LogPrinter {
    raw: bool,
    /// As objects, a line each, instead of text: what of each stream waits for the end of its line.
    json: Option<[Vec<u8>; 2]>,
    wanted: [bool; 2],
    texts: [ConsoleWriter; 2],
    /// What of stdout was shown.
    pub(super) shown: ShownBytes,
    out: io::Stdout,
    err: io::Stderr,
    /// The end of the attempt was heard of.
    pub(super) has_all: bool,
}

impl LogPrinter {
    pub(super) fn new(args: &LogsArgs, json: bool) -> Self {
        let both = args.stdout == args.stderr;
        // Alone it is on stdout.
        let errors = if both { target(&io::stderr()) } else { target(&io::stdout()) };
        Self {
            raw: args.raw,
            json: json.then(Default::default),
            wanted: [both || args.stdout, both || args.stderr],
            texts: [ConsoleWriter::new(target(&io::stdout())), ConsoleWriter::new(errors)],
            shown: ShownBytes::default(),
            out: io::stdout(),
            err: io::stderr(),
            has_all: false,
        }
    }

    pub(super) fn wants(&self, stream: Stream) -> bool {
        self.wanted[index(stream)]
    }

    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        if !self.wants(stream) {
            return Ok(());
        }
        if stream == Stream::Stdout {
            self.shown.add(bytes);
        }
        if self.raw {
            return self.write(stream, bytes);
        }
        if let Some(waiting) = &mut self.json {
            let waiting = &mut waiting[index(stream)];
            waiting.extend_from_slice(bytes);
            let end = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            // A line may never end.
            let end = if waiting.len() - end > LONGEST_LINE { waiting.len() } else { end };
            let whole: Vec<u8> = waiting.drain(..end).collect();
            return self.objects(stream, &whole);
        }
        let text = self.texts[index(stream)].push(bytes);
        self.write(stream, text.as_bytes())
    }

    /// One for each line; the texts of a stream, one after another, are what the task wrote.
    fn objects(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            safe_json::write(&mut self.out, &Object { stream: name, text: &text }).map_err(CliError::stdout)?;
            self.out.write_all(b"\n").map_err(CliError::stdout)?;
        }
        Ok(())
    }

    /// Of the two streams only one may be wanted: then it is on stdout, for pipes.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), CliError> {
        let is_alone = self.wanted != [true, true];
        match stream {
            Stream::Stderr if !is_alone => {
                self.err.write_all(bytes).map_err(|error| CliError::io("write to standard error", error))
            }
            Stream::Stdout | Stream::Stderr => self.out.write_all(bytes).map_err(CliError::stdout),
        }
    }

    /// Another attempt comes next, with an output of its own.
    pub(super) fn begin_again(&mut self) -> Result<(), CliError> {
        self.finish()?;
        (self.shown, self.has_all) = (ShownBytes::default(), false);
        Ok(())
    }

    pub(super) fn copy(&mut self, file: &mut File) -> Result<(), CliError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.print(Stream::Stdout, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CliError::io("read the result file", error)),
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(CliError::stdout)
    }

    /// A last line without an end gets one on a terminal, so that what follows stands on its own.
    pub(super) fn finish(&mut self) -> Result<(), CliError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(waiting) = &mut self.json {
                let rest = std::mem::take(&mut waiting[index(stream)]);
                self.objects(stream, &rest)?;
                continue;
            }
            let rest = self.texts[index(stream)].finish();
            self.write(stream, rest.as_bytes())?;
        }
        self.flush()
    }
}

fn target(stream: &(impl anstream::stream::RawStream + IsTerminal)) -> Target {
    if IsTerminal::is_terminal(stream) { Target::Terminal { has_colours: has_colours(stream) } } else { Target::Pipe }
}

/// How much of a stdout was shown, so that the record can go on from there.
#[derive(Default)]
pub(super) struct ShownBytes {
    pub(super) count: u64,
    /// White space at the beginning, which the record does not have.
    lead: u64,
    /// The last few bytes.
    tail: Vec<u8>,
}

impl ShownBytes {
    fn add(&mut self, bytes: &[u8]) {
        const COMPARED: usize = 64;
        if self.lead == self.count {
            self.lead += bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count() as u64;
        }
        self.count += bytes.len() as u64;
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(COMPARED));
    }

    /// How many bytes of the whole stream, as it was, were shown; 0 when it is another.
    pub(super) fn known_of_exact(&self, stream: &[u8]) -> usize {
        let Ok(end) = usize::try_from(self.count) else { return 0 };
        let is_same = stream.get(end.saturating_sub(self.tail.len())..end).is_some_and(|there| there == self.tail);
        if is_same { end } else { 0 }
    }

    /// How many bytes of a record's text were shown; 0 when the text does not go on from there.
    pub(super) fn known_of(&self, text: &[u8]) -> usize {
        let Ok(end) = usize::try_from(self.count - self.lead) else { return 0 };
        let begin = end.saturating_sub(self.tail.len());
        // A last line end is not in the record either.
        let end_there = end.min(text.len());
        let same =
            text.get(begin..end_there).is_some_and(|there| self.tail.ends_with(there) || self.tail.starts_with(there));
        if same { end_there } else { 0 }
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(shown: &[&[u8]], text: &str) -> usize {
        let mut all = ShownBytes::default();
        shown.iter().for_each(|piece| all.add(piece));
        all.known_of(text.as_bytes())
    }

    #[test]
    fn the_record_goes_on_where_the_stream_stopped() {
        assert_eq!(known(&[], "begun\ndone"), 0);
        assert_eq!(known(&[b"begun\n"], "begun\ndone"), 6);
        assert_eq!(known(&[b" \n", b"\tbegun\n"], "begun\ndone"), 6);
        assert_eq!(known(&[b"begun\ndone\n"], "begun\ndone"), 10);
        assert_eq!(known(&[b"otherwise\n"], "begun\ndone"), 0);
        let mut all = ShownBytes::default();
        all.add(b" \nbegun\n");
        assert_eq!((all.known_of_exact(b" \nbegun\ndone\n"), all.known_of_exact(b"begun\ndone\n")), (8, 0));
        let long = "x".repeat(1000) + "y";
        assert_eq!(known(&[&long.as_bytes()[..900]], &long), 900);
    }
}
