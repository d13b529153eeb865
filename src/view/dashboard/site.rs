//! What the dashboard is made of: what all its pages and streams share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::board::Board;
use super::cache::Cache;
use super::page::Page;
use super::source::Source;
use super::tails::Tails;
use crate::model::FieldOrder;
use crate::model::listing::{TaskFilter, TaskPage};
use crate::model::snapshot::{FailureGroup, TaskView};
use crate::view::safe_text::safe;
use crate::view::web::Access;

/// Streams at once, of both kinds.
pub(super) const STREAMS: usize = 1000;

/// The state that every handler gets.
pub struct Site {
    pub(super) board: Arc<Board>,
    pub(super) source: Arc<dyn Source>,
    pub(super) access: Access,
    pub(super) order: FieldOrder,
    pub(super) server: String,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) tails: Tails,
    pub(super) pages: Cache<(TaskFilter, u64), Arc<TaskPage>>,
    pub(super) tasks: Cache<String, Option<Arc<TaskView>>>,
    pub(super) failures: Cache<(), Arc<Vec<FailureGroup>>>,
    pub(super) oldest: Cache<(), Option<f64>>,
}

impl Site {
    /// A site on this board; `server` says where Redis is, without credentials.
    #[must_use]
    pub fn new(
        board: Arc<Board>,
        source: Arc<dyn Source>,
        access: Access,
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
            tails: Tails::default(),
            pages: Cache::new(),
            tasks: Cache::new(),
            failures: Cache::new(),
            oldest: Cache::new(),
        }
    }

    pub(super) async fn page(&self, title: &'static str) -> Page {
        Page::new(title, self.board.look().await, &self.server, self.access.is_locked())
    }
}
