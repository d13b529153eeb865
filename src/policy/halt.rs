//! `--halt`: when a run ends before its tasks, in the words of GNU parallel.

use std::fmt;
use std::str::FromStr;

/// What is valid; the end of a message about what is not.
const VALID: &str = "valid: never, or WHEN,WHAT=N or WHEN,WHAT=N%, where WHEN is soon or now and WHAT is fail, success or done; as in now,fail=1 or soon,fail=3%";

/// Hundredths of a percent in all.
const WHOLE: u64 = 10_000;

/// When to end a run before its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Not before its last task.
    Never,
    /// As soon as so many tasks have ended so.
    At(HaltWhen, HaltOn, Threshold),
}

/// What becomes of the tasks that run then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltWhen {
    /// They run to their end; nothing new starts.
    Soon,
    /// They are ended too.
    Now,
}

/// Which ends count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltOn {
    /// Out of retries.
    Fail,
    /// With success.
    Success,
    /// Either, or cancelled.
    Done,
}

/// How many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// This many.
    Number(u64),
    /// This part of the run's tasks, in hundredths of a percent.
    Part(u64),
}

/// Tasks of a run that have ended in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunEnds {
    /// With success.
    pub finished: u64,
    /// Out of retries.
    pub failed: u64,
    /// Cancelled by an operator, which is no failure.
    pub cancelled: u64,
}

/// A text that is no such condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VALID}")]
pub struct HaltError;

impl Halt {
    /// Whether the run ends now, and how. `total` is how many tasks it began with.
    #[must_use]
    pub fn decide(self, ends: RunEnds, total: u64) -> Option<HaltWhen> {
        let Self::At(when, on, threshold) = self else { return None };
        let count = match on {
            HaltOn::Fail => ends.failed,
            HaltOn::Success => ends.finished,
            HaltOn::Done => ends.finished.saturating_add(ends.failed).saturating_add(ends.cancelled),
        };
        let is_met = match threshold {
            Threshold::Number(number) => count >= number,
            Threshold::Part(part) => {
                count > 0 && u128::from(count) * u128::from(WHOLE) >= u128::from(part) * u128::from(total)
            }
        };
        is_met.then_some(when)
    }
}

impl FromStr for Halt {
    type Err = HaltError;

    fn from_str(text: &str) -> Result<Self, HaltError> {
        let fail_or_success = |text: &str| match text {
            "1" => Some("soon,fail=1"),
            "2" => Some("now,fail=1"),
            "-1" => Some("soon,success=1"),
            "-2" => Some("now,success=1"),
            _ => None,
        };
        if matches!(text, "never" | "0") {
            return Ok(Self::Never);
        }
        // The short forms of older versions of GNU parallel.
        let text = fail_or_success(text).unwrap_or(text);
        if let Some(part) = text.strip_suffix('%').filter(|number| !number.contains('=')) {
            return Ok(Self::At(HaltWhen::Soon, HaltOn::Fail, Threshold::Part(hundredths(part)?)));
        }
        let (when, what) = text.split_once(',').ok_or(HaltError)?;
        let (what, number) = what.split_once('=').ok_or(HaltError)?;
        let when = match when {
            "soon" => HaltWhen::Soon,
            "now" => HaltWhen::Now,
            _ => return Err(HaltError),
        };
        let on = match what {
            "fail" => HaltOn::Fail,
            "success" => HaltOn::Success,
            "done" => HaltOn::Done,
            _ => return Err(HaltError),
        };
        let threshold = match number.strip_suffix('%') {
            Some(part) => Threshold::Part(hundredths(part)?),
            None => Threshold::Number(integer(number).filter(|number| *number > 0).ok_or(HaltError)?),
        };
        Ok(Self::At(when, on, threshold))
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::At(when, on, threshold) = self else { return f.write_str("never") };
        let when = if *when == HaltWhen::Soon { "soon" } else { "now" };
        let on = match on {
            HaltOn::Fail => "fail",
            HaltOn::Success => "success",
            HaltOn::Done => "done",
        };
        write!(f, "{when},{on}=")?;
        match threshold {
            Threshold::Number(number) => write!(f, "{number}"),
            Threshold::Part(part) if part % 100 == 0 => write!(f, "{}%", part / 100),
            Threshold::Part(part) => write!(f, "{}.{:02}%", part / 100, part % 100),
        }
    }
}

fn integer(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// A percentage above 0 and up to 100, with at most two digits after its point.
fn hundredths(text: &str) -> Result<u64, HaltError> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = match part.len() {
        1 => integer(part).map(|tenths| tenths * 10),
        2 => integer(part),
        _ => None,
    };
    let sum = integer(whole).zip(part).and_then(|(whole, part)| whole.checked_mul(100)?.checked_add(part));
    sum.filter(|sum| (1..=WHOLE).contains(sum)).ok_or(HaltError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Halt, HaltError> {
        text.parse()
    }

    #[test]
    fn the_words_of_gnu_parallel_are_understood() {
        for (text, shown) in [
            ("never", "never"),
            ("0", "never"),
            ("1", "soon,fail=1"),
            ("2", "now,fail=1"),
            ("-1", "soon,success=1"),
            ("-2", "now,success=1"),
            ("25%", "soon,fail=25%"),
            ("now,fail=1", "now,fail=1"),
            ("soon,fail=3%", "soon,fail=3%"),
            ("now,success=1", "now,success=1"),
            ("soon,done=12.5%", "soon,done=12.50%"),
        ] {
            assert_eq!(parse(text).map(|halt| halt.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused_with_what_is_valid() {
        let wrong = [
            "",
            "3",
            "now",
            "now,",
            "now,fail",
            "now,fail=",
            "now,fail=0",
            "now,fail=-1",
            "later,fail=1",
            "now,lost=1",
            "now,fail=0%",
            "now,fail=101%",
            "now,fail=1.234%",
            "now,fail=1.5",
            "now,fail=+1",
            "now, fail=1",
            "fail=1",
            "now,fail=99999999999999999999",
            "%",
        ];
        for text in wrong {
            assert_eq!(parse(text), Err(HaltError), "{text}");
        }
        assert!(HaltError.to_string().contains("now,fail=1"));
    }

    #[test]
    fn a_part_is_of_all_tasks() {
        let halt = parse("soon,fail=3%").expect("valid");
        let failed = |failed, total| halt.decide(RunEnds { finished: 90, failed, cancelled: 9 }, total);
        assert_eq!((failed(2, 100), failed(3, 100)), (None, Some(HaltWhen::Soon)));
        assert_eq!((failed(0, 3), failed(1, 3)), (None, Some(HaltWhen::Soon)));
        assert_eq!(failed(0, 0), None);
    }

    fn halts() -> impl Strategy<Value = Halt> {
        let when = prop_oneof![Just(HaltWhen::Soon), Just(HaltWhen::Now)];
        let on = prop_oneof![Just(HaltOn::Fail), Just(HaltOn::Success), Just(HaltOn::Done)];
        let threshold = prop_oneof![(1..50_u64).prop_map(Threshold::Number), (1..=WHOLE).prop_map(Threshold::Part)];
        (when, on, threshold).prop_map(|(when, on, threshold)| Halt::At(when, on, threshold))
    }

    proptest! {
        #[test]
        fn what_is_shown_means_the_same(halt in halts()) {
            prop_assert_eq!(parse(&halt.to_string()), Ok(halt));
        }

        #[test]
        fn no_text_breaks_the_parser(text in ".{0,20}") {
            let _ = parse(&text);
        }

        #[test]
        fn more_ends_never_take_a_decision_back(
            halt in halts(), total in 1..200_u64, ends in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let mut so_far = RunEnds::default();
            let mut was_met = halt.decide(so_far, total).is_some();
            prop_assert!(!was_met, "nothing has ended");
            for is_failure in ends {
                if is_failure { so_far.failed += 1 } else { so_far.finished += 1 }
                let is_met = halt.decide(so_far, total).is_some();
                prop_assert!(is_met || !was_met);
                was_met = is_met;
            }
        }

        #[test]
        fn all_tasks_together_meet_every_part(part in 1..=WHOLE, total in 1..1_000_000_u64) {
            let halt = Halt::At(HaltWhen::Now, HaltOn::Done, Threshold::Part(part));
            prop_assert_eq!(halt.decide(RunEnds { finished: total, failed: 0, cancelled: 0 }, total), Some(HaltWhen::Now));
        }
    }
}
