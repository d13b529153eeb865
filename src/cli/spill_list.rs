//! A list of texts that spills to disk: in memory while it is short, then in a temporary file without a name.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use tempfile::SpooledTempFile;

/// Kept in memory up to this many bytes.
const IN_MEMORY: usize = 8 * 1024 * 1024;

/// The list while it is being written.
pub(crate) struct SpillList {
    file: BufWriter<SpooledTempFile>,
    len: u64,
}

impl SpillList {
    pub(crate) fn new() -> Self {
        Self { file: BufWriter::new(SpooledTempFile::new(IN_MEMORY)), len: 0 }
    }

    /// Appends a text.
    pub(crate) fn push(&mut self, text: &str) -> io::Result<()> {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(text.as_bytes())?;
        self.len += 1;
        Ok(())
    }

    /// How many texts there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Goes on to reading, from the first.
    pub(crate) fn read(self) -> io::Result<SpillReader> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(SpillReader { file: BufReader::new(file), left: self.len })
    }
}

/// The list while it is being read.
pub(crate) struct SpillReader {
    file: BufReader<SpooledTempFile>,
    left: u64,
}

impl SpillReader {
    /// The next texts, at most `limit` of them and about `bytes`, but at least one; none at the end.
    pub(crate) fn take(&mut self, limit: usize, bytes: usize) -> io::Result<Vec<String>> {
        let mut sum = 0;
        let mut texts = Vec::with_capacity(limit.min(usize::try_from(self.left).unwrap_or(limit)));
        while self.left > 0 && texts.len() < limit && (texts.is_empty() || sum < bytes) {
            let mut length = [0; 4];
            self.file.read_exact(&mut length)?;
            let mut text = vec![0; usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?];
            self.file.read_exact(&mut text)?;
            sum += text.len();
            texts.push(String::from_utf8(text).map_err(io::Error::other)?);
            self.left -= 1;
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() -> io::Result<()> {
        let mut spool = SpillList::new();
        for text in ["a", "", "two\nlines", "käse"] {
            spool.push(text)?;
        }
        assert_eq!(spool.len(), 4);
        let mut spooled = spool.read()?;
        assert_eq!(spooled.take(3, 100)?, ["a", "", "two\nlines"]);
        assert_eq!(spooled.take(3, 100)?, ["käse"]);
        assert!(spooled.take(3, 100)?.is_empty());
        Ok(())
    }

    #[test]
    fn long_texts_come_out_a_few_at_a_time() -> io::Result<()> {
        let mut spool = SpillList::new();
        (0..3).try_for_each(|_| spool.push(&"x".repeat(60)))?;
        let mut spooled = spool.read()?;
        assert_eq!([spooled.take(9, 100)?.len(), spooled.take(9, 10)?.len()], [2, 1]);
        Ok(())
    }
}
