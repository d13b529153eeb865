//! Integer amounts of memory and cores. Decisions never use floating point.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// An amount of memory in bytes.
///
/// Task lines and `conf.json` speak of "GB" and mean 2^30 bytes, as Python DistComp computes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// An amount of processor time per second in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliCores(pub u64);

/// Why a decimal number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not `digits` or `digits.digits`.
    #[error("not a decimal number")]
    Malformed,
    /// The amount does not fit in 64 bits of its unit.
    #[error("too large")]
    Overflow,
}

impl Bytes {
    /// Nothing; as a demand: the task declares no memory.
    pub const ZERO: Self = Self(0);
    /// 2^30 bytes, the "GB" of task lines and of `conf.json`.
    pub const GIB: Self = Self(1 << 30);

    /// Parses a decimal number of GiB (`8`, `0.5`), rounding a fraction of a byte up.
    ///
    /// # Errors
    /// When `text` is not ASCII digits with at most one inner decimal point, or does not fit.
    pub fn parse_gib(text: &str) -> Result<Self, DecimalError> {
        parse_decimal(text, Self::GIB.0).map(Self)
    }

    /// The amount in GiB, for people and for `worker_status`; never for a decision. Rounded to eight decimals, about ten bytes, so that `0.2` is read back as
    /// it was written.
    #[must_use]
    pub fn as_gib(self) -> f64 {
        (self.0 as f64 / Self::GIB.0 as f64 * 1e8).round() / 1e8
    }

    /// Rounded up to two digits in GB, and to hundredths at least: amounts that are measured make few different demands, and read well. What is beyond a
    /// round amount by a KiB at most, as for want of an exact number of bytes, is that amount.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        let gib = u128::from(Self::GIB.0);
        let hundredths = (u128::from(self.0.saturating_sub(1024)) * 100).div_ceil(gib);
        let mut unit = 1;
        while hundredths / unit >= 100 {
            unit *= 10;
        }
        let bytes = (hundredths.div_ceil(unit) * unit * gib).div_ceil(100);
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// `self - other`, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl MilliCores {
    /// No cores; as a demand: the task declares none.
    pub const ZERO: Self = Self(0);
    /// One core.
    pub const CORE: Self = Self(1000);

    /// Parses a decimal number of cores (`2`, `0.5`), rounding a fraction of a thousandth up.
    ///
    /// # Errors
    /// When `text` is not ASCII digits with at most one inner decimal point, or does not fit.
    pub fn parse_cores(text: &str) -> Result<Self, DecimalError> {
        parse_decimal(text, Self::CORE.0).map(Self)
    }

    /// The amount in cores, for people and for `worker_status`; never for a decision.
    #[must_use]
    pub fn as_cores(self) -> f64 {
        self.0 as f64 / Self::CORE.0 as f64
    }

    /// `self - other`, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A number with a comma between each three digits: `20,124`.
#[must_use]
pub fn grouped(number: u128) -> String {
    // Tables are full of small numbers, and those of 128 bits take long to print.
    if let Some(small) = u16::try_from(number).ok().filter(|small| *small < 1000) {
        return small.to_string();
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Parses `digits[.digits]` into units of `1 / unit`, rounding up.
fn parse_decimal(text: &str, unit: u64) -> Result<u64, DecimalError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || fraction.is_some_and(|part| !is_digits(part)) {
        return Err(DecimalError::Malformed);
    }
    let whole: u64 = whole.parse().map_err(|_| DecimalError::Overflow)?;
    // Eighteen digits are finer than any unit here; the rest only decides whether to round up.
    let fraction = fraction.unwrap_or("0").trim_end_matches('0');
    let (kept, dropped) = fraction.split_at(fraction.len().min(18));
    let mut numerator: u128 = 0;
    let mut denominator: u128 = 1;
    for digit in kept.bytes() {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    if !dropped.is_empty() {
        numerator += 1;
    }
    let part = (numerator * u128::from(unit)).div_ceil(denominator);
    u128::from(whole)
        .checked_mul(u128::from(unit))
        .and_then(|bytes| bytes.checked_add(part))
        .and_then(|total| u64::try_from(total).ok())
        .ok_or(DecimalError::Overflow)
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl Add for MilliCores {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MilliCores {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for MilliCores {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Two decimals and the unit, `1.50 GB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GB", self.as_gib())
    }
}

/// As few decimals as tell it exactly, `1.5`.
impl fmt::Display for MilliCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_cores())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_up_leaves_two_digits() {
        for (gb, rounded) in
            [("0.001", "0.01"), ("0.2", "0.2"), ("0.201", "0.21"), ("1.27", "1.3"), ("61.2", "62"), ("101", "110")]
        {
            let [gb, rounded] = [gb, rounded].map(|text| Bytes::parse_gib(text).expect("a number"));
            assert_eq!(gb.rounded_up(), rounded, "{gb}");
            assert_eq!(rounded.rounded_up(), rounded);
        }
        assert!(Bytes(u64::MAX).rounded_up() == Bytes(u64::MAX));
    }

    #[test]
    fn decimals_become_exact_integers() {
        assert_eq!(Bytes::parse_gib("8"), Ok(Bytes(8 << 30)));
        assert_eq!(Bytes::parse_gib("0.5"), Ok(Bytes(1 << 29)));
        assert_eq!(Bytes::parse_gib("00.50"), Ok(Bytes(1 << 29)));
        assert_eq!(MilliCores::parse_cores("1.25"), Ok(MilliCores(1250)));
        assert_eq!(Bytes::parse_gib("0"), Ok(Bytes::ZERO));
    }

    #[test]
    fn an_amount_is_shown_as_it_was_written() {
        for text in ["0.2", "0.1", "0.001", "1.7", "23.541", "1000000.3"] {
            assert_eq!(Bytes::parse_gib(text).expect("an amount").as_gib().to_string(), text);
        }
    }

    #[test]
    fn a_tiny_demand_is_never_rounded_to_none() {
        assert_eq!(MilliCores::parse_cores("0.0000000000000000000001"), Ok(MilliCores(1)));
        assert_eq!(Bytes::parse_gib("0.0000000001"), Ok(Bytes(1)));
    }

    #[test]
    fn signs_exponents_and_blanks_are_refused() {
        for text in ["", ".", "1.", ".5", "+1", "-1", "1e3", " 1", "1 ", "1.2.3", "inf", "NaN", "0x1", "١"] {
            assert_eq!(Bytes::parse_gib(text), Err(DecimalError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn what_overflows_is_refused() {
        assert_eq!(Bytes::parse_gib("17179869184"), Err(DecimalError::Overflow));
        assert_eq!(Bytes::parse_gib("99999999999999999999"), Err(DecimalError::Overflow));
        assert_eq!(Bytes::parse_gib("17179869183"), Ok(Bytes(17_179_869_183 << 30)));
    }
}
