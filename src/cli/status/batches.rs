//! `distcomp-status batches` and `batch`.

use serde_json::json;

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::known_batches::known;
use crate::cli::output::columns_or_all;
use crate::model::BatchName;
use crate::queue::{batch_steps, batch_views};
use crate::view;

/// Steps that the text shows.
const SHOWN: usize = 200;

/// Every batch, a line each.
pub(super) async fn batches(session: &mut StatusContext) -> Result<(), CliError> {
    let batches = batch_views::all(&session.conn).await?;
    if session.json {
        return batches.iter().try_for_each(|batch| session.out.json(&json!(batch)));
    }
    session.out.text(&view::batches::batches(&batches, columns_or_all()))
}

/// One batch, or one step, with its steps.
pub(super) async fn batch(session: &mut StatusContext, name: &BatchName) -> Result<(), CliError> {
    known(&session.conn, std::slice::from_ref(name)).await?;
    let most = if session.json { usize::MAX } else { SHOWN };
    let detail = batch_steps::with_steps(&session.conn, name, most).await?;
    if session.json {
        return session.out.json(&view::json::batch(&detail));
    }
    session.out.text(&view::batches::batch(&detail, columns_or_all()))
}
