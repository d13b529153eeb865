//! The first pass of a submission: checks every line and reports every fault. Nothing is sent.

use super::bashisms;
use super::input::{BatchChecksums, Input, TaskReader};
use super::plausibility::Plausibility;
use super::task_file::ParseRules;
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::model::TaskKind;
use crate::model::Usage;
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::counted;

/// Bad lines that are printed; a file of another kind altogether has millions.
const MOST_PRINTED: u64 = 1000;

/// Bashisms that are printed: they tend to be the same on every line.
const MOST_WARNED: u64 = 10;

/// What the first pass found.
#[derive(Default)]
pub(super) struct CheckReport {
    /// Lines that are tasks.
    pub(super) valid: u64,
    /// Lines that are not.
    pub(super) invalid: u64,
    /// To recognise the valid lines by when they are read again.
    pub(super) sums: BatchChecksums,
    /// Why the lines may not be what they seem, where that is reason enough to submit none.
    pub(super) misread: Option<String>,
}

/// Checks every line and prints what is wrong, as `FILE:LINE: what`.
pub(super) fn check(
    context: &Context,
    inputs: &[Input],
    rules: ParseRules,
    nodes: Vec<Usage>,
    quiet: bool,
) -> Result<CheckReport, CliError> {
    let is_plain_shell = bashisms::is_plain_shell(&context.config.task_shell);
    let mut found = CheckReport::default();
    let mut warned = 0;
    let mut doubts = Plausibility::new(&context.config, rules, nodes);
    let mut progress = Progress::new("checked", 0, !quiet);
    let mut walk = TaskReader::new(inputs, rules);
    while let Some(line) = walk.next()? {
        match line.task {
            Ok(task) => {
                found.valid += 1;
                found.sums.add(task.as_str());
                if let Some(warning) = doubts.look(line.file, line.number, &task) {
                    report(&warning);
                }
                if is_plain_shell
                    && task.kind() == TaskKind::Shell
                    && let Some(what) = bashisms::find(task.cmd())
                {
                    warned += 1;
                    if warned <= MOST_WARNED {
                        let shell = context.config.task_shell.display();
                        report(&format!(
                            "{}:{}: warning: {what} requires bash, but {shell} runs the command; set task_shell to use another shell",
                            line.file, line.number
                        ));
                    }
                }
            }
            Err(problem) => {
                found.invalid += 1;
                if found.invalid <= MOST_PRINTED {
                    report(&format!("{}:{}: {problem}", line.file, line.number));
                }
            }
        }
        if (found.valid + found.invalid).is_multiple_of(4096) {
            progress.set(found.valid + found.invalid);
        }
    }
    found.sums.close();
    drop(progress);
    found.misread = doubts.end(|warning| context.say_warning(warning));
    if found.invalid > MOST_PRINTED {
        context.say(&format!("{} more invalid", counted(found.invalid - MOST_PRINTED, "line")));
    }
    if warned > MOST_WARNED {
        context.warn(&format!("{} more use syntax of bash; see task_shell", counted(warned - MOST_WARNED, "command")));
    }
    Ok(found)
}

/// One finding, without the program's name before it, so that editors can jump to it.
fn report(text: &str) {
    eprintln!("{}", safe(text));
}
