//! The labels of a node, and what tasks ask of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A word that describes a node, `ssd`, or one of several values of a kind, `region=eu`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// What a label may be, for messages.
    pub const VALID: &'static str = "a word like ssd, or KEY=VALUE, of A-Z a-z 0-9 . _ / -, 64 of each at most";

    /// A label, unless it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_word = |part: &str| {
            (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
        };
        let is_label =
            text.split_once('=').map_or_else(|| is_word(text), |(key, value)| is_word(key) && is_word(value));
        is_label.then(|| Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `=`, if there is one: a node has one value of it.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.split_once('=').map(|(key, _)| key)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The labels of a node.
pub type Labels = BTreeSet<Label>;

/// One of several terms must hold of the labels of a node: `ssd`, `!spot`, `region=eu|region=us`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint(Vec<Term>);

/// That a label is there, or is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Term {
    label: Label,
    is_wanted: bool,
}

impl Constraint {
    /// What a constraint may be, for messages.
    pub const VALID: &'static str = "labels like ssd, region=eu or !spot, with | between those of which one must hold";

    /// Parses terms with `|` between them. The order of terms means nothing, and is not kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let term = |text: &str| {
            let (label, is_wanted) = text.strip_prefix('!').map_or((text, true), |label| (label, false));
            Some(Term { label: Label::parse(label)?, is_wanted })
        };
        let mut terms = text.split('|').map(term).collect::<Option<Vec<Term>>>()?;
        terms.sort();
        terms.dedup();
        Some(Self(terms))
    }

    /// The labels that it asks for; those that must not be there are left out.
    pub fn wanted(&self) -> impl Iterator<Item = &Label> {
        self.0.iter().filter(|term| term.is_wanted).map(|term| &term.label)
    }

    /// Whether it holds of a node.
    #[must_use]
    pub fn holds(&self, labels: &Labels) -> bool {
        self.0.iter().any(|term| labels.contains(&term.label) == term.is_wanted)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Term { label, is_wanted }) in self.0.iter().enumerate() {
            write!(f, "{}{}{label}", if at > 0 { "|" } else { "" }, if *is_wanted { "" } else { "!" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Labels {
        texts.iter().map(|text| Label::parse(text).expect("a label")).collect()
    }

    #[test]
    fn one_term_of_a_constraint_suffices() {
        let node = labels(&["ssd", "region=eu"]);
        for (text, wanted) in [
            ("ssd", true),
            ("!ssd", false),
            ("region=eu", true),
            ("region=us", false),
            ("region=us|ssd", true),
            ("!spot", true),
            ("region", false),
        ] {
            assert_eq!(Constraint::parse(text).expect(text).holds(&node), wanted, "{text}");
        }
    }

    #[test]
    fn order_of_terms_is_not_kept() {
        assert_eq!(Constraint::parse("b|!a|b"), Constraint::parse("!a|b"));
        assert_eq!(Constraint::parse("b|!a").expect("valid").to_string(), "!a|b");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["", "a b", "a=", "=b", "a=b=c", "a;b", "a,b", "!a", &"x".repeat(65)] {
            assert_eq!(Label::parse(text), None, "{text:?}");
        }
        for text in ["", "|", "a|", "!!a", "a&b"] {
            assert_eq!(Constraint::parse(text), None, "{text:?}");
        }
    }
}
