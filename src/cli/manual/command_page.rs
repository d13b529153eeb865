//! The page of a command, from the definition of its flags.

use std::io::{self, Write as _};

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;

use super::facts::{sections, see_also};
use super::page::Page;
use super::roff_text::{bold, italic, section, verbatim};

/// Adds the page of a program, and those of its commands: `distcomp-status-show.1`.
pub(super) fn add(mut program: Command, pages: &mut Vec<Page>) -> io::Result<()> {
    program.build();
    let name = program.get_name().to_owned();
    let mut all = vec![program];
    while let Some(command) = all.pop() {
        if command.is_hide_set() || command.get_name() == "help" {
            continue;
        }
        let page = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        all.extend(command.get_subcommands().cloned());
        pages.push(Page { path: format!("man1/{page}.1"), text: text(command, &page, &name)? });
    }
    Ok(())
}

fn text(command: Command, page: &str, program: &str) -> io::Result<String> {
    let source = format!("DistComp {}", env!("CARGO_PKG_VERSION"));
    // Text that the short help leaves out would be left out here, too.
    let command = command.mut_args(|arg| arg.hide_short_help(false));
    let man = Man::new(command.clone()).source(source).manual("DistComp");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    out.write_all(synopsis(&command).as_bytes())?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    if let Some(examples) = examples(&help) {
        out.write_all((section("EXAMPLES") + &verbatim(examples)).as_bytes())?;
    }
    out.write_all(sections(program).as_bytes())?;
    out.write_all(see_also(page, (page != program).then_some(program)).as_bytes())?;
    String::from_utf8(out).map_err(io::Error::other)
}

/// The lines below `Examples:` in a help text. Its line about exit codes has a section of its own here.
fn examples(help: &str) -> Option<&str> {
    let from = help.split_once("Examples:\n")?.1;
    Some(from.split_once("\n\n").map_or(from, |(examples, _)| examples))
}

/// The name, every option with its value, and the arguments. Lines are broken between them only.
fn synopsis(command: &Command) -> String {
    let mut parts = vec![bold(command.get_bin_name().unwrap_or_else(|| command.get_name()))];
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    parts.extend(shown().filter(|arg| !arg.is_positional()).map(option));
    parts.extend(shown().filter(|arg| arg.is_positional()).map(positional));
    if command.has_subcommands() {
        let name = italic("COMMAND");
        parts.push(if command.is_subcommand_required_set() { name } else { format!("[{name}]") });
    }
    format!("{}.ad l\n.nh\n{}\n.hy\n.ad b\n", section("SYNOPSIS"), parts.join("\n"))
}

fn option(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| bold(&format!("-{short}")));
    let long = arg.get_long().map(|long| bold(&format!("--{long}")));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let value = if arg.get_action().takes_values() {
        let value = value_of(arg);
        match (arg.is_require_equals_set(), arg.get_num_args().is_some_and(|range| range.min_values() == 0)) {
            (true, true) => format!("[={value}]"),
            (true, false) => format!("={value}"),
            (false, true) => format!("\\ [{value}]"),
            (false, false) => format!("\\ {value}"),
        }
    } else {
        String::new()
    };
    let whole = names.join("|") + &value;
    let repeated = if matches!(arg.get_action(), ArgAction::Append | ArgAction::Count) { "...\\&" } else { "" };
    if arg.is_required_set() { whole + repeated } else { format!("[{whole}]{repeated}") }
}

fn positional(arg: &Arg) -> String {
    let many = if matches!(arg.get_action(), ArgAction::Append) { "\\ ..." } else { "" };
    let value = format!("{}{many}", value_of(arg));
    match (arg.is_last_set(), arg.is_required_set()) {
        (true, _) => format!("[{}\\ {value}]", bold("--")),
        (false, true) => value,
        (false, false) => format!("[{value}]"),
    }
}

fn value_of(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| italic(name)).collect();
    if names.is_empty() { italic(&arg.get_id().as_str().to_uppercase()) } else { names.join("\\ ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_with_their_values() {
        let command = Command::new("c")
            .arg(Arg::new("mem").short('m').long("mem").value_name("GB").action(ArgAction::Set))
            .arg(Arg::new("env").long("env").value_name("K=V").action(ArgAction::Append))
            .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue))
            .arg(Arg::new("dir").long("dir").num_args(0..=1).require_equals(true))
            .arg(Arg::new("file").value_name("FILE").action(ArgAction::Append).required(true))
            .arg(Arg::new("command").value_name("COMMAND").action(ArgAction::Append).last(true))
            .disable_help_flag(true);
        let text = synopsis(&command);
        for part in [
            "[\\fB\\-m\\fR|\\fB\\-\\-mem\\fR\\ \\fIGB\\fR]\n",
            "[\\fB\\-\\-env\\fR\\ \\fIK=V\\fR]...\\&\n",
            "[\\fB\\-\\-yes\\fR]\n",
            "[\\fB\\-\\-dir\\fR[=\\fIDIR\\fR]]\n",
            "\n\\fIFILE\\fR\\ ...\n",
            "[\\fB\\-\\-\\fR\\ \\fICOMMAND\\fR\\ ...]\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn examples_end_before_the_exit_codes() {
        assert_eq!(examples("Examples:\n  a\n  b\n\nExit codes: 0"), Some("  a\n  b"));
        assert_eq!(examples("Run --help"), None);
    }
}
