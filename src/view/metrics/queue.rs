//! The metrics of the whole queue, for `distcomp-status serve`.

use std::collections::HashSet;

use super::encode::{Labels, MetricsPage};
use super::failures::failures;
use super::scaling;
use crate::model::ResourceKind;
use crate::model::snapshot::{
    BatchView, LimitView, Overview, RedisHealth, Runnable, TaskState, Totals, WorkerState, WorkerView,
};
use crate::model::spread::Spread;
use crate::view::safe_text::safe;

/// Workers with figures of their own: names are labels, and labels must not grow for ever.
const WORKERS: usize = 1000;

/// Batches with figures of their own.
const BATCHES: usize = 100;

/// Limits with figures of their own.
const LIMITS: usize = 100;

/// What a page about the queue is made from.
#[derive(Clone, Copy, Debug)]
pub struct QueueFigures<'a> {
    /// The queue; `None` while it cannot be read: what is old would be taken for the present.
    pub overview: Option<&'a Overview>,
    /// Batches, those that have not ended first.
    pub batches: &'a [BatchView],
    /// What may run now; `None` when it is not known.
    pub runnable: Option<&'a Runnable>,
    /// Shapes of workers, and how many of each are wanted.
    pub wanted: &'a [(String, u64)],
    /// Seconds since it was read.
    pub age_seconds: f64,
    /// Seconds for which the longest-waiting task has waited, 0 when none waits; `None` when it is not known.
    pub oldest_waiting_seconds: Option<f64>,
    /// Viewers with a stream.
    pub viewers: usize,
    /// Tasks whose output somebody follows on the dashboard.
    pub followed: usize,
    /// Where Redis is, without credentials.
    pub server: &'a str,
    /// The prefix of the queue's keys.
    pub prefix: &'a str,
}

/// The page.
#[must_use]
pub fn queue(figures: &QueueFigures<'_>) -> String {
    let mut page = MetricsPage::new();
    page.gauge("distcomp_redis_up", "1 while Redis answers", &[(&[], flag(figures.overview.is_some()))]);
    page.gauge("distcomp_queue_read_age_seconds", "Time since the queue was last read", &[(&[], figures.age_seconds)]);
    page.gauge(
        "distcomp_queue_info",
        "Which queue this is",
        &[(&[("server", figures.server), ("prefix", figures.prefix)], 1.0)],
    );
    page.gauge("distcomp_dashboard_viewers", "Open pages of the dashboard", &[(&[], figures.viewers as f64)]);
    page.gauge(
        "distcomp_dashboard_followed_tasks",
        "Tasks whose output is followed on open pages of the dashboard",
        &[(&[], figures.followed as f64)],
    );
    if let Some(overview) = figures.overview {
        present(&mut page, overview, figures);
    }
    page.finish()
}

/// All that is known only while Redis answers.
fn present(page: &mut MetricsPage, overview: &Overview, figures: &QueueFigures<'_>) {
    tasks(page, overview, figures.oldest_waiting_seconds);
    batches(page, figures.batches);
    limits(page, &overview.limits);
    page.gauge("distcomp_queue_paused", "1 while the queue is paused", &[(&[], flag(overview.paused.is_some()))]);
    page.gauge(
        "distcomp_queue_stopping",
        "1 while the stop command is in the queue",
        &[(&[], flag(overview.stopping))],
    );
    page.gauge(
        "distcomp_queue_reservations",
        "Large tasks for which a worker reserves room",
        &[(&[], overview.reservations.len() as f64)],
    );
    attempts(page, &overview.totals);
    failures(page, overview);
    spread(page, &overview.spread);
    page.counter(
        "distcomp_queue_workers_died",
        "Workers that were declared dead since the queue was created",
        &[(&[], overview.totals.workers_died)],
    );
    workers(page, &overview.workers);
    if let Some(runnable) = figures.runnable {
        scaling::runnable(page, runnable);
    }
    scaling::wanted(page, figures.wanted, overview);
    scaling::autoscalers(page, overview);
    redis(page, &overview.redis);
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn tasks(page: &mut MetricsPage, overview: &Overview, oldest_waiting_seconds: Option<f64>) {
    let counts = &overview.counts;
    page.gauge(
        "distcomp_queue_tasks",
        "Tasks by state; a task that will be retried is in todo and in failed; a cancelled task is in cancelled only",
        &[
            (&[("state", "todo")], counts.todo as f64),
            (&[("state", "in_progress")], counts.in_progress as f64),
            (&[("state", "finished")], counts.finished as f64),
            (&[("state", "failed")], counts.of(TaskState::Failed) as f64),
            (&[("state", "cancelled")], counts.of(TaskState::Cancelled) as f64),
            (&[("state", "quarantined")], counts.quarantined as f64),
        ],
    );
    page.gauge(
        "distcomp_queue_blocked_tasks",
        "Of the tasks in todo, those that wait for a batch or for a time",
        &[(&[], counts.blocked as f64)],
    );
    page.gauge(
        "distcomp_queue_held_tasks",
        "Of the tasks in todo, those of batches that are paused or have stopped",
        &[(&[], counts.held as f64)],
    );
    if let Some(unrunnable) = overview.unrunnable() {
        page.gauge(
            "distcomp_queue_unrunnable_tasks",
            "Of the tasks in todo, those that no worker which takes tasks could ever run; absent while no worker takes any",
            &[(&[], unrunnable as f64)],
        );
    }
    if let Some(seconds) = oldest_waiting_seconds {
        page.gauge(
            "distcomp_queue_oldest_waiting_seconds",
            "Age of the task that has waited longest; 0 if none waits",
            &[(&[], seconds)],
        );
    }
}

fn batches(page: &mut MetricsPage, batches: &[BatchView]) {
    type Counted = (&'static str, fn(&BatchView) -> u64);
    let states: [Counted; 6] = [
        ("waiting", |batch| batch.waiting),
        ("blocked", |batch| batch.blocked),
        ("running", |batch| batch.running),
        ("finished", |batch| batch.finished),
        ("failed", |batch| batch.failed),
        ("cancelled", |batch| batch.cancelled),
    ];
    let live: Vec<&BatchView> = batches.iter().filter(|batch| !batch.has_ended()).take(BATCHES).collect();
    let labels: Vec<[(&'static str, &str); 2]> = live
        .iter()
        .flat_map(|batch| states.map(|(state, _)| [("batch", batch.name.as_str()), ("state", state)]))
        .collect();
    let numbers = live.iter().flat_map(|batch| states.map(|(_, number)| number(batch) as f64));
    let values: Vec<(Labels<'_>, f64)> = labels.iter().map(<[_; 2]>::as_slice).zip(numbers).collect();
    page.gauge(
        "distcomp_queue_batch_tasks",
        "Tasks of a batch that has not ended, by state; of 100 batches at most",
        &values,
    );
}

fn attempts(page: &mut MetricsPage, totals: &Totals) {
    page.counter(
        "distcomp_queue_attempts",
        "Attempts of all workers since the queue was created, by outcome",
        &[
            (&[("outcome", "finished")], totals.finished),
            (&[("outcome", "failed")], totals.failed.saturating_sub(totals.timed_out)),
            (&[("outcome", "timed_out")], totals.timed_out),
            (&[("outcome", "returned")], totals.returned),
            (&[("outcome", "lost")], totals.lost),
            (&[("outcome", "invalid")], totals.invalid),
        ],
    );
}

/// Times and memory of tasks.
fn spread(page: &mut MetricsPage, spread: &Spread) {
    page.histogram(
        "distcomp_queue_task_duration_seconds",
        "Run time of attempts that finished or failed, since the queue was created",
        &[],
        &spread.run,
    );
    page.histogram(
        "distcomp_queue_task_wait_seconds",
        "Time from the submission of a task to its first claim, since the queue was created",
        &[],
        &spread.wait,
    );
    page.histogram(
        "distcomp_queue_task_memory_ratio",
        "Peak memory of finished tasks that declare memory, as a part of what they declare",
        &[],
        &spread.memory,
    );
}

fn redis(page: &mut MetricsPage, redis: &RedisHealth) {
    page.gauge("distcomp_redis_memory_used_bytes", "Memory that Redis uses", &[(&[], redis.used_memory as f64)]);
    page.gauge(
        "distcomp_redis_memory_limit_bytes",
        "maxmemory of Redis; 0 means no limit",
        &[(&[], redis.max_memory as f64)],
    );
    page.gauge("distcomp_redis_clients", "Connections to Redis", &[(&[], redis.clients as f64)]);
    let is_evicting = !redis.eviction_policy.is_empty() && redis.eviction_policy != "noeviction";
    page.gauge(
        "distcomp_redis_evicts",
        "1 if Redis would evict tasks at its memory limit",
        &[(&[], flag(is_evicting))],
    );
}

/// Of each limit, by name, the first ones: names are labels.
fn limits(page: &mut MetricsPage, limits: &[LimitView]) {
    let of = |limit: &LimitView| {
        [("max", f64::from(limit.max.unwrap_or(0))), ("used", limit.in_use as f64), ("waiting", limit.waiting as f64)]
    };
    let rows: Vec<(String, &str, f64)> = limits
        .iter()
        .take(LIMITS)
        .flat_map(|limit| of(limit).map(|(what, value)| (safe(&limit.limit).into_owned(), what, value)))
        .collect();
    let labels: Vec<[(&'static str, &str); 2]> =
        rows.iter().map(|(name, what, _)| [("limit", name.as_str()), ("what", *what)]).collect();
    let values: Vec<(Labels<'_>, f64)> =
        labels.iter().zip(&rows).map(|(labels, (_, _, value))| (labels.as_slice(), *value)).collect();
    page.gauge(
        "distcomp_queue_limit",
        "Limits that are set: how many tasks may be in progress, are, and wait",
        &values,
    );
}

fn workers(page: &mut MetricsPage, workers: &[WorkerView]) {
    let states = [
        WorkerState::Live,
        WorkerState::Suspect,
        WorkerState::Draining,
        WorkerState::Drained,
        WorkerState::Silent,
        WorkerState::Dead,
        WorkerState::Python,
    ];
    let by_state: Vec<(&str, f64)> = states
        .into_iter()
        .map(|state| (state.as_str(), workers.iter().filter(|worker| worker.state == state).count() as f64))
        .collect();
    let labelled: Vec<[(&'static str, &str); 1]> = by_state.iter().map(|(state, _)| [("state", *state)]).collect();
    let values: Vec<(Labels<'_>, f64)> =
        labelled.iter().zip(&by_state).map(|(labels, (_, number))| (labels.as_slice(), *number)).collect();
    page.gauge("distcomp_queue_workers", "Workers by state; one that died counts as dead for a day", &values);
    each_worker(page, workers);
}

/// The figures of each worker.
fn each_worker(page: &mut MetricsPage, workers: &[WorkerView]) {
    // Names that strangers wrote may be shown alike; a line that is there twice would cost Prometheus the whole page.
    let mut seen = HashSet::new();
    let (names, shown): (Vec<String>, Vec<&WorkerView>) = workers
        .iter()
        .map(|worker| (safe(&worker.name).into_owned(), worker))
        .filter(|(name, _)| seen.insert(name.clone()))
        .take(WORKERS)
        .unzip();
    let labels: Vec<[(&'static str, &str); 1]> = names.iter().map(|name| [("worker", name.as_str())]).collect();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&WorkerView) -> Option<f64>| {
        let values: Vec<(Labels<'_>, f64)> = labels
            .iter()
            .zip(&shown)
            .filter_map(|(labels, worker)| Some((labels.as_slice(), value(worker)?)))
            .collect();
        page.gauge(name, help, &values);
    };
    gauge("distcomp_queue_worker_heartbeat_age_seconds", "Time since the last heartbeat of a worker", &|worker| {
        worker.heartbeat_age_seconds.filter(|_| worker.extras.died.is_none()).map(|age| age as f64)
    });
    // What one that is silent said last need not be true any more: nothing is better than that.
    gauge("distcomp_queue_worker_running_tasks", "Tasks running on a worker that is alive", &|worker| {
        worker.present_load().map(|load| f64::from(load.running))
    });
    gauge("distcomp_queue_worker_slots", "Slots of a worker that is alive: tasks that it runs at most", &|worker| {
        worker.present_load().map(|load| f64::from(load.slots))
    });
    for kind in ResourceKind::OF_WORKERS {
        let noun = kind.title();
        let name = |part| kind.metric_name("distcomp_queue_worker", part);
        gauge(&name(None), &format!("{noun} of a worker's node"), &|worker| {
            worker.is_alive().then(|| kind.metric_value(worker.usage.total.get(kind)))
        });
        gauge(&name(Some("used")), &format!("{noun} in use on a worker's node"), &|worker| {
            worker.is_alive().then(|| kind.metric_value(worker.usage.used.get(kind)))
        });
    }
    type Counted = (&'static str, fn(&WorkerView) -> u64);
    let outcomes: [Counted; 4] = [
        ("finished", |worker| worker.finished),
        ("failed", |worker| worker.failed.saturating_sub(worker.timed_out)),
        ("timed_out", |worker| worker.timed_out),
        ("returned", |worker| worker.returned),
    ];
    let labels: Vec<[(&'static str, &str); 2]> = names
        .iter()
        .flat_map(|name| outcomes.map(|(outcome, _)| [("worker", name.as_str()), ("outcome", outcome)]))
        .collect();
    let numbers = shown.iter().flat_map(|worker| outcomes.map(|(_, value)| value(worker)));
    let values: Vec<(Labels<'_>, u64)> = labels.iter().map(<[_; 2]>::as_slice).zip(numbers).collect();
    page.counter(
        "distcomp_queue_worker_attempts",
        "Attempts of a worker since the queue was created, by outcome",
        &values,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;
    use crate::model::snapshot::{Counts, WorkerExtras};

    fn page_of(overview: &Overview) -> String {
        page_with(overview, &[])
    }

    fn page_with(overview: &Overview, batches: &[BatchView]) -> String {
        queue(&QueueFigures {
            overview: Some(overview),
            batches,
            runnable: None,
            wanted: &[],
            age_seconds: 0.5,
            oldest_waiting_seconds: Some(12.5),
            viewers: 3,
            followed: 0,
            server: "127.0.0.1:6379",
            prefix: "a:",
        })
    }

    #[test]
    fn names_of_workers_are_labels_and_cannot_break_a_line() {
        let worker = WorkerView {
            name: "a\"b\\\n\u{1b}c".to_owned(),
            state: WorkerState::Python,
            heartbeat_age_seconds: Some(3),
            usage: Usage::of_status("1:2:1:4"),
            is_python: false,
            is_estimate: false,
            finished: 5,
            failed: 2,
            returned: 0,
            timed_out: 1,
            load: None,
            extras: WorkerExtras::default(),
            process: None,
        };
        let page = page_of(&Overview { workers: vec![worker], ..Overview::default() });
        let line = page.lines().find(|line| line.starts_with("distcomp_queue_worker_cores{")).expect("a line");
        assert_eq!(line, r#"distcomp_queue_worker_cores{worker="a\"b\\\\n\\x1bc"} 2.0"#);
        assert!(page.contains(r#"outcome="failed"} 1"#) && page.contains(r#"outcome="timed_out"} 1"#), "{page}");
        assert!(page.contains("distcomp_queue_workers{state=\"python\"} 1.0"), "{page}");
    }

    #[test]
    fn figures_of_batches_are_of_a_hundred_that_have_not_ended() {
        let batch = |at: u64, open| BatchView {
            name: format!("b{at}").parse().expect("a name"),
            state: crate::model::snapshot::BatchState::Running,
            tasks: 20,
            open,
            finished: 15 - open,
            failed: 4,
            cancelled: 1,
            running: open / 4,
            waiting: open / 2,
            blocked: open / 4,
            aside: 0,
            starts_at: None,
            submissions: 0,
            rate_per_second: 0.0,
            eta_seconds: None,
            held: None,
            by: String::new(),
            created: 0,
            max_fails: None,
            released: None,
            kill_on_invalid_dep: false,
            after: Vec::new(),
        };
        let all: Vec<BatchView> = (0..200).map(|at| batch(at, if at == 1 { 0 } else { 8 })).collect();
        let page = page_with(&Overview::default(), &all);
        for (state, number) in
            [("waiting", 4), ("blocked", 2), ("running", 2), ("finished", 7), ("failed", 4), ("cancelled", 1)]
        {
            let line = format!("distcomp_queue_batch_tasks{{batch=\"b100\",state=\"{state}\"}} {number}.0");
            assert!(page.contains(&line), "{line} is not in {page}");
        }
        assert!(!page.contains("batch=\"b1\"") && !page.contains("batch=\"b101\""), "{page}");
    }

    #[test]
    fn nothing_of_the_queue_is_told_while_it_cannot_be_read() {
        let page = queue(&QueueFigures {
            overview: None,
            batches: &[],
            runnable: None,
            wanted: &[],
            age_seconds: 30.0,
            oldest_waiting_seconds: None,
            viewers: 0,
            followed: 0,
            server: "s",
            prefix: "",
        });
        assert!(
            page.contains("distcomp_redis_up 0.0") && page.contains("distcomp_queue_read_age_seconds 30.0"),
            "{page}"
        );
        assert!(page.contains("distcomp_queue_info{server=\"s\",prefix=\"\"} 1.0"), "{page}");
        for gone in [
            "distcomp_queue_tasks",
            "distcomp_queue_workers",
            "distcomp_queue_retries_total",
            "distcomp_redis_memory",
            "oldest",
        ] {
            assert!(!page.contains(gone), "{gone}: {page}");
        }
    }

    #[test]
    fn a_page_is_whole() {
        let counts = Counts { todo: 7, failed: 15, cancelled: 12, ..Counts::default() };
        let page = page_of(&Overview { counts, ..Overview::default() });
        assert!(page.contains("distcomp_queue_tasks{state=\"todo\"} 7.0") && page.ends_with("# EOF\n"), "{page}");
        for state in ["\"failed\"} 3.0", "\"cancelled\"} 12.0"] {
            assert!(page.contains(&format!("distcomp_queue_tasks{{state={state}")), "{page}");
        }
        assert!(page.contains("distcomp_queue_attempts_total{outcome=\"lost\"} 0"), "{page}");
        assert!(page.contains("distcomp_queue_oldest_waiting_seconds 12.5"), "{page}");
    }
}
