//! Whether Redis is of use.

use std::time::Instant;

/// Since when Redis has been of no use for what has to be done, in each way.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// It is out of reach.
    pub(super) unlinked: Option<Instant>,
    /// It refuses to take outcomes.
    pub(super) reports_refused: Option<Instant>,
    /// It refuses claims.
    pub(super) claims_refused: Option<Instant>,
}
