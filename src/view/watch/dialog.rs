//! Boxes over what is shown: the keys, a question, and what could not be done.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::orders::Order;
use crate::view::glyphs;
use crate::view::text::{shorten, wrap};
use crate::view::width::columns;

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialog {
    /// The keys.
    Help,
    /// Whether to do this.
    Question(Order, String),
    /// Why something was not done.
    Refusal(String),
}

/// Short enough for 60 columns and 20 lines.
const HELP: [(&str, &str); 15] = [
    ("1 to 7, Tab", "choose a screen"),
    ("j k, arrows", "down, up"),
    ("Space, PgDn PgUp", "a page down, up"),
    ("g G, Home End", "first, last"),
    ("Enter", "open what is chosen"),
    ("Esc, Backspace", "close it, or clear the filter"),
    ("/", "filter by text, re:EXPR, or an id"),
    ("s S", "sort by the next column; the other way"),
    ("v", "output with its escapes, and without"),
    ("r", "requeue the task, group or batch"),
    ("c", "cancel it"),
    ("p", "pause or resume the queue, the batch"),
    ("q, Ctrl-C", "leave; this stops no task"),
    ("?", "this page; any key closes it"),
    ("", "r, c and p ask first"),
];

/// Columns of the keys.
const KEYS: usize = 16;

/// Columns of a text in a box.
const WIDEST: usize = 56;

/// Draws it over what is below.
pub(super) fn draw(dialog: &Dialog, frame: &mut Frame<'_>, body: Rect) {
    let room = usize::from(body.width).saturating_sub(4);
    let told = |text: &str, keys: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().flat_map(|line| wrap(line, room.min(WIDEST))).collect();
        let most = usize::from(body.height).saturating_sub(4);
        if lines.len() > most {
            lines.truncate(most.saturating_sub(1));
            lines.push(glyphs::ellipsis().to_owned());
        }
        lines.extend([String::new(), keys.to_owned()]);
        lines
    };
    let (title, lines, style) = match dialog {
        Dialog::Help => {
            (" Keys ", HELP.iter().map(|(keys, what)| format!("{keys:<KEYS$}  {what}")).collect(), Style::new())
        }
        Dialog::Question(_, text) => (" Question ", told(text, "y: yes    any other key: no"), Style::new().yellow()),
        Dialog::Refusal(text) => (" Not done ", told(text, "any key closes this"), Style::new().red()),
    };
    let widest = lines.iter().map(|line| columns(line)).max().unwrap_or(0) + 4;
    let width = body.width.min(u16::try_from(widest).unwrap_or(u16::MAX));
    let height = body.height.min(u16::try_from(lines.len() + 2).unwrap_or(u16::MAX));
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    let lines: Vec<Line<'_>> = lines.into_iter().map(|line| Line::from(format!(" {}", shorten(&line, room)))).collect();
    frame.render_widget(Clear, area);
    let title = Line::from(title).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(lines).block(frame_of().title(title).border_style(style)), area);
}

/// A frame in the characters that the terminal knows.
fn frame_of() -> Block<'static> {
    const ASCII: border::Set<'_> = border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    };
    let block = Block::bordered();
    if glyphs::is_ascii() { block.border_set(ASCII) } else { block }
}
