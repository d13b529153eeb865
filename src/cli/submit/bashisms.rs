//! Finds syntax that bash understands and a plain `sh` does not, to warn a person before 10,000 tasks fail, or silently do something else: dash
//! prints `{a,b}`, `-e` and an empty `$HOSTNAME`, and exits with 0.

use std::path::Path;

/// Texts that are bash's alone wherever they stand outside of quotes.
const ANYWHERE: [&str; 8] = ["[[ ", "<<<", "<(", ">(", "&>", "|&", "$'", "$\""];

/// Commands that are bash's alone.
const COMMANDS: [&str; 10] =
    ["source", "function", "declare", "typeset", "let", "shopt", "pushd", "popd", "mapfile", "readarray"];

/// Variables that bash sets, and `sh` does not.
const VARIABLES: [&str; 16] = [
    "$RANDOM",
    "$SRANDOM",
    "$HOSTNAME",
    "$UID",
    "$EUID",
    "$GROUPS",
    "$SECONDS",
    "$EPOCHSECONDS",
    "$EPOCHREALTIME",
    "$BASHPID",
    "$BASH_VERSION",
    "$BASH_SOURCE",
    "$FUNCNAME",
    "$PIPESTATUS",
    "$OSTYPE",
    "$HOSTTYPE",
];

/// Words after which another command begins.
const KEYWORDS: [&str; 10] = ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "}"];

/// Commands that read braces themselves.
const READ_BRACES: [&str; 2] = ["curl", "jq"];

/// Commands in whose patterns `{1,3}` is a number of times.
const READ_PATTERNS: [&str; 8] = ["grep", "egrep", "zgrep", "rg", "sed", "awk", "gawk", "perl"];

/// Whether a shell is one that need not understand bash.
pub(crate) fn is_plain_shell(shell: &Path) -> bool {
    shell.file_name().is_some_and(|name| name == "sh" || name == "dash" || name == "ash")
}

/// The first thing in a command that only bash understands.
pub(crate) fn find(command: &str) -> Option<&'static str> {
    Scan { text: command, ..Scan::default() }.run()
}

/// The command that is being read.
#[derive(Clone, Debug, Default)]
struct Simple {
    /// Its name, once that has been read.
    name: Option<String>,
    /// Whether something that is no option has come after it.
    is_past_options: bool,
}

#[derive(Debug, Default)]
struct Scan<'a> {
    text: &'a str,
    quote: Option<char>,
    /// The word so far, without its quotes; `None` between words.
    word: Option<String>,
    /// Whether a part of it was quoted.
    is_quoted: bool,
    now: Simple,
    /// Those that go on after a `)` or a backtick.
    outer: Vec<Simple>,
    is_in_backticks: bool,
}

impl Scan<'_> {
    fn run(mut self) -> Option<&'static str> {
        let mut chars = self.text.char_indices();
        let mut previous = ' ';
        while let Some((at, c)) = chars.next() {
            let rest = &self.text[at..];
            match (self.quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => self.quote = None,
                (Some('\''), _) => self.push(c),
                (_, '\\') => {
                    self.is_quoted = true;
                    self.push(chars.next().map_or('\\', |(_, escaped)| escaped));
                }
                (Some(_), '$') => {
                    if let Some(found) = expansion(rest, self.text) {
                        return Some(found);
                    }
                    self.push(c);
                }
                (Some(_), _) => self.push(c),
                (None, '\'' | '"') => {
                    self.quote = Some(c);
                    self.is_quoted = true;
                    self.word.get_or_insert_default();
                }
                (None, '#') if previous.is_whitespace() => break,
                (None, _) => {
                    if let Some(found) = self.outside_of_quotes(c, rest, previous) {
                        return Some(found);
                    }
                }
            }
            previous = c;
        }
        self.end_word()
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn outside_of_quotes(&mut self, c: char, rest: &str, previous: char) -> Option<&'static str> {
        if let Some(found) = ANYWHERE.into_iter().find(|text| rest.starts_with(text)) {
            return Some(found.trim_end());
        }
        match c {
            c if c.is_whitespace() => {
                let found = self.end_word();
                if c == '\n' {
                    self.now = Simple::default();
                }
                found
            }
            ';' | '&' | '|' => {
                let found = self.end_word();
                self.now = Simple::default();
                found
            }
            '(' => {
                if self.word.as_ref().and_then(|word| word.strip_suffix('=')).is_some_and(is_name) {
                    return Some("an array");
                }
                if let Some(found) = self.arithmetic(rest, previous) {
                    return Some(found);
                }
                let is_part = previous == '$';
                self.outer.push(if is_part { self.now.clone() } else { Simple::default() });
                self.word = None;
                self.now = Simple::default();
                None
            }
            ')' => {
                let found = self.end_word();
                self.now = self.outer.pop().unwrap_or_default();
                found
            }
            '`' => {
                let found = self.end_word();
                let inner = if self.is_in_backticks { self.outer.pop() } else { None };
                if !self.is_in_backticks {
                    self.outer.push(self.now.clone());
                }
                self.is_in_backticks = !self.is_in_backticks;
                self.now = inner.unwrap_or_default();
                found
            }
            '$' => {
                let found = expansion(rest, self.text);
                self.push(c);
                found
            }
            '{' if previous != '$' => {
                let found = self.braces(rest);
                self.push(c);
                found
            }
            _ => {
                self.push(c);
                None
            }
        }
    }

    /// `((…))` where a command may stand, and after `for`. Two subshells look alike; what holds no arithmetic is taken for those.
    fn arithmetic(&self, rest: &str, previous: char) -> Option<&'static str> {
        let inner = rest.strip_prefix("((").filter(|_| previous != '$' && self.word.is_none())?;
        if self.now.name.as_deref() == Some("for") {
            return Some("for ((");
        }
        let (inner, _) = inner.split_once("))")?;
        let is_arithmetic = inner.chars().all(|c| c.is_ascii_alphanumeric() || "_ +-*/%<>=!&|?:,$^~".contains(c))
            && inner.contains(|c: char| "+-*/%<>=!^".contains(c));
        (self.now.name.is_none() && is_arithmetic).then_some("((")
    }

    /// `{a,b}` and `{1..9}`, which sh takes as they are.
    fn braces(&self, rest: &str) -> Option<&'static str> {
        if is_brace_range(rest) {
            return Some("{N..M}");
        }
        let name = self.now.name.as_deref().unwrap_or_default();
        let is_assigned = self.now.name.is_none() && self.word.as_ref().is_some_and(|word| word.contains('='));
        if is_assigned || READ_BRACES.contains(&name) || !is_brace_list(rest, READ_PATTERNS.contains(&name)) {
            return None;
        }
        Some("{a,b}")
    }

    fn end_word(&mut self) -> Option<&'static str> {
        let word = self.word.take()?;
        let is_quoted = std::mem::take(&mut self.is_quoted);
        if self.now.name.is_some() {
            return self.argument(&word, is_quoted);
        }
        if let Some((name, _)) = word.split_once('=') {
            if is_name(name) {
                return None;
            }
            if name.strip_suffix('+').is_some_and(is_name) {
                return Some("+=");
            }
        }
        if is_quoted || !KEYWORDS.contains(&word.as_str()) {
            self.now.name = Some(word);
        }
        None
    }

    fn argument(&mut self, word: &str, is_quoted: bool) -> Option<&'static str> {
        let name = self.now.name.as_deref().unwrap_or_default();
        // With nothing after it, it is a program of that name.
        if let Some(found) = COMMANDS.into_iter().find(|command| *command == name && !word.starts_with('=')) {
            return Some(found);
        }
        let option = word.strip_prefix('-').filter(|option| !option.is_empty() && !self.now.is_past_options);
        let all = |letters: &str| option.is_some_and(|option| option.chars().all(|c| letters.contains(c)));
        let any = |letters: &str| option.is_some_and(|option| option.contains(|c| letters.contains(c)));
        let found = match name {
            "echo" if all("neE") && any("eE") => Some("echo -e"),
            "[" | "test" if word == "==" => Some("[ a == b ]"),
            "set" if word == "pipefail" => Some("pipefail"),
            "read" if any("adnNtsuie") => Some("an option of read"),
            "printf" if option == Some("v") => Some("printf -v"),
            "wait" if option == Some("n") => Some("wait -n"),
            "export" if option == Some("f") => Some("export -f"),
            _ => None,
        };
        self.now.is_past_options |= option.is_none();
        found.filter(|_| !is_quoted || word == "==")
    }
}

/// What a `$` begins that only bash expands. A variable that the command sets itself, or gives a default, is its own.
fn expansion(rest: &str, command: &str) -> Option<&'static str> {
    if rest.starts_with("$(<") && !rest.starts_with("$(<<") {
        return Some("$(< FILE)");
    }
    let (inner, is_braced) = match rest.strip_prefix("${") {
        Some(inner) => (inner, true),
        None => (rest.strip_prefix('$')?, false),
    };
    if is_braced && inner.strip_prefix('!').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())) {
        return Some("${!NAME}");
    }
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    if is_braced && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) {
        let mut next = after.chars();
        match (next.next(), next.next()) {
            (Some('/' | '^' | ',' | '@' | '['), _) => return Some("${NAME/A/B}, ${NAME^} or ${NAME[N]}"),
            (Some(':'), Some(c)) if !"-=+?".contains(c) => return Some("${NAME:N}"),
            (Some(':' | '-' | '=' | '+' | '?'), _) => return None,
            _ => {}
        }
    }
    let found = VARIABLES.into_iter().find(|variable| variable[1..] == *name)?;
    let is_set = |text: &str| {
        command.split(|c: char| c.is_whitespace() || ";&|(".contains(c)).any(|word| word.starts_with(text))
    };
    (!is_set(&format!("{name}="))).then_some(found)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `{1..9}`, `{a..z}`.
fn is_brace_range(rest: &str) -> bool {
    let Some((low, high)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')?.0.split_once("..")) else {
        return false;
    };
    let is_end = |text: &str| {
        let text = text.strip_prefix('-').unwrap_or(text);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    is_end(low) && is_end(high.split("..").next().unwrap_or(high))
}

/// `{a,b}`, with no blank in it; with `is_pattern`, `{1,3}` is none.
fn is_brace_list(rest: &str, is_pattern: bool) -> bool {
    let (mut depth, mut has_comma, mut has_other) = (0, false, false);
    for (at, c) in rest.char_indices() {
        match c {
            // `{{` is a template of docker, jinja or go.
            '{' if at == 1 => return false,
            '{' => depth += 1,
            '}' if depth == 1 => return has_comma && (has_other || !is_pattern),
            '}' => depth -= 1,
            ',' if depth == 1 => has_comma = true,
            // JSON in which nothing is quoted for the shell is taken as it is by sh, which is what it was written for.
            c if c.is_whitespace() || "'\";&|()<>`:".contains(c) => return false,
            c => has_other |= !c.is_ascii_digit(),
        }
    }
    false
}

#[cfg(test)]
#[path = "bashisms_tests.rs"]
mod tests;
