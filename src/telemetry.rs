//! Log lines: to stderr, as text or JSON, one event a line whatever the fields hold.
//!
//! The level comes from `RUST_LOG`. Task lines and output are written by others and end up in fields:
//! every line passes through a writer that escapes, so that none can forge a second line or drive the terminal.
//! Where stderr is the journal of systemd, a line has its priority in front and leaves the time to the journal.

mod behind;
pub(crate) mod journal;

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use tracing::field::Field;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::safe_text::is_unsafe;

/// How log lines look (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: `TIME LEVEL target: message field=value`; coloured on a terminal.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("valid are text and json".to_owned()),
        }
    }
}

/// Sends log lines to stderr from here on, those of `level` and above where `RUST_LOG` does not say otherwise. A second call changes nothing.
///
/// A `RUST_LOG` that cannot be read counts as unset, and the log says so.
pub fn init(format: LogFormat, level: &str) {
    let setting = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, problem) = filter(&setting, level);
    let is_colored = format == LogFormat::Text && wants_color();
    // An error means that somebody has set up logging before us (a test): theirs stays.
    let is_journal = journal::has_stderr();
    let begun = match behind::Behind::start() {
        Some(sink) => subscriber(format, filter, is_colored, is_journal, sink).try_init(),
        None => subscriber(format, filter, is_colored, is_journal, io::stderr).try_init(),
    };
    if begun.is_ok()
        && let Some(problem) = problem
    {
        tracing::warn!(problem, "RUST_LOG is invalid and is ignored");
    }
}

/// Waits until the log lines so far are written, at most two seconds: before the process ends, and before it writes to stderr itself.
pub fn flush() {
    behind::flush(std::time::Duration::from_secs(2));
}

fn filter(setting: &str, level: &str) -> (EnvFilter, Option<String>) {
    if setting.trim().is_empty() {
        return (EnvFilter::new(level), None);
    }
    match EnvFilter::try_new(setting) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(level), Some(error.to_string())),
    }
}

/// Only on a terminal that knows colours, and never with `NO_COLOR`.
fn wants_color() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

fn subscriber<M>(
    format: LogFormat,
    filter: EnvFilter,
    is_colored: bool,
    is_journal: bool,
    sink: M,
) -> Box<dyn Subscriber + Send + Sync>
where
    M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let style = match (format, is_colored) {
        (LogFormat::Json, _) => Style::Json,
        (LogFormat::Text, true) => Style::Colored,
        (LogFormat::Text, false) => Style::Plain,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(style == Style::Colored)
        // A log that cannot be written (a full disk) would be complained of on stderr, which panics when that is where it goes.
        .log_internal_errors(false)
        .with_writer(MakeSafe { sink, style, is_journal });
    let fields = format::debug_fn(write_field).delimited(" ");
    match format {
        LogFormat::Text if is_journal => Box::new(builder.fmt_fields(fields).without_time().finish()),
        LogFormat::Text => Box::new(builder.fmt_fields(fields).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

/// Writes one field as text. The formatter of the library lets escape sequences in `%` fields through to a terminal.
fn write_field(writer: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let text = format!("{value:?}");
    let text = sanitize(&text, Style::Plain);
    match field.name() {
        "message" => writer.write_str(&text),
        // What the bridge from the `log` crate adds about itself.
        name if name.starts_with("log.") => Ok(()),
        name => write!(writer, "{}={text}", name.strip_prefix("r#").unwrap_or(name)),
    }
}

/// What a line may hold besides printable text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    /// Colour sequences of the formatter; those in values have been escaped before.
    Colored,
    Json,
}

struct MakeSafe<M> {
    sink: M,
    style: Style,
    is_journal: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for MakeSafe<M> {
    type Writer = SafeWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        SafeWriter { inner: self.sink.make_writer(), style: self.style, lead: "" }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let lead = if self.is_journal { journal::priority(*event.level()) } else { "" };
        SafeWriter { inner: self.sink.make_writer_for(event), style: self.style, lead }
    }
}

/// Takes one event at a time, as the formatter hands it over, and passes it on as one line in one write.
struct SafeWriter<W> {
    inner: W,
    style: Style,
    /// What each line begins with.
    lead: &'static str,
}

impl<W: Write> Write for SafeWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let event_text = String::from_utf8_lossy(event);
        match sanitize(event_text.strip_suffix('\n').unwrap_or(&event_text), self.style) {
            // As it came, line end and all.
            Cow::Borrowed(line) if self.lead.is_empty() && line.len() < event_text.len() => {
                self.inner.write_all(event_text.as_bytes())?;
            }
            line @ (Cow::Borrowed(_) | Cow::Owned(_)) => {
                self.inner.write_all(format!("{}{line}\n", self.lead).as_bytes())?;
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// All that is not printable escaped, line ends too.
fn sanitize(text: &str, style: Style) -> Cow<'_, str> {
    // Nearly every line is plain.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let sequence = if style == Style::Colored { color_sequence(rest) } else { None };
        let (piece, after) = rest.split_at(sequence.unwrap_or(c.len_utf8()));
        rest = after;
        if sequence.is_some() || !is_unsafe(c) {
            out.push_str(piece);
        } else {
            out.push_str(&escape(c, style));
        }
    }
    Cow::Owned(out)
}

fn escape(c: char, style: Style) -> String {
    let code = u32::from(c);
    match (style, c) {
        (Style::Json, _) => format!("\\u{code:04x}"),
        (Style::Plain | Style::Colored, '\n') => "\\n".to_owned(),
        (Style::Plain | Style::Colored, '\r') => "\\r".to_owned(),
        (Style::Plain | Style::Colored, '\t') => "\\t".to_owned(),
        (Style::Plain | Style::Colored, _) if code < 0x100 => format!("\\x{code:02x}"),
        (Style::Plain | Style::Colored, _) => format!("\\u{{{code:x}}}"),
    }
}

/// The length of the colour sequence `ESC [ digits ; … m` at the start of `text`.
fn color_sequence(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let length = parameters.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
    parameters[length..].starts_with('m').then_some(2 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while locked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "shell:1:1:1:x\n2026-01-01 ERROR forged\r\x1b[2J\x1b[31m\u{9b}31m\x7f\u{202e}\t\u{2028}";

    fn logged(format: LogFormat, is_colored: bool, setting: &str) -> String {
        log(format, is_colored, false, setting)
    }

    fn log(format: LogFormat, is_colored: bool, is_journal: bool, setting: &str) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = filter(setting, "info").0;
        let subscriber = subscriber(format, filter, is_colored, is_journal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("not asked for");
            tracing::info!(task = %HOSTILE, again = ?HOSTILE, worker = HOSTILE, "{HOSTILE}");
        });
        let bytes = sink.0.lock().expect("no panic while locked").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn one_event_is_one_harmless_line_in_every_format() {
        for (format, is_colored) in [(LogFormat::Text, false), (LogFormat::Text, true), (LogFormat::Json, false)] {
            let text = logged(format, is_colored, "info");
            let line = text.strip_suffix('\n').expect("a line end");
            let mut bare = line.to_owned();
            if is_colored {
                assert!(line.contains("\x1b[32m"), "the level is coloured: {line:?}");
                assert!(!line.contains("\x1b[31m"), "a value cannot colour: {line:?}");
                while let Some(at) = bare.find('\x1b') {
                    let length = color_sequence(&bare[at..]).expect("colours only");
                    bare.replace_range(at..at + length, "");
                }
            }
            assert!(bare.chars().all(|c| !is_unsafe(c)), "{format:?} {is_colored}: {bare:?}");
            assert!(bare.contains("forged"), "{bare:?}");
        }
    }

    #[test]
    fn for_the_journal_a_line_has_its_priority_in_front_and_no_time() {
        let text = log(LogFormat::Text, false, true, "debug");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("<7>DEBUG ") && lines[1].starts_with("<6> INFO "), "{text}");
        assert!(log(LogFormat::Json, false, true, "info").starts_with("<6>{"));
        assert!(!logged(LogFormat::Text, false, "info").contains("<6>"));
    }

    #[test]
    fn json_is_valid_and_gives_the_text_back() {
        let text = logged(LogFormat::Json, false, "info");
        // Without a JSON parser in this layer: every escape is one that JSON knows.
        let mut after_backslash = text.split('\\').skip(1);
        assert!(after_backslash.all(|rest| rest.is_empty() || rest.starts_with(['n', 'r', 't', 'u', '"', 'x', '\\'])));
        assert!(text.starts_with('{') && text.ends_with("}\n"), "{text}");
        assert!(text.contains("\\u001b") && text.contains("\\u007f") && text.contains("\\u202e"), "{text}");
    }

    #[test]
    fn the_level_is_as_asked_for() {
        assert!(logged(LogFormat::Text, false, "").contains("forged"));
        assert_eq!(logged(LogFormat::Text, false, "error"), "");
        assert!(logged(LogFormat::Text, false, "debug").contains("not asked for"));
        assert!(filter("a=b=c=nonsense", "info").1.is_some());
    }

    #[test]
    fn only_two_formats_have_names() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
