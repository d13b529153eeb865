//! `share`: whose tasks come first among those of equal priority.

use serde_json::json;

use super::args::ShareArg;
use super::change::operator;
use super::context::CtlContext;
use super::switch::{agreed, done};
use crate::cli::exit::CliError;
use crate::model::{FairShare, Weight};
use crate::queue::share;
use crate::view::shares::shares;

/// Switches the share and sets weights; without either it says how things stand.
pub(super) async fn share(
    session: &mut CtlContext,
    word: Option<ShareArg>,
    weights: &[(String, Weight)],
) -> Result<(), CliError> {
    if word.is_some() || !weights.is_empty() {
        let steps: Vec<String> = word
            .map(|word| match word {
                ShareArg::User => "share the cores among users of equal priority".to_owned(),
                ShareArg::Batch => "share the cores among batches of equal priority".to_owned(),
                ShareArg::Off => "run tasks of equal priority in the order of submission".to_owned(),
            })
            .into_iter()
            .chain(weights.iter().map(|(owner, weight)| format!("set the weight of {owner} to {weight}")))
            .collect();
        if !agreed(session, "share", &steps.join(", "), json!(steps))? {
            return Ok(());
        }
        for (owner, weight) in weights {
            share::set_weight(&session.conn, owner, *weight, operator()?.as_str()).await?;
        }
        if let Some(word) = word {
            let by = match word {
                ShareArg::User => Some(FairShare::User),
                ShareArg::Batch => Some(FairShare::Batch),
                ShareArg::Off => None,
            };
            share::set(&session.conn, by, session.order, operator()?.as_str()).await?;
        }
    }
    let view = share::view(&session.conn).await?;
    let text =
        view.as_ref().map_or_else(|| "no fair share: at equal priority in the order of submission".to_owned(), shares);
    done(session, "share", &text, json!(view))
}
