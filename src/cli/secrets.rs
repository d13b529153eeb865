//! Keeping passwords out of sight.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::common::complain;

/// The variable that stands for the flag.
const VARIABLE: &str = "DISTCOMP_REDIS_URL";

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
            command.args(rest).env(VARIABLE, url).exec()
        });
        let error = error.unwrap_or_else(|error| error);
        complain(
            program,
            &format!("warning: the password in --redis-url is visible to every user of this machine: {error}"),
        );
    }
    crate::process::keep_secrets();
}

/// The URL among the arguments, if it may hold a password, and the arguments without it.
fn take_url(args: impl Iterator<Item = OsString>) -> Option<(OsString, Vec<OsString>)> {
    const FLAG: &str = "--redis-url";
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
