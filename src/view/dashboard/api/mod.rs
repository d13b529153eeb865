//! The read-only JSON API below `/api/v1`: what `--json` prints, for programs and for the pages' own script. The shapes are promised in
//! `docs/json.md`; `docs/api.md` describes the addresses. Errors are JSON too, whatever part of the server they come from.

mod answers;
mod error;
mod queries;

pub(super) use answers::{batch, batches, events, failures, limits, overview, task, tasks, wanted, workers};
pub(super) use error::{ApiError, PREFIX, errors_as_json};
