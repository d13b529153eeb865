//! The characters that bars, marks and frames are drawn with: plain ASCII where the terminal may not know others.
//!
//! What users wrote is never changed for that, and pages of the dashboard are UTF-8 in any case.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether only ASCII is drawn. For the whole program, since everything that draws does so for one terminal.
static IS_ASCII: AtomicBool = AtomicBool::new(false);

/// Draws with ASCII from now on, unless the locale is UTF-8. `variable` reads the environment.
pub fn follow_locale(variable: impl Fn(&str) -> Option<OsString>) {
    IS_ASCII.store(!is_utf8(variable), Ordering::Relaxed);
}

/// Draws with all characters from now on: what is drawn is for pages.
pub fn follow_pages() {
    IS_ASCII.store(false, Ordering::Relaxed);
}

/// As of `locale charmap`: the first of these variables that is set and not empty counts, and without any it is the C locale.
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let mut named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).filter(|value| !value.is_empty());
    let locale = named.next().map(|value| value.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The one or the other.
fn choose<T>(unicode: T, ascii: T) -> T {
    if IS_ASCII.load(Ordering::Relaxed) { ascii } else { unicode }
}

/// Whether only ASCII is drawn.
#[must_use]
pub fn is_ascii() -> bool {
    choose(false, true)
}

/// Where something was cut off, or is still to come: one column wide.
#[must_use]
pub fn cut() -> char {
    choose('…', '~')
}

/// The same in running text, where the width does not matter.
#[must_use]
pub fn ellipsis() -> &'static str {
    choose("…", "...")
}

/// What is done, runs, has failed, was cancelled and waits, in a bar of such parts.
#[must_use]
pub fn parts() -> [char; 5] {
    choose(['█', '▓', '▒', '▚', '░'], ['#', '>', 'x', '-', '.'])
}

/// A small bar: a whole cell, and the background.
#[must_use]
pub fn cells() -> (&'static str, &'static str) {
    choose(("█", "·"), ("#", "."))
}

/// What stands for an eighth of a cell to seven of them; index 0 is none.
#[must_use]
pub fn eighths() -> [char; 8] {
    choose([' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'], ['.', '.', '.', '.', '#', '#', '#', '#'])
}

/// A line across.
#[must_use]
pub fn rule() -> &'static str {
    choose("─", "-")
}

/// Behind the heading of the column by which a list is sorted.
#[must_use]
pub fn sorted(is_descending: bool) -> &'static str {
    if is_descending { choose("▼", "v") } else { choose("▲", "^") }
}

/// Where the next character goes.
#[must_use]
pub fn cursor() -> &'static str {
    choose("█", "_")
}

/// The steps of something that turns; the last stands when it is over.
#[must_use]
pub fn spinner() -> &'static [&'static str] {
    const DOTS: &[&str] = &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "];
    choose(DOTS, &["-", "\\", "|", "/", " "])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let is = |set: &[(&str, &str)]| {
            is_utf8(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
        };
        assert!(is(&[("LANG", "de_DE.UTF-8")]) && is(&[("LC_CTYPE", "C.utf8")]));
        assert!(is(&[("LC_ALL", ""), ("LANG", "C.UTF-8")]), "an empty one is not set");
        assert!(!is(&[]) && !is(&[("LANG", "C")]) && !is(&[("LANG", "de_DE")]) && !is(&[("LANG", "ja_JP.eucJP")]));
        assert!(!is(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]), "LC_ALL outranks LANG");
        assert!(is(&[("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")]), "LC_CTYPE outranks LANG");
    }
}
