//! What may run now, how many workers that wants, and how autoscalers stand.

use std::collections::{BTreeMap, HashSet};

use super::encode::{Labels, MetricsPage};
use crate::model::ResourceKind;
use crate::model::snapshot::{AutoscalerView, Overview, Runnable};
use crate::view::safe_text::safe;

/// Named resources, shapes and autoscalers with figures of their own: names are labels, and labels must not grow for ever.
const MOST: usize = 100;

/// What may run.
pub(super) fn runnable(page: &mut MetricsPage, runnable: &Runnable) {
    page.gauge(
        "distcomp_queue_runnable_tasks",
        "Tasks that may run now, whether or not a worker is there that could",
        &[(&[], runnable.tasks() as f64)],
    );
    for kind in ResourceKind::OF_WORKERS {
        let of = |amount: u64, waiting: u64| kind.metric_value(amount) * waiting as f64;
        let sum: f64 = runnable.groups.iter().map(|group| of(group.demand.amounts.get(kind), group.waiting)).sum();
        let help = format!("{} that the runnable tasks ask for together", kind.title());
        page.gauge(&kind.metric_name("distcomp_queue_runnable", None), &help, &[(&[], sum)]);
    }
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for group in &runnable.groups {
        for wanted in group.needs.resources() {
            *sums.entry(wanted.name.as_str()).or_default() += wanted.milli as f64 / 1000.0 * group.waiting as f64;
        }
    }
    let rows: Vec<(String, f64)> = sums.into_iter().take(MOST).map(|(name, sum)| (name.to_owned(), sum)).collect();
    labelled(
        page,
        "distcomp_queue_runnable_resource",
        "Named resources that the runnable tasks ask for together",
        "resource",
        &rows,
    );
}

/// How many workers are wanted, by shape: those that `serve` was asked for, and those of autoscalers as these have said.
pub(super) fn wanted(page: &mut MetricsPage, of_shapes: &[(String, u64)], overview: &Overview) {
    let of_autoscalers = alive(overview).map(|view| (view.shape.clone(), view.wanted));
    let mut seen = HashSet::new();
    let all =
        of_shapes.iter().cloned().chain(of_autoscalers).map(|(shape, wanted)| (safe(&shape).into_owned(), wanted));
    let rows: Vec<(String, f64)> = all
        .filter(|(shape, _)| seen.insert(shape.clone()))
        .take(MOST)
        .map(|(shape, wanted)| (shape, wanted as f64))
        .collect();
    labelled(
        page,
        "distcomp_queue_wanted_workers",
        "Workers of a shape that the runnable tasks want, those at work included",
        "shape",
        &rows,
    );
}

/// The autoscalers.
pub(super) fn autoscalers(page: &mut MetricsPage, overview: &Overview) {
    type Figure = (&'static str, &'static str, fn(&AutoscalerView) -> u64);
    let gauges: [Figure; 4] = [
        ("distcomp_autoscale_workers", "Attached workers that an autoscaler has started", |view| view.workers),
        ("distcomp_autoscale_pending", "Allocations of an autoscaler that wait at the provider", |view| view.pending),
        (
            "distcomp_autoscale_starting",
            "Allocations of an autoscaler that run and whose worker has not attached",
            |view| view.starting,
        ),
        ("distcomp_autoscale_paused", "1 while an autoscaler starts nothing because its starts failed", |view| {
            u64::from(view.paused.is_some())
        }),
    ];
    let names: Vec<(String, &AutoscalerView)> =
        alive(overview).map(|view| (safe(&view.name).into_owned(), view)).collect();
    for (name, help, value) in gauges {
        let rows: Vec<(String, f64)> = names.iter().map(|(of, view)| (of.clone(), value(view) as f64)).collect();
        labelled(page, name, help, "autoscaler", &rows);
    }
    let labels: Vec<[(&'static str, &str); 1]> =
        names.iter().map(|(name, _)| [("autoscaler", name.as_str())]).collect();
    let values: Vec<(Labels<'_>, u64)> =
        labels.iter().zip(&names).map(|(labels, (_, view))| (labels.as_slice(), view.failures)).collect();
    page.counter(
        "distcomp_autoscale_failures",
        "Starts of an autoscaler that the provider refused, or whose worker never attached",
        &values,
    );
}

/// Those that have said something of late.
fn alive(overview: &Overview) -> impl Iterator<Item = &AutoscalerView> {
    overview.autoscalers.iter().filter(|view| view.silent_for(overview.now).is_none()).take(MOST)
}

fn labelled(page: &mut MetricsPage, name: &str, help: &str, label: &'static str, rows: &[(String, f64)]) {
    let labels: Vec<[(&'static str, &str); 1]> = rows.iter().map(|(value, _)| [(label, value.as_str())]).collect();
    let values: Vec<(Labels<'_>, f64)> =
        labels.iter().zip(rows).map(|(labels, (_, value))| (labels.as_slice(), *value)).collect();
    page.gauge(name, help, &values);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::RunnableGroup;
    use crate::model::{Bytes, Demand, MilliCores, Needs};

    #[test]
    fn what_may_run_is_summed_by_resource() {
        let demand = Demand::NONE.with_mem(Bytes(1 << 30)).with_cpu(MilliCores(500));
        let needs = Needs::parse("gpus=0.5").expect("needs");
        let group = RunnableGroup { demand, needs, waiting: 3, is_unknown: false };
        let mut page = MetricsPage::new();
        runnable(&mut page, &Runnable { groups: vec![group], ..Runnable::default() });
        let page = page.finish();
        for line in [
            "distcomp_queue_runnable_tasks 3.0",
            "distcomp_queue_runnable_cores 1.5",
            "distcomp_queue_runnable_memory_bytes 3221225472.0",
            "distcomp_queue_runnable_resource{resource=\"gpus\"} 1.5",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
    }

    #[test]
    fn a_shape_is_one_line_and_a_silent_autoscaler_none() {
        let view = |name: &str, at| AutoscalerView {
            name: name.to_owned(),
            shape: "cpus=4,mem=16".to_owned(),
            at,
            interval: 10,
            wanted: 7,
            failures: 2,
            paused: Some("3 workers in a row did not attach".to_owned()),
            ..AutoscalerView::default()
        };
        let overview = Overview { now: 1000, autoscalers: vec![view("a", 990), view("b", 100)], ..Overview::default() };
        let mut page = MetricsPage::new();
        wanted(&mut page, &[("cpus=4,mem=16".to_owned(), 5)], &overview);
        autoscalers(&mut page, &overview);
        let page = page.finish();
        assert_eq!(page.matches("distcomp_queue_wanted_workers{").count(), 1, "{page}");
        assert!(page.contains("distcomp_queue_wanted_workers{shape=\"cpus=4,mem=16\"} 5.0"), "{page}");
        assert!(page.contains("distcomp_autoscale_failures_total{autoscaler=\"a\"} 2"), "{page}");
        assert!(page.contains("distcomp_autoscale_paused{autoscaler=\"a\"} 1.0") && !page.contains("\"b\""), "{page}");
    }
}
