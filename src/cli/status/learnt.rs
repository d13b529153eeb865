//! `distcomp-status learnt`: how much memory the tasks of each family have been seen to need.

use super::context::StatusContext;
use crate::cli::exit::CliError;
use crate::cli::output::columns;
use crate::queue::learnt;
use crate::view;

/// Shows every family.
pub(super) async fn learnt(session: &mut StatusContext) -> Result<(), CliError> {
    let families = learnt::families(&session.conn).await?;
    if session.json {
        return families.iter().try_for_each(|family| session.out.json(family));
    }
    session.out.text(&view::learnt::learnt(&families, columns()))
}
