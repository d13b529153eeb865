//! Reports that Redis acknowledged a moment ago: sent again when it turns out to have lost data.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::queue::session::Settle;

/// What a crash of the server's machine may cost with `appendfsync everysec`, many times over.
const KEEP: Duration = Duration::from_secs(10);

/// Bytes kept at most.
const KEEP_BYTES: usize = 2 << 20;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// A ring of recent reports, bounded in time and size.
#[derive(Debug, Default)]
pub struct ReplayBuffer {
    reports: VecDeque<(Instant, usize, Settle)>,
    bytes: usize,
}

impl ReplayBuffer {
    /// Adds reports that were acknowledged now.
    pub fn add(&mut self, now: Instant, batch: impl IntoIterator<Item = Settle>) {
        for report in batch {
            let size = report.size() + ENTRY_BYTES;
            self.bytes += size;
            self.reports.push_back((now, size, report));
        }
        while let Some((at, size, _)) = self.reports.front() {
            if self.bytes <= KEEP_BYTES && now.saturating_duration_since(*at) < KEEP {
                break;
            }
            self.bytes -= size;
            self.reports.pop_front();
        }
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Settle> {
        self.reports.iter().map(|(_, _, report)| report.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;
    use crate::queue::session::Settlement;

    fn report(bytes: usize) -> Settle {
        Settle {
            line: "shell:0:0:0:true".into(),
            id: TaskId::of("shell:0:0:0:true"),
            token: "t".to_owned(),
            class: None,
            record: None,
            settlement: Settlement::Finish { value: "x".repeat(bytes) },
        }
    }

    #[test]
    fn old_and_large_reports_are_dropped() {
        let mut buffer = ReplayBuffer::default();
        let start = Instant::now();
        buffer.add(start, [report(10)]);
        buffer.add(start + Duration::from_secs(11), [report(20)]);
        assert_eq!(buffer.all().len(), 1);
        buffer.add(start + Duration::from_secs(12), [report(KEEP_BYTES), report(5)]);
        assert_eq!(buffer.all().len(), 1);
    }
}
