//! The page of keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols::border;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::view::glyphs;
use crate::view::width::columns;

/// Short enough for 60 columns and 20 lines.
const HELP: [(&str, &str); 12] = [
    ("1 to 7, Tab", "choose a screen"),
    ("j k, arrows", "down, up"),
    ("Space, PgDn PgUp", "a page down, up"),
    ("g G, Home End", "first, last"),
    ("Enter", "open what is chosen"),
    ("Esc, Backspace", "close it, or clear the filter"),
    ("/", "show only rows that contain a text"),
    ("s", "sort by the next column"),
    ("S", "sort the other way round"),
    ("q, Ctrl-C", "leave; this stops no task"),
    ("?", "this page"),
    ("", "any key closes it"),
];

/// Columns of the keys.
const KEYS: usize = 17;

/// Draws the page over what is below.
pub(super) fn draw_help(frame: &mut Frame<'_>, body: Rect) {
    let lines: Vec<String> = HELP.iter().map(|(keys, what)| format!(" {keys:<KEYS$} {what} ")).collect();
    let widest = lines.iter().map(|line| columns(line)).max().unwrap_or(0) + 2;
    let width = body.width.min(u16::try_from(widest).unwrap_or(u16::MAX));
    let height = body.height.min(u16::try_from(lines.len() + 2).unwrap_or(u16::MAX));
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(frame_of().title(" Keys ")), area);
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
