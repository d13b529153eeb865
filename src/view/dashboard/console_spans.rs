//! What a task has printed as parts of a page: each a text and the classes of its style. A page may not carry styles of its own, so that colours come down to
//! the sixteen that the style sheet has.

use anstyle::{Ansi256Color, Color, Effects, RgbColor, Style};

use crate::view::console_text::console_lines;
use crate::view::safe_text::safe;

/// Text in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) class: String,
    pub(super) text: String,
}

/// A text as its task meant it to be seen, or `raw` with every escape visible.
pub(super) fn spans(text: &str, raw: bool) -> Vec<Span> {
    if raw {
        let text = text.split('\n').map(safe).collect::<Vec<_>>().join("\n");
        return vec![Span { class: String::new(), text }];
    }
    let mut spans: Vec<Span> = Vec::new();
    let mut add = |class: String, text: &str| match spans.last_mut().filter(|last| last.class == class) {
        Some(last) => last.text.push_str(text),
        None => spans.push(Span { class, text: text.to_owned() }),
    };
    for (at, line) in console_lines(text).into_iter().enumerate() {
        if at > 0 {
            add(String::new(), "\n");
        }
        for (style, part) in line {
            add(classes(style), &part);
        }
    }
    spans
}

/// The classes of a style, with blanks between them.
pub(super) fn classes(style: Style) -> String {
    const EFFECTS: [(Effects, &str); 6] = [
        (Effects::BOLD, "t-bold"),
        (Effects::DIMMED, "t-dim"),
        (Effects::ITALIC, "t-italic"),
        (Effects::UNDERLINE, "t-under"),
        (Effects::STRIKETHROUGH, "t-strike"),
        (Effects::INVERT, "t-invert"),
    ];
    if style == Style::new() {
        return String::new();
    }
    let has = style.get_effects();
    let effects = EFFECTS.into_iter().filter(|(effect, _)| has.contains(*effect)).map(|(_, class)| class.to_owned());
    let ink = style.get_fg_color().map(|color| format!("t-f{}", nearest(color)));
    let ground = style.get_bg_color().map(|color| format!("t-b{}", nearest(color)));
    effects.chain(ink).chain(ground).collect::<Vec<_>>().join(" ")
}

/// The sixteen colours as xterm has them.
const PALETTE: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// The one of the sixteen that is nearest.
fn nearest(color: Color) -> u8 {
    let rgb = match color {
        Color::Ansi(color) => return Ansi256Color::from_ansi(color).0,
        Color::Ansi256(color) => of_index(color.0),
        Color::Rgb(RgbColor(red, green, blue)) => (red, green, blue),
    };
    let distance = |other: (u8, u8, u8)| {
        let part = |a: u8, b: u8| (i32::from(a) - i32::from(b)).pow(2);
        part(rgb.0, other.0) + part(rgb.1, other.1) + part(rgb.2, other.2)
    };
    (0..16).min_by_key(|index| distance(PALETTE[usize::from(*index)])).unwrap_or(7)
}

/// A colour of the 256: the sixteen, a cube of six steps, and greys.
fn of_index(index: u8) -> (u8, u8, u8) {
    let step = |at: u8| if at == 0 { 0 } else { 55 + at * 40 };
    match index {
        0..16 => PALETTE[usize::from(index)],
        16..232 => (step((index - 16) / 36), step((index - 16) / 6 % 6), step((index - 16) % 6)),
        232.. => (8 + (index - 232) * 10, 8 + (index - 232) * 10, 8 + (index - 232) * 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(class: &str, text: &str) -> Span {
        Span { class: class.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn colours_become_classes_and_a_raw_text_shows_its_escapes() {
        let text = "a\x1b[1;31mb\nc\x1b[0m\n10 %\r20 %\x1b[2J";
        let shown = spans(text, false);
        assert_eq!(
            shown,
            [
                span("", "a"),
                span("t-bold t-f1", "b"),
                span("", "\n"),
                span("t-bold t-f1", "c"),
                span("", "\n20 %\\x1b[2J")
            ]
        );
        assert_eq!(spans(text, true), [span("", "a\\x1b[1;31mb\nc\\x1b[0m\n10 %\\r20 %\\x1b[2J")]);
        assert_eq!(spans("", false), []);
    }

    #[test]
    fn every_colour_comes_down_to_one_of_sixteen() {
        for index in 0..=255 {
            assert!(nearest(Color::Ansi256(Ansi256Color(index))) < 16);
        }
        assert_eq!(nearest(RgbColor(250, 10, 5).into()), 9);
        assert_eq!(nearest(Color::Ansi256(Ansi256Color(196))), 9);
        assert_eq!(classes(Style::new().bg_color(Some(RgbColor(0, 0, 1).into()))), "t-b0");
    }
}
