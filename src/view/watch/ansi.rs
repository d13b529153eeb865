//! Converts our own styled text for the screen library.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::view::console_text::styled;

/// Lines of styled text. Only styles are known, ours and those of [`crate::view::console_text`]; whatever comes from tasks holds no other escape any more. A
/// style goes on in the next line until it is reset.
pub(super) fn lines(text: &str) -> Vec<Line<'static>> {
    let mut style = anstyle::Style::new();
    text.lines().map(|text| line(text, &mut style)).collect()
}

fn line(text: &str, style: &mut anstyle::Style) -> Line<'static> {
    let mut spans = Vec::new();
    let mut pieces = text.split('\u{1b}');
    let mut add = |text: &str, style: anstyle::Style| {
        if !text.is_empty() {
            spans.push(Span::styled(text.to_owned(), converted(style)));
        }
    };
    add(pieces.next().unwrap_or_default(), *style);
    for piece in pieces {
        let Some((codes, rest)) = piece.strip_prefix('[').and_then(|piece| piece.split_once('m')) else { continue };
        *style = styled(*style, codes);
        add(rest, *style);
    }
    Line::from(spans)
}

const EFFECTS: [(anstyle::Effects, Modifier); 6] = [
    (anstyle::Effects::BOLD, Modifier::BOLD),
    (anstyle::Effects::DIMMED, Modifier::DIM),
    (anstyle::Effects::ITALIC, Modifier::ITALIC),
    (anstyle::Effects::UNDERLINE, Modifier::UNDERLINED),
    (anstyle::Effects::INVERT, Modifier::REVERSED),
    (anstyle::Effects::STRIKETHROUGH, Modifier::CROSSED_OUT),
];

fn converted(style: anstyle::Style) -> Style {
    let effects = EFFECTS.iter().filter(|(effect, _)| style.get_effects().contains(*effect));
    let modifiers = effects.map(|(_, modifier)| *modifier).collect();
    let plain = Style { fg: style.get_fg_color().map(color), bg: style.get_bg_color().map(color), ..Style::new() };
    plain.add_modifier(modifiers)
}

fn color(color: anstyle::Color) -> Color {
    match color {
        // The first sixteen are those that the terminal has chosen.
        anstyle::Color::Ansi(color) => named(color),
        anstyle::Color::Ansi256(color) => Color::Indexed(color.index()),
        anstyle::Color::Rgb(color) => Color::Rgb(color.r(), color.g(), color.b()),
    }
}

fn named(color: anstyle::AnsiColor) -> Color {
    use anstyle::AnsiColor as Named;
    match color {
        Named::Black => Color::Black,
        Named::Red => Color::Red,
        Named::Green => Color::Green,
        Named::Yellow => Color::Yellow,
        Named::Blue => Color::Blue,
        Named::Magenta => Color::Magenta,
        Named::Cyan => Color::Cyan,
        Named::White => Color::Gray,
        Named::BrightBlack => Color::DarkGray,
        Named::BrightRed => Color::LightRed,
        Named::BrightGreen => Color::LightGreen,
        Named::BrightYellow => Color::LightYellow,
        Named::BrightBlue => Color::LightBlue,
        Named::BrightMagenta => Color::LightMagenta,
        Named::BrightCyan => Color::LightCyan,
        Named::BrightWhite => Color::White,
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

    #[test]
    fn every_colour_has_its_like_and_goes_on_in_a_folded_line() {
        let rgb = anstyle::Style::new().fg_color(Some(anstyle::RgbColor(1, 2, 3).into())).italic();
        let folded = crate::view::text::fold(&paint(rgb, "abcdef"), 4, 0);
        let seen = lines(&folded);
        let wanted = Style::new().fg(Color::Rgb(1, 2, 3)).italic();
        assert_eq!(
            [&seen[0], &seen[1]].map(|line| (line.to_string(), line.spans[0].style)),
            [("abcd".to_owned(), wanted), ("ef".to_owned(), wanted)]
        );
        let bright = lines(&paint(anstyle::AnsiColor::BrightBlue.on(anstyle::Ansi256Color(200)), "x"));
        assert_eq!(bright[0].spans[0].style, Style::new().light_blue().bg(Color::Indexed(200)));
    }
}
