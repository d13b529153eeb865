//! What is said of lines that are no tasks: equal faults of neighbouring lines in one message, those that are scattered in a few and a number, and one message
//! for a file of another kind.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::checked_line::Place;
use crate::cli::output::detail;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// Messages that are printed; a file of another kind altogether has millions.
const MOST_PRINTED: u64 = 1000;
/// Messages of one fault that is found here and there in a file.
const MOST_EQUAL: u64 = 3;
/// Columns of the first fault of a file that is no task file.
const SHOWN: usize = 200;

/// Collects the faults of a command line's lines, and prints them.
pub(super) struct Faults {
    /// How the command is begun with which the file would be right, such as `distcomp-submit --commands`.
    with_commands: String,
    /// Whether lines are read as task lines.
    is_of_task_lines: bool,
    printed: u64,
    /// Lines that were bad and of which nothing was printed.
    unsaid: u64,
    last: Option<EqualFaults>,
    file: Option<FileFaults>,
    /// Of each fault of this file that was printed, how often, and how many more lines have it.
    again: BTreeMap<String, Again>,
}

#[derive(Default)]
struct Again {
    printed: u64,
    more: u64,
}

/// Neighbouring lines with the same fault.
struct EqualFaults {
    file: Option<String>,
    first: u64,
    last: u64,
    /// How many lines: between the first and the last there may be comments.
    lines: u64,
    problem: String,
}

/// Of the file that is being read: kept back until one of its lines is a task.
struct FileFaults {
    name: String,
    is_task_file: bool,
    lines: u64,
    kept: Vec<EqualFaults>,
}

impl Faults {
    pub(super) fn new(program: &str, is_of_task_lines: bool) -> Self {
        let with_commands = format!("{program} --commands");
        Self { with_commands, is_of_task_lines, printed: 0, unsaid: 0, last: None, file: None, again: BTreeMap::new() }
    }

    /// A line that is a task.
    pub(super) fn good(&mut self, place: Place<'_>) {
        // Most lines are good, and follow good ones.
        if self.last.is_none() && self.file.as_ref().is_some_and(|file| file.is_task_file && is_in(place, &file.name)) {
            return;
        }
        self.enter(place);
        if let Some(file) = &mut self.file {
            file.is_task_file = true;
        }
        self.flush();
    }

    /// A line that is none. `is_meant`: it names a type, so it is meant as a task line, and its fault is worth a message.
    pub(super) fn bad(&mut self, place: Place<'_>, is_meant: bool, problem: &str) {
        self.enter(place);
        let (file, number) = match place {
            Place::Line(file, number) => (Some(file), number),
            Place::Made(number) => (None, number),
            Place::Hook(_) => return detail(&format!("{place}: {problem}")),
        };
        if let Some(of_file) = &mut self.file {
            of_file.lines += 1;
            of_file.is_task_file |= is_meant;
        }
        match &mut self.last {
            Some(last) if last.problem == problem && last.file.as_deref() == file => {
                last.last = number;
                last.lines += 1;
            }
            _ => {
                self.flush();
                let file = file.map(str::to_owned);
                self.last =
                    Some(EqualFaults { file, first: number, last: number, lines: 1, problem: problem.to_owned() });
            }
        }
    }

    /// The end: prints what is left.
    pub(super) fn end(&mut self) {
        self.leave();
        self.print_again("");
    }

    /// Bad lines of which nothing was said.
    pub(super) fn unsaid(&self) -> u64 {
        self.unsaid
    }

    fn enter(&mut self, place: Place<'_>) {
        if self.file.as_ref().is_some_and(|file| is_in(place, &file.name)) {
            return;
        }
        self.leave();
        if let Place::Line(name, _) = place {
            let is_task_file = !self.is_of_task_lines;
            self.file = Some(FileFaults { name: name.to_owned(), is_task_file, lines: 0, kept: Vec::new() });
        }
    }

    /// The end of a file.
    fn leave(&mut self) {
        self.flush();
        let Some(file) = self.file.take() else { return };
        if file.is_task_file || file.lines == 0 {
            self.print_all(file.kept);
            return self.print_again(&format!("{}: ", safe(&file.name)));
        }
        let which = match file.lines {
            1 => "its only line is no task line".to_owned(),
            lines => format!("none of its {} lines is a task line", count(lines)),
        };
        let first = file.kept.first().map(|first| format!("; line {}: {}", first.first, first.problem));
        let first = shorten(&safe(&first.unwrap_or_default()), SHOWN);
        let name = safe(&file.name).into_owned();
        let end = if name.contains(char::is_whitespace) { "FILE".to_owned() } else { name.clone() };
        detail(&format!("{name}: {which} (TYPE:MEM:CPU:PRIO[:TIMEOUT]:CMD){first}"));
        detail(&format!("if each line is a command, use: {} {end}", self.with_commands));
        if is_script(&file.name) {
            let program = self.with_commands.trim_end_matches(" --commands");
            let path = if name.contains('/') { end } else { format!("./{end}") };
            detail(&format!("if the script is one task, use: {program} -- {path}"));
        }
    }

    /// Hands the last fault on: to the printer, or to the file whose kind is not known yet.
    fn flush(&mut self) {
        let last = self.last.take();
        match &mut self.file {
            Some(file) if !file.is_task_file => {
                if (file.kept.len() as u64) < MOST_PRINTED {
                    file.kept.extend(last);
                } else if let Some(last) = last {
                    self.unsaid += last.lines;
                }
            }
            Some(file) => {
                let kept = std::mem::take(&mut file.kept);
                self.print_all(kept.into_iter().chain(last));
            }
            None => self.print_all(last),
        }
    }

    /// How many more lines of a file have a fault that was printed several times.
    fn print_again(&mut self, lead: &str) {
        for (problem, again) in std::mem::take(&mut self.again) {
            if again.more > 0 {
                let lines = if again.more == 1 { "line" } else { "lines" };
                detail(&format!("{lead}{} more {lines}: {problem}", count(again.more)));
            }
        }
    }

    fn print_all(&mut self, faults: impl IntoIterator<Item = EqualFaults>) {
        for fault in faults {
            if let Some(again) = self.again.get_mut(&fault.problem).filter(|again| again.printed == MOST_EQUAL) {
                again.more += fault.lines;
                continue;
            }
            if self.printed == MOST_PRINTED {
                self.unsaid += fault.lines;
                continue;
            }
            self.printed += 1;
            self.again.entry(fault.problem.clone()).or_default().printed += 1;
            fault.places().iter().for_each(|place| detail(&format!("{place}: {}", fault.problem)));
        }
    }
}

/// Whether a file names the program that runs it.
fn is_script(name: &str) -> bool {
    let mut start = [0; 2];
    let read = std::fs::File::open(name).and_then(|mut file| file.read_exact(&mut start));
    name != "-" && read.is_ok() && start == *b"#!"
}

fn is_in(place: Place<'_>, file: &str) -> bool {
    matches!(place, Place::Line(name, _) if name == file)
}

impl EqualFaults {
    /// Where they are: each line by itself, and a range for more than two.
    fn places(&self) -> Vec<String> {
        let lead = match &self.file {
            Some(file) => format!("{}:", safe(file)),
            None if self.lines > 2 => "tasks ".to_owned(),
            None => "task ".to_owned(),
        };
        let (first, last) = (self.first, self.last);
        match self.lines {
            1 => vec![format!("{lead}{first}")],
            2 => vec![format!("{lead}{first}"), format!("{lead}{last}")],
            _ => vec![format!("{lead}{first}-{last}")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of a file whose kind is not known, and how many messages were printed.
    fn seen(lines: &[(u64, Option<&str>)]) -> (Vec<String>, u64) {
        let mut faults = Faults::new("distcomp-submit", true);
        for (number, problem) in lines {
            match problem {
                Some(problem) => faults.bad(Place::Line("f", *number), problem.starts_with("mem"), problem),
                None => faults.good(Place::Line("f", *number)),
            }
        }
        faults.flush();
        let kept = faults.file.as_ref().map(|file| file.kept.iter().map(|fault| fault.places().join(" ")).collect());
        (kept.unwrap_or_default(), faults.printed)
    }

    #[test]
    fn equal_faults_of_more_than_two_neighbours_are_one_message() {
        let (x, y) = (Some("type is \"x\""), Some("type is \"y\""));
        let (kept, printed) = seen(&[(1, x), (2, x), (4, x), (5, y), (6, y), (7, x)]);
        assert_eq!((kept, printed), (["f:1-4", "f:5 f:6", "f:7"].map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn a_good_line_shows_that_it_is_a_task_file() {
        assert_eq!(seen(&[(1, Some("type is \"x\"")), (2, None), (3, Some("type is \"x\""))]), (Vec::new(), 2));
    }

    #[test]
    fn an_equal_fault_here_and_there_is_counted_after_a_few() {
        let lines: Vec<(u64, Option<&str>)> =
            (1..100).map(|at| (at, (at % 2 == 0).then_some("mem is \"x\""))).collect();
        assert_eq!(seen(&lines).1, 3);
    }

    #[test]
    fn lines_with_a_type_are_meant_as_task_lines() {
        assert_eq!(seen(&[(1, Some("mem is \"x\"")), (2, Some("mem is \"y\""))]), (Vec::new(), 2));
    }
}
