//! The faults of a configuration: all of them, not only the first.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::safe_text::may_hold_password;

/// Where a faulty value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultSource {
    /// In the file, or in the defaults that stand for it.
    File,
    /// In a flag, in a variable of the environment, or in a file that such a variable names: the file is not to blame.
    Override,
}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, flag or variable; empty when the file as a whole is at fault.
    pub key: String,
    /// Where the value stands.
    pub source: FaultSource,
    /// The value, quoted and shortened, safe to print; empty when there is none, `(hidden)` for a secret.
    pub found: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be valid; empty when the problem says it already.
    pub valid: String,
}

impl Fault {
    /// A fault of the value of `key`.
    pub(super) fn of(
        source: FaultSource,
        key: &str,
        found: impl Into<String>,
        problem: impl Into<String>,
        valid: impl Into<String>,
    ) -> Self {
        Self { key: key.to_owned(), source, found: found.into(), problem: problem.into(), valid: valid.into() }
    }

    /// A fault of the file as a whole.
    pub(super) fn of_file(problem: impl Into<String>, valid: impl Into<String>) -> Self {
        Self::of(FaultSource::File, "", "", problem, valid)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if !self.found.is_empty() {
            write!(f, "found {}: ", self.found)?;
        }
        f.write_str(&self.problem)?;
        if !self.valid.is_empty() {
            write!(f, "; valid: {}", self.valid)?;
        }
        Ok(())
    }
}

/// Every fault of a configuration; never empty. The text has one line per fault, then one per warning (a misspelt key is often why another
/// is wrong), and no line end after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, or what stands for it (`(defaults)`).
    pub path: PathBuf,
    /// The faults, in the order of the keys in the manual.
    pub faults: Vec<Fault>,
    /// What is odd besides, as in [`LoadedConfig::warnings`](super::LoadedConfig::warnings).
    pub warnings: Vec<String>,
}

impl ConfigErrors {
    pub(super) fn new(path: &Path, faults: Vec<Fault>) -> Self {
        Self { path: path.to_owned(), faults, warnings: Vec::new() }
    }

    pub(super) fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = printable(&self.path.to_string_lossy());
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match fault.source {
                FaultSource::File => write!(f, "{path}: {fault}")?,
                FaultSource::Override => write!(f, "{fault}")?,
            }
        }
        for warning in &self.warnings {
            write!(f, "\n{path}: warning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// How many characters of a value an error shows.
const SHOWN: usize = 60;

/// A value as an error shows it: JSON with everything but plain text escaped, shortened.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if may_hold_password(&text) { "(hidden)".to_owned() } else { shorten(printable(&text)) }
        }
    }
}

/// Text in quotes, escaped and shortened.
pub(super) fn quote(text: &str) -> String {
    if may_hold_password(text) {
        return "(hidden)".to_owned();
    }
    let short = shorten(text.to_owned());
    format!("{short:?}")
}

/// Text with control and direction-changing characters escaped, so that it cannot drive a terminal.
pub(super) fn printable(text: &str) -> String {
    // `Debug` of a string escapes exactly what is not printable, and quotes, which are given back here.
    text.chars()
        .flat_map(|c| {
            let escaped: String = if matches!(c, '"' | '\'' | '\\') { c.into() } else { c.escape_debug().collect() };
            escaped.chars().collect::<Vec<_>>()
        })
        .collect()
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
