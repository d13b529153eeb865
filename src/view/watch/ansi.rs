//! Converts our own styled text for the screen library.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Lines of styled text. Only the styles of [`crate::view::style`] are known; whatever comes from tasks holds no escape any more.
pub(super) fn lines(text: &str) -> Vec<Line<'static>> {
    text.lines().map(line).collect()
}

fn line(text: &str) -> Line<'static> {
    let mut spans = Vec::new();
    let mut style = Style::new();
    let mut pieces = text.split('\u{1b}');
    spans.extend(pieces.next().filter(|plain| !plain.is_empty()).map(|plain| Span::raw(plain.to_owned())));
    for piece in pieces {
        let Some((codes, rest)) = piece.strip_prefix('[').and_then(|piece| piece.split_once('m')) else { continue };
        for code in codes.split(';') {
            style = styled(style, code);
        }
        if !rest.is_empty() {
            spans.push(Span::styled(rest.to_owned(), style));
        }
    }
    Line::from(spans)
}

fn styled(style: Style, code: &str) -> Style {
    match code {
        "1" => style.add_modifier(Modifier::BOLD),
        "2" => style.add_modifier(Modifier::DIM),
        "31" => style.red(),
        "32" => style.green(),
        "33" => style.yellow(),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::style::{BAD, BOLD, paint};

    #[test]
    fn our_styles_become_theirs_and_the_text_stays() {
        let text = format!("a{}c{}\nplain", paint(BAD, "b"), paint(BOLD, "d"));
        let lines = lines(&text);
        assert_eq!(lines[0].to_string(), "abcd");
        assert_eq!(lines[0].spans[1].style, Style::new().red());
        assert_eq!(lines[0].spans[2].style, Style::new());
        assert_eq!(lines[1].to_string(), "plain");
    }
}
