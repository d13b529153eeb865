//! Why no live worker can take a task by what it needs beside memory and cores, or has it free now.

use crate::model::needs::{Amount, show_milli};
use crate::model::snapshot::{Overview, WorkerView};
use crate::model::{Needs, Unsuited};
use crate::view::safe_text::safe;
use crate::view::text::joined;

/// What is lacking where the least is lacking; `None` where a live worker has everything.
pub(super) fn unsuited(overview: &Overview, needs: &Needs) -> Option<String> {
    if !needs.is_extended() {
        return None;
    }
    let able = overview.workers.iter().filter(|worker| worker.takes_tasks());
    let lacking: Vec<(&WorkerView, Vec<Unsuited>)> =
        able.filter_map(|worker| Some((worker, worker.traits()?.lacking(needs, overview.now)))).collect();
    let asked = format!("it needs {}", shown(needs));
    let Some((nearest, lacks)) = lacking.iter().min_by_key(|(_, lacks)| lacks.len()) else {
        return Some(format!("{asked}: no live worker takes tasks with needs; Python workers cannot"));
    };
    if lacks.is_empty() {
        return None;
    }
    // What nobody has is said of all; else of the one that lacks least.
    let name = safe(&nearest.name);
    let of: Vec<String> = lacks.iter().map(|lack| lack_of(nearest, lack)).collect();
    Some(format!("{asked}, which no live worker has; the nearest, {name}, {}", joined(&of)))
}

/// That every live worker which has what is needed has given it to other tasks.
pub(super) fn nothing_free(overview: &Overview, needs: &Needs) -> Option<String> {
    let asked = needs.resources();
    if asked.is_empty() {
        return None;
    }
    let able = overview.workers.iter().filter(|worker| {
        worker.takes_tasks() && worker.traits().is_some_and(|traits| traits.suits(needs, overview.now).is_ok())
    });
    let free: Vec<_> = able.map(|worker| worker.extras.free.as_ref()).collect::<Option<_>>()?;
    let lacking: Vec<&Amount> = free.iter().map(|free| free.lacking(asked)).collect::<Option<_>>()?;
    let first = lacking.first()?;
    Some(format!(
        "all {} are in use where it could run: it waits until {} of it is free",
        first.name,
        show_milli(first.milli)
    ))
}

fn lack_of(worker: &WorkerView, lack: &Unsuited) -> String {
    match lack {
        Unsuited::Resource(amount) => match worker.traits().and_then(|traits| traits.stocks.0.get(&amount.name)) {
            None => format!("has no {}", amount.name),
            Some(stock) => format!("has {} {} in all", show_milli(stock.total()), amount.name),
        },
        Unsuited::Label(constraint) => format!("is not {constraint}"),
        Unsuited::Lifetime(_) => "ends sooner".to_owned(),
    }
}

fn shown(needs: &Needs) -> String {
    crate::model::needs::show_class_needs(needs.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::{WorkerExtras, WorkerLoad, WorkerState};

    fn overview(workers: &[(&str, &str)]) -> Overview {
        let view = |(traits, free): &(&str, &str)| WorkerView {
            name: "n1".to_owned(),
            extras: WorkerExtras::of(traits.parse().ok(), free.parse().ok()),
            load: Some(WorkerLoad::default()),
            ..crate::view::explain::tests::worker("n", WorkerState::Live, 8.0)
        };
        Overview { workers: workers.iter().map(view).collect(), now: 100, ..Overview::default() }
    }

    fn needs(text: &str) -> Needs {
        Needs::parse(text).expect(text)
    }

    #[test]
    fn what_is_lacking_is_said_of_the_nearest_worker() {
        let two = overview(&[("lic=3000:host=n1,ssd:", "lic=0"), ("gpus@1000:host=n2:150", "gpus@1000")]);
        for (asked, said) in [
            ("gpus=2", Some("it needs gpus=2, which no live worker has; the nearest, n1, has no gpus")),
            (
                "lic=4,constraint=ssd",
                Some("it needs constraint=ssd, lic=4, which no live worker has; the nearest, n1, has 3 lic in all"),
            ),
            (
                "constraint=nvme",
                Some("it needs constraint=nvme, which no live worker has; the nearest, n1, is not nvme"),
            ),
            ("gpus=1", None),
            ("constraint=ssd", None),
        ] {
            assert_eq!(unsuited(&two, &needs(asked)).as_deref(), said, "{asked}");
        }
        assert_eq!(unsuited(&two, &Needs::NONE), None);
        let long = unsuited(&overview(&[("::150", "")]), &needs("time=60"));
        assert_eq!(long.as_deref(), Some("it needs time=60, which no live worker has; the nearest, n1, ends sooner"));
    }

    #[test]
    fn what_others_have_taken_is_said() {
        let one = overview(&[("lic=3000:ssd:", "lic=500")]);
        let said = nothing_free(&one, &needs("lic=1"));
        assert_eq!(said.as_deref(), Some("all lic are in use where it could run: it waits until 1 of it is free"));
        assert_eq!(nothing_free(&one, &needs("lic=0.5")), None);
        assert_eq!(nothing_free(&one, &needs("constraint=ssd")), None);
    }
}
