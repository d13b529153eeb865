//! A fair share in words.

use super::safe_text::safe;
use super::text::{count, trimmed};
use crate::model::snapshot::{OwnerUse, ShareView};

/// Whose tasks come first.
#[must_use]
pub fn shares(share: &ShareView) -> String {
    const MOST: usize = 4;
    let of = |owner: &OwnerUse| {
        let name = if owner.owner.is_empty() { "tasks outside batches".into() } else { safe(&owner.owner) };
        let weight = if owner.weight == 1.0 { String::new() } else { format!(" (weight {})", owner.weight) };
        format!("{name} {}{weight}", trimmed(owner.cores))
    };
    let mut owners: Vec<String> = share.owners.iter().take(MOST).map(of).collect();
    if share.owners.len() > MOST {
        owners.push(format!("{} more", count((share.owners.len() - MOST) as u64)));
    }
    let used =
        if owners.is_empty() { "nothing is in use".to_owned() } else { format!("cores in use: {}", owners.join(", ")) };
    format!("fair share by {}; {used}", share.by)
}
