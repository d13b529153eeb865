//! What is known of a running task now: from the last heartbeat of its worker where that names it, else from its claim.

use std::collections::HashMap;

use super::source::TaskDefaults;
use crate::model::listing::ClaimNote;
use crate::model::snapshot::{Overview, RunningTask, WorkerState};
use crate::model::{FieldOrder, TaskLine};
use crate::view::text::{bytes, duration};

/// What the workers have last told: running tasks by their ids, and how many seconds ago; and which workers are not heard of any more.
pub(super) struct Heard<'a> {
    tasks: HashMap<&'a str, (&'a RunningTask, u64)>,
    gone: HashMap<&'a str, Gone>,
}

/// A worker that is not heard of any more: nothing is known of its tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gone {
    /// `worker silent since` or `worker dead since`.
    pub(super) name: &'static str,
    /// Its last heartbeat, seconds since the epoch; `None` where none is known.
    pub(super) since: Option<f64>,
}

impl<'a> Heard<'a> {
    pub(super) fn of(overview: &'a Overview) -> Self {
        let gone = overview.workers.iter().filter_map(|worker| {
            let name = match worker.state {
                WorkerState::Silent => "worker silent since",
                WorkerState::Dead => "worker dead since",
                WorkerState::Live
                | WorkerState::Suspect
                | WorkerState::Draining
                | WorkerState::Drained
                | WorkerState::Python => return None,
            };
            let since = worker.heartbeat_age_seconds.map(|age| overview.now.saturating_sub(age) as f64);
            Some((worker.name.as_str(), Gone { name, since }))
        });
        let told = overview.workers.iter().filter_map(|worker| Some((worker, worker.load.as_ref()?)));
        let tasks = told.flat_map(|(worker, load)| {
            let age = worker.heartbeat_age_seconds.unwrap_or(0);
            load.tasks.iter().map(move |task| (task.id.as_str(), (task, age)))
        });
        Self { tasks: tasks.collect(), gone: gone.collect() }
    }
}

/// Of one task. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RunningFacts {
    /// Its worker is not heard of any more: how long it runs and what is left are not known.
    pub(super) gone: Option<Gone>,
    /// It was claimed ahead and has no slot yet.
    pub(super) is_ahead: bool,
    /// When it started, seconds since the epoch.
    pub(super) started: Option<f64>,
    /// Seconds that it has run.
    pub(super) age: Option<u64>,
    /// Its time limit in seconds; 0 is none.
    pub(super) limit: Option<u64>,
    /// Memory that it holds, bytes.
    pub(super) memory: Option<u64>,
    /// Memory that it declares, bytes.
    pub(super) declared: Option<u64>,
    /// Attempt number, from 1.
    pub(super) attempt: Option<u32>,
}

impl RunningFacts {
    pub(super) fn of(
        (id, line, worker): (&str, &str, Option<&str>),
        claim: Option<&ClaimNote>,
        heard: &Heard<'_>,
        now: u64,
        (order, defaults): (FieldOrder, TaskDefaults),
    ) -> Self {
        let parsed = TaskLine::parse(line, order).ok();
        let of_line = parsed.as_ref().map(|parsed| parsed.timeout().unwrap_or(defaults.timeout_seconds));
        let told = heard.tasks.get(id);
        let is_ahead = told.is_none() && claim.is_some_and(|claim| !claim.has_slot);
        let since_claim = claim.and_then(|claim| claim.since).filter(|_| !is_ahead);
        let age = told.map(|(task, ago)| task.seconds + ago);
        let age = age.or_else(|| since_claim.map(|since| now.saturating_sub(since as u64)));
        let gone = worker.and_then(|worker| heard.gone.get(worker)).copied();
        let whole = Self {
            gone,
            is_ahead,
            started: age.map(|age| now.saturating_sub(age) as f64),
            age,
            limit: told.map(|(task, _)| task.limit).or(of_line).filter(|_| !is_ahead),
            memory: told.map(|(task, _)| task.mem_bytes).filter(|held| *held > 0),
            declared: parsed.map(|parsed| parsed.demand().mem().0),
            attempt: told.map(|(task, _)| task.attempt).or(claim.map(|claim| claim.attempt)),
        };
        if gone.is_some() { Self { age: None, limit: None, memory: None, ..whole } } else { whole }
    }

    /// Seconds until its limit; `None` where there is none or it is not known. 0 when it is over.
    pub(super) fn left(&self) -> Option<u64> {
        let limit = self.limit.filter(|limit| *limit > 0)?;
        Some(limit.saturating_sub(self.age?))
    }

    /// `2 m 05 s`, or that it has not started.
    pub(super) fn age_text(&self) -> String {
        if self.is_ahead { "not started".to_owned() } else { self.age.map(duration).unwrap_or_default() }
    }

    /// `12 m 10 s`, or that it has no limit.
    pub(super) fn left_text(&self) -> String {
        match (self.limit, self.left()) {
            (Some(0), _) => "no limit".to_owned(),
            (_, Some(0)) => "over".to_owned(),
            (_, left) => left.map(duration).unwrap_or_default(),
        }
    }

    /// `1.5 GiB of 8.0 GiB`.
    pub(super) fn memory_text(&self) -> String {
        let declared = self.declared.map(bytes).unwrap_or_default();
        match self.memory {
            Some(held) => format!("{} of {declared}", bytes(held)),
            None => format!("- of {declared}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::{WorkerLoad, WorkerView};

    const ORDER: (FieldOrder, TaskDefaults) =
        (FieldOrder::MemCpuPrio, TaskDefaults { timeout_seconds: 3600, most_attempts: 4 });

    fn overview(tasks: Vec<RunningTask>) -> Overview {
        let load = WorkerLoad { tasks, ..WorkerLoad::default() };
        let worker = WorkerView {
            name: "w".to_owned(),
            state: WorkerState::Live,
            heartbeat_age_seconds: Some(2),
            usage: crate::model::Usage::default(),
            is_python: false,
            finished: 0,
            is_estimate: false,
            failed: 0,
            returned: 0,
            timed_out: 0,
            load: Some(load),
            extras: crate::model::snapshot::WorkerExtras::default(),
            process: None,
        };
        Overview { workers: vec![worker], ..Overview::default() }
    }

    #[test]
    fn what_its_worker_tells_outranks_the_claim() {
        let task = RunningTask {
            id: "a".to_owned(),
            attempt: 2,
            seconds: 50,
            limit: 60,
            mem_bytes: 1 << 30,
            ..RunningTask::default()
        };
        let overview = overview(vec![task]);
        let claim = ClaimNote { attempt: 2, has_slot: true, since: Some(900.0) };
        let facts =
            RunningFacts::of(("a", "shell:8:1:1:60:x", Some("w")), Some(&claim), &Heard::of(&overview), 1000, ORDER);
        assert_eq!((facts.age, facts.left(), facts.attempt, facts.started), (Some(52), Some(8), Some(2), Some(948.0)));
        assert_eq!(facts.memory_text(), "1.0 GiB of 8.0 GiB");
    }

    #[test]
    fn nothing_goes_on_where_the_worker_is_silent() {
        let task =
            RunningTask { id: "a".to_owned(), attempt: 2, seconds: 50, limit: 60, mem_bytes: 7, line: String::new() };
        let mut overview = overview(vec![task]);
        overview.workers[0].state = WorkerState::Silent;
        overview.workers[0].heartbeat_age_seconds = Some(30);
        overview.now = 1000;
        let facts = RunningFacts::of(("a", "shell:8:1:1:60:x", Some("w")), None, &Heard::of(&overview), 1000, ORDER);
        assert_eq!(facts.gone, Some(Gone { name: "worker silent since", since: Some(970.0) }));
        assert_eq!((facts.age, facts.left_text(), facts.attempt), (None, String::new(), Some(2)));
        assert_eq!(facts.memory_text(), "- of 8.0 GiB");
    }

    #[test]
    fn a_claim_tells_what_no_heartbeat_has_told_yet() {
        let overview = overview(Vec::new());
        let claim = |has_slot| ClaimNote { attempt: 1, has_slot, since: Some(990.0) };
        let facts = |claim: Option<ClaimNote>, line: &str| {
            RunningFacts::of(("a", line, None), claim.as_ref(), &Heard::of(&overview), 1000, ORDER)
        };
        let started = facts(Some(claim(true)), "shell:1:1:1:x");
        assert_eq!((started.age_text(), started.left_text()), ("10 s".to_owned(), "59 m 50 s".to_owned()));
        let ahead = facts(Some(claim(false)), "shell:1:1:1:x");
        assert_eq!((ahead.age_text(), ahead.left_text()), ("not started".to_owned(), String::new()));
        assert_eq!(facts(Some(claim(true)), "shell:1:1:1:0:x").left_text(), "no limit");
        assert_eq!(facts(Some(claim(true)), "shell:1:1:1:5:x").left_text(), "over");
        assert_eq!(facts(None, "no line"), RunningFacts::default());
    }
}
