//! How much memory a task declares after an attempt that was killed for want of it.

use crate::model::Bytes;

/// What decides it, from `conf.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRetry {
    /// What the next attempt declares, in thousandths of what this one had; 1000 is as much, which switches it off.
    pub factor_milli: u64,
    /// The most that it declares; `None`: what the largest live node has, which only the queue knows.
    pub most: Option<Bytes>,
}

/// How want of memory ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryEnd {
    /// The kernel killed it at the limit that its declaration has set.
    AtLimit,
    /// The kernel killed it because the node, or what limits the node, ran out.
    NodeRanOut,
    /// The worker killed it because memory ran low, while nothing else ran.
    Alone,
}

impl MemoryRetry {
    /// What the next attempt declares, rounded up; `None` where that is no more than `declared`. `peak` is the most that this attempt was seen to use, zero
    /// where that is not known. `is_learnt`: what it declares is a guess from others of its family.
    ///
    /// A guess that was too low may be so by far, as where a family is of unlike tasks: it grows by the factor three times over, so that a task has a chance
    /// to finish within its retries. A task that stayed within what it declares does not grow where the node ran out: others used more than they declare.
    #[must_use]
    pub fn next(&self, declared: Bytes, peak: Bytes, end: MemoryEnd, is_learnt: bool) -> Option<Bytes> {
        let base = match end {
            MemoryEnd::AtLimit => declared,
            MemoryEnd::NodeRanOut if peak <= declared => return None,
            MemoryEnd::NodeRanOut => peak,
            MemoryEnd::Alone => peak.max(declared),
        };
        if self.factor_milli <= 1000 {
            return None;
        }
        let times = if is_learnt { 3 } else { 1 };
        let wanted =
            (0..times).fold(u128::from(base.0), |bytes, _| bytes.saturating_mul(self.factor_milli.into()) / 1000);
        let wanted = Bytes(u64::try_from(wanted).unwrap_or(u64::MAX)).rounded_up();
        Some(self.most.map_or(wanted, |most| wanted.min(most))).filter(|next| *next > declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gb(text: &str) -> Bytes {
        Bytes::parse_gib(text).expect("a number")
    }

    const TWICE: MemoryRetry = MemoryRetry { factor_milli: 2000, most: None };

    #[test]
    fn each_kill_doubles_what_is_declared() {
        let next = |declared| TWICE.next(gb(declared), gb(declared), MemoryEnd::AtLimit, false);
        assert_eq!(next("0.1"), Some(gb("0.2")));
        assert_eq!(next("0.2"), Some(gb("0.4")));
        assert_eq!(next("1.27"), Some(gb("2.6")));
        assert_eq!(next("100"), Some(gb("200")));
        assert_eq!(next("0.001"), Some(gb("0.01")));
    }

    #[test]
    fn what_declares_nothing_grows_from_its_peak() {
        assert_eq!(TWICE.next(Bytes::ZERO, gb("3.1"), MemoryEnd::NodeRanOut, false), Some(gb("6.2")));
        assert_eq!(TWICE.next(Bytes::ZERO, Bytes::ZERO, MemoryEnd::Alone, false), None);
    }

    #[test]
    fn what_kept_within_its_declaration_is_not_to_blame() {
        assert_eq!(TWICE.next(gb("8"), gb("2"), MemoryEnd::NodeRanOut, false), None);
        assert_eq!(TWICE.next(gb("8"), gb("10"), MemoryEnd::NodeRanOut, false), Some(gb("20")));
        assert_eq!(TWICE.next(gb("8"), gb("2"), MemoryEnd::Alone, false), Some(gb("16")));
    }

    #[test]
    fn what_was_guessed_grows_faster() {
        assert_eq!(TWICE.next(gb("0.02"), gb("0.02"), MemoryEnd::AtLimit, true), Some(gb("0.16")));
        let bound = MemoryRetry { factor_milli: 1500, most: Some(gb("3")) };
        assert_eq!(bound.next(gb("1"), gb("1"), MemoryEnd::AtLimit, true), Some(gb("3")));
        let off = MemoryRetry { factor_milli: 1000, most: None };
        assert_eq!(off.next(gb("1"), gb("1"), MemoryEnd::AtLimit, true), None);
    }

    #[test]
    fn the_bound_and_a_factor_of_one_hold() {
        let bound = MemoryRetry { most: Some(gb("12")), ..TWICE };
        assert_eq!(bound.next(gb("8"), gb("8"), MemoryEnd::AtLimit, false), Some(gb("12")));
        assert_eq!(bound.next(gb("12"), gb("12"), MemoryEnd::AtLimit, false), None);
        let off = MemoryRetry { factor_milli: 1000, most: None };
        assert_eq!(off.next(gb("8"), gb("80"), MemoryEnd::Alone, false), None);
    }
}
