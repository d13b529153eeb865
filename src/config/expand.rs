//! Replaces `~` and `$NAME` in the paths of `conf.json`, as a shell would.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::fault::printable;
use super::source::Environment;

/// What cannot be replaced, and what would be valid.
type ExpandError = (String, &'static str);

/// What a path may begin with, for messages.
const VALID: &str = "a path that begins with /, ./, ~/, $NAME or ${NAME}, where each NAME is a variable that is set";

/// Replaces `~` and `~/` at the beginning of a path by the home directory, and `$NAME` and `${NAME}` at the beginning of each of its parts by the
/// variable. A `$` elsewhere, or before what is no name, stands for itself.
///
/// # Errors
/// What cannot be replaced, and what would be valid: a variable that is not set, a home directory that is not known, `~user`.
pub(super) fn expand(path: &OsStr, environment: &Environment) -> Result<PathBuf, ExpandError> {
    let bytes = path.as_bytes();
    let (mut whole, rest) = match bytes.strip_prefix(b"~") {
        None => (Vec::new(), bytes),
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => (home(environment)?, rest),
        Some(_) => {
            let problem = "~USER is not supported: only ~ alone, your home directory, is replaced";
            return Err((problem.to_owned(), VALID));
        }
    };
    for (index, part) in rest.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            whole.push(b'/');
        }
        match variable(part)? {
            Some((name, tail)) => {
                let value = environment
                    .path(name)
                    .ok_or_else(|| (format!("the variable {} is not set, or empty", printable(name)), VALID))?;
                whole.extend(value.as_os_str().as_bytes());
                whole.extend(tail);
            }
            None => whole.extend(part),
        }
    }
    Ok(OsString::from_vec(whole).into())
}

fn home(environment: &Environment) -> Result<Vec<u8>, ExpandError> {
    let home = environment.path("HOME").filter(|home| home.is_absolute());
    let problem = || ("~ means HOME, which is not set or is not an absolute path".to_owned(), VALID);
    home.map(|home| home.into_os_string().into_vec()).ok_or_else(problem)
}

/// The variable that a part of a path begins with, and what follows it.
fn variable(part: &[u8]) -> Result<Option<(&str, &[u8])>, ExpandError> {
    let Some(rest) = part.strip_prefix(b"$") else { return Ok(None) };
    let (name, tail) = match rest.strip_prefix(b"{") {
        Some(inner) => {
            let end = inner.iter().position(|byte| *byte == b'}');
            let end = end.ok_or_else(|| ("\"${\" has no closing \"}\"".to_owned(), VALID))?;
            let name = std::str::from_utf8(&inner[..end]).ok().filter(|name| is_name(name));
            let name = name.ok_or_else(|| ("the text in ${…} is not the name of a variable".to_owned(), VALID))?;
            (name, &inner[end + 1..])
        }
        None => {
            let end = rest.iter().position(|byte| !is_part_of_name(*byte)).unwrap_or(rest.len());
            let name = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            (name, &rest[end..])
        }
    };
    Ok(is_name(name).then_some((name, tail)))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_part_of_name) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn is_part_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A path that a flag or a variable names, where no shell has replaced `~` and variables: after `=`, in quotes, in a systemd unit.
///
/// # Errors
/// What cannot be replaced, and what would be valid, as one text.
pub fn expand_path(path: &Path) -> Result<PathBuf, String> {
    expand(path.as_os_str(), &Environment::of_process())
        .map_err(|(problem, valid)| format!("{problem}; valid: {valid}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expanded(path: &str) -> Result<String, String> {
        let environment =
            Environment::from_iter([("HOME", "/home/ann"), ("DATA", "/data/x"), ("USER", "ann"), ("EMPTY", "")]);
        match expand(OsStr::new(path), &environment) {
            Ok(path) => Ok(path.display().to_string()),
            Err((problem, _)) => Err(problem),
        }
    }

    #[test]
    fn home_and_variables_are_replaced() {
        for (path, wanted) in [
            ("~", "/home/ann"),
            ("~/x", "/home/ann/x"),
            ("$HOME/x", "/home/ann/x"),
            ("${HOME}", "/home/ann"),
            ("${DATA}-2/y", "/data/x-2/y"),
            ("$DATA.old", "/data/x.old"),
            ("/scratch/$USER/out", "/scratch/ann/out"),
            ("~/${USER}/$USER", "/home/ann/ann/ann"),
        ] {
            assert_eq!(expanded(path).as_deref(), Ok(wanted), "{path}");
        }
    }

    #[test]
    fn what_is_no_variable_stays() {
        for path in ["./", "/", "a~b/~", "./~", "/x/a$b", "/x/$", "/x/$1", "x//y/", "$-x", ""] {
            assert_eq!(expanded(path).as_deref(), Ok(path), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_a_fault() {
        for (path, told) in [
            ("$NOPE/x", "NOPE is not set"),
            ("/x/${NOPE}", "NOPE is not set"),
            ("$EMPTY/x", "EMPTY is not set, or empty"),
            ("$HOMES/x", "HOMES is not set"),
            ("~bob/x", "~USER"),
            ("${HOME/x", "no closing \"}\""),
            ("${a b}/x", "not the name of a variable"),
            ("${}/x", "not the name of a variable"),
        ] {
            let problem = expanded(path).expect_err(path);
            assert!(problem.contains(told), "{path}: {problem}");
        }
        let none = Environment::default();
        assert!(expand(OsStr::new("~/x"), &none).is_err());
    }

    proptest! {
        #[test]
        fn a_path_without_signs_is_itself(path in "[^~$]{0,30}") {
            prop_assert_eq!(expanded(&path), Ok(path));
        }

        #[test]
        fn nothing_makes_it_panic(path in "[~$/{}A-Za-z0-9]{0,20}") {
            let _ = expanded(&path);
        }
    }
}
