//! The text by which people look for tasks: a part of the line, or `re:` and a regular expression, in capitals or not.

use regex::{Regex, RegexBuilder};

/// What a line must hold.
#[derive(Clone, Debug)]
pub struct LinePattern(Regex);

/// The text is no regular expression that could be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

/// Bytes that a compiled expression may take.
const LARGEST: usize = 1 << 20;

impl LinePattern {
    /// Reads `TEXT` or `re:EXPRESSION`.
    ///
    /// # Errors
    /// When the expression is none, or is too large.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let expression = text.strip_prefix("re:").map_or_else(|| regex::escape(text), str::to_owned);
        let built = RegexBuilder::new(&expression).case_insensitive(true).size_limit(LARGEST).build();
        built.map(Self).map_err(|error| BadPattern(reason(&error)))
    }

    /// Whether the line has it.
    #[must_use]
    pub fn is_in(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

/// The last line of what the library says; before it, it draws where the fault is.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_as_it_stands_in_capitals_or_not() {
        let is_in = |pattern: &str, line: &str| LinePattern::parse(pattern).expect("a pattern").is_in(line);
        assert!(is_in("SIM.x", "./sim.x 1") && !is_in("sim.x", "./simax 1"));
        assert!(is_in("ü", "./Ü"));
        assert!(is_in("re:run [0-9]+$", "./sim --RUN 17") && !is_in("re:run [0-9]+$", "./sim --run 17 b"));
        assert!(is_in("re:", "anything") && is_in("", "anything"));
    }

    #[test]
    fn a_bad_expression_is_refused_with_its_reason() {
        assert_eq!(LinePattern::parse("re:(a").expect_err("no expression").to_string(), "unclosed group");
        assert!(LinePattern::parse("re:a{1000}{1000}{1000}").is_err());
        assert!(LinePattern::parse("(a").is_ok(), "text is no expression");
    }
}
