//! The flags of a batch as a whole: of `distcomp-submit`, of a local run, and of directives at the head of a file.

use clap::Args;

use crate::cli::exit::CliError;

const BATCHES: &str = "Batches";

/// What a submission says about its batch, beside its name.
#[derive(Clone, Debug, Default, Args)]
pub struct BatchFlags {
    /// Tag the tasks, to select them by this word later; may be repeated
    #[arg(long, value_name = "WORD", help_heading = BATCHES, hide_short_help = true)]
    pub tag: Vec<String>,
    /// Leave the batch open for more tasks until distcomp-ctl close
    #[arg(long, help_heading = BATCHES, hide_short_help = true)]
    pub open: bool,
    /// Give the tasks of the batch up when what they wait for has failed; without it they stay blocked
    #[arg(long, help_heading = BATCHES, hide_short_help = true)]
    pub kill_on_invalid_dep: bool,
    /// Stop the batch when more tasks than N, or than P% of them, have failed for good
    #[arg(long, value_name = "N|P%", allow_negative_numbers = true, help_heading = BATCHES, hide_short_help = true)]
    pub max_fails: Option<String>,
    /// A command to run once when the whole batch has finished
    #[arg(long, value_name = "CMD", help_heading = BATCHES, hide_short_help = true)]
    pub on_success: Option<String>,
    /// A command to run once when the batch has ended and some of it has failed. A failed step leaves those that wait for it blocked, and the batch does not
    /// end, unless --kill-on-invalid-dep is given
    #[arg(long, value_name = "CMD", help_heading = BATCHES, hide_short_help = true)]
    pub on_failure: Option<String>,
    /// A command to run once when the batch has ended, as for --on-failure; DISTCOMP_UPSTREAM is finished or failed
    #[arg(long, value_name = "CMD", help_heading = BATCHES, hide_short_help = true)]
    pub on_end: Option<String>,
}

/// What is said about a batch as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchSettings {
    pub(crate) open: bool,
    pub(crate) kill_on_invalid_dep: bool,
    pub(crate) max_fails: Option<String>,
    on_success: Option<String>,
    on_failure: Option<String>,
    on_end: Option<String>,
}

/// When a command of a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookKind {
    Success,
    Failure,
    End,
}

impl HookKind {
    /// The flag.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Success => "--on-success",
            Self::Failure => "--on-failure",
            Self::End => "--on-end",
        }
    }

    /// The command as the task runs it: one that does not fit how the batch ended ends at once.
    pub(crate) fn command(self, command: &str) -> String {
        let only_when = |end| format!("[ \"$DISTCOMP_UPSTREAM\" = {end} ] || exit 0; {command}");
        match self {
            Self::Success => only_when("finished"),
            Self::Failure => only_when("failed"),
            // A blank, for digits and a colon at the beginning would be read as a limit.
            Self::End => format!(" {command}"),
        }
    }
}

impl BatchFlags {
    /// What they say, but for the tags.
    pub(crate) fn settings(&self) -> Result<BatchSettings, String> {
        let Self { tag: _, open, kill_on_invalid_dep, max_fails, on_success, on_failure, on_end } = self.clone();
        if let Some(text) = max_fails.as_ref().filter(|text| !is_max_fails(text)) {
            return Err(format!("--max-fails is {text:?}; valid: a number, or a percentage above 0"));
        }
        for (flag, command) in [("--on-success", &on_success), ("--on-failure", &on_failure), ("--on-end", &on_end)] {
            if command.as_ref().is_some_and(|command| command.trim().is_empty()) {
                return Err(format!("{flag} is \"\"; valid: a command"));
            }
        }
        Ok(BatchSettings { open, kill_on_invalid_dep, max_fails, on_success, on_failure, on_end })
    }
}

/// `5`, or `5%` up to `100%`, with decimals.
fn is_max_fails(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_suffix('%') {
        None => is_digits(text) && text.parse::<u32>().is_ok(),
        Some(percent) => {
            let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
            let is_number = is_digits(whole) && is_digits(fraction);
            is_number && percent.parse::<f64>().is_ok_and(|percent| percent > 0.0 && percent <= 100.0)
        }
    }
}

impl BatchSettings {
    /// These, and for what they leave open, those of `outer`.
    pub(crate) fn over(self, outer: &Self) -> Self {
        let outer = outer.clone();
        Self {
            open: self.open || outer.open,
            kill_on_invalid_dep: self.kill_on_invalid_dep || outer.kill_on_invalid_dep,
            max_fails: self.max_fails.or(outer.max_fails),
            on_success: self.on_success.or(outer.on_success),
            on_failure: self.on_failure.or(outer.on_failure),
            on_end: self.on_end.or(outer.on_end),
        }
    }

    /// The first flag that is given.
    pub(crate) fn first_flag(&self) -> Option<&'static str> {
        let given = [
            (self.max_fails.is_some(), "--max-fails"),
            (self.kill_on_invalid_dep, "--kill-on-invalid-dep"),
            (self.open, "--open"),
        ];
        let first = given.into_iter().find(|(is_given, _)| *is_given).map(|(_, flag)| flag);
        first.or_else(|| self.hooks().next().map(|(kind, _)| kind.flag()))
    }

    /// The commands for its end.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = (HookKind, &str)> {
        let all = [
            (HookKind::Success, &self.on_success),
            (HookKind::Failure, &self.on_failure),
            (HookKind::End, &self.on_end),
        ];
        all.into_iter().filter_map(|(kind, command)| Some((kind, command.as_deref()?)))
    }
}

/// What is said when a flag needs a name, and there is none.
pub(super) fn needs_a_name(flag: &str) -> String {
    format!("{flag} is of a batch: give it a name with --name")
}

/// Refuses flags of a batch where there is none.
pub(super) fn check_name(flags: &BatchFlags, has_name: bool) -> Result<(), CliError> {
    let settings = flags.settings().map_err(CliError::Usage)?;
    let flag = settings.first_flag().or_else(|| (!flags.tag.is_empty()).then_some("--tag"));
    match flag.filter(|_| !has_name) {
        Some(flag) => Err(CliError::Usage(needs_a_name(flag))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_fails_is_a_number_or_a_percentage() {
        for (text, valid) in [
            ("0", true),
            ("100", true),
            ("5%", true),
            ("0.5%", true),
            ("100%", true),
            ("0%", false),
            ("101%", false),
            ("-1", false),
            ("x", false),
            ("", false),
            ("%", false),
            ("1e3", false),
        ] {
            assert_eq!(is_max_fails(text), valid, "{text}");
        }
        let flags = BatchFlags { max_fails: Some("0%".to_owned()), ..BatchFlags::default() };
        assert_eq!(flags.settings().unwrap_err(), "--max-fails is \"0%\"; valid: a number, or a percentage above 0");
    }

    #[test]
    fn hooks_end_at_once_where_they_do_not_fit() {
        assert_eq!(HookKind::Failure.command("mail ann"), "[ \"$DISTCOMP_UPSTREAM\" = failed ] || exit 0; mail ann");
        assert_eq!(HookKind::End.command("80:x"), " 80:x");
    }
}
