//! The names of lanes and of their cells: as `lua/shared/lanes.lua` writes them, from the same constants.

use crate::model::{Class, ResourceKind};

/// Where the rows of the grid of cells begin, as parts of a doubling of memory: a quarter each. The scripts have the same.
pub(super) const QUARTERS: [f64; 4] = [1.0, 1.189_207_115_002_721, std::f64::consts::SQRT_2, 1.681_792_830_507_429];

/// Where the columns begin, as parts of a doubling of cores: a half each.
pub(super) const HALVES: [f64; 2] = [1.0, std::f64::consts::SQRT_2];

/// The lane of a class in no batch, of what nobody has failed: as `lua/shared/lanes.lua` names it.
pub(super) fn lane_of(class: &Class) -> String {
    format!("{class}:")
}

/// The cell of the lane of a class that nobody has failed: as `lua/shared/lanes.lua` names it.
pub(super) fn cell_of(class: &Class) -> String {
    let steps = ResourceKind::IN_CLASS.map(|kind| step_of(class.demand.amounts.get(kind), steps_of(kind)));
    format!("{}/{}:", steps.join("/"), class.needs)
}

/// Where the steps of a kind begin, as parts of a doubling.
fn steps_of(kind: ResourceKind) -> &'static [f64] {
    match kind {
        ResourceKind::Memory => &QUARTERS,
        ResourceKind::Cores => &HALVES,
    }
}

fn step_of(amount: u64, begins: &[f64]) -> String {
    if amount == 0 {
        return "-".to_owned();
    }
    // As doubles, which is what the scripts have.
    let amount = amount as f64;
    let doubling = usize::try_from((amount.to_bits() >> 52) & 0x7ff).unwrap_or(0).saturating_sub(1023);
    let part = amount / (doubling as f64).exp2();
    let at = begins.iter().take_while(|begin| **begin <= part).count();
    (doubling * begins.len() + at.saturating_sub(1)).to_string()
}
