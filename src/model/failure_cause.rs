//! What failures of one kind have in common: the last line that they wrote to standard error, without what differs from task to task.

use serde::Serialize;

/// What is known of a group of failures beside its number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FailureDetail {
    /// When the one that failed first of those that still stand there did, seconds since the epoch; `None` where that is not recorded.
    pub first_failed: Option<f64>,
    /// When the last one failed.
    pub last_failed: Option<f64>,
    /// Failures in each of the last twelve periods of five minutes, the oldest first; empty where the user of Redis may not count them.
    pub recent: Vec<u64>,
    /// How many of them, the newest, were looked at for their causes.
    pub looked_at: u64,
    /// What those have in common, the commonest first.
    pub causes: Vec<FailureCause>,
}

/// Failures with the same last line, but for what differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureCause {
    /// The line, with `N` for numbers, `PATH` for paths and `ADDR` for addresses.
    pub text: String,
    /// How many of those that were looked at.
    pub count: u64,
    /// One of their lines.
    pub sample: String,
}

/// Characters of a cause.
const LONGEST: usize = 200;

/// The cause in a text of standard error: its last line that is not empty, with what differs from task to task replaced. `None` for an empty text.
#[must_use]
pub fn cause_of(text: &str) -> Option<String> {
    let plain = without_colours(text);
    let line = plain.lines().rev().map(last_of_bar).find(|line| !line.trim().is_empty())?;
    let mut out = String::new();
    let mut word = String::new();
    for c in line.trim().chars() {
        if is_between(c) {
            out.push_str(&normal(&word));
            word.clear();
            out.push(c);
        } else {
            word.push(c);
        }
    }
    out.push_str(&normal(&word));
    Some(out.chars().take(LONGEST).collect())
}

/// What a progress bar has left of a line.
fn last_of_bar(line: &str) -> &str {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default()
}

/// Without the sequences that set colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        out.push_str(part[end..].strip_prefix('m').unwrap_or(&part[end..]));
    }
    out
}

fn is_between(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | '=' | '<' | '>' | '|')
}

/// A word without what differs.
fn normal(word: &str) -> String {
    let bare = word.trim_end_matches([':', '.', '!', '?']);
    let end = &word[bare.len()..];
    if bare.is_empty() {
        return word.to_owned();
    }
    if bare.contains("://") {
        return format!("URL{end}");
    }
    if bare.contains('/') && bare.len() > 1 {
        // `file.c:12` after a path is part of it.
        return format!("PATH{end}");
    }
    if is_address(bare) {
        return format!("ADDR{end}");
    }
    if is_hash(bare) {
        return format!("ID{end}");
    }
    format!("{}{end}", without_numbers(bare))
}

/// `0x7f…`, or four numbers with points between them and perhaps a port.
fn is_address(word: &str) -> bool {
    if let Some(hex) = word.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let (host, port) = word.split_once(':').unwrap_or((word, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').count() == 4 && host.split('.').all(is_number) && is_number(port)
}

/// Eight or more hex digits, letters and numbers among them, as of a hash or a UUID.
fn is_hash(word: &str) -> bool {
    word.len() >= 8
        && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// With `N` for each number; decimals are one.
fn without_numbers(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut letters = word.chars().peekable();
    while let Some(c) = letters.next() {
        if !c.is_ascii_digit() {
            out.push(c);
            continue;
        }
        out.push('N');
        let mut rest = letters.clone();
        while let Some(next) = rest.next() {
            let goes_on = next.is_ascii_digit() || (next == '.' && rest.peek().is_some_and(char::is_ascii_digit));
            if !goes_on {
                break;
            }
            letters = rest.clone();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_task_to_task_is_replaced() {
        for (text, cause) in [
            ("cannot open /data/w01.zst: No such file or directory\n", "cannot open PATH: No such file or directory"),
            ("a\n\x1b[31mValueError: bad value 17.5 in run_3\x1b[0m\n\n", "ValueError: bad value N in run_N"),
            ("./sim: line 12: 4711 Killed", "PATH: line N: N Killed"),
            ("connect to 10.0.0.7:6379 failed at 0x7ffe12ab", "connect to ADDR failed at ADDR"),
            ("GET https://h/x?id=3: 503", "GET URL=N: N"),
            ("no job 3f9a0c12d4e5b6a7.", "no job ID."),
            ("10 %\r20 %\rdisk full\r\n", "disk full"),
            ("plain words / and a slash", "plain words / and a slash"),
        ] {
            assert_eq!(cause_of(text).as_deref(), Some(cause), "{text:?}");
        }
        assert_eq!(cause_of(" \n\n"), None);
        assert_eq!(cause_of(&"x".repeat(1000)).map(|text| text.len()), Some(LONGEST));
    }

    proptest! {
        #[test]
        fn any_text_has_a_bounded_cause(text in "(?s).{0,300}") {
            if let Some(cause) = cause_of(&text) {
                prop_assert!(cause.chars().count() <= LONGEST);
                prop_assert!(!cause.contains(|c: char| c.is_ascii_digit()), "{}", cause);
            }
        }
    }
}
