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

/// The family of what belongs to a batch or to a step of one: `s1`, `s1.prep`. settle.lua makes the same.
#[must_use]
pub fn of_batch(name: &str) -> String {
    let name = name.replace('/', ".");
    name.get(name.len().saturating_sub(LONGEST)..).unwrap_or_default().to_owned()
}

/// Programs that run others, of which the name says nothing: the file that they are given is the program.
const INTERPRETERS: [&str; 14] =
    ["bash", "sh", "dash", "zsh", "env", "time", "nice", "nohup", "python", "perl", "ruby", "Rscript", "julia", "node"];

/// The family of a command that belongs to no batch: the base name of its program. What the submitter puts before a command, variables that are set for it,
/// a change of directory and an interpreter that is given a file are passed over.
#[must_use]
pub fn of_command(command: &str) -> String {
    let command = command.rsplit_once("|| exit 125; ").map_or(command, |(_, rest)| rest);
    let command =
        command.strip_prefix("exec ").and_then(|rest| rest.split_once("; ")).map_or(command, |(_, rest)| rest);
    let is_cd = command.trim_start().starts_with("cd ");
    let command = command.split_once("&&").filter(|_| is_cd).map_or(command, |(_, rest)| rest);
    let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let mut words = command.split_ascii_whitespace().skip_while(is_variable);
    let mut program = base(words.next().unwrap_or_default());
    while is_interpreter(&program) {
        // With a flag it may be given anything, such as its program text.
        let next = words.by_ref().find(|word| !is_variable(word)).filter(|word| !word.starts_with(['-', '\'', '"']));
        let Some(next) = next else { break };
        program = base(next);
    }
    if program.is_empty() { "command".to_owned() } else { program }
}

fn is_interpreter(program: &str) -> bool {
    INTERPRETERS.contains(&program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The base name of a word.
fn base(word: &str) -> String {
    let word = word.trim_matches(['\'', '"', '(', ')', ';']);
    let base = word.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    base.chars().take(LONGEST).map(|c| if c.is_ascii() && is_part(c as u8) { c } else { '_' }).collect()
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
            ("shell,gpus=1:8:2:5:OMP_NUM_THREADS=2 A= python3 train.py", "train.py"),
            ("shell:0:1:0:python3.11 /x/a.py 1", "a.py"),
            ("shell:0:1:0:env A=1 time bash ./run.sh", "run.sh"),
            ("shell:0:1:0:python3 -c 'print(1)'", "python3"),
            ("shell:0:1:0:bash", "bash"),
            ("shell:0:1:0:cd /x/y && ./sim 1", "sim"),
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

    #[test]
    fn family_of_a_step_has_its_batch() {
        assert_eq!((of_batch("s1").as_str(), of_batch("s1/prep/a").as_str()), ("s1", "s1.prep.a"));
        assert!(is_family(&of_batch(&format!("{}/{}", "a".repeat(60), "b".repeat(60)))));
    }

    proptest! {
        #[test]
        fn every_command_has_a_family(command in ".{0,80}") {
            prop_assert!(is_family(&of_command(&command)), "{}", of_command(&command));
        }
    }
}
