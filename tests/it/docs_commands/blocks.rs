//! The blocks of commands in a document, with what is shown of their output and the remarks above them.
use std::fs;
use std::path::Path;

/// A command as it is typed, and the lines that the document shows below it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) at: String,
    pub(super) command: String,
    /// The exit code that the remark above the block names, else 0.
    pub(super) code: i32,
    pub(super) output: Vec<String>,
    /// Whether the output is compared.
    pub(super) is_compared: bool,
}

/// What a comment directly above a block says of it.
#[derive(Debug, Default)]
struct Remark {
    is_run: bool,
    is_compared: bool,
    codes: Vec<i32>,
}

impl Remark {
    /// Of the last line before the block; a comment of another form is an error, so that a misspelt one hides no block.
    fn read(at: &str, line: &str) -> Self {
        let all = Self { is_run: true, is_compared: true, codes: Vec::new() };
        let Some(text) = line.trim().strip_prefix("<!--") else { return all };
        let (kind, rest) = text.trim_end_matches("-->").split_once(':').unwrap_or((text, ""));
        assert!(rest.trim().len() >= 5 || kind.trim() == "exit", "{at}: {line}: a reason is missing");
        match kind.trim() {
            "not run" => Self { is_run: false, ..all },
            "not compared" => Self { is_compared: false, ..all },
            "exit" => {
                let codes = rest.split_whitespace().map(|code| code.parse().expect("an exit code")).collect();
                Self { codes, ..all }
            }
            _ => panic!("{at}: {line}: valid are `not run: REASON`, `not compared: REASON`, `exit: 1 0 ...`"),
        }
    }
}

/// The commands of the `console` and `sh` blocks of a document that are to be run.
pub(super) fn commands(root: &Path, name: &str) -> Vec<Shown> {
    let text = fs::read_to_string(root.join(name)).expect("a document");
    let lines: Vec<&str> = text.lines().collect();
    let (mut all, mut above, mut open): (Vec<Shown>, &str, Option<Remark>) = (Vec::new(), "", None);
    let mut seen_in_block = 0;
    for (number, line) in lines.iter().enumerate() {
        let at = format!("{name}:{}", number + 1);
        let fence = line.trim_start().strip_prefix("```");
        match (fence, &open) {
            (Some("console" | "sh"), None) => {
                open = Some(Remark::read(&at, above));
                seen_in_block = 0;
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(remark)) if remark.is_run => {
                let indent = line.len() - line.trim_start().len();
                if let Some(command) = line.trim_start().strip_prefix("$ ") {
                    let code = remark.codes.get(seen_in_block).copied().unwrap_or(0);
                    seen_in_block += 1;
                    let (command, is_compared) = (command.to_owned(), remark.is_compared);
                    all.push(Shown { at, command, code, output: Vec::new(), is_compared });
                } else {
                    // A block without a command of its own shows what the commands before it print.
                    let before = all.last_mut().unwrap_or_else(|| panic!("{at}: output without a command"));
                    before.is_compared &= remark.is_compared;
                    before.output.push(line.get(indent.min(3)..).unwrap_or_default().to_owned());
                }
            }
            _ => {}
        }
        if !line.trim().is_empty() {
            above = line;
        }
    }
    all
}

/// Text without what differs from run to run: numbers, ids, bars, blanks and the names of this place.
fn shape(line: &str) -> String {
    let kept: String = line.chars().map(|c| if "█▓▒░▎·".contains(c) { ' ' } else { c }).collect();
    let words = kept.split_whitespace().map(|word| {
        let is_id = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        if is_id { "#".to_owned() } else { without_numbers(word) }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn without_numbers(word: &str) -> String {
    let mut shape = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' | '.' | ',' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            other => shape.push(other),
        }
    }
    // Ids within a word, as in JSON and before a colon.
    let parts = shape.split_inclusive(['"', ':']).map(|part| {
        let bare = part.trim_end_matches(['"', ':']);
        let is_id = bare.contains('#') && bare.chars().all(|c| c == '#' || c.is_ascii_hexdigit());
        if is_id { part.replacen(bare, "#", 1) } else { part.to_owned() }
    });
    parts.collect()
}

/// The first column of a line with columns, where it is a word.
fn label(line: &str) -> Option<&str> {
    let (label, _) = line.trim_start().split_once("  ")?;
    label.chars().all(|c| c.is_alphabetic() || c == ' ').then_some(label)
}

/// Whether a printed line is of the form of the one that is shown. Lines that are cut (`…`) are compared as far as they go.
fn fits(shown: &str, printed: &str) -> bool {
    if label(shown).is_some() && label(shown) == label(printed) {
        return true;
    }
    match (shown.split_once('…'), printed.split_once('…')) {
        (Some((shown, _)), Some((printed, _))) => {
            let (shown, printed) = (shape(shown), shape(printed));
            shown.starts_with(&printed) || printed.starts_with(&shown)
        }
        (Some((shown, _)), None) => shape(printed).starts_with(&shape(shown)),
        (None, _) => shape(shown) == shape(printed),
    }
}

/// The first shown line that no printed line after those of its predecessors fits.
pub(super) fn missing<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines();
    let lines = shown.iter().filter(|line| !line.trim().is_empty() && line.trim() != "...");
    lines.map(String::as_str).find(|line| !printed.any(|one| fits(line, one)))
}

#[test]
fn shapes_differ_in_words_only() {
    assert!(fits("added 8 tasks; skipped 0 running", "added 12 tasks; skipped 3 running"));
    assert!(!fits("added 8 tasks; skipped 0 running", "added 8 tasks; skipped 0 waiting"));
    assert!(fits("key 8e0be223fd23225f: wrote", "key 11112222aaaabbbb: wrote"));
    assert!(fits("memory         23.54 GB in all", "memory         7 GB"));
    assert!(!fits("memory         23.54 GB in all", "cores          7"));
    assert!(fits("d1f24e829145beb4  shell:0.1:9:echo 'Val…", "00f24e829145beb4  shell:0.1:9:echo 'Value' # 2"));
    assert_eq!(missing(&["b 1".to_owned(), "a".to_owned()], "a\nb 2\n"), Some("a"));
}
