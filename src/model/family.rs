//! Families: names under which the memory of like tasks is learnt.

/// The longest name of one.
const LONGEST: usize = 64;

/// What a name of a family is.
pub const VALID: &str = "a name of at most 64 of A-Z a-z 0-9 . _ -";

/// Whether a text is the name of a family.
#[must_use]
pub fn is_family(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_part)
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The family of a command that belongs to no batch: the base name of its first word. What the submitter puts before a command, and variables that are set
/// for it, are passed over.
#[must_use]
pub fn of_command(command: &str) -> String {
    let command = command.rsplit_once("|| exit 125; ").map_or(command, |(_, rest)| rest);
    let command =
        command.strip_prefix("exec ").and_then(|rest| rest.split_once("; ")).map_or(command, |(_, rest)| rest);
    let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let word = command.split_ascii_whitespace().find(|word| !is_variable(word)).unwrap_or_default();
    let word = word.trim_matches(['\'', '"', '(', ')', ';']);
    let base = word.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let name: String =
        base.chars().take(LONGEST).map(|c| if c.is_ascii() && is_part(c as u8) { c } else { '_' }).collect();
    if name.is_empty() { "command".to_owned() } else { name }
}

/// The family of a line that belongs to no batch, in whichever order its fields are.
#[must_use]
pub fn of_line(line: &str) -> String {
    let mut fields = line.splitn(5, ':');
    let kind = fields.next().unwrap_or_default();
    let kind = kind.split_once(',').map_or(kind, |(kind, _)| kind);
    if kind != "shell" {
        return kind.chars().filter(char::is_ascii_alphanumeric).take(LONGEST).collect();
    }
    let command = fields.nth(3).unwrap_or_default();
    let limit = command.split_once(':').filter(|(digits, _)| digits.bytes().all(|b| b.is_ascii_digit()));
    of_command(limit.filter(|(digits, _)| !digits.is_empty()).map_or(command, |(_, rest)| rest))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn family_is_the_base_name_of_the_first_word() {
        for (line, family) in [
            ("shell:8:2:5:300:./cachesim trace.bin 64", "cachesim"),
            ("shell:8:2:5:/opt/x/sim.py --a b:c", "sim.py"),
            ("shell,gpus=1:8:2:5:OMP_NUM_THREADS=2 A= python3 train.py", "python3"),
            ("shell:0:1:0:cd '/a b' || exit 125; export X=1 || exit 125; ./sim 1", "sim"),
            ("shell:0:1:0:{ :; } >o || exit 125; exec >o; ./sim 1", "sim"),
            ("shell:0:1:0:'./my prog' x", "my"),
            ("shell:0:1:0:bücher/ü", "_"),
            ("shell:0:1:0:8080", "8080"),
            ("shell:0:1:0:  ", "command"),
            ("python:0:1:0:print(1)", "python"),
            ("no task", "notask"),
        ] {
            assert_eq!(of_line(line), family, "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_command_has_a_family(command in ".{0,80}") {
            prop_assert!(is_family(&of_command(&command)), "{}", of_command(&command));
        }
    }
}
