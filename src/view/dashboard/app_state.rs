//! The state that all pages and streams of the dashboard share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::cache::Cache;
use super::live_state::LiveState;
use super::output_followers::OutputFollowers;
use super::page::PageBase;
use super::source::QueueSource;
use crate::model::FieldOrder;
use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::{FailureGroup, TaskView};
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
    pub(super) oldest: Cache<(), Option<f64>>,
}

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
            oldest: Cache::new(),
        }
    }

    pub(super) async fn page(&self, title: &'static str) -> PageBase {
        PageBase::new(title, self.board.look().await, &self.server, self.access.is_locked())
    }
}
