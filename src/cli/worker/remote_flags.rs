//! The flags of a worker that another program starts on another host: judged here, before it is started there.

use clap::Parser as _;

use super::args::WorkerArgs;
use crate::cli::exit::CliError;
use crate::model::safe_text::may_hold_password;

/// Refuses flags that a worker would refuse, that do not make it a daemon, that give it another name, or that would show a password in the list of
/// processes of its host.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_flags(flags: &[String]) -> Result<(), CliError> {
    if flags.iter().any(|flag| may_hold_password(flag) || flag.contains("pass=")) {
        let text = "a flag of the worker may hold a password, and every user of its host would see it: put it into conf.json or a redis_pass_file there";
        return Err(CliError::Usage(text.to_owned()));
    }
    let words = std::iter::once("distcomp-worker").chain(flags.iter().map(String::as_str));
    let args = WorkerArgs::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        CliError::Usage(format!("flags of the worker: {}", first.trim_start_matches("error: ")))
    })?;
    let refused = [
        ("--name", args.name.is_some(), "each worker has the name of its host"),
        ("--check", args.check, "it starts no worker"),
        ("--local", args.local, "it starts no worker of this queue"),
    ];
    match refused.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, why)) => Err(CliError::Usage(format!("flags of the worker: {flag} cannot be used: {why}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(flags: &[&str]) -> String {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        check_flags(&flags).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn only_flags_of_a_daemon_are_taken() {
        assert_eq!(told(&["-j", "4", "--label", "ssd", "--idle-timeout=5m", "--config", "/etc/conf.json"]), "");
        assert!(told(&["--slotz", "4"]).contains("--slotz"), "{}", told(&["--slotz", "4"]));
        assert!(told(&["--name", "x"]).contains("--name cannot be used"));
        assert!(told(&["--check"]).contains("--check cannot be used"));
        assert!(told(&["--local", "x"]).contains("--local cannot be used"));
    }

    #[test]
    fn password_never_reaches_a_command_line() {
        for flags in [["--redis-url", "redis://:s3cret@h"], ["--redis-url", "redis+unix:///s?pass=s3cret"]] {
            let told = told(&flags);
            assert!(told.contains("password") && !told.contains("s3cret"), "{told}");
        }
    }
}
