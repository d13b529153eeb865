//! Templates: text with the placeholders of GNU parallel (`{}`, `{.}`, `{2/}`, `{name}`, `{#}`), filled in from a row of values.

use std::borrow::Cow;

use super::row::Row;

/// A text and its placeholders, parsed once and filled in for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    /// What stands in braces as the name of a column does, where columns have names, and is none of them.
    unknown: Vec<String>,
}

/// How a value is written into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// As one word of the shell, whatever it holds.
    Shell,
    /// As it is.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{#}`.
    Number,
    /// `{}`: all columns, with blanks between them.
    All(Part),
    /// `{2}`, counted from 0, and the placeholder as it was written.
    Column(usize, Part, String),
    /// `{-1}`: 0 is the last column.
    FromEnd(usize, Part, String),
}

/// What of a value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// `{.}`
    WithoutExtension,
    /// `{/}`
    BaseName,
    /// `{//}`
    Directory,
    /// `{/.}`
    BaseNameWithoutExtension,
}

/// The longer ones first: each is looked for at the end of what stands between the braces.
const PARTS: [(&str, Part); 5] = [
    ("/.", Part::BaseNameWithoutExtension),
    ("//", Part::Directory),
    ("/", Part::BaseName),
    (".", Part::WithoutExtension),
    ("", Part::Whole),
];

impl Template {
    /// Parses a text. What stands in braces and is none of the placeholders, nor one of the `names` of columns, is text: commands are full of braces.
    #[must_use]
    pub fn parse(text: &str, names: &[String]) -> Self {
        let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
        let mut rest = text;
        let mut kept = String::new();
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            kept.push_str(before);
            let placeholder = from.find('}').and_then(|close| Some((piece(&from[1..close], names)?, close)));
            match placeholder {
                Some((found, close)) => {
                    if !kept.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut kept)));
                    }
                    pieces.push(found);
                    rest = &from[close + 1..];
                }
                None => {
                    let inner = from.find('}').map(|close| &from[1..close]);
                    let is_variable = kept.ends_with('$');
                    unknown
                        .extend(inner.filter(|inner| !is_variable && is_like_a_name(inner, names)).map(str::to_owned));
                    kept.push('{');
                    rest = &from[1..];
                }
            }
        }
        kept.push_str(rest);
        if !kept.is_empty() {
            pieces.push(Piece::Text(kept));
        }
        Self { pieces, unknown }
    }

    /// Words with blanks between them. With `is_quoted` what is no placeholder is quoted for the shell, so that each stays one word.
    #[must_use]
    pub fn of_words(words: &[String], names: &[String], is_quoted: bool) -> Self {
        if !is_quoted {
            return Self::parse(&words.join(" "), names);
        }
        let (mut pieces, mut unknown) = (Vec::new(), Vec::new());
        for word in words {
            if !pieces.is_empty() {
                pieces.push(Piece::Text(" ".to_owned()));
            }
            let Self { pieces: parsed, unknown: found } = Self::parse(word, names);
            unknown.extend(found);
            if parsed.is_empty() {
                pieces.push(Piece::Text(quoted("").into_owned()));
            }
            pieces.extend(parsed.into_iter().map(|piece| match piece {
                Piece::Text(text) => Piece::Text(quoted(&text).into_owned()),
                piece @ (Piece::Number | Piece::All(_) | Piece::Column(..) | Piece::FromEnd(..)) => piece,
            }));
        }
        Self { pieces, unknown }
    }

    /// A text in which nothing is a placeholder.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.to_owned())], unknown: Vec::new() }
    }

    /// Appends ` {}` where there is no placeholder, as GNU parallel does.
    #[must_use]
    pub fn with_all_appended(mut self) -> Self {
        if !self.has_placeholder() {
            self.pieces.push(Piece::Text(" ".to_owned()));
            self.pieces.push(Piece::All(Part::Whole));
        }
        self
    }

    /// Whether anything is filled in.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The first placeholder of a column that rows of this many columns do not have.
    #[must_use]
    pub fn beyond(&self, columns: usize) -> Option<&str> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Column(index, _, text) | Piece::FromEnd(index, _, text) if *index >= columns => Some(text.as_str()),
            Piece::Text(_) | Piece::Number | Piece::All(_) | Piece::Column(..) | Piece::FromEnd(..) => None,
        })
    }

    /// Names in braces that no column has, where columns have names.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Writes the text with the values of `row` in place of the placeholders to the end of `out`.
    pub fn fill(&self, row: &Row, quoting: Quoting, out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Number => out.push_str(&row.number.to_string()),
                Piece::All(part) => {
                    for (index, value) in row.present().enumerate() {
                        if index > 0 {
                            out.push(' ');
                        }
                        write(value, *part, quoting, out);
                    }
                }
                Piece::Column(index, part, _) => write_some(row.get(*index), *part, quoting, out),
                Piece::FromEnd(index, part, _) => {
                    let index = row.len().checked_sub(index + 1);
                    write_some(index.and_then(|index| row.get(index)), *part, quoting, out);
                }
            }
        }
    }

    /// The text for one row.
    #[must_use]
    pub fn filled(&self, row: &Row, quoting: Quoting) -> Cow<'_, str> {
        if let [Piece::Text(text)] = self.pieces.as_slice() {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        self.fill(row, quoting, &mut out);
        Cow::Owned(out)
    }
}

/// Names further apart than this are no slips of the finger (Jaro-Winkler).
const CLOSE: f64 = 0.85;

/// Whether what stands in braces, and is no placeholder, is meant as one: a word, or nearly one of the names. Shells and awk have other things in braces.
fn is_like_a_name(inner: &str, names: &[String]) -> bool {
    if names.iter().all(String::is_empty) {
        return false;
    }
    let name = name_in(inner);
    let is_word = name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.'));
    is_word || near_name(inner, names).is_some()
}

/// Without the `/` and the like that stand behind it.
fn name_in(inner: &str) -> &str {
    PARTS.iter().find_map(|(suffix, _)| inner.strip_suffix(suffix)).unwrap_or(inner)
}

/// The name that was perhaps meant.
pub(super) fn near_name<'a>(inner: &str, names: &'a [String]) -> Option<&'a str> {
    let typed = name_in(inner).to_lowercase();
    let scored = names.iter().filter(|name| !name.is_empty());
    let scored = scored.map(|name| (strsim::jaro_winkler(&typed, &name.to_lowercase()), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > CLOSE);
    best.map(|(_, name)| name.as_str())
}

/// What the text between two braces means; `None` when it is no placeholder.
fn piece(inner: &str, names: &[String]) -> Option<Piece> {
    if inner == "#" {
        return Some(Piece::Number);
    }
    // A name may itself end in a dot or a slash.
    let column = |name: &str| names.iter().position(|known| known == name && !name.is_empty());
    if let Some(index) = column(inner) {
        return Some(Piece::Column(index, Part::Whole, format!("{{{inner}}}")));
    }
    PARTS.iter().find_map(|(suffix, part)| {
        let of = inner.strip_suffix(suffix)?;
        let text = || format!("{{{inner}}}");
        if of.is_empty() {
            return Some(Piece::All(*part));
        }
        if let Some(index) = column(of) {
            return Some(Piece::Column(index, *part, text()));
        }
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (digits, is_from_end) = match of.strip_prefix('-') {
            Some(digits) => (digits, true),
            None => (of, false),
        };
        let index = is_number(digits).then(|| digits.parse::<usize>().ok()?.checked_sub(1))??;
        Some(if is_from_end { Piece::FromEnd(index, *part, text()) } else { Piece::Column(index, *part, text()) })
    })
}

/// A column that a short row lacks is nothing, not an empty word.
fn write_some(value: Option<&str>, part: Part, quoting: Quoting, out: &mut String) {
    if let Some(value) = value {
        write(value, part, quoting, out);
    }
}

fn write(value: &str, part: Part, quoting: Quoting, out: &mut String) {
    let value = part_of(value, part);
    match quoting {
        Quoting::None => out.push_str(value),
        Quoting::Shell => out.push_str(&quoted(value)),
    }
}

/// A text as one word of the shell. No text is refused: a NUL, which no word can hold, is left to the check of the whole line.
#[must_use]
pub fn quoted(text: &str) -> Cow<'_, str> {
    shlex::try_quote(text).unwrap_or(Cow::Borrowed(text))
}

fn part_of(value: &str, part: Part) -> &str {
    match part {
        Part::Whole => value,
        Part::WithoutExtension => without_extension(value),
        Part::BaseName => base_name(value),
        Part::Directory => directory(value),
        Part::BaseNameWithoutExtension => without_extension(base_name(value)),
    }
}

/// Up to the last dot of the last component.
fn without_extension(path: &str) -> &str {
    match path.rfind(['.', '/']) {
        Some(at) if path[at..].starts_with('.') => &path[..at],
        _ => path,
    }
}

fn base_name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

/// The directory as Perl's `File::Basename::dirname`, which GNU parallel uses, answers it.
fn directory(path: &str) -> &str {
    let dir = trimmed(up_to_slash(path));
    if base_name(path).is_empty() { trimmed(up_to_slash(dir)) } else { dir }
}

fn up_to_slash(path: &str) -> &str {
    path.rfind('/').map_or("./", |at| &path[..=at])
}

/// Without the slashes at the end, though the first character stays.
fn trimmed(dir: &str) -> &str {
    let kept = dir.trim_end_matches('/');
    if kept.is_empty() { &dir[..dir.len().min(1)] } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(values: &[&str]) -> Row {
        Row::of(7, values.iter().map(|value| Some((*value).to_owned())).collect())
    }

    fn filled(text: &str, values: &[&str]) -> String {
        Template::parse(text, &[]).filled(&row(values), Quoting::Shell).into_owned()
    }

    #[test]
    fn parts_are_those_of_gnu_parallel() {
        // As parallel 20221122 prints them.
        for (value, expected) in [
            ("/d.x/f.tar.gz", "/d.x/f.tar f.tar.gz /d.x f.tar"),
            ("f", "f f . f"),
            ("g.", "g g. . g"),
            (".bashrc", "'' .bashrc . ''"),
            ("a/.b", "a/ .b a ''"),
            ("/x", "/x x / x"),
            ("dir/", "dir/ '' . ''"),
            ("a/b/", "a/b/ '' a ''"),
            ("/", "/ '' / ''"),
            ("a//b", "a//b b a b"),
        ] {
            assert_eq!(filled("{.} {/} {//} {/.}", &[value]), expected, "{value}");
        }
    }

    #[test]
    fn columns_are_counted_from_both_ends_and_have_names() {
        assert_eq!(filled("{1} {2/} {-1.} {-2} {}", &["a", "b/c.d"]), "a c.d b/c a a b/c.d");
        let names = ["trace".to_owned(), "x.".to_owned()];
        let template = Template::parse("{trace} {trace/.} {x.} {1} {other}", &names);
        assert_eq!(template.filled(&row(&["p/q.r", "2"]), Quoting::None), "p/q.r q 2 p/q.r {other}");
    }

    #[test]
    fn names_that_no_column_has_are_told_from_other_braces() {
        let names = ["name", "trace file", ""].map(str::to_owned);
        for (text, expected) in [
            ("{nmae} {name} {Name/.} x{foo_1.}", &["nmae", "Name/.", "foo_1."][..]),
            ("{trace fiel}", &["trace fiel"]),
            ("${nmae} {a,b} {1..3} { nmae; } awk '{print $1}' {} {#} {-1} {0} {+}", &[]),
        ] {
            assert_eq!(Template::parse(text, &names).unknown(), expected, "{text}");
            assert!(Template::parse(text, &[]).unknown().is_empty(), "without a header");
        }
        assert_eq!(near_name("nmae/.", &names), Some("name"));
        assert_eq!(near_name("NAME", &names), Some("name"));
        assert_eq!(near_name("cache", &names), None);
        let words = ["x".to_owned(), "{nmae}".to_owned()];
        assert_eq!(Template::of_words(&words, &names, true).unknown(), ["nmae"]);
    }

    #[test]
    fn braces_that_are_no_placeholder_stay() {
        for text in ["awk '{print $1}'", "{a,b}", "{0}", "{-0}", "{+}", "${HOME}", "{", "a{b", "{{}", "{1x}", "{ }"] {
            let expected = text.replace("{}", "v");
            assert_eq!(filled(text, &["v"]), expected, "{text}");
        }
        assert_eq!(filled("{#}{{1}}", &["v"]), "7{v}");
    }

    #[test]
    fn a_command_without_a_placeholder_gets_all_values() {
        let template = |text| Template::parse(text, &[]).with_all_appended();
        assert_eq!(template("echo").filled(&row(&["a b", "c"]), Quoting::Shell), "echo 'a b' c");
        assert_eq!(template("echo {#}").filled(&row(&["a"]), Quoting::Shell), "echo 7");
    }

    #[test]
    fn quoted_words_stay_words() {
        let words = ["./p", "a  b", "", "x {}", "$H"].map(str::to_owned);
        let filled = Template::of_words(&words, &[], true).filled(&row(&["v w"]), Quoting::Shell).into_owned();
        assert_eq!(shlex::split(&filled).unwrap(), ["./p", "a  b", "", "x v w", "$H"]);
        assert_eq!(Template::of_words(&words, &[], false).filled(&row(&["v"]), Quoting::Shell), "./p a  b  x v $H");
    }

    #[test]
    fn a_column_that_does_not_exist_is_named() {
        let template = Template::parse("{1} {4.} {9}", &[]);
        assert_eq!(template.beyond(3), Some("{4.}"));
        assert_eq!(template.beyond(9), None);
        assert_eq!(Template::parse("{-2}", &[]).beyond(1), Some("{-2}"));
    }

    proptest! {
        #[test]
        fn a_value_comes_out_of_the_shell_as_it_went_in(values in prop::collection::vec("[^\0]{0,20}", 1..4)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            prop_assert_eq!(shlex::split(&filled("{}", &values)), Some(values.iter().map(|value| (*value).to_owned()).collect()));
        }

        #[test]
        fn text_without_braces_stays(text in "[^{]{0,40}") {
            prop_assert_eq!(filled(&text, &["v"]), text);
        }
    }
}
