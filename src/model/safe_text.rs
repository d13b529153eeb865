//! Makes any text safe to print. Other people write task lines, output, worker names and keys: characters that drive a terminal, forge a line
//! or reverse the reading order are shown as visible escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with nothing in it that a terminal acts upon: control characters (line ends and tabs too, as `\n` and `\t`;
/// others as `\x1b`), and the characters that change the direction of text (as `\u{202e}`). Printable text is
/// unchanged, a backslash too, so that command lines stay readable.
#[must_use]
pub fn safe(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unsafe) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    let (clean, rest) = text.split_at(first);
    out.push_str(clean);
    for c in rest.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_unsafe(c) => out.push(c),
            // Writing to a string cannot fail.
            c if u32::from(c) < 0x100 => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// Whether text has the form of a user and a password before the name of a host: `USER:PASSWORD@HOST`, in a URL or not.
#[must_use]
pub fn may_hold_password(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

/// `text` with the user and password of every URL in it hidden. A URL ends at white space or a quote.
#[must_use]
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    if !may_hold_password(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // A path that was cleaned up has one slash where the URL has two.
    while let Some(at) = rest.find(":/") {
        let (before, url) = rest.split_at(at + 2);
        out.push_str(before);
        let end = url.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(url.len());
        if let Some(at) = url[..end].rfind('@') {
            out.push_str(if url.starts_with('/') { "/(hidden)" } else { "(hidden)" });
            rest = &url[at..];
        } else {
            rest = url;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// C0, DEL and C1; line and paragraph separators; marks, embeddings, overrides and isolates of direction.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_drives_a_terminal_becomes_visible() {
        assert_eq!(safe("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(safe("\x1b[2Jx\0\x7f\u{9b}"), "\\x1b[2Jx\\x00\\x7f\\x9b");
        assert_eq!(safe("rm \u{202e}fdp.txt\u{2066}\u{200f}"), "rm \\u{202e}fdp.txt\\u{2066}\\u{200f}");
    }

    #[test]
    fn the_passwords_of_urls_are_hidden() {
        for (text, shown) in [
            ("cannot read redis://:s3cret@h: no", "cannot read redis://(hidden)@h: no"),
            ("\"rediss://u:p@s3cret@h/1\" and redis:/u:s3cret@h", "\"rediss://(hidden)@h/1\" and redis:/(hidden)@h"),
            ("redis://h:1/0, mail me@home", "redis://h:1/0, mail me@home"),
            ("a:b c@d", "a:b c@d"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn plain_text_is_borrowed_unchanged() {
        let text = "./run --x 'ü → 日本' \\n";
        assert!(matches!(safe(text), Cow::Borrowed(same) if same == text));
        assert_eq!(safe(""), "");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left_of_any_text(text in "(?s).*") {
            let out = safe(&text);
            prop_assert!(!out.contains(is_unsafe), "{:?}", out);
            prop_assert_eq!(safe(&out), out.as_ref(), "doing it twice changes nothing more");
        }

        #[test]
        fn safe_characters_stay_in_their_order(text in "(?s).*") {
            let kept: String = text.chars().filter(|c| !is_unsafe(*c)).collect();
            let mut out = safe(&text).into_owned();
            for c in text.chars().filter(|c| is_unsafe(*c)) {
                let escape = safe(c.encode_utf8(&mut [0; 4])).into_owned();
                out = out.replacen(&escape, "", 1);
            }
            // Text that spells an escape itself may lose that one in its place: lengths tell.
            prop_assert_eq!(out.len(), kept.len());
        }
    }
}
