//! Prints messages on stderr and results on stdout. Text is made safe, and only a terminal gets styles.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use super::exit::CliError;
use crate::model::safe_text::without_passwords;
use crate::telemetry::journal;
use crate::view::safe_json;
use crate::view::safe_text::safe;

/// A message on stderr under the name of the program, each of its lines made safe; in the journal, as an error.
pub(crate) fn complain(program: &str, message: &str) {
    tell(program, message, journal::ERROR);
}

/// Why a command did not get to its end: its last message.
pub(crate) fn fail(program: &str, error: &CliError) {
    fail_as(program, error.code(), &error.to_string());
}

/// The same, where there is only a code and a text.
pub(crate) fn fail_as(program: &str, code: &str, message: &str) {
    if is_json() {
        return say_json("error", Some(code), message);
    }
    complain(program, message);
}

/// A line without the program's name before it, such as `FILE:LINE: what is wrong`, so that editors can jump to it.
pub(crate) fn detail(text: &str) {
    if is_json() {
        return say_json("note", None, text);
    }
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{}", safe(text));
}

/// A warning about a place, `FILE:LINE: warning: what`, so that editors can jump to it.
pub(crate) fn warn_of(place: &str, message: &str) {
    if is_json() {
        return say_json("warning", None, &format!("{place}: {message}"));
    }
    detail(&format!("{place}: warning: {message}"));
}

/// A warning: the same with that word before it.
pub(crate) fn warn(program: &str, message: &str) {
    if is_json() {
        return say_json("warning", None, message);
    }
    tell(program, &format!("warning: {message}"), journal::WARNING);
}

/// A message of that or another priority.
pub(crate) fn tell(program: &str, message: &str, priority: &str) {
    if is_json() {
        return say_json(if priority == journal::WARNING { "warning" } else { "note" }, None, message);
    }
    let priority = if journal::has_stderr() { priority } else { "" };
    let mut err = io::stderr().lock();
    for (index, line) in without_passwords(message).lines().enumerate() {
        let lead = if index == 0 { format!("{program}: ") } else { "  ".to_owned() };
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(err, "{priority}{lead}{}", safe(line));
    }
}

/// Whether messages are JSON too, an object on each line: `--json` is among the arguments.
pub(crate) fn is_json() -> bool {
    asks_for_json(std::env::args_os().skip(1))
}

/// What follows `--` or `:::` is a task's command or its values.
fn asks_for_json(args: impl Iterator<Item = OsString>) -> bool {
    let is_end = |arg: &OsString| arg == "--" || arg.to_string_lossy().starts_with(":::");
    args.take_while(|arg| !is_end(arg)).any(|arg| arg == "--json")
}

/// A message as JSON: `{"error": {"code": "usage", "message": "…"}}`.
fn say_json(kind: &'static str, code: Option<&str>, message: &str) {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        message: &'a str,
    }
    let message = without_passwords(message);
    let mut line = Vec::new();
    // Writing to a buffer cannot fail, and nobody is left to tell when stderr is gone.
    let _ = safe_json::write(&mut line, &BTreeMap::from([(kind, Message { code, message: &message })]));
    line.push(b'\n');
    let _ = io::stderr().lock().write_all(&line);
}

/// Stdout, with styles only on a terminal and where they are wanted: a variable that forces them (`CLICOLOR_FORCE`) does not put them into a pipe.
pub(crate) fn stdout() -> anstream::Stdout {
    let stream = io::stdout();
    let choice = choice(&stream);
    anstream::AutoStream::new(stream, choice)
}

/// Stderr, likewise.
pub(crate) fn stderr() -> anstream::Stderr {
    let stream = io::stderr();
    let choice = choice(&stream);
    anstream::AutoStream::new(stream, choice)
}

fn choice(stream: &(impl anstream::stream::RawStream + IsTerminal)) -> anstream::ColorChoice {
    if IsTerminal::is_terminal(stream) { anstream::AutoStream::choice(stream) } else { anstream::ColorChoice::Never }
}

/// Whether styles can be shown there and are wanted.
pub(crate) fn has_colours(stream: &(impl anstream::stream::RawStream + IsTerminal)) -> bool {
    choice(stream) != anstream::ColorChoice::Never
}

/// Results on stdout. Buffered; styles are dropped where they cannot be shown or are not wanted.
pub(crate) struct Out {
    inner: BufWriter<anstream::Stdout>,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self { inner: BufWriter::with_capacity(64 * 1024, stdout()) }
    }

    /// One or more lines that are ready to be shown.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.inner, "{text}").map_err(CliError::stdout)
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.inner.write_all(text.as_bytes()).map_err(CliError::stdout)
    }

    /// Bytes as they are, past everything that drops styles: only where stdout is no terminal.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.inner.flush().and_then(|()| io::stdout().lock().write_all(bytes)).map_err(CliError::stdout)
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        safe_json::write(&mut self.inner, value).map_err(CliError::stdout)?;
        self.inner.write_all(b"\n").map_err(CliError::stdout)
    }

    /// Hands over what there is so far, for who follows.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.inner.flush().map_err(CliError::stdout)
    }

    /// Hands everything over; without this, what is buffered may be lost unseen.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.inner.flush().and_then(|()| io::stdout().lock().flush()).map_err(CliError::stdout)
    }
}

/// Whether stdout is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns to fill: the terminal's, else `COLUMNS`, else 80; where stdout is no terminal there is no reason to cut anything.
pub(crate) fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    let asked = || std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    size.filter(|columns| *columns > 0).or_else(asked).filter(|columns| *columns > 0).unwrap_or(80).max(40)
}

/// The same for text that is not laid out in columns: into a file or a pipe it is not cut, unless `COLUMNS` is set.
pub(crate) fn columns_or_all() -> usize {
    let is_asked = std::env::var_os("COLUMNS").is_some_and(|text| !text.is_empty());
    if is_terminal() || is_asked { columns() } else { usize::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_by_a_flag_and_not_by_a_task() {
        let asked = |args: &[&str]| asks_for_json(args.iter().map(OsString::from));
        assert!(asked(&["tasks", "--json"]) && asked(&["--json", "--", "./sim"]));
        assert!(!asked(&["--", "./sim", "--json"]) && !asked(&["-", ":::", "--json"]) && !asked(&["--jsonl", "-"]));
    }
}
