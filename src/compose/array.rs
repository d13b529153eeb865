//! `--array`: a source of integers, as in Slurm: `1-100`, `0-90:10`, `1,5,7-9`.

use std::fmt;
use std::str::FromStr;

/// What is said of one that is wrong.
pub const VALID: &str = "1-100, 1-100:2, 1,5,7-9, with %N";

/// The integers, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    spans: Vec<Span>,
    /// `%N`: at most so many of them run at once.
    pub at_once: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    last: u64,
    step: u64,
}

/// Not an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: {VALID}")]
pub struct ArrayError;

impl Array {
    /// How many integers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.spans.iter().fold(0, |sum: u64, span| sum.saturating_add(span.len()))
    }

    /// Never: a span holds one integer at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Every integer, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().flat_map(|span| (0..span.len()).map(|index| span.first + index * span.step))
    }
}

impl Span {
    fn len(self) -> u64 {
        ((self.last - self.first) / self.step).saturating_add(1)
    }
}

impl FromStr for Array {
    type Err = ArrayError;

    fn from_str(text: &str) -> Result<Self, ArrayError> {
        let (spans, at_once) = match text.split_once('%') {
            Some((spans, most)) => (spans, Some(u32::try_from(number(most)?).map_err(|_| ArrayError)?)),
            None => (text, None),
        };
        if at_once == Some(0) {
            return Err(ArrayError);
        }
        Ok(Self { spans: spans.split(',').map(span).collect::<Result<_, _>>()?, at_once })
    }
}

fn span(text: &str) -> Result<Span, ArrayError> {
    let (range, step) = match text.split_once(':') {
        Some((range, step)) => (range, number(step)?),
        None => (text, 1),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None if range.len() == text.len() => (number(range)?, number(range)?),
        None => return Err(ArrayError),
    };
    if last < first || step == 0 { Err(ArrayError) } else { Ok(Span { first, last, step }) }
}

fn number(text: &str) -> Result<u64, ArrayError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().map_err(|_| ArrayError) } else { Err(ArrayError) }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, span) in self.spans.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", span.first)?;
            if span.last > span.first || span.step > 1 {
                write!(f, "-{}", span.last)?;
            }
            if span.step > 1 {
                write!(f, ":{}", span.step)?;
            }
        }
        self.at_once.map_or(Ok(()), |most| write!(f, "%{most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arrays_are_those_of_slurm() {
        for (text, expected, at_once) in [
            ("1-3", &[1, 2, 3][..], None),
            ("0-90:30", &[0, 30, 60, 90], None),
            ("1,5,7-9", &[1, 5, 7, 8, 9], None),
            ("5", &[5], None),
            ("1-4:2,9%2", &[1, 3, 9], Some(2)),
            ("3-3", &[3], None),
        ] {
            let array: Array = text.parse().unwrap();
            assert_eq!(array.iter().collect::<Vec<_>>(), expected, "{text}");
            assert_eq!((array.len(), array.at_once), (expected.len() as u64, at_once), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in [
            "",
            "10-1",
            "a",
            "1-",
            "-1",
            "1,",
            "1-3:0",
            "1:2",
            "1-3%",
            "1-3%0",
            "1 - 3",
            "1-2-3",
            "+1",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<Array>(), Err(ArrayError), "{text}");
        }
        assert_eq!("0-18446744073709551615".parse::<Array>().unwrap().len(), u64::MAX);
    }

    proptest! {
        #[test]
        fn print_parse_is_the_identity(spans in prop::collection::vec((0..1000_u64, 0..1000_u64, 1..9_u64), 1..5), at_once in prop::option::of(1..9_u32)) {
            let spans = spans.into_iter().map(|(first, more, step)| Span { first, last: first + more, step }).collect();
            let array = Array { spans, at_once };
            prop_assert_eq!(array.iter().count() as u64, array.len());
            let read: Array = array.to_string().parse().unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), array.iter().collect::<Vec<_>>());
        }
    }
}
