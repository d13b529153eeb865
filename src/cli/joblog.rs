//! Rows of a job log, in the columns of GNU parallel's `--joblog`.

use super::output::is_terminal;
use crate::model::snapshot::TaskView;
use crate::view::safe_text::safe;

/// The first line.
pub(crate) const HEAD: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand";

/// When an attempt that began then has started, as a row says it.
pub(crate) fn start_time(start: f64) -> String {
    format!("{start:.3}")
}

/// The last column: newlines in a command are NUL there, so that a row is a line; tabs stay, since the command is the last column.
pub(crate) fn command_cell(command: &str) -> String {
    // Nothing else that moves a terminal leaves this program, in a pipe neither.
    let tabbed = |line: &str| line.split('\t').map(|part| safe(part).into_owned()).collect::<Vec<_>>().join("\t");
    command.split('\n').map(tabbed).collect::<Vec<_>>().join("\0")
}

/// The row of a task's last attempt; `None` where no worker has made one. A time-out is exit -1 there; what has no exit code and no signal is exit -1 here
/// too.
pub(crate) fn row(task: &TaskView, command_cell: &str, number: u64) -> Option<String> {
    let last = task.last_attempt()?;
    let start = last.start.unwrap_or(last.end);
    let signal = last.outcome.signal().unwrap_or(0);
    let exit = last.outcome.exit_code().unwrap_or(if signal == 0 { -1 } else { 0 });
    Some(format!(
        "{number}\t{}\t{}\t{:10.3}\t0\t0\t{exit}\t{signal}\t{command_cell}",
        safe(&last.worker),
        start_time(start),
        (last.end - start).max(0.0),
    ))
}

/// A command for a row that is printed: on a terminal it moves nothing.
pub(crate) fn printed_command(command: &str) -> String {
    if is_terminal() { safe(command).into_owned() } else { command_cell(command) }
}
