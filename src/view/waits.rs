//! Why a worker takes no new task, in words.

use super::safe_text::safe;
use super::text::{resource, tasks};
use crate::model::ResourceKind;
use crate::model::snapshot::{WaitReason, WorkerLoad};

/// A reason as a sentence without its amounts, alike for all workers that it holds; `None` for one that this build does not know.
#[must_use]
pub fn sentence(reason: &WaitReason) -> Option<String> {
    Some(match reason {
        WaitReason::Paused => "the queue is paused".to_owned(),
        WaitReason::Stopped => "the stop command is there".to_owned(),
        WaitReason::Draining => "draining".to_owned(),
        WaitReason::Drained => "drained: distcomp-ctl resume --worker lifts it".to_owned(),
        WaitReason::Suspect { .. } => "suspect: distcomp-ctl resume --worker lifts it".to_owned(),
        WaitReason::OtherOrder => "the queue has another field order than this worker".to_owned(),
        WaitReason::Slots => "every slot is taken".to_owned(),
        WaitReason::Threshold { resource, .. } => {
            let be = if resource.is_counted() { "are" } else { "is" };
            format!("free {} {be} below {}", resource.noun(), resource.threshold().unwrap_or("what is needed"))
        }
        WaitReason::Unknown => return None,
    })
}

/// Why a worker takes nothing, safe to show; `None` while it takes tasks.
#[must_use]
pub fn waits(load: &WorkerLoad) -> Option<String> {
    let told = || load.waiting.as_deref().map(|why| safe(why).into_owned());
    load.wait.as_ref().and_then(sentence).or_else(told)
}

/// The same with the amounts of the reason.
#[must_use]
pub fn waits_in_full(load: &WorkerLoad) -> Option<String> {
    let amount = |kind: ResourceKind, units: f64| resource(kind, kind.amount(units));
    let amounts = match load.wait {
        Some(WaitReason::Threshold { resource, free, least }) => {
            format!(" ({} of {})", amount(resource, free), amount(resource, least))
        }
        Some(WaitReason::Suspect { lines }) => format!(" ({} failed here and finished elsewhere)", tasks(lines)),
        Some(
            WaitReason::Paused
            | WaitReason::Stopped
            | WaitReason::Draining
            | WaitReason::Drained
            | WaitReason::OtherOrder
            | WaitReason::Slots
            | WaitReason::Unknown,
        )
        | None => String::new(),
    };
    waits(load).map(|why| why + &amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_named_and_its_amounts_where_there_is_room() {
        let wait = WaitReason::Threshold { resource: ResourceKind::Memory, free: 1.5, least: 2.0 };
        let load = WorkerLoad { wait: Some(wait), ..WorkerLoad::default() };
        let why = "free memory is below min_dram_gb_accept_new_task";
        assert_eq!(
            (waits(&load).as_deref(), waits_in_full(&load)),
            (Some(why), Some(format!("{why} (1.5 GB of 2 GB)")))
        );
        let cores = WaitReason::Threshold { resource: ResourceKind::Cores, free: 0.2, least: 1.0 };
        assert_eq!(sentence(&cores).as_deref(), Some("free cores are below min_free_cpu_cores"));
    }

    #[test]
    fn a_reason_of_another_build_is_shown_in_its_own_words() {
        let load = WorkerLoad {
            wait: Some(WaitReason::Unknown),
            waiting: Some("the gate\u{1b}[2J is shut".to_owned()),
            ..WorkerLoad::default()
        };
        let shown = waits_in_full(&load).expect("a reason");
        assert!(shown.starts_with("the gate") && shown.ends_with(" is shut") && !shown.contains('\u{1b}'), "{shown:?}");
        assert_eq!(waits(&WorkerLoad::default()), None);
    }
}
