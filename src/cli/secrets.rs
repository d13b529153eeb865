//! Keeps passwords out of sight: in messages and in the arguments of the process.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::output::warn;
use crate::config::URL_FROM;
use crate::model::safe_text::{is_unsafe, safe};

/// The variable that stands for the flag.
const VARIABLE: &str = "DISTCOMP_REDIS_URL";

/// The flag.
const FLAG: &str = "--redis-url";

/// First thing in every command, after its arguments are understood: nothing of our memory is for others, and no password stays in the argument list,
/// where every user of the machine could read it. With one there this process executes itself again, the URL in the environment in its place.
pub(crate) fn keep(program: &str) {
    let mut args = std::env::args_os();
    let name = args.next();
    if let Some((url, rest)) = take_url(args) {
        let error = std::env::current_exe().map(|exe| {
            let mut command = Command::new(exe);
            if let Some(name) = name {
                command.arg0(name);
            }
            // Only returns when it fails.
            command.args(rest).env(VARIABLE, url).env(URL_FROM, FLAG).exec()
        });
        let error = error.unwrap_or_else(|error| error);
        warn(program, &format!("the password in --redis-url is visible to every user of this machine: {error}"));
    }
    crate::process::disable_dumps();
}

/// The URL among the arguments, if it may hold a password, and the arguments without it.
fn take_url(args: impl Iterator<Item = OsString>) -> Option<(OsString, Vec<OsString>)> {
    let (mut url, mut rest, mut args) = (None, Vec::new(), args);
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            rest.extend(args);
            break;
        }
        let attached = arg.to_str().and_then(|arg| arg.strip_prefix(FLAG)?.strip_prefix('='));
        if let Some(value) = attached {
            url = Some(value.into());
        } else if arg == FLAG {
            url = args.next();
        } else {
            rest.push(arg);
        }
    }
    let url = url.filter(|url| may_hold_password(url))?;
    Some((url, rest))
}

/// A message about the arguments that quotes what should not be shown: a URL with a password in the wrong place, or what drives a terminal.
/// `None` where nothing of the kind is among them.
pub(crate) fn hidden(message: &str, args: impl Iterator<Item = OsString>) -> Option<String> {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let is_secret = |arg: &&str| arg.contains("://") && may_hold_password(OsStr::new(arg));
    // Of `--flag=URL` the message may quote the whole or the URL alone.
    let values = args
        .iter()
        .map(|arg| arg.split_once('=').filter(|(name, _)| name.starts_with("--")).map_or(&**arg, |(_, value)| value));
    let secrets: Vec<&str> = values.filter(is_secret).collect();
    if secrets.is_empty() && !args.iter().any(|arg| arg.contains(is_unsafe)) {
        return None;
    }
    let shown = secrets.iter().fold(message.to_owned(), |text, secret| text.replace(secret, "(hidden)"));
    // A line end in an argument is no line end of ours: what it begins is indented.
    let lines = shown.lines().map(|line| format!("{}\n", safe(line)));
    Some(lines.collect())
}

fn may_hold_password(url: &OsStr) -> bool {
    let url = url.to_string_lossy();
    url.contains('@') || url.contains("pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(args: &[&str]) -> Option<(String, Vec<String>)> {
        let text = |text: OsString| text.into_string().expect("text");
        take_url(args.iter().map(OsString::from)).map(|(url, rest)| (text(url), rest.into_iter().map(text).collect()))
    }

    #[test]
    fn argument_errors_show_no_password_and_no_control_characters() {
        let hide = |message: &str, args: &[&str]| hidden(message, args.iter().map(OsString::from));
        let url = "redis://:secret@h";
        assert_eq!(hide("bad 'redis://:secret@h'", &["-x", url]).as_deref(), Some("bad '(hidden)'\n"));
        let attached = format!("--redis-ur={url}");
        assert_eq!(hide(&format!("bad '{attached}'"), &[&attached]).as_deref(), Some("bad '--redis-ur=(hidden)'\n"));
        assert_eq!(hide("bad 'a\u{1b}[2J'", &["a\u{1b}[2J"]).as_deref(), Some("bad 'a\\x1b[2J'\n"));
        assert_eq!(hide("bad 'x'", &["x", "redis://h:1"]), None);
    }

    #[test]
    fn a_url_with_a_password_is_taken_out_however_it_is_written() {
        let rest = vec!["-x".to_owned(), "y".to_owned()];
        for url in ["redis://:secret@h", "redis+unix:///s?pass=secret"] {
            assert_eq!(take(&["-x", "--redis-url", url, "y"]), Some((url.to_owned(), rest.clone())));
            assert_eq!(take(&["-x", &format!("--redis-url={url}"), "y"]), Some((url.to_owned(), rest.clone())));
        }
        for plain in [&["-x"][..], &["--redis-url", "redis://h:1/2"], &["--", "--redis-url", "redis://:secret@h"]] {
            assert_eq!(take(plain), None);
        }
    }
}
