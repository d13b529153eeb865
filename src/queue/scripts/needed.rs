//! What of the shared files a script needs. Functions that nothing in it calls are left out, since each call of a script makes all its functions anew.

use std::collections::{HashMap, HashSet};

/// Code that stays together: a function, or what stands between functions and always stays.
struct Piece<'a> {
    text: &'a str,
    /// The name of the function.
    defines: Option<&'a str>,
}

/// The name of the function that begins on this line, if it begins at the start of it.
fn begins(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("local ").unwrap_or(line).strip_prefix("function ")?;
    rest.split_once('(').map(|(name, _)| name)
}

/// Functions end on their first line, or with a line that is nothing but `end`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut from, mut at, mut inside) = (0, 0, None);
    for line in text.split_inclusive('\n') {
        let (start, code) = (at, line.trim_end());
        at += line.len();
        if inside.is_none() {
            let Some(name) = begins(code) else { continue };
            pieces.push(Piece { text: &text[from..start], defines: None });
            (from, inside) = (start, Some(name));
            if !code.ends_with(" end") {
                continue;
            }
        } else if code != "end" {
            continue;
        }
        pieces.push(Piece { text: &text[from..at], defines: inside.take() });
        from = at;
    }
    pieces.push(Piece { text: &text[from..], defines: inside });
    pieces
}

/// The names in some code, `members.flip` as one. Comments that have a line of their own are passed over; a name in a text does no harm.
fn names(code: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.flat_map(move |line| line.split(move |c| !is_part(c)).map(|word| word.trim_matches('.')))
}

/// The shared files without the functions that neither `body` nor what stays of them names.
pub(super) fn needed(files: &[&str], body: &str) -> String {
    let pieces: Vec<Piece<'_>> = files.iter().flat_map(|file| pieces(file)).collect();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, piece) in pieces.iter().enumerate() {
        by_name.entry(piece.defines.unwrap_or_default()).or_default().push(at);
    }
    let mut stays: HashSet<usize> = by_name.remove("").unwrap_or_default().into_iter().collect();
    let mut unread: Vec<&str> = stays.iter().map(|at| pieces[*at].text).chain([body]).collect();
    while let Some(code) = unread.pop() {
        for at in names(code).filter_map(|name| by_name.remove(name)).flatten() {
            stays.insert(at);
            unread.push(pieces[at].text);
        }
    }
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        if stays.contains(&at) {
            text.push_str(piece.text);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_stay_that_are_named_by_what_stays() {
        let file = "local a = {}\n\n-- Of a.\nfunction a.used(x) return inner(x) end\nfunction a.unused()\n  if x then\n    return a.alone()\n  end\nend\n\
                    function a.alone() end\nlocal function inner(x)\n  return '--' .. more(x) -- of a\nend\nlocal function more(x) return x end\nlocal last = 1\n";
        let text = needed(&[file], "-- a.alone\nreturn a.used(last)\n");
        assert_eq!(
            text,
            "local a = {}\n\n-- Of a.\nfunction a.used(x) return inner(x) end\nlocal function inner(x)\n  return '--' .. more(x) -- of a\nend\n\
             local function more(x) return x end\nlocal last = 1\n"
        );
    }
}
