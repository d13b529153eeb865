//! How many columns of a terminal text takes: Chinese, Japanese and Korean characters take two, combining ones none.

use ratatui::text::Span;

/// The columns of a text without styles.
#[must_use]
pub fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// The columns of a character.
#[must_use]
pub fn of_char(c: char) -> usize {
    if c.is_ascii() { 1 } else { columns(c.encode_utf8(&mut [0; 4])) }
}

/// The longest beginning of a text that takes at most `width` columns.
#[must_use]
pub fn beginning(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += of_char(*c);
        used > width
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The longest end of a text that takes at most `width` columns.
#[must_use]
pub fn end(text: &str, width: usize) -> &str {
    let mut used = 0;
    let begin = text.char_indices().rev().find(|(_, c)| {
        used += of_char(*c);
        used > width
    });
    begin.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// Adds a text with blanks behind it, or where it is a number before it, up to `width` columns.
pub fn pad(out: &mut String, text: &str, width: usize, is_number: bool) {
    let blanks = width.saturating_sub(columns(text));
    if is_number {
        out.extend(std::iter::repeat_n(' ', blanks));
    }
    out.push_str(text);
    if !is_number {
        out.extend(std::iter::repeat_n(' ', blanks));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice_and_combining_ones_not() {
        assert_eq!(["abc", "käse", "任务", "한글", "e\u{301}", ""].map(columns), [3, 4, 4, 4, 1, 0]);
        assert_eq!([beginning("任务x", 3), beginning("任务x", 4), beginning("ab", 9)], ["任", "任务", "ab"]);
        assert_eq!([end("x任务", 3), end("x任务", 5), end("ab", 0)], ["务", "x任务", ""]);
        let mut line = String::new();
        pad(&mut line, "任", 4, false);
        pad(&mut line, "任", 4, true);
        pad(&mut line, "abc", 2, true);
        assert_eq!(line, "任    任abc");
    }
}
