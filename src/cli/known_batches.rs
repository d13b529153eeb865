//! Batches that the command line names.

use crate::cli::exit::CliError;
use crate::cli::near::nearest;
use crate::model::snapshot::BatchView;
use crate::model::{BatchName, NoBatchName};
use crate::queue::{Connection, batch_views};

/// Reads the name of a batch, or of a step.
pub(crate) fn batch_name(text: &str) -> Result<BatchName, String> {
    text.parse().map_err(|error: NoBatchName| format!("valid: {error}"))
}

/// Batches and steps of which something is known, each of them.
///
/// # Errors
/// Names the first unknown one, with one that may be meant.
pub(crate) async fn known(conn: &Connection, names: &[BatchName]) -> Result<Vec<BatchView>, CliError> {
    let are_known = batch_views::are_known(conn, names).await?;
    if let Some((unknown, _)) = names.iter().zip(are_known).find(|(_, is_known)| !is_known) {
        let all = batch_views::names(conn).await?;
        let near = nearest(unknown.as_str(), &all).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        return Err(CliError::Usage(format!("no batch {unknown}{near}")));
    }
    Ok(batch_views::some(conn, names).await?)
}
