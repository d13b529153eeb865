//! Writes JSON that is safe to display: the same values, with every character that drives a terminal or reverses the reading order written as
//! `\\u`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::model::safe_text::is_unsafe;

/// Writes one value, compact, without a line end.
///
/// # Errors
/// Those of the writer.
pub fn write(out: impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping)).map_err(io::Error::from)
}

/// `serde_json` escapes C0, quotes and backslashes; this does the rest.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            let (clean, from) = rest.split_at(at);
            out.write_all(clean.as_bytes())?;
            let mut characters = from.chars();
            if let Some(c) = characters.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_nothing_unsafe_is_written(text in "(?s).*", tail in "[\u{0}-\u{a0}\u{2020}-\u{2070}]*") {
            let text = text + &tail;
            let mut written = Vec::new();
            write(&mut written, &text).unwrap();
            let written = String::from_utf8(written).unwrap();
            prop_assert!(!written.contains(is_unsafe), "{:?}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
