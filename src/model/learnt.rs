//! What the tasks of a family have been seen to need, as `lua/shared/learning.lua` writes it.

use serde::Serialize;

use super::units::Bytes;

/// So many tasks of a family finish before what they need counts as known; as in `lua/shared/learnt.lua`.
pub const FEW: u64 = 5;

const BUCKETS: usize = 64;

/// How much memory finished tasks of one family have used at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peaks {
    /// How many finished with a measured peak.
    pub tasks: u64,
    /// The largest peak.
    pub most: Bytes,
    /// What the last of them declared; `None` where that was learnt.
    pub declared: Option<Bytes>,
    /// How many peaks lie in each bucket; one begins at `2^20 * 2^(n/3)` bytes.
    counts: [u64; BUCKETS],
}

impl Peaks {
    /// Reads `COUNT MOST DECLARED B:N,B:N,…`; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let (tasks, most) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let declared = match parts.next()? {
            "auto" => None,
            bytes => Some(Bytes(bytes.parse().ok()?)),
        };
        let mut counts = [0; BUCKETS];
        for bucket in parts.next()?.split(',').filter(|bucket| !bucket.is_empty()) {
            let (at, count) = bucket.split_once(':')?;
            *counts.get_mut(at.parse::<usize>().ok()?)? = count.parse().ok()?;
        }
        Some(Self { tasks, most: Bytes(most), declared, counts })
    }

    /// What so many of a hundred tasks stayed within; at most what a bucket is wide too large, and never more than the largest peak.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Bytes {
        let beyond = self.tasks.saturating_mul(100 - percent.min(100)) / 100;
        let mut above = 0;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            above += count;
            if above > beyond || bucket == 0 {
                let edge = 1_048_576.0 * ((bucket as f64 + 1.0) / 3.0).exp2();
                return Bytes(edge as u64).min(self.most);
            }
        }
        self.most
    }

    /// What such a task should declare: what 99 of 100 stayed within, and a fifth more, rounded up. `None` while too few have finished.
    #[must_use]
    pub fn suggested(&self) -> Option<Bytes> {
        let within = self.percentile(99).0;
        (self.tasks >= FEW).then(|| Bytes(within.saturating_add(within / 5)).rounded_up())
    }

    /// [`Self::suggested`], where that differs usefully from what was declared: by a fifth of it and a tenth of a GB.
    #[must_use]
    pub fn advice(&self) -> Option<Bytes> {
        let suggested = self.suggested()?;
        let declared = self.declared?;
        let differs = suggested.0.abs_diff(declared.0);
        (differs > declared.0 / 5 && differs > Bytes::GIB.0 / 10).then_some(suggested)
    }
}

/// One family, as `distcomp-status learnt` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub peaks: Peaks,
}

/// For programs: `{"family", "tasks", "declared_gb", "p50_gb", "p99_gb", "most_gb", "suggested_gb"}`.
impl Serialize for Family {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            family: &'a str,
            tasks: u64,
            declared_gb: Option<f64>,
            p50_gb: f64,
            p99_gb: f64,
            most_gb: f64,
            suggested_gb: Option<f64>,
        }
        let peaks = &self.peaks;
        Row {
            family: &self.name,
            tasks: peaks.tasks,
            declared_gb: peaks.declared.map(Bytes::as_gib),
            p50_gb: peaks.percentile(50).as_gib(),
            p99_gb: peaks.percentile(99).as_gib(),
            most_gb: peaks.most.as_gib(),
            suggested_gb: peaks.suggested().map(Bytes::as_gib),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_lie_within_a_bucket_of_the_truth() {
        // 99 of 1.1 GB, which are in bucket 30 (1 to 1.26 GB), and one of 2.0.
        let peaks = Peaks::parse(&format!("100 {} {} 30:99,33:1", 2_u64 << 30, 8_u64 << 30)).expect("peaks");
        assert_eq!(peaks.percentile(100), Bytes(2 << 30));
        assert!((1.1..1.27).contains(&peaks.percentile(99).as_gib()), "{}", peaks.percentile(99));
        assert_eq!(peaks.suggested().map(Bytes::as_gib), Some(1.6));
        assert_eq!(peaks.advice(), peaks.suggested(), "8 GB are far more");
        let alike = Peaks::parse("9 1000000000 1200000000 29:9").expect("peaks");
        assert_eq!(alike.percentile(50), Bytes(1_000_000_000), "never more than the largest");
        assert_eq!((alike.suggested().is_some(), alike.advice()), (true, None));
        assert_eq!(Peaks::parse("4 1000000000 0 29:4").expect("peaks").suggested(), None, "too few");
    }

    #[test]
    fn what_is_no_histogram_is_passed_over() {
        for text in ["", "x", "1 2", "1 2 3", "1 2 x 0:1", "1 2 3 64:1", "1 2 3 0"] {
            assert_eq!(Peaks::parse(text), None, "{text}");
        }
        assert!(Peaks::parse("1 2 auto 0:1").is_some_and(|peaks| peaks.declared.is_none()));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,60}", percent in 0..200_u64) {
            if let Some(peaks) = Peaks::parse(&text) {
                let _ = (peaks.percentile(percent), peaks.suggested());
            }
        }
    }
}
