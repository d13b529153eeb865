//! Constants that both sides use: declared in Rust, and put into the text of a script in place of their names.

use crate::model::{BatchHold, FailureKind, Outcome};
use crate::queue::cells::{HALVES, QUARTERS};

/// A batch was forgotten.
pub(in crate::queue) const FORGOTTEN: u64 = 1;

/// A batch was not forgotten, since something may wait for it.
pub(in crate::queue) const WAITED_FOR: u64 = 2;

/// The literal of Lua that a name stands for. `None` for a name that is no constant.
pub(super) fn literal(name: &str) -> Option<String> {
    Some(match name {
        "GROUP.cancelled" => text(&FailureKind::Ended(Outcome::Cancelled).to_string()),
        "GROUP.lost" => text(&FailureKind::Ended(Outcome::Lost).to_string()),
        "GROUP.stopped" => text(&FailureKind::BatchStopped.to_string()),
        "GROUP.dependency_failed" => text(&FailureKind::DependencyFailed.to_string()),
        "FORGOTTEN.yes" => FORGOTTEN.to_string(),
        "FORGOTTEN.waited_for" => WAITED_FOR.to_string(),
        "HOLD.stopped" => text(BatchHold::STOPPED),
        "STEPS.quarters" => list(&QUARTERS),
        "STEPS.halves" => list(&HALVES),
        _ => return None,
    })
}

fn text(text: &str) -> String {
    format!("'{text}'")
}

/// Written so that both sides have the same doubles.
fn list(numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:?}")).collect();
    format!("{{ {} }}", numbers.join(", "))
}
