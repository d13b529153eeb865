//! `distcomp-status export`: prints results and evidence of all tasks, with one page of the queue in memory at a time.

use super::args::{ExportArgs, Format};
use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::joblog;
use crate::cli::output::is_terminal;
use crate::model::needs::show_class_needs;
use crate::model::snapshot::{TaskState, TaskView};
use crate::model::{FieldOrder, Needs, TaskLine};
use crate::queue::inspect;
use crate::queue::select::StateScan;
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::tasks;

/// Tasks whose results are in memory at once.
const AT_ONCE: usize = 100;

const CSV_HEAD: [&str; 19] = [
    "id",
    "state",
    "worker",
    "attempts",
    "exit_code",
    "signal",
    "ended_by",
    "start",
    "end",
    "peak_memory_bytes",
    "lost",
    "reason",
    "output",
    "line",
    "settled",
    "output_exact",
    "output_stripped",
    "output_file",
    "needs",
];

/// Streams every task of the states that are wanted. A task that waits for its retry is there once.
pub(super) async fn export(session: &mut StatusContext, args: &ExportArgs) -> Result<(), CliError> {
    let state = args.state.map(TaskState::from);
    let states = match (args.group.states(state)?, args.format) {
        (Some(states), _) => states,
        (None, Format::Joblog) => vec![TaskState::Finished, TaskState::Failed, TaskState::Cancelled],
        (None, Format::Jsonl | Format::Csv) => TaskState::ALL.to_vec(),
    };
    let group = args.group.resolve(&session.conn).await?;
    match args.format {
        Format::Jsonl => {}
        Format::Csv => session.out.text(&csv_line(CSV_HEAD.map(str::to_owned))?)?,
        Format::Joblog => session.out.line(joblog::HEAD)?,
    }
    // A bar would be drawn over what is printed.
    let mut progress = Progress::new("exported", 0, !is_terminal());
    let mut number = 0;
    let mut undated = 0;
    for state in &states {
        let mut scan = StateScan::of_group(*state, group.clone());
        while let Some(page) = scan.next(&session.conn).await? {
            let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
            for chunk in lines.chunks(AT_ONCE) {
                for task in inspect::tasks(&session.conn, chunk).await? {
                    // It is exported under the first of its states, or was when it was there.
                    if task.states.iter().find(|there| states.contains(there)) != Some(state) {
                        continue;
                    }
                    match write(session, args.format, &task, number + 1)? {
                        true => number += 1,
                        false => undated += 1,
                    }
                }
                progress.set(number);
            }
        }
    }
    drop(progress);
    if undated > 0 {
        session.context.say(&format!("left out {}: no attempt is recorded for them", tasks(undated)));
    }
    Ok(())
}

/// Whether the task has a row in this format.
fn write(session: &mut StatusContext, format: Format, task: &TaskView, number: u64) -> Result<bool, CliError> {
    match format {
        Format::Jsonl => session.out.json(task)?,
        Format::Csv => session.out.text(&csv_line(csv_row(task))?)?,
        Format::Joblog => match joblog_row(task, session.order, number) {
            Some(row) => session.out.line(&row)?,
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn csv_line(cells: [String; 19]) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::io("write a row", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let is_shown = is_terminal();
    let cells = cells.map(|cell| if is_shown { safe(&cell).into_owned() } else { cell }).map(no_formula);
    writer.write_record(&cells).map_err(|error| failed(error.into()))?;
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a spreadsheet would compute, and perhaps run, gets an apostrophe before it. Numbers stay numbers; JSON lines have every text as it is.
pub(crate) fn no_formula(cell: String) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    if is_formula { format!("'{cell}") } else { cell }
}

fn csv_row(task: &TaskView) -> [String; 19] {
    let last = task.last_attempt();
    let on = task.finished().map(|value| value.worker_or_empty().to_owned());
    let output = task.output();
    // Only of what is in the row.
    let of_output = last.filter(|_| output.is_some());
    let stripped = of_output.and_then(|attempt| attempt.stdout_stripped.as_ref());
    let worker = task.worker.clone().or(on).or_else(|| task.failed_on.last().cloned()).unwrap_or_default();
    let states: Vec<&str> = task.states.iter().map(|state| state.as_str()).collect();
    let number = |value: Option<i32>| value.map_or_else(String::new, |value| value.to_string());
    [
        task.id.clone(),
        states.join("+"),
        worker,
        task.attempts.iter().filter(|attempt| attempt.attempt > 0).count().to_string(),
        number(last.and_then(|attempt| attempt.outcome.exit_code())),
        number(last.and_then(|attempt| attempt.outcome.signal())),
        last.map_or_else(String::new, |attempt| attempt.outcome.to_string()),
        last.and_then(|attempt| attempt.start).map_or_else(String::new, |start| format!("{start:.3}")),
        last.map_or_else(String::new, |attempt| format!("{:.3}", attempt.end)),
        last.and_then(|attempt| attempt.peak_memory_bytes).map_or_else(String::new, |peak| peak.to_string()),
        task.lost.to_string(),
        task.reason.clone().unwrap_or_default(),
        output.unwrap_or_default(),
        task.line.clone(),
        last.and_then(|attempt| attempt.settled).map_or_else(String::new, |settled| format!("{settled:.3}")),
        of_output.and_then(|attempt| attempt.stdout_exact).map_or_else(String::new, |exact| exact.to_string()),
        stripped.map_or_else(String::new, |stripped| serde_json::to_string(stripped).unwrap_or_default()),
        last.and_then(|attempt| attempt.stdout_file.clone()).unwrap_or_default(),
        show_class_needs(Needs::of_line(&task.line).as_str()),
    ]
}

/// GNU parallel's columns. `number` stands for a place in the order of submission that is not recorded.
fn joblog_row(task: &TaskView, order: FieldOrder, number: u64) -> Option<String> {
    let number = task.last_attempt()?.sequence.unwrap_or(number);
    let command = TaskLine::parse(&task.line, order).map_or_else(|_| task.line.clone(), |line| line.cmd().to_owned());
    joblog::row(task, &joblog::printed_command(&command), number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::AttemptView;
    use crate::model::{Outcome, TrimmedSpace};

    fn task() -> TaskView {
        TaskView {
            id: "0123456789abcdef".to_owned(),
            line: "shell,gpus=1:1:1:1:60:echo \"a\", b".to_owned(),
            states: vec![TaskState::Finished],
            batches: Vec::new(),
            tags: Vec::new(),
            worker: None,
            ordered: None,
            result: Some("n1: \"two\\nlines\"".to_owned()),
            failed_on: Vec::new(),
            kind: None,
            reason: None,
            stdout_exact: None,
            lost: 0,
            suspect: false,
            declares_memory_bytes: None,
            learnt: None,
            attempts: vec![AttemptView {
                attempt: 1,
                worker: "n1".to_owned(),
                outcome: Outcome::Exit(0),
                start: Some(1_700_000_000.5),
                end: 1_700_000_002.0,
                settled: Some(1_700_000_003.0),
                stdout_exact: Some(true),
                stdout_stripped: Some(TrimmedSpace(String::new(), "\n".to_owned())),
                stdout_bytes: None,
                stdout_file: None,
                stdout_file_error: None,
                peak_memory_bytes: None,
                peak_memory_source: None,
                declared_memory_bytes: None,
                sequence: Some(3),
                stdout_tail: String::new(),
                stderr_tail: String::new(),
            }],
        }
    }

    #[test]
    fn a_row_survives_commas_quotes_and_newlines() {
        let line = csv_line(csv_row(&task())).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(&record[1], "finished");
        assert_eq!(&record[12], "two\nlines");
        assert_eq!(&record[13], "shell,gpus=1:1:1:1:60:echo \"a\", b");
        assert_eq!(
            [14, 15, 16, 17, 18].map(|at| &record[at]),
            ["1700000003.000", "true", r#"["","\n"]"#, "", "gpus=1"]
        );
    }

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for formula in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(no_formula(formula.to_owned()), format!("'{formula}"));
        }
        for plain in ["-5.3", "+1e-9", "shell:1:1:1:a=b", "", "a-b"] {
            assert_eq!(no_formula(plain.to_owned()), plain);
        }
    }

    #[test]
    fn a_job_log_has_the_columns_of_gnu_parallel() {
        let row = joblog_row(&task(), FieldOrder::MemCpuPrio, 7).unwrap();
        assert_eq!(row, "3\tn1\t1700000000.500\t     1.500\t0\t0\t0\t0\techo \"a\", b");
        assert_eq!(row.split('\t').count(), joblog::HEAD.split('\t').count());
    }

    #[test]
    fn a_command_in_a_job_log_is_that_of_gnu_parallel() {
        let odd = TaskView { line: "shell:1:1:1:60:printf 'a\tb'\necho \\t".to_owned(), ..task() };
        let row = joblog_row(&odd, FieldOrder::MemCpuPrio, 1).unwrap();
        assert!(row.ends_with("\tprintf 'a\tb'\0echo \\t"), "{row:?}");
    }

    #[test]
    fn what_never_ran_has_no_row_in_a_job_log() {
        let waiting = TaskView { attempts: Vec::new(), ..task() };
        assert_eq!(joblog_row(&waiting, FieldOrder::MemCpuPrio, 1), None);
    }
}
