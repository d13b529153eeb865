//! A submission to batches, from its begin to its end.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::batches::BatchPlan;
use crate::cli::exit::CliError;
use crate::host::user_name;
use crate::model::BatchName;
use crate::queue::batches::{self, BatchChange};
use crate::queue::{Connection, QueueError};
use crate::sys::{random, wall_clock};

/// Batches that begin or end at once.
const AT_ONCE: usize = 16;

/// Names in one call.
const NAMES: usize = 250;

/// See the module. Dropped without [`Self::end`], it stays under way: what it has added is not all.
pub(super) struct Submission<'a> {
    conn: &'a Connection,
    plan: &'a BatchPlan,
    id: String,
    by: String,
    tops: Vec<BatchName>,
}

impl<'a> Submission<'a> {
    /// Begins, and makes all names known that are to be.
    pub(super) async fn begin(conn: &'a Connection, plan: &'a BatchPlan) -> Result<Self, QueueError> {
        let by = user_name();
        let by = by.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(40).collect();
        let submission = Self { conn, plan, id: random::id(), by, tops: plan.tops() };
        submission.begin_again().await?;
        let steps: Vec<BatchName> = plan.declared.iter().cloned().collect();
        batches::change(conn, BatchChange::Declare, &steps).await?;
        Ok(submission)
    }

    /// By which the queue tells it from others.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Goes on, also after somebody has closed it.
    pub(super) async fn begin_again(&self) -> Result<(), QueueError> {
        let now = wall_clock::unix_seconds();
        let begin = |(name, draft): (&'a BatchName, &'a super::batches::Draft)| async move {
            batches::begin(self.conn, &self.id, name, |known| draft.record(known, &self.by, now)).await
        };
        stream::iter(self.plan.drafts.iter().map(begin)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// All is in: what waits for these batches may go on when they are done. Those of which more is to come stay open.
    pub(super) async fn end(self) -> Result<(), CliError> {
        let open = self.plan.drafts.iter().filter(|(_, draft)| draft.settings.open);
        let open: Vec<BatchName> = open.map(|(name, _)| name.clone()).collect();
        if !open.is_empty() {
            batches::change(self.conn, BatchChange::LeaveOpen, &open).await?;
        }
        for part in self.tops.chunks(NAMES) {
            batches::end(self.conn, &self.id, part).await?;
        }
        Ok(())
    }
}
