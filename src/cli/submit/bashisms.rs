//! Finding what bash understands and a plain `sh` does not, so that a person is warned before 10,000 tasks fail of it.

use std::path::Path;

/// Texts that are bash's alone wherever they stand outside of quotes.
const ANYWHERE: [&str; 8] = ["[[ ", "<<<", "<(", ">(", "&>", "|&", "$'", "$RANDOM"];

/// Commands that are bash's alone.
const COMMANDS: [&str; 6] = ["source", "function", "declare", "shopt", "pushd", "popd"];

/// Whether a shell is one that need not understand bash.
pub(crate) fn is_plain_shell(shell: &Path) -> bool {
    shell.file_name().is_some_and(|name| name == "sh" || name == "dash" || name == "ash")
}

/// The first thing in a command that only bash understands.
pub(crate) fn find(command: &str) -> Option<&'static str> {
    let mut is_single = false;
    let mut is_double = false;
    let mut is_command = true;
    let mut chars = command.char_indices();
    let mut previous = ' ';
    while let Some((at, c)) = chars.next() {
        let rest = &command[at..];
        match c {
            '\\' if !is_single => {
                chars.next();
            }
            '\'' if !is_double => is_single = !is_single,
            '"' if !is_single => is_double = !is_double,
            _ if is_single => {}
            '$' if is_double => {
                if is_word(rest, "$RANDOM") {
                    return Some("$RANDOM");
                }
            }
            _ if is_double => {}
            '#' if previous.is_whitespace() => return None,
            _ => {
                if let Some(found) = found_here(rest, previous, is_command) {
                    return Some(found);
                }
            }
        }
        is_command = match c {
            ';' | '&' | '|' | '(' | '{' | '\n' => true,
            c if c.is_whitespace() => is_command,
            _ => false,
        };
        previous = c;
    }
    None
}

fn found_here(rest: &str, previous: char, is_command: bool) -> Option<&'static str> {
    if let Some(found) = ANYWHERE.into_iter().find(|text| rest.starts_with(text)) {
        return (found != "$RANDOM" || is_word(rest, found)).then_some(found.trim_end());
    }
    if is_command && let Some(found) = COMMANDS.into_iter().find(|name| is_word(rest, name) && !rest.ends_with(name)) {
        return Some(found);
    }
    if is_brace_range(rest) && previous != '$' {
        return Some("{N..M}");
    }
    let is_name = previous.is_ascii_alphanumeric() || previous == '_';
    (rest.starts_with("=(") && is_name).then_some("an array")
}

/// `text` stands here as a whole word.
fn is_word(rest: &str, text: &str) -> bool {
    rest.strip_prefix(text)
        .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || "_-./=".contains(c)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_bash_understands_is_found() {
        for (command, found) in [
            ("[[ -f a ]] && b", "[["),
            ("diff <(a) <(b)", "<("),
            ("a | tee >(b)", ">("),
            ("source env.sh; run", "source"),
            ("cd x && source env.sh", "source"),
            ("run &> log", "&>"),
            ("for i in {1..9}; do echo $i; done", "{N..M}"),
            ("echo {01..10..2}", "{N..M}"),
            ("echo $RANDOM", "$RANDOM"),
            ("echo \"$RANDOM\"", "$RANDOM"),
            ("function f { :; }; f", "function"),
            ("cat <<< abc", "<<<"),
            ("a=(1 2 3); run", "an array"),
            ("run |& tee log", "|&"),
        ] {
            assert_eq!(find(command), Some(found), "{command}");
        }
    }

    #[test]
    fn plain_commands_are_left_alone() {
        for command in [
            "./cachesim trace.bin 64",
            "[ -f a ] && b > log 2>&1",
            "echo '[[ a ]] <(b) $RANDOM'",
            "echo \"a &> b {1..3}\"",
            "./open-source run",
            "data-source list",
            "echo ${a%..}",
            "x=$((1 + 2)); (cd y; run) & wait",
            "echo a \\&\\> b",
            "run # <(x)",
            "awk '{print $1}' f",
            "echo $RANDOMSEED",
            "grep source file",
        ] {
            assert_eq!(find(command), None, "{command}");
        }
    }

    #[test]
    fn bash_itself_is_not_warned_of() {
        assert!(is_plain_shell(Path::new("/bin/sh")));
        assert!(!is_plain_shell(Path::new("/bin/bash")));
    }
}
