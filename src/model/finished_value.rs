//! The value of a line in `finished_tasks`: `WORKER: JSON`, shared with Python DistComp. The only place that writes and reads it.

use super::json_text::{ascii_json, text_of_json};
use super::task::WorkerName;

/// A value of `finished_tasks`, in its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedValue<'a> {
    /// The worker that finished the task; `None` where somebody wrote a value that names none.
    pub worker: Option<&'a str>,
    /// The output as one JSON string; of somebody else's value, any text.
    pub json: &'a str,
}

impl<'a> FinishedValue<'a> {
    /// Takes a value apart. The beginning of a value is enough for the name of the worker.
    #[must_use]
    pub fn parse(value: &'a str) -> Self {
        match value.split_once(": ") {
            Some((worker, json)) => Self { worker: Some(worker), json },
            None => Self { worker: None, json: value },
        }
    }

    /// The worker, or nothing.
    #[must_use]
    pub fn worker_or_empty(&self) -> &'a str {
        self.worker.unwrap_or_default()
    }

    /// The output as text.
    #[must_use]
    pub fn output(&self) -> String {
        text_of_json(self.json.to_owned())
    }

    /// Writes a value.
    #[must_use]
    pub fn write(worker: &WorkerName, output: &str) -> String {
        format!("{worker}: {}", ascii_json(output))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_of_others_has_no_worker_and_any_text() {
        let value = FinishedValue::parse("done");
        assert_eq!((value.worker, value.worker_or_empty(), value.output().as_str()), (None, "", "done"));
        assert_eq!(FinishedValue::parse("node1: no: json").output(), "no: json");
    }

    proptest! {
        #[test]
        fn a_written_value_is_read_back(name in "[A-Za-z0-9._-]{1,64}", output in "(?s).{0,40}") {
            let worker: WorkerName = name.parse().unwrap();
            let value = FinishedValue::write(&worker, &output);
            let read = FinishedValue::parse(&value);
            prop_assert_eq!((read.worker, read.output()), (Some(name.as_str()), output));
        }
    }
}
