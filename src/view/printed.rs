//! What tasks have printed, as lines for a terminal: with its colours and without what its carriage returns have replaced, or raw, each escape visible.

use super::console_text::console_lines;
use super::safe_text::safe;
use super::style::paint;
use super::width::of_char;

/// Columns between two stops of the tabulator.
const TAB: usize = 8;

/// The lines of a whole text, styled.
#[must_use]
pub fn printed(text: &str, is_raw: bool) -> Vec<String> {
    if is_raw {
        return text.lines().map(|line| safe(line).into_owned()).collect();
    }
    let styled = console_lines(text).into_iter().map(|parts| {
        let mut column = 0;
        parts.iter().map(|(style, text)| paint(*style, &untabbed(text, &mut column))).collect::<String>()
    });
    styled.collect()
}

/// Text with blanks in place of tabs; `column` is where it begins, and then where it ends.
#[must_use]
pub fn untabbed(text: &str, column: &mut usize) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let wide = if c == '\t' { TAB - *column % TAB } else { of_char(c) };
        if c == '\t' {
            out.extend(std::iter::repeat_n(' ', wide));
        } else {
            out.push(c);
        }
        *column += wide;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_is_as_a_terminal_shows_it_or_raw() {
        let text = "10 %\r100 %\na\tb\x1b[31mc\x1b[0m\x1b[2J\n";
        assert_eq!(printed(text, false), ["100 %", "a       b\x1b[31mc\x1b[0m\\x1b[2J"]);
        assert_eq!(printed(text, true), ["10 %\\r100 %", "a\\tb\\x1b[31mc\\x1b[0m\\x1b[2J"]);
        let mut column = 3;
        assert_eq!((untabbed("任\tx", &mut column), column), ("任   x".to_owned(), 9));
    }
}
