//! The last bytes of a stream, in bounded memory.

use super::protocol::Part;

/// Keeps the last bytes of a stream, and counts all of them.
#[derive(Debug)]
pub(super) struct Tail {
    keep: usize,
    /// At most twice `keep`.
    bytes: Vec<u8>,
    total: u64,
}

impl Tail {
    /// Keeps the last `keep` bytes. 0: only counts.
    #[must_use]
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, bytes: Vec::new(), total: 0 }
    }

    /// Adds the next bytes of the stream.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.total += chunk.len() as u64;
        let chunk = &chunk[chunk.len().saturating_sub(self.keep)..];
        // Drop the older half at twice the limit, so that each byte is moved once and not at every push.
        if self.bytes.len() + chunk.len() > self.keep.saturating_mul(2) {
            let surplus = (self.bytes.len() + chunk.len()).saturating_sub(self.keep).min(self.bytes.len());
            self.bytes.drain(..surplus);
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Length of the whole stream in bytes.
    #[must_use]
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The bytes kept from a position on, at most `most`. `None`: the last ones.
    #[must_use]
    pub(super) fn since(&self, from: Option<u64>, most: usize) -> Part {
        self.since_of(self.total, from, most)
    }

    /// As [`Self::since`], for a tail that ends a stream of `total` bytes but has not seen its head.
    pub(super) fn since_of(&self, total: u64, from: Option<u64>, most: usize) -> Part {
        part(&self.bytes, total, total, from, most)
    }

    /// The last `keep` bytes, or fewer if the stream is shorter.
    #[must_use]
    pub(super) fn finish(mut self) -> Vec<u8> {
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
        self.bytes
    }
}

/// A part of `kept`, which ends at the position `end` of a stream of `total` bytes so far.
pub(super) fn part(kept: &[u8], end: u64, total: u64, from: Option<u64>, most: usize) -> Part {
    let begin = end.saturating_sub(kept.len() as u64);
    let at = from.unwrap_or_else(|| end.saturating_sub(most as u64)).clamp(begin, end);
    let skipped = usize::try_from(at - begin).unwrap_or(kept.len()).min(kept.len());
    let bytes = &kept[skipped..];
    Part { at, bytes: bytes[..bytes.len().min(most)].to_vec(), total }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tail_is_the_end_of_the_stream(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20), keep in 0usize..60) {
            let mut tail = Tail::new(keep);
            for chunk in &chunks {
                tail.push(chunk);
                prop_assert!(tail.bytes.len() <= 2 * keep);
            }
            let whole = chunks.concat();
            prop_assert_eq!(tail.total(), whole.len() as u64);
            prop_assert_eq!(tail.finish(), &whole[whole.len().saturating_sub(keep)..]);
        }
    }
}
