//! Counts tasks that are given more than once: the same line is one task, and whoever gave it twice should hear that it runs once.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::view::text::tasks;

/// Lines that are compared, at eight bytes each. Beyond them nothing is said.
const MOST: usize = 10_000_000;

/// What was given more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeated {
    /// Tasks that were given more than once.
    tasks: u64,
    /// How often they were given beyond the first time.
    more: u64,
}

/// The lines so far.
#[derive(Default)]
pub(super) struct RepeatCounter {
    hashes: Vec<u64>,
    is_over: bool,
}

impl RepeatCounter {
    /// One more line.
    pub(super) fn add(&mut self, line: &str) {
        if self.hashes.len() == MOST {
            (self.hashes, self.is_over) = (Vec::new(), true);
        }
        if !self.is_over {
            let mut hasher = DefaultHasher::new();
            line.hash(&mut hasher);
            self.hashes.push(hasher.finish());
        }
    }

    /// After the last.
    pub(super) fn finish(mut self) -> Repeated {
        self.hashes.sort_unstable();
        let times = self.hashes.chunk_by(|a, b| a == b).map(<[u64]>::len).filter(|times| *times > 1);
        times.fold(Repeated::default(), |sum, times| Repeated {
            tasks: sum.tasks + 1,
            more: sum.more + (times as u64 - 1),
        })
    }
}

impl Repeated {
    /// A sentence; `None` where each was given once.
    pub(super) fn words(self) -> Option<String> {
        let Self { tasks: number, more } = self;
        let often = if more == number { "twice" } else { "more than once" };
        let (verb, it) = if number == 1 { ("is", "it") } else { ("are", "them") };
        (number > 0).then(|| {
            format!(
                "{} given {often} {verb} run once; to run {it} more often, let a comment tell the lines apart: COMMAND # 2",
                tasks(number)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_more_than_once_is_counted() {
        let words = |lines: &str| {
            let mut counter = RepeatCounter::default();
            lines.split(' ').for_each(|line| counter.add(line));
            counter.finish().words().map(|text| text.split(';').next().unwrap_or_default().to_owned())
        };
        for (lines, expected) in [
            ("a b c", None),
            ("a b a", Some("1 task given twice is run once")),
            ("a a a", Some("1 task given more than once is run once")),
            ("a b b a", Some("2 tasks given twice are run once")),
            ("a b b a a", Some("2 tasks given more than once are run once")),
        ] {
            assert_eq!(words(lines).as_deref(), expected, "{lines}");
        }
    }
}
