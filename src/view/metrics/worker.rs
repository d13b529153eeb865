//! The metrics of one worker.

use super::encode::{Labels, MetricsPage};
use crate::model::meters::{OUTCOMES, WorkerFigures};
use crate::model::{Accounting, ResourceKind, Stock};

/// The page of a worker that is yet to begin.
#[must_use]
pub(super) fn starting() -> String {
    MetricsPage::new().finish()
}

/// The page.
#[must_use]
pub fn worker(figures: &WorkerFigures) -> String {
    let (meters, name) = (&figures.meters, figures.worker.as_str());
    let me: Labels<'_> = &[("worker", name)];
    let mut page = MetricsPage::new();
    let flag = |is: bool| if is { 1.0 } else { 0.0 };
    page.gauge(
        "distcomp_worker_linked",
        "1 while this worker has a session with Redis",
        &[(me, flag(figures.is_linked))],
    );
    page.gauge(
        "distcomp_worker_accepting",
        "1 while the worker claims new tasks, 0 while it drains",
        &[(me, flag(figures.is_open))],
    );
    page.gauge(
        "distcomp_worker_suspect",
        "1 while the worker claims nothing because tasks that failed on it finished elsewhere",
        &[(me, flag(figures.is_suspect))],
    );
    page.gauge("distcomp_worker_running_tasks", "Tasks running", &[(me, f64::from(figures.running))]);
    page.gauge(
        "distcomp_worker_held_tasks",
        "Prefetched tasks: claimed before a slot is free",
        &[(me, f64::from(figures.held))],
    );
    page.gauge("distcomp_worker_slots", "Slots: tasks that the worker runs at most", &[(me, f64::from(figures.slots))]);
    if let Some(waiting) = figures.waiting {
        page.gauge(
            "distcomp_worker_seen_waiting_tasks",
            "Waiting tasks at the time of the last claim",
            &[(me, waiting as f64)],
        );
    }
    page.counter("distcomp_worker_claims", "Claims that Redis answered", &[(me, meters.claims)]);
    page.counter("distcomp_worker_failed_claims", "Claims that failed", &[(me, meters.claims_failed)]);
    page.counter("distcomp_worker_claimed_tasks", "Tasks received by claims", &[(me, meters.claimed)]);
    page.histogram(
        "distcomp_worker_claim_duration_seconds",
        "Time from a claim request to its reply",
        me,
        &meters.claim_seconds,
    );
    page.histogram(
        "distcomp_worker_task_duration_seconds",
        "Run time of attempts, with any outcome",
        me,
        &meters.task_seconds,
    );
    let labels: Vec<[(&'static str, &str); 2]> =
        OUTCOMES.iter().map(|code| [("worker", name), ("outcome", *code)]).collect();
    let outcomes: Vec<(Labels<'_>, u64)> = labels.iter().map(<[_; 2]>::as_slice).zip(meters.outcomes).collect();
    page.counter("distcomp_worker_attempts", "Attempts by outcome", &outcomes);
    page.counter(
        "distcomp_worker_fenced_results",
        "Late results refused because another worker had the claim",
        &[(me, meters.fenced)],
    );
    page.counter("distcomp_worker_reconnects", "Reconnections to Redis", &[(me, meters.reconnects)]);
    page.counter(
        "distcomp_worker_memory_retries",
        "Attempts killed because memory was short whose retry declares more",
        &[(me, meters.memory_retries)],
    );
    node(&mut page, me, figures);
    resources(&mut page, figures);
    page.finish()
}

/// Memory and cores of the node.
fn node(page: &mut MetricsPage, me: Labels<'_>, figures: &WorkerFigures) {
    let usage = &figures.usage;
    for kind in ResourceKind::ALL {
        let noun = kind.title();
        let declared = match kind.accounting() {
            Accounting::Measured => "declared but not used yet",
            Accounting::Declared => "declared",
        };
        let be = if kind.is_counted() { "are" } else { "is" };
        let gauges = [
            (None, usage.total, format!("{noun} of the node, or of the cgroup that limits it")),
            (Some("used"), usage.used, format!("Of which {be} in use")),
            (Some("reserved"), figures.reserved, format!("{noun} that running tasks have {declared}")),
        ];
        for (part, amounts, help) in gauges {
            let value = kind.metric_value(amounts.get(kind));
            page.gauge(&kind.metric_name("distcomp_node", part), &help, &[(me, value)]);
        }
    }
}

/// Named resources: what the node has, and what of that tasks have.
fn resources(page: &mut MetricsPage, figures: &WorkerFigures) {
    let units = |milli: u64| milli as f64 / 1000.0;
    let mut rows = Vec::new();
    for (resource, stock) in &figures.stocks.0 {
        let total = stock.total();
        let free = figures.free.0.get(resource).map_or(total, Stock::total);
        let labels = |what| [("worker", figures.worker.as_str()), ("resource", resource.as_str()), ("what", what)];
        rows.push((labels("total"), units(total)));
        rows.push((labels("used"), units(total.saturating_sub(free))));
    }
    if !rows.is_empty() {
        let rows: Vec<(Labels<'_>, f64)> = rows.iter().map(|(labels, value)| (labels.as_slice(), *value)).collect();
        page.gauge(
            "distcomp_worker_resource",
            "Named resources of the node, in all and in use; 1 is one device",
            &rows,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::meters::Meters;
    use crate::model::{Amounts, MilliCores, Outcome, Usage};

    #[test]
    fn buckets_are_cumulative_and_the_last_holds_all() {
        let mut meters = Meters::default();
        for seconds in [0.004, 0.2, 90_000.0] {
            meters.task_seconds.add(seconds);
        }
        meters.ended(Outcome::TimedOut(9));
        let page = worker(&WorkerFigures {
            worker: "n1".to_owned(),
            meters,
            running: 1,
            slots: 4,
            held: 0,
            is_linked: true,
            is_open: true,
            is_suspect: false,
            waiting: Some(9),
            usage: Usage::of_status("0.5:2:0.25:1"),
            reserved: Amounts::NONE.with_cpu(MilliCores(1000)),
            stocks: "gpus@1000/1000".parse().expect("stocks"),
            free: "gpus@1000/500".parse().expect("stocks"),
        });
        for line in [
            "distcomp_worker_task_duration_seconds_bucket{le=\"0.01\",worker=\"n1\"} 1",
            "distcomp_worker_task_duration_seconds_bucket{le=\"43200.0\",worker=\"n1\"} 2",
            "distcomp_worker_task_duration_seconds_bucket{le=\"+Inf\",worker=\"n1\"} 3",
            "distcomp_worker_task_duration_seconds_count{worker=\"n1\"} 3",
            "distcomp_worker_attempts_total{worker=\"n1\",outcome=\"timed_out\"} 1",
            "# HELP distcomp_node_memory_reserved_bytes Memory that running tasks have declared but not used yet",
            "distcomp_node_memory_bytes{worker=\"n1\"} 1073741824.0",
            "# HELP distcomp_node_cores_used Of which are in use",
            "distcomp_node_cores_used{worker=\"n1\"} 0.5",
            "distcomp_node_cores_reserved{worker=\"n1\"} 1.0",
            "distcomp_worker_resource{worker=\"n1\",resource=\"gpus\",what=\"total\"} 2.0",
            "distcomp_worker_resource{worker=\"n1\",resource=\"gpus\",what=\"used\"} 0.5",
        ] {
            assert!(page.lines().any(|one| one == line), "{line} is missing:\n{page}");
        }
    }
}
