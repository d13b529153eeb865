//! Reads single values of `conf.json`. Each method checks the value of one key; if it is wrong, the method records a fault and returns the
//! default, so that the check goes on with the next key.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::expand::expand;
use super::fault::{Fault, FaultSource, quote, show};
use super::source::Environment;
use crate::model::{Bytes, MilliCores};

/// The longest time anything may be set to: a hundred years, far from where clocks overflow.
pub(super) const MAX_SECONDS: u64 = 3_153_600_000;

/// Collects the faults of the values it is asked to read.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    pub(super) faults: Vec<Fault>,
    /// What paths may begin with.
    pub(super) environment: Environment,
}

/// Whether zero is in the range of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

impl ValueReader {
    /// Notes a fault of a value of the file that was read well but breaks a rule.
    pub(super) fn fault(&mut self, key: &str, found: impl Into<String>, problem: impl Into<String>, valid: &str) {
        self.fault_of(FaultSource::File, key, found, problem, valid);
    }

    /// The same of a value that may stand elsewhere.
    pub(super) fn fault_of(
        &mut self,
        source: FaultSource,
        key: &str,
        found: impl Into<String>,
        problem: impl Into<String>,
        valid: &str,
    ) {
        self.faults.push(Fault::of(source, key, found, problem, valid));
    }

    /// An integer from `least` to `most`.
    pub(super) fn integer(&mut self, key: &str, value: Option<&Value>, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = value else { return default };
        let valid = match (least, most) {
            (_, u64::MAX) => format!("an integer, {least} or more"),
            (_, _) => format!("an integer from {least} to {most}"),
        };
        match number(value).and_then(|n| whole(&n)) {
            Ok(n) if (least..=most).contains(&n) => return n,
            Ok(n) if n < least => self.fault(key, show(value), "too small", &valid),
            Ok(_) => self.fault(key, show(value), "too large", &valid),
            Err(problem) => self.fault(key, show(value), problem, &valid),
        }
        default
    }

    /// A number of GiB.
    pub(super) fn gib(&mut self, key: &str, value: Option<&Value>, default: Bytes) -> Bytes {
        let Some(value) = value else { return default };
        let valid = "a number of GB greater than 0, such as 2 or 0.5";
        match number(value).and_then(|n| Bytes::parse_gib(&n).map_err(|_| "too large")) {
            Ok(Bytes::ZERO) => self.fault(key, show(value), "must be more than zero", valid),
            Ok(bytes) => return bytes,
            Err(problem) => self.fault(key, show(value), problem, valid),
        }
        default
    }

    /// A factor from 1 to 1000, in thousandths.
    pub(super) fn factor(&mut self, key: &str, value: Option<&Value>, default: u64) -> u64 {
        let Some(value) = value else { return default };
        let valid = "a number from 1 to 1000, such as 2 or 1.5";
        // Thousandths, as those of a core.
        match number(value).and_then(|n| MilliCores::parse_cores(&n).map_err(|_| "too large")) {
            Ok(MilliCores(milli)) if milli < 1000 => self.fault(key, show(value), "too small", valid),
            Ok(MilliCores(milli)) if milli > 1_000_000 => self.fault(key, show(value), "too large", valid),
            Ok(MilliCores(milli)) => return milli,
            Err(problem) => self.fault(key, show(value), problem, valid),
        }
        default
    }

    /// A number of cores, 0 or more.
    pub(super) fn cores(&mut self, key: &str, value: Option<&Value>, default: MilliCores) -> MilliCores {
        let Some(value) = value else { return default };
        match number(value).and_then(|n| MilliCores::parse_cores(&n).map_err(|_| "too large")) {
            Ok(cores) => return cores,
            Err(problem) => self.fault(key, show(value), problem, "a number of cores, 0 or more, such as 2 or 0.5"),
        }
        default
    }

    /// A number of seconds, fractions allowed.
    pub(super) fn seconds(&mut self, key: &str, value: Option<&Value>, default: Duration, zero: Zero) -> Duration {
        let Some(value) = value else { return default };
        let valid = match zero {
            Zero::Allowed => "a number of seconds, 0 or more, such as 2 or 0.5",
            Zero::Refused => "a number of seconds greater than 0, such as 2 or 0.5",
        };
        match number(value).and_then(|n| duration(&n)) {
            Ok(time) if time.is_zero() && zero == Zero::Refused => {
                self.fault(key, show(value), "must be more than zero", valid);
            }
            Ok(time) => return time,
            Err(problem) => self.fault(key, show(value), problem, valid),
        }
        default
    }

    /// `true` or `false`, as such or as a string.
    pub(super) fn boolean(&mut self, key: &str, value: Option<&Value>, default: bool) -> bool {
        match value {
            None => default,
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("false") => false,
            Some(other) => {
                self.fault(key, show(other), format!("{} is neither true nor false", kind(other)), "true or false");
                default
            }
        }
    }

    /// Text without NUL; `null` and `""` are `None`.
    pub(super) fn text(&mut self, key: &str, value: Option<&Value>, valid: &str) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) if text.contains('\0') => {
                self.fault(key, quote(text), "contains a NUL character", valid);
                None
            }
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.fault(key, show(other), format!("{} is not text", kind(other)), valid);
                None
            }
        }
    }

    /// A path; `~` and variables in it are replaced. `null` and `""` are `None`.
    pub(super) fn path(&mut self, key: &str, value: Option<&Value>, valid: &str) -> Option<PathBuf> {
        let text = self.text(key, value, valid)?;
        match expand(OsStr::new(&text), &self.environment) {
            Ok(path) => Some(path),
            Err((problem, valid)) => {
                self.fault(key, quote(&text), problem, valid);
                None
            }
        }
    }

    /// As [`Self::text`], for what must never be shown.
    pub(super) fn secret(&mut self, key: &str, value: Option<&Value>, valid: &str) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.fault(key, "(hidden)", format!("{} is not text", kind(other)), valid);
                None
            }
        }
    }
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number, or a string that is one, as plain decimal digits: no sign, no exponent, finite.
pub(super) fn number(value: &Value) -> Result<String, &'static str> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err("not a number"),
    };
    let text = text.strip_prefix('+').unwrap_or(&text);
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    // Rust would read "inf" and "nan" too; only what looks like a number is one.
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return Err("not a number");
    }
    let parsed: f64 = text.parse().map_err(|_| "not a number")?;
    if parsed.is_infinite() {
        return Err("too large");
    }
    if parsed.is_sign_negative() && parsed != 0.0 {
        return Err("negative");
    }
    // `Display` of a float never writes an exponent.
    Ok(parsed.abs().to_string())
}

/// The digits as an integer: `4` and `4.0`, not `4.5`.
fn whole(digits: &str) -> Result<u64, &'static str> {
    if digits.contains('.') {
        return Err("not an integer");
    }
    digits.parse().map_err(|_| "too large")
}

fn duration(digits: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = digits.parse().map_err(|_| "not a number")?;
    if seconds > MAX_SECONDS as f64 {
        return Err("too large: more than 100 years");
    }
    // Never round a time that is more than zero down to none.
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| "too large")?;
    Ok(if seconds > 0.0 { time.max(Duration::from_nanos(1)) } else { time })
}

/// One key read by one method of the reader: its name and its value cannot be of two keys.
macro_rules! read {
    ($reader:ident.$method:ident($raw:ident.$key:ident $(, $more:expr)* $(,)?)) => {
        $reader.$method(stringify!($key), $raw.$key.as_ref() $(, $more)*)
    };
}

pub(super) use read;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_be_strings() {
        let cases = [json!(2), json!("2"), json!(2.0), json!(" 2 "), json!("+2"), json!("2.0"), json!("2e0")];
        for value in cases {
            let mut reader = ValueReader::default();
            assert_eq!(reader.integer("k", Some(&value), 0, 1, 9), 2, "{value}");
            assert_eq!(reader.gib("k", Some(&value), Bytes::ZERO), Bytes(2 << 30), "{value}");
            assert_eq!(reader.seconds("k", Some(&value), Duration::ZERO, Zero::Refused).as_secs(), 2, "{value}");
            assert_eq!(reader.faults, [], "{value}");
        }
    }

    #[test]
    fn what_is_no_number_in_range_is_refused() {
        let cases = [
            json!("nan"),
            json!("inf"),
            json!("-inf"),
            json!(-1),
            json!("-1"),
            json!("-0.5"),
            json!(""),
            json!("1,5"),
            json!("0x10"),
            json!(true),
            json!(null),
            json!([1]),
            json!({}),
            json!("1e999"),
            json!(1e300),
            json!("٣"),
        ];
        for value in cases {
            let mut reader = ValueReader::default();
            reader.integer("k", Some(&value), 0, 1, 99);
            reader.gib("k", Some(&value), Bytes::ZERO);
            reader.cores("k", Some(&value), MilliCores::ZERO);
            reader.seconds("k", Some(&value), Duration::ZERO, Zero::Allowed);
            assert_eq!(reader.faults.len(), 4, "{value}: {:?}", reader.faults);
        }
    }

    #[test]
    fn a_fraction_of_a_task_is_refused() {
        let mut reader = ValueReader::default();
        reader.integer("k", Some(&json!(2.5)), 0, 1, 9);
        assert_eq!(reader.faults[0].problem, "not an integer");
    }

    #[test]
    fn tiny_times_are_not_zero_and_minus_zero_is() {
        let mut reader = ValueReader::default();
        assert!(!reader.seconds("k", Some(&json!(1e-300)), Duration::ZERO, Zero::Refused).is_zero());
        assert!(reader.seconds("k", Some(&json!(-0.0)), Duration::ZERO, Zero::Allowed).is_zero());
        assert_eq!(reader.faults, []);
    }
}
