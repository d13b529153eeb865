//! The arguments of a script, and how each type of value is written as one.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use crate::model::{Amounts, Class, Offer, ResourceKind, Stocks, TaskId, Traits};

/// Arguments of a script: bytes in a row, and where each ends.
#[derive(Default)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds one argument.
    pub(super) fn push(&mut self, value: impl Argument) {
        value.write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Adds the arguments of one field of a record.
    pub(super) fn field(&mut self, value: &impl FieldArguments) {
        value.push_to(self);
    }

    /// Adds all fields of a record.
    pub(super) fn record(&mut self, record: impl ArgumentRecord) {
        record.write(self);
    }

    /// Adds one argument for each item.
    pub(super) fn list(&mut self, values: impl IntoIterator<Item: Argument>) {
        for value in values {
            self.push(value);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all arguments.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}

/// A record of `records.rs` that is sent to a script.
pub(super) trait ArgumentRecord {
    /// The names of its arguments, in the order of the table.
    fn names() -> Vec<String>;

    /// Adds the arguments of each field, in the order of the table.
    fn write(self, args: &mut Args);
}

/// A value of a record that is one argument, or one for each kind of resource in a class.
pub(super) trait FieldArguments {
    /// The names of the arguments of a field.
    fn names(field: &str) -> Vec<String>;

    /// Adds them.
    fn push_to(&self, args: &mut Args);
}

impl<T: Argument> FieldArguments for T {
    fn names(field: &str) -> Vec<String> {
        vec![field.to_owned()]
    }

    fn push_to(&self, args: &mut Args) {
        args.push(self);
    }
}

/// `FIELD_mem`, `FIELD_cpu`.
impl FieldArguments for Amounts {
    fn names(field: &str) -> Vec<String> {
        ResourceKind::IN_CLASS.map(|kind| format!("{field}_{}", kind.key())).to_vec()
    }

    fn push_to(&self, args: &mut Args) {
        Some(*self).push_to(args);
    }
}

/// Nothing is an empty text for each kind.
impl FieldArguments for Option<Amounts> {
    fn names(field: &str) -> Vec<String> {
        Amounts::names(field)
    }

    fn push_to(&self, args: &mut Args) {
        for kind in ResourceKind::IN_CLASS {
            args.push(self.map(|amounts| amounts.get(kind)));
        }
    }
}

/// A value that can be one argument of a script.
pub(super) trait Argument {
    /// Appends the text of the argument.
    fn write(&self, to: &mut Vec<u8>);
}

impl Argument for [u8] {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
}

impl Argument for str {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_bytes().write(to);
    }
}

impl Argument for String {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_bytes().write(to);
    }
}

impl Argument for Vec<u8> {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_slice().write(to);
    }
}

impl<T: Argument + ?Sized> Argument for &T {
    fn write(&self, to: &mut Vec<u8>) {
        (**self).write(to);
    }
}

/// `1` or `0`.
impl Argument for bool {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(if *self { b'1' } else { b'0' });
    }
}

/// Milliseconds.
impl Argument for Duration {
    fn write(&self, to: &mut Vec<u8>) {
        millis(*self).write(to);
    }
}

/// Nothing is an empty text.
impl<T: Argument> Argument for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(to);
        }
    }
}

/// Types whose argument is the text that they are displayed as.
macro_rules! displayed {
    ($($type:ty),*) => {
        $(impl Argument for $type {
            fn write(&self, to: &mut Vec<u8>) {
                write_displayed(self, to);
            }
        })*
    };
}

displayed!(u32, u64, usize, TaskId, Class, Offer, Stocks, Traits);

fn write_displayed(value: &impl fmt::Display, to: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(to, "{value}");
}

/// A duration as scripts take it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 12).min(u64::MAX >> 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_written_as_scripts_read_them() {
        let mut args = Args::new();
        args.push("a|b");
        args.push(None::<u64>);
        args.push(true);
        args.push(Duration::from_millis(1500));
        args.list([1_u64, 20]);
        let texts: Vec<String> = args.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        assert_eq!(texts, ["a|b", "", "1", "1500", "1", "20"]);
        assert_eq!(args.size(), 11);
        assert_eq!(millis(Duration::MAX), u64::MAX >> 12);
    }
}
