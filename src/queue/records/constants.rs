//! Constants that both sides use: declared in Rust, and put into the text of a script in place of their names.

use crate::model::{BatchHold, FailureKind, Outcome};
use crate::queue::cells::{HALVES, QUARTERS};

/// The literal of Lua that a name stands for. `None` for a name that is no constant.
pub(super) fn literal(name: &str) -> Option<String> {
    Some(match name {
        "GROUP.cancelled" => text(&FailureKind::Ended(Outcome::Cancelled).to_string()),
        "GROUP.lost" => text(&FailureKind::Ended(Outcome::Lost).to_string()),
        "GROUP.stopped" => text(&FailureKind::BatchStopped.to_string()),
        "GROUP.dependency_failed" => text(&FailureKind::DependencyFailed.to_string()),
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
