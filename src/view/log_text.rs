//! Makes task output safe to print while it streams by, in pieces of any size.

use super::safe_text::safe;

/// Turns pieces of a stream into text that a terminal does not act upon. Line ends and tabs stay; a carriage return, with which progress bars write over
/// themselves, becomes a line end.
#[derive(Debug, Default)]
pub struct LogText {
    /// The beginning of a character that ends in the next piece.
    carry: Vec<u8>,
    /// The last piece ended in a carriage return, which may belong to a line end.
    was_return: bool,
    is_inside_line: bool,
}

impl LogText {
    /// The next piece.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.carry.extend_from_slice(bytes);
        let end = whole(&self.carry);
        let text = String::from_utf8_lossy(&self.carry[..end]).into_owned();
        self.carry.drain(..end);
        self.convert(&text)
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.carry)).into_owned();
        self.convert(&rest)
    }

    /// Whether the last line has no end yet.
    #[must_use]
    pub fn is_inside_line(&self) -> bool {
        self.is_inside_line
    }

    fn convert(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        let mut rest = text;
        if self.was_return && !rest.is_empty() {
            self.was_return = false;
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
        while let Some(at) = rest.find(['\n', '\r', '\t']) {
            out.push_str(&safe(&rest[..at]));
            let is_return = rest.as_bytes()[at] == b'\r';
            out.push(if rest.as_bytes()[at] == b'\t' { '\t' } else { '\n' });
            rest = &rest[at + 1..];
            if is_return {
                self.was_return = rest.is_empty();
                rest = rest.strip_prefix('\n').unwrap_or(rest);
            }
        }
        out.push_str(&safe(rest));
        if let Some(last) = out.chars().next_back() {
            self.is_inside_line = last != '\n';
        }
        out
    }
}

/// How many bytes end with a whole character, or with what will never be one.
pub(super) fn whole(bytes: &[u8]) -> usize {
    let begin = bytes.len().saturating_sub(3);
    for at in (begin..bytes.len()).rev() {
        let needed = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            // In the middle of a character: its beginning is further to the left.
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if at + needed > bytes.len() { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(pieces: &[&[u8]]) -> String {
        let mut log = LogText::default();
        let mut out: String = pieces.iter().map(|piece| log.push(piece)).collect();
        out.push_str(&log.finish());
        out
    }

    #[test]
    fn lines_and_tabs_stay_and_nothing_drives_the_terminal() {
        assert_eq!(through(&[b"a\tb\r\nc\x1b[2J\n"]), "a\tb\nc\\x1b[2J\n");
        assert_eq!(through(&[b"10 %\r20 %\r", b"\ndone"]), "10 %\n20 %\ndone");
        assert_eq!(through(&[b"\xff\xfe"]), "\u{fffd}\u{fffd}");
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(0xe2_u8), Just(0x82), Just(0xac)], 0..60),
                                    cuts in prop::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let whole = through(&[&bytes]);
            prop_assert_eq!(through(&pieces), whole.as_str());
            prop_assert!(!whole.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
