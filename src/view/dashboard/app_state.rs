//! The state that all pages and streams of the dashboard share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::cache::Cache;
use super::live_state::LiveState;
use super::output_followers::OutputFollowers;
use super::page::PageBase;
use super::source::{QueueSource, SourceError, SourceFuture};
use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::{BatchDetail, BatchList, FailureGroup, TaskView};
use crate::model::{BatchName, FieldOrder};
use crate::view::safe_text::safe;
use crate::view::web::TokenAccess;

/// Streams at once, of both kinds.
pub(super) const STREAMS: usize = 1000;

/// The state that every handler gets.
pub struct AppState {
    pub(super) board: Arc<LiveState>,
    pub(super) source: Arc<dyn QueueSource>,
    pub(super) access: TokenAccess,
    pub(super) order: FieldOrder,
    pub(super) server: String,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) tails: OutputFollowers,
    pub(super) pages: Cache<(TaskFilter, u64), Arc<TaskPage>>,
    pub(super) tasks: Cache<String, Option<Arc<TaskView>>>,
    pub(super) failures: Cache<(), Arc<Vec<FailureGroup>>>,
    pub(super) batch_failures: Cache<BatchName, BatchFailures>,
    pub(super) batches: Cache<(), Arc<BatchList>>,
    pub(super) batch: Cache<BatchName, Option<Arc<BatchDetail>>>,
    pub(super) oldest: Cache<(), Option<f64>>,
}

/// Groups of the failures of a batch, and whether these are all.
pub(super) type BatchFailures = Arc<(Vec<FailureGroup>, bool)>;

impl AppState {
    /// A site on this board; `server` says where Redis is, without credentials.
    #[must_use]
    pub fn new(
        board: Arc<LiveState>,
        source: Arc<dyn QueueSource>,
        access: TokenAccess,
        order: FieldOrder,
        server: &str,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            board,
            source,
            access,
            order,
            server: safe(server).into_owned(),
            stop,
            streams: Arc::new(Semaphore::new(STREAMS)),
            tails: OutputFollowers::default(),
            pages: Cache::new(),
            tasks: Cache::new(),
            failures: Cache::new(),
            batch_failures: Cache::new(),
            batches: Cache::new(),
            batch: Cache::new(),
            oldest: Cache::new(),
        }
    }

    /// The batches that pages and metrics show.
    pub(super) async fn batches(&self) -> Result<Arc<BatchList>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<BatchList>> {
            Box::pin(async move { self.source.batches().await.map(Arc::new) })
        };
        self.batches.get((), ask).await
    }

    /// A batch with its steps.
    pub(super) async fn batch(&self, name: &BatchName) -> Result<Option<Arc<BatchDetail>>, SourceError> {
        let ask = || -> SourceFuture<'_, Option<Arc<BatchDetail>>> {
            Box::pin(async move { Ok(self.source.batch(name).await?.map(Arc::new)) })
        };
        self.batch.get(name.clone(), ask).await
    }

    /// The failures of a batch.
    pub(super) async fn failures_of(&self, batch: &BatchName) -> Result<BatchFailures, SourceError> {
        let ask = || -> SourceFuture<'_, BatchFailures> {
            Box::pin(async move { self.source.failures_of(batch).await.map(Arc::new) })
        };
        self.batch_failures.get(batch.clone(), ask).await
    }

    pub(super) async fn page(&self, title: &'static str) -> PageBase {
        PageBase::new(title, self.board.look().await, &self.server, self.access.is_locked())
    }
}
