//! What stands behind `--` on a command line: a command, and sources as GNU parallel writes them (`:::`, `:::+`, `::::`, `::::+`).

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The words of the command.
    pub command: Vec<String>,
    /// The sources, in order.
    pub sources: Vec<Given>,
}

/// A source as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Whether it advances together with the source before it.
    pub is_linked: bool,
    /// The values, or the files that hold them.
    pub words: Words,
}

/// Where the values of a source are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// Here.
    Here(Vec<String>),
    /// In this file.
    OfFile(String),
}

/// A source that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// `:::+` as the first source.
    #[error("{0} links to the source before it, and there is none: use {1}")]
    NothingBefore(&'static str, &'static str),
    /// `::::` without a file.
    #[error("{0} needs a file")]
    NoFile(&'static str),
    /// No command before the sources.
    #[error("there is no command before {0}")]
    NoCommand(&'static str),
}

const MARKS: [&str; 4] = [":::", ":::+", "::::", "::::+"];

/// The mark that a word is.
#[must_use]
pub fn mark(word: &str) -> Option<&'static str> {
    MARKS.into_iter().find(|mark| *mark == word)
}

impl Arguments {
    /// Takes the words apart. Of several files after one `::::` each is a source of its own, as in GNU parallel.
    ///
    /// # Errors
    /// See [`ArgumentsError`].
    pub fn parse(words: &[String]) -> Result<Self, ArgumentsError> {
        let end = words.iter().position(|word| mark(word).is_some()).unwrap_or(words.len());
        let (command, mut rest) = words.split_at(end);
        let mut sources = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            let Some(mark) = mark(first) else { break };
            if command.is_empty() {
                return Err(ArgumentsError::NoCommand(mark));
            }
            let end = after.iter().position(|word| self::mark(word).is_some()).unwrap_or(after.len());
            let (values, next) = after.split_at(end);
            rest = next;
            let is_linked = mark.ends_with('+');
            if is_linked && sources.is_empty() {
                let alone = if mark.starts_with("::::") { "::::" } else { ":::" };
                return Err(ArgumentsError::NothingBefore(mark, alone));
            }
            if mark.starts_with("::::") {
                if values.is_empty() {
                    return Err(ArgumentsError::NoFile(mark));
                }
                sources.extend(values.iter().map(|file| Given { is_linked, words: Words::OfFile(file.clone()) }));
            } else {
                sources.push(Given { is_linked, words: Words::Here(values.to_vec()) });
            }
        }
        Ok(Self { command: command.to_vec(), sources })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, ArgumentsError> {
        Arguments::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn commands_and_sources_are_told_apart() {
        let parsed = parse("./sim {} -x ::: a b :::+ c d :::: f g ::::+ h").unwrap();
        assert_eq!(parsed.command.join(" "), "./sim {} -x");
        let words = |words: &[&str]| Words::Here(words.iter().map(|word| (*word).to_owned()).collect());
        let file = |name: &str| Words::OfFile(name.to_owned());
        let expected = [
            (false, words(&["a", "b"])),
            (true, words(&["c", "d"])),
            (false, file("f")),
            (false, file("g")),
            (true, file("h")),
        ];
        assert_eq!(parsed.sources, expected.map(|(is_linked, words)| Given { is_linked, words }));
        assert_eq!(parse("sleep 1").unwrap().sources, []);
        assert_eq!(parse("echo :::").unwrap().sources, [Given { is_linked: false, words: words(&[]) }]);
    }

    #[test]
    fn sources_that_say_nothing_are_refused() {
        for (text, expected) in [
            ("x :::+ a", ":::+ links to the source before it, and there is none: use :::"),
            ("x ::::+ a", "::::+ links to the source before it, and there is none: use ::::"),
            ("x ::::", ":::: needs a file"),
            ("::: a", "there is no command before :::"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
