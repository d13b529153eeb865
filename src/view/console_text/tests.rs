use anstyle::AnsiColor;
use proptest::prelude::*;

use super::*;
use crate::view::safe_text::is_unsafe;

/// What is seen after these pieces of a stream.
fn through(pieces: &[&[u8]]) -> Vec<(Style, String)> {
    let mut reader = ConsoleText::default();
    let mut all: Vec<ConsolePiece> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
    all.extend(reader.finish());
    let mut seen = Pieces::default();
    for piece in all {
        match piece {
            ConsolePiece::Text(style, text) => seen.add(style, &text),
            ConsolePiece::Restart => {
                seen.restart();
                seen.0.retain(|piece| *piece != ConsolePiece::Restart);
            }
        }
    }
    seen.0
        .into_iter()
        .filter_map(|piece| match piece {
            ConsolePiece::Text(style, text) => Some((style, text)).filter(|(_, text)| !text.is_empty()),
            ConsolePiece::Restart => None,
        })
        .collect()
}

fn plain(pieces: &[&[u8]]) -> String {
    through(pieces).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn a_carriage_return_replaces_the_line() {
    assert_eq!(plain(&[b"a\n10 %\r20 %\r", b"30 %", b"\r100 %\ndone\n"]), "a\n100 %\ndone\n");
    assert_eq!(plain(&[b"a\r\nb\r", b"\nc\r\r\n"]), "a\nb\nc\n");
    assert_eq!(plain(&[b"half\r"]), "half", "nothing has replaced it");
    assert_eq!(plain(&[b"\x1b[31mred\r\x1b[32mgreen"]), "green");
    assert_eq!(plain(&[b"long line\r\x1b[Kshort"]), "short");
    assert_eq!(plain(&[b"gone\r\x1b[K"]), "");
    assert_eq!(plain(&[b"a\nlong\x1b[2K\rnew\x1b[K"]), "a\nnew");
}

#[test]
fn colours_become_styles_and_go_on_in_the_next_line() {
    let red = AnsiColor::Red.on_default();
    let text = through(&[b"a\x1b[3", b"1mb\nc\x1b[", b"0md"]);
    let part = |style, text: &str| (style, text.to_owned());
    assert_eq!(text, [part(Style::new(), "a"), part(red, "b\nc"), part(Style::new(), "d")]);
    let lines = console_lines("\x1b[31mx\ny\x1b[m z\r\n\nend");
    assert_eq!(
        lines,
        [vec![part(red, "x")], vec![part(red, "y"), part(Style::new(), " z")], vec![], vec![part(Style::new(), "end")]]
    );
}

#[test]
fn whatever_else_drives_a_terminal_stays_visible() {
    for (bytes, seen) in [
        (&b"\x1b[2J\x1b]0;owned\x07\x1bc"[..], "\\x1b[2J\\x1b]0;owned\\x07\\x1bc"),
        (b"\x1b[?25l\x1b[1A\x1b[3K\x1b[>4;1m", "\\x1b[?25l\\x1b[1A\\x1b[3K\\x1b[>4;1m"),
        (b"a\x08b\x00\x7f\xc2\x9b31m", "a\\x08b\\x00\\x7f\\x9b31m"),
        (b"\xe2\x80\xaetxt.exe\xff", "\\u{202e}txt.exe\u{fffd}"),
        (b"\x1b", "\\x1b"),
        (b"\x1b[31", "\\x1b[31"),
        (b"\x1b[8mhidden", "hidden"),
        (b"\x1b\x1b[1mx", "\\x1bx"),
        (b"<b>&amp;", "<b>&amp;"),
    ] {
        assert_eq!(plain(&[bytes]), seen);
    }
    let endless = format!("\x1b[{}m", "1;".repeat(40));
    assert!(plain(&[endless.as_bytes()]).starts_with("\\x1b[1;1;"));
}

#[test]
fn a_progress_bar_leaves_only_its_last_line() {
    let mut reader = ConsoleText::default();
    let bar: String = (0..10_000).map(|n| format!("\r{n} of 10000")).collect();
    let pieces = reader.push(bar.as_bytes());
    assert_eq!(pieces, [ConsolePiece::Restart, ConsolePiece::Text(Style::new(), "9999 of 10000".to_owned())]);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            &b"\n"[..],
            b"\r",
            b"\t",
            b"\x1b",
            b"\x1b[",
            b"\x1b[K",
            b"\x1b[2K",
            b"m",
            b";",
            b":",
            b"\xe2\x82\xac",
            b"\xe2\x80\xae",
            b"\xc2\x9b"
        ])
        .prop_map(<[u8]>::to_vec),
        "\u{1b}\\[[0-9;:]{0,12}[mKJH]".prop_map(String::into_bytes),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn hostile_bytes_never_leave_it_unescaped(bytes in hostile(), cut in 0usize..200) {
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        let mut reader = ConsoleText::default();
        let mut pieces = reader.push(head);
        pieces.extend(reader.push(tail));
        pieces.extend(reader.finish());
        for piece in pieces {
            if let ConsolePiece::Text(_, text) = piece {
                prop_assert!(!text.contains(|c| is_unsafe(c) && c != '\n' && c != '\t'), "{:?}", text);
            }
        }
        for (_, text) in console_lines(&String::from_utf8_lossy(&bytes)).concat() {
            prop_assert!(!text.contains(|c| is_unsafe(c) && c != '\t'), "{:?}", text);
        }
    }

    #[test]
    fn the_pieces_do_not_matter(bytes in hostile(), cuts in prop::collection::vec(0usize..200, 0..8)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(through(&pieces), through(&[&bytes]));
    }

    #[test]
    fn plain_text_is_unchanged(text in "[ -~ü→日\n\t]*") {
        prop_assert_eq!(plain(&[text.as_bytes()]), text);
    }
}
