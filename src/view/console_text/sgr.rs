//! The codes of `ESC [ … m`: colours and the like.

use anstyle::{Ansi256Color, Color, Effects, RgbColor, Style};

/// A style with what some parameters change in it. What is not known changes nothing.
pub(in crate::view) fn styled(mut style: Style, parameters: &str) -> Style {
    let mut codes = parameters.split(';');
    while let Some(code) = codes.next() {
        if let Some((main, more)) = code.split_once(':') {
            style = with_parts(style, main, &mut more.split(':'), true);
        } else {
            style = with_parts(style, code, &mut codes, false);
        }
    }
    style
}

/// `rest` is where a code takes more numbers from: the parts of its own between colons, or the codes behind it.
fn with_parts<'a>(style: Style, code: &str, rest: &mut impl Iterator<Item = &'a str>, is_own: bool) -> Style {
    let Some(code) = number(code) else { return style };
    let with = |effect: Effects| style.effects(style.get_effects().insert(effect));
    let without = |effects: Effects| style.effects(style.get_effects().remove(effects));
    match code {
        0 => Style::new(),
        1 => with(Effects::BOLD),
        2 => with(Effects::DIMMED),
        3 => with(Effects::ITALIC),
        4 if is_own && rest.next() == Some("0") => without(Effects::UNDERLINE),
        4 | 21 => with(Effects::UNDERLINE),
        7 => with(Effects::INVERT),
        9 => with(Effects::STRIKETHROUGH),
        22 => without(Effects::BOLD.insert(Effects::DIMMED)),
        23 => without(Effects::ITALIC),
        24 => without(Effects::UNDERLINE),
        27 => without(Effects::INVERT),
        29 => without(Effects::STRIKETHROUGH),
        30..=37 => style.fg_color(Some(indexed(code - 30))),
        38 => extended(rest, is_own).map_or(style, |color| style.fg_color(Some(color))),
        39 => style.fg_color(None),
        40..=47 => style.bg_color(Some(indexed(code - 40))),
        48 => extended(rest, is_own).map_or(style, |color| style.bg_color(Some(color))),
        49 => style.bg_color(None),
        // The colour of the underline is not shown, and its numbers are no codes.
        58 => extended(rest, is_own).map_or(style, |_| style),
        90..=97 => style.fg_color(Some(indexed(code - 90 + 8))),
        100..=107 => style.bg_color(Some(indexed(code - 100 + 8))),
        _ => style,
    }
}

/// An empty parameter is 0.
fn number(text: &str) -> Option<u8> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

fn indexed(index: u8) -> Color {
    let color = Ansi256Color(index);
    color.into_ansi().map_or(Color::Ansi256(color), Color::Ansi)
}

/// `5;INDEX` or `2;RED;GREEN;BLUE`; with colons the latter may have a colour space before the three.
fn extended<'a>(rest: &mut impl Iterator<Item = &'a str>, is_own: bool) -> Option<Color> {
    match rest.next()? {
        "5" => Some(indexed(number(rest.next()?)?)),
        "2" if is_own => {
            let parts: Vec<Option<u8>> = rest.map(number).collect();
            let [.., red, green, blue] = parts.as_slice() else { return None };
            Some(RgbColor((*red)?, (*green)?, (*blue)?).into())
        }
        "2" => {
            let (red, green, blue) = (rest.next()?, rest.next()?, rest.next()?);
            Some(RgbColor(number(red)?, number(green)?, number(blue)?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    fn of(parameters: &str) -> Style {
        styled(Style::new(), parameters)
    }

    #[test]
    fn codes_set_and_reset_what_they_say() {
        let red = AnsiColor::Red.on_default();
        assert_eq!(of("31"), red);
        assert_eq!(of("1;31"), red.bold());
        assert_eq!(of("1;31;0"), Style::new());
        assert_eq!(of("1;31;"), Style::new(), "an empty one is 0");
        assert_eq!(of("1;2;22;31"), red);
        assert_eq!(of("91;49"), AnsiColor::BrightRed.on_default());
        assert_eq!(of("31;39"), Style::new());
        assert_eq!(of("4:3"), Style::new().underline());
        assert_eq!(of("4;4:0"), Style::new());
        assert_eq!(of("104"), Style::new().bg_color(Some(AnsiColor::BrightBlue.into())));
    }

    #[test]
    fn extended_colours_take_their_own_numbers_only() {
        let rgb = Style::new().fg_color(Some(RgbColor(1, 2, 3).into()));
        assert_eq!(of("38;2;1;2;3"), rgb);
        assert_eq!(of("38:2:1:2:3"), rgb);
        assert_eq!(of("38:2::1:2:3"), rgb);
        assert_eq!(of("38;5;200;1"), Style::new().fg_color(Some(Ansi256Color(200).into())).bold());
        assert_eq!(of("38;5;1"), AnsiColor::Red.on_default());
        assert_eq!(of("58;2;31;31;31;1"), Style::new().bold());
    }

    #[test]
    fn what_is_unknown_or_broken_changes_nothing() {
        for parameters in
            ["8", "5", "99", "300", "38", "38;5", "38;2;1;2", "38;7", "38:2:1", "99999999999999999999", ":", "x"]
        {
            let style = of(parameters);
            assert!(style == Style::new(), "{parameters}: {style:?}");
        }
    }
}
