//! How the lines were read, in words: `212 tasks: 4 GB, 2 cores, priority 0, limit 2 h`.

use crate::model::TaskLine;
use crate::model::units::{Bytes, MilliCores};
use crate::view::text::{duration, tasks};

/// Lines that are shown.
const SHOWN: usize = 3;

/// The smallest and the largest of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<T> {
    least: T,
    most: T,
}

impl<T: Copy + Ord> Range<T> {
    fn add(range: &mut Option<Self>, value: T) {
        *range = Some(range.map_or(Self { least: value, most: value }, |range| Self {
            least: range.least.min(value),
            most: range.most.max(value),
        }));
    }

    fn words(self, word: impl Fn(T) -> String) -> String {
        if self.least == self.most { word(self.least) } else { format!("{} to {}", word(self.least), word(self.most)) }
    }
}

/// What the tasks of a command line ask for.
#[derive(Debug, Default)]
pub(super) struct Profile {
    tasks: u64,
    /// The first lines.
    pub(super) first: Vec<String>,
    mem: Option<Range<Bytes>>,
    cpu: Option<Range<MilliCores>>,
    prio: Option<Range<u16>>,
    /// Seconds; 0 is no limit and counts as the longest.
    limit: Option<Range<u64>>,
    /// Tasks without a limit of their own.
    without: u64,
}

impl Profile {
    /// One more task.
    pub(super) fn add(&mut self, task: &TaskLine) {
        self.tasks += 1;
        if self.first.len() < SHOWN {
            self.first.push(task.as_str().to_owned());
        }
        Range::add(&mut self.mem, task.demand().mem());
        Range::add(&mut self.cpu, task.demand().cpu());
        Range::add(&mut self.prio, task.prio());
        match task.timeout() {
            None => self.without += 1,
            Some(0) => Range::add(&mut self.limit, u64::MAX),
            Some(seconds) => Range::add(&mut self.limit, seconds),
        }
    }

    /// In words; `default` is the limit of workers, in seconds, where it is known.
    pub(super) fn words(&self, default: Option<u64>) -> String {
        let (Some(mem), Some(cpu), Some(prio)) = (self.mem, self.cpu, self.prio) else { return tasks(self.tasks) };
        let own = self.limit.map(|limit| format!("limit {}", limit.words(limit_in_words)));
        let default = match default {
            None | Some(0) => "no limit".to_owned(),
            Some(seconds) => format!("limit {} (the default)", limit_in_words(seconds)),
        };
        let limit = match own {
            None => default,
            Some(own) if self.without == 0 => own,
            Some(own) => format!("{own}, or {default}"),
        };
        format!(
            "{}: {}, {}, priority {}, {limit}",
            tasks(self.tasks),
            mem.words(|mem| format!("{} GB", mem.as_gib())),
            cpu.words(|cpu| match cpu {
                MilliCores(1000) => "1 core".to_owned(),
                cpu => format!("{} cores", cpu.as_cores()),
            }),
            prio.words(|prio| prio.to_string()),
        )
    }
}

fn limit_in_words(seconds: u64) -> String {
    if seconds == u64::MAX { "none".to_owned() } else { duration(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldOrder;

    fn words(lines: &[&str], default: Option<u64>) -> String {
        let mut profile = Profile::default();
        lines.iter().for_each(|line| profile.add(&TaskLine::parse(line, FieldOrder::MemCpuPrio).unwrap()));
        profile.words(default)
    }

    #[test]
    fn demands_are_told_with_their_range() {
        assert_eq!(words(&["shell:4:2:0:7200:a"], None), "1 task: 4 GB, 2 cores, priority 0, limit 2 h 00 m");
        let expected = "2 tasks: 0 GB to 0.5 GB, 1 core to 2 cores, priority 0 to 9, limit 1 h 00 m (the default)";
        assert_eq!(words(&["shell:0:1:0:a", "shell:0.5:2:9:b"], Some(3600)), expected);
        assert_eq!(
            words(&["shell:0:1:0:0:a", "shell:0:1:0:b"], None),
            "2 tasks: 0 GB, 1 core, priority 0, limit none, or no limit"
        );
        assert_eq!(words(&[], None), "0 tasks");
    }
}
