//! Writes and reads the JSON strings of the hashes shared with Python DistComp. They are written in ASCII only, as `json.dumps` does, so that no byte of a task's output can
//! trouble a reader's terminal, editor or decoder.

use std::fmt::Write as _;

/// `text` as one JSON string of printable ASCII. Everything else, DEL and the controls above it too, is escaped.
#[must_use]
pub fn ascii_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            ' '..='~' => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
    }
    json.push('"');
    json
}

/// The text of one JSON string; anything else as it is, since what others have written need be no JSON.
#[must_use]
pub fn text_of_json(json: String) -> String {
    serde_json::from_str(&json).unwrap_or(json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_what_python_writes() {
        assert_eq!(
            ascii_json("a\"b\\c\n\t\u{1}\u{7f}\u{9b}ü→😀"),
            r#""a\"b\\c\n\t\u0001\u007f\u009b\u00fc\u2192\ud83d\ude00""#
        );
    }

    proptest! {
        #[test]
        fn it_is_printable_ascii_and_says_the_same(text in "(?s).*") {
            let json = ascii_json(&text);
            prop_assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{json}");
            prop_assert_eq!(text_of_json(json), text);
        }
    }
}
