//! Captures the stdout of a task in bounded memory. Beyond a limit it goes to a file, and only its head and tail stay in memory.
//!
//! Bytes are accepted even if the file cannot be written: a task must neither stop nor fail because its output has no place.

use std::path::PathBuf;

use super::protocol::{Part, Stdout};
use super::result_file::{ResultFile, ResultPlace};
use super::tail::{Tail, part};
use crate::model::TrimmedSpace;

/// How much of stdout is kept in memory, and where the whole goes.
#[derive(Clone, Debug)]
pub struct StdoutLimits {
    /// A stdout of at most so many bytes stays in memory.
    pub max_inline: usize,
    /// Bytes kept of the beginning of a longer one.
    pub head_keep: usize,
    /// Bytes kept of the end of a longer one.
    pub tail_keep: usize,
    /// The file for the whole. It is created at the first byte beyond `max_inline`, or at the end if text cannot represent the output.
    pub place: ResultPlace,
}

/// The stdout of one task.
#[derive(Debug)]
pub struct StdoutCapture {
    limits: StdoutLimits,
    /// The whole, or the head once there are more than `max_inline` bytes.
    memory: Vec<u8>,
    overflow: Option<Overflow>,
}

#[derive(Debug)]
struct Overflow {
    tail: Tail,
    total: u64,
    file: Result<ResultFile, String>,
}

impl StdoutCapture {
    /// An empty capture, which takes no memory until there is output.
    #[must_use]
    pub fn new(limits: StdoutLimits) -> Self {
        Self { limits, memory: Vec::new(), overflow: None }
    }

    /// Adds the next bytes. It never fails: if the file cannot be written, the error is kept and bytes are still counted.
    pub fn push(&mut self, chunk: &[u8]) {
        let overflow = match &mut self.overflow {
            Some(overflow) => overflow,
            None if self.memory.len() + chunk.len() <= self.limits.max_inline => {
                self.memory.extend_from_slice(chunk);
                return;
            }
            none => {
                let first = std::mem::take(&mut self.memory);
                let mut overflow =
                    Overflow { tail: Tail::new(self.limits.tail_keep), total: 0, file: self.limits.place.create() };
                overflow.push(&first, &mut self.memory, &self.limits);
                none.insert(overflow)
            }
        };
        overflow.push(chunk, &mut self.memory, &self.limits);
    }

    /// The bytes kept from a position on, at most `most`. `None`: the last ones. Of a stdout that is in a file, only head and tail are kept.
    #[must_use]
    pub fn since(&self, from: Option<u64>, most: usize) -> Part {
        let head = self.memory.len() as u64;
        match &self.overflow {
            Some(overflow) if from.is_none_or(|from| from >= head) => {
                overflow.tail.since_of(overflow.total, from, most)
            }
            Some(overflow) => part(&self.memory, head, overflow.total, from, most),
            None => part(&self.memory, head, head, from, most),
        }
    }

    /// Whether it took much memory, which the keeper returns to the system afterwards.
    #[must_use]
    pub fn was_large(&self) -> bool {
        self.overflow.is_some() || self.memory.capacity() > 32 * 1024
    }

    /// What was kept. With `is_result`, a stdout that is whole but that text cannot represent is written to the file, which is the second value.
    #[must_use]
    pub fn finish(self, is_result: bool) -> (Stdout, Option<Result<PathBuf, String>>) {
        let place = self.limits.place;
        match self.overflow {
            None if is_result && TrimmedSpace::of(&self.memory).is_none() => {
                let written = place
                    .create()
                    .and_then(|mut file| file.write(&self.memory).map_err(|error| place.complaint(&error)));
                (Stdout::Whole(self.memory), Some(written.map(|()| place.path)))
            }
            None => (Stdout::Whole(self.memory), None),
            Some(Overflow { tail, total, file }) => {
                let (head, file) = (self.memory, file.map(|_| place.path));
                (Stdout::Overflowed { head, tail: tail.finish(), total_bytes: total, file }, None)
            }
        }
    }
}

impl Overflow {
    fn push(&mut self, chunk: &[u8], head: &mut Vec<u8>, limits: &StdoutLimits) {
        self.total += chunk.len() as u64;
        let written = match &mut self.file {
            Ok(file) => file.write(chunk),
            Err(_) => Ok(()),
        };
        if let Err(error) = written {
            self.file = Err(limits.place.complaint(&error));
        }
        let to_head = chunk.len().min(limits.head_keep.saturating_sub(head.len()));
        head.extend_from_slice(&chunk[..to_head]);
        self.tail.push(&chunk[to_head..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(path: PathBuf) -> ResultPlace {
        ResultPlace { path, ..ResultPlace::default() }
    }

    proptest! {
        #[test]
        fn no_byte_of_stdout_is_lost(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
                                     max_inline in 0usize..200, head_keep in 0usize..60, tail_keep in 0usize..60) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let mut capture = StdoutCapture::new(StdoutLimits { max_inline, head_keep, tail_keep, place: place(path.clone()) });
            for chunk in &chunks {
                capture.push(chunk);
            }
            let whole = chunks.concat();
            match capture.finish(false).0 {
                Stdout::Whole(bytes) => {
                    prop_assert!(whole.len() <= max_inline);
                    prop_assert_eq!(bytes, whole);
                    prop_assert!(!path.exists(), "a file only when it is needed");
                }
                Stdout::Overflowed { head, tail, total_bytes, file } => {
                    prop_assert!(whole.len() > max_inline);
                    prop_assert_eq!(&std::fs::read(file.unwrap()).unwrap(), &whole);
                    prop_assert_eq!(total_bytes, whole.len() as u64);
                    prop_assert_eq!(head.len(), head_keep.min(whole.len()));
                    prop_assert_eq!(tail.len(), tail_keep.min(whole.len() - head.len()));
                    prop_assert!(whole.starts_with(&head) && whole.ends_with(&tail));
                }
            }
        }
    }

    #[test]
    fn shown_part_equals_the_stream_at_its_position() {
        let dir = tempfile::tempdir().unwrap();
        let limits =
            StdoutLimits { max_inline: 100, head_keep: 10, tail_keep: 20, place: place(dir.path().join("out")) };
        let mut capture = StdoutCapture::new(limits);
        let whole: Vec<u8> = (0..250_u8).collect();
        for (index, chunk) in whole.chunks(7).enumerate() {
            capture.push(chunk);
            let said = &whole[..whole.len().min(7 * (index + 1))];
            for from in [0, 5, 10, 60, said.len() as u64, 10_000] {
                let part = capture.since(Some(from), 8);
                let at = usize::try_from(part.at).unwrap();
                assert_eq!(part.total, said.len() as u64);
                assert_eq!(part.bytes, said[at..][..part.bytes.len()], "{from} of {}", said.len());
                assert!(part.bytes.len() <= 8 && (at >= said.len().min(from as usize)), "{from}: {at}");
                let is_kept = said.len() <= 100 || from < 10;
                assert!(!is_kept || at == said.len().min(from as usize), "{from}: {at} of {}", said.len());
                assert!(!part.bytes.is_empty() || at == said.len(), "something is there to be shown");
            }
            let last = capture.since(None, 8);
            assert_eq!(last.bytes, said[said.len().saturating_sub(8)..]);
        }
    }

    fn capture_to(path: PathBuf) -> StdoutCapture {
        StdoutCapture::new(StdoutLimits { max_inline: 4, head_keep: 2, tail_keep: 2, place: place(path) })
    }

    fn file_of(stdout: Stdout) -> Result<PathBuf, String> {
        match stdout {
            Stdout::Overflowed { head, tail, total_bytes, file } => {
                assert_eq!((head.as_slice(), tail.as_slice(), total_bytes), (&b"01"[..], &b"89"[..], 10));
                file
            }
            Stdout::Whole(bytes) => panic!("kept whole: {bytes:?}"),
        }
    }

    #[test]
    fn full_disk_is_reported_and_capture_goes_on() {
        let mut capture = capture_to("/proc/nonexistent/out".into());
        capture.push(b"01234");
        capture.push(b"56789");
        assert!(file_of(capture.finish(true).0).unwrap_err().contains("/proc/nonexistent/out"));
        // A device that is always full.
        let mut capture = capture_to("/unused".into());
        capture.push(b"0123");
        capture.overflow = Some(Overflow { tail: Tail::new(2), total: 4, file: Ok(ResultFile::full()) });
        capture.memory.truncate(2);
        capture.push(b"456789");
        assert!(file_of(capture.finish(true).0).unwrap_err().contains("No space left"));
    }

    #[test]
    fn existing_file_or_link_is_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("link"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        for path in [&victim, &link] {
            let mut capture = capture_to(path.clone());
            capture.push(b"0123456789");
            assert!(file_of(capture.finish(true).0).is_err());
            assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        }
    }

    #[test]
    fn only_results_that_text_cannot_hold_become_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/out");
        let finish = |bytes: &[u8], is_result| {
            let limits = StdoutLimits { max_inline: 10_000, head_keep: 2, tail_keep: 2, place: place(path.clone()) };
            let mut capture = StdoutCapture::new(limits);
            capture.push(bytes);
            capture.finish(is_result)
        };
        for plain in [&b""[..], b"x\n", b"\t\xc3\xa4 \r\n\n"] {
            assert_eq!(finish(plain, true), (Stdout::Whole(plain.to_vec()), None));
        }
        assert_eq!(finish(b"a\xffb", false), (Stdout::Whole(b"a\xffb".to_vec()), None));
        assert!(!path.exists());
        assert_eq!(finish(b"a\xffb\n", true), (Stdout::Whole(b"a\xffb\n".to_vec()), Some(Ok(path.clone()))));
        assert_eq!(std::fs::read(&path).unwrap(), b"a\xffb\n");
        let (_, again) = finish(b"other \xff", true);
        assert!(again.unwrap().unwrap_err().contains("File exists"), "never written over");
        std::fs::remove_file(&path).unwrap();
        let blanks = [b"x".as_slice(), &[b'\n'; 1000]].concat();
        assert_eq!(finish(&blanks, true).1, Some(Ok(path.clone())), "so many are not to be kept beside the text");
    }
}
