//! What an attempt's record says of its stdout beyond the text in `finished_tasks`, so that the output can be restored byte for byte.

use serde::{Deserialize, Serialize};

/// White space kept beside a text; an output with more at its ends is not taken for its text.
const MOST: usize = 256;

/// The white space before and after a text, which `finished_tasks` keeps without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimmedSpace(pub String, pub String);

impl TrimmedSpace {
    /// What is taken off an output to make its text; `None` where the text would not tell all: for bytes that are not UTF-8, and very much white space.
    #[must_use]
    pub fn of(output: &[u8]) -> Option<Self> {
        let output = std::str::from_utf8(output).ok()?;
        let rest = output.trim_start();
        let (before, after) = (&output[..output.len() - rest.len()], &rest[rest.trim_end().len()..]);
        (before.len() + after.len() <= MOST).then(|| Self(before.to_owned(), after.to_owned()))
    }

    /// The output again.
    #[must_use]
    pub fn around(&self, text: &str) -> String {
        format!("{}{text}{}", self.0, self.1)
    }
}

/// How the stdout of an attempt can be had byte for byte, as its record says. Short, since there is one for every task that ever ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StdoutRecord {
    /// 0: it is the text; 1: it is the text and a newline.
    Plain(u8),
    /// It is the text with white space around it.
    Around(TrimmedSpace),
    /// The text is not all of it.
    Elsewhere {
        /// Its length in bytes.
        #[serde(rename = "b", default)]
        bytes: u64,
        /// `HOST:PATH` of the file that holds it.
        #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Why there is no such file.
        #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl StdoutRecord {
    /// Beside the text of an output from which this was stripped.
    #[must_use]
    pub fn beside(stripped: TrimmedSpace) -> Self {
        match (stripped.0.as_str(), stripped.1.as_str()) {
            ("", "") => Self::Plain(0),
            ("", "\n") => Self::Plain(1),
            _ => Self::Around(stripped),
        }
    }

    /// What was stripped from the text; `None` where that does not make it exact.
    #[must_use]
    pub fn stripped(&self) -> Option<TrimmedSpace> {
        match self {
            Self::Plain(0) => Some(TrimmedSpace::default()),
            Self::Plain(1) => Some(TrimmedSpace(String::new(), "\n".to_owned())),
            Self::Around(stripped) => Some(stripped.clone()),
            // Of a later version.
            Self::Plain(_) | Self::Elsewhere { .. } => None,
        }
    }

    /// `HOST:PATH` of the file that holds all of it, where it was needed and could be made.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Elsewhere { file, .. } => file.as_deref(),
            Self::Plain(_) | Self::Around(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_output_is_its_text_and_what_was_stripped(output in "[ \\t\\n\\r\u{a0}\u{3000}]{0,9}[a\u{e4} ]{0,5}\\PC{0,20}[ \\t\\n\\r]{0,9}") {
            let stripped = TrimmedSpace::of(output.as_bytes()).unwrap();
            prop_assert_eq!(stripped.around(output.trim()), output);
            let json = serde_json::to_string(&StdoutRecord::beside(stripped.clone())).unwrap();
            let kept: StdoutRecord = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(kept.stripped(), Some(stripped));
        }
    }

    #[test]
    fn the_usual_outputs_take_one_byte() {
        let json = |output: &str| {
            serde_json::to_string(&StdoutRecord::beside(TrimmedSpace::of(output.as_bytes()).unwrap())).unwrap()
        };
        assert_eq!((json("x\n").as_str(), json("x").as_str(), json("").as_str()), ("1", "0", "0"));
        assert_eq!(json(" x\n\n"), r#"[" ","\n\n"]"#);
    }

    #[test]
    fn what_no_text_can_tell_is_said() {
        assert_eq!(TrimmedSpace::of(b"a\xff"), None);
        assert_eq!(TrimmedSpace::of(&[b' '; MOST + 1]), None);
        for (json, file) in
            [(r#"{"b":3}"#, None), (r#"{"b":3,"f":"h:/x"}"#, Some("h:/x")), (r#"{"b":3,"e":"full"}"#, None)]
        {
            let kept: StdoutRecord = serde_json::from_str(json).unwrap();
            assert_eq!(
                (kept.stripped(), kept.file(), serde_json::to_string(&kept).unwrap().as_str()),
                (None, file, json)
            );
        }
        assert_eq!(serde_json::from_str::<StdoutRecord>("7").unwrap().stripped(), None, "of a later version");
    }
}
