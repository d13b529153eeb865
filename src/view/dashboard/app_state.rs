//! The state that all pages and streams of the dashboard share.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, watch};

use super::base_path::BasePath;
use super::cache::Cache;
use super::feed::Feeds;
use super::live_state::LiveState;
use super::output_followers::OutputFollowers;
use super::page::PageBase;
use super::source::{EventPage, EventRange, QueueSource, SourceError, SourceFuture, TaskSeen};
use crate::config::{Config, ShapeParts};
use crate::model::failure_cause::FailureDetail;
use crate::model::listing::{PageCursor, TaskFilter, TaskPage};
use crate::model::snapshot::{BatchDetail, BatchList, FailureGroup, LimitView, Overview, RecentAttempts, Runnable};
use crate::model::{BatchName, FieldOrder};
use crate::policy::scaling::{Fleet, Wanted, wanted};
use crate::view::safe_text::safe;
use crate::view::web::{OperatorAccess, TokenAccess};

/// Streams at once, of both kinds.
pub(super) const STREAMS: usize = 1000;

/// Which queue is shown.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlace<'a> {
    /// Where Redis is, without credentials.
    pub server: &'a str,
    /// The prefix of its keys.
    pub prefix: &'a str,
}

/// The state that every handler gets.
pub struct AppState {
    pub(super) live: Arc<LiveState>,
    pub(super) source: Arc<dyn QueueSource>,
    pub(super) access: TokenAccess,
    /// Who may change the queue; nobody on a server that only reads.
    pub(super) operators: Option<Arc<OperatorAccess>>,
    pub(super) order: FieldOrder,
    pub(super) server: String,
    /// The prefix of the queue's keys.
    pub(super) prefix: String,
    /// Where the pages are.
    pub(super) base: Arc<BasePath>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) feeds: Feeds,
    pub(super) tails: OutputFollowers,
    pub(super) pages: Cache<(TaskFilter, PageCursor), Arc<TaskPage>>,
    pub(super) tasks: Cache<String, Option<Arc<TaskSeen>>>,
    pub(super) failures: Cache<(), Arc<Vec<(FailureGroup, FailureDetail)>>>,
    pub(super) batch_failures: Cache<BatchName, BatchFailures>,
    pub(super) batches: Cache<(), Arc<BatchList>>,
    pub(super) batch: Cache<BatchName, Option<Arc<BatchDetail>>>,
    pub(super) limits: Cache<(), Arc<Vec<LimitView>>>,
    pub(super) events: Cache<EventRange, Arc<EventPage>>,
    pub(super) recent: Cache<(), Arc<RecentAttempts>>,
    pub(super) runnable: Cache<(), Arc<Runnable>>,
    /// What the configuration says of workers.
    pub(super) config: Arc<Config>,
    /// Shapes of which the metrics tell how many are wanted.
    pub(super) shapes: Vec<ShapeParts>,
}

/// Groups of the failures of a batch, and whether these are all.
pub(super) type BatchFailures = Arc<(Vec<FailureGroup>, bool)>;

impl AppState {
    /// The state of a dashboard that shows this.
    #[must_use]
    pub fn new(
        live: Arc<LiveState>,
        source: Arc<dyn QueueSource>,
        access: TokenAccess,
        order: FieldOrder,
        config: Arc<Config>,
        queue: QueuePlace<'_>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            live,
            source,
            access,
            operators: None,
            order,
            server: safe(queue.server).into_owned(),
            prefix: safe(queue.prefix).into_owned(),
            base: Arc::default(),
            stop,
            streams: Arc::new(Semaphore::new(STREAMS)),
            feeds: Feeds::default(),
            tails: OutputFollowers::default(),
            pages: Cache::new(),
            tasks: Cache::new(),
            failures: Cache::new(),
            batch_failures: Cache::new(),
            batches: Cache::new(),
            batch: Cache::new(),
            limits: Cache::new(),
            events: Cache::new(),
            recent: Cache::new(),
            runnable: Cache::new(),
            config,
            shapes: Vec::new(),
        }
    }

    /// A page of tasks.
    pub(super) async fn task_page(
        &self,
        filter: &TaskFilter,
        cursor: PageCursor,
        within: Duration,
    ) -> Result<Arc<TaskPage>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<TaskPage>> {
            Box::pin(async move { self.source.tasks(filter, cursor, within).await.map(Arc::new) })
        };
        self.pages.get((filter.clone(), cursor), ask).await
    }

    /// The task with this id.
    pub(super) async fn task(&self, id: &str) -> Result<Option<Arc<TaskSeen>>, SourceError> {
        let ask = || -> SourceFuture<'_, Option<Arc<TaskSeen>>> {
            Box::pin(async move {
                let Some(line) = self.source.line_of(id).await? else { return Ok(None) };
                Ok(self.source.task(&line).await?.map(Arc::new))
            })
        };
        self.tasks.get(id.to_owned(), ask).await
    }

    /// The groups of failures.
    pub(super) async fn failures(&self) -> Result<Arc<Vec<(FailureGroup, FailureDetail)>>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<Vec<(FailureGroup, FailureDetail)>>> {
            Box::pin(async move { self.source.failures().await.map(Arc::new) })
        };
        self.failures.get((), ask).await
    }

    /// The limits.
    pub(super) async fn limits(&self) -> Result<Arc<Vec<LimitView>>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<Vec<LimitView>>> {
            Box::pin(async move { self.source.limits().await.map(Arc::new) })
        };
        self.limits.get((), ask).await
    }

    /// What may run now.
    pub(super) async fn runnable(&self) -> Result<Arc<Runnable>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<Runnable>> {
            Box::pin(async move { self.source.runnable().await.map(Arc::new) })
        };
        self.runnable.get((), ask).await
    }

    /// Some events.
    pub(super) async fn events(&self, asked: EventRange) -> Result<Arc<EventPage>, SourceError> {
        let ask = || -> SourceFuture<'_, Arc<EventPage>> {
            Box::pin(async { self.source.events(&asked).await.map(Arc::new) })
        };
        self.events.get(asked.clone(), ask).await
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

    /// The same with operators.
    #[must_use]
    pub fn with_operators(mut self, operators: OperatorAccess) -> Self {
        self.operators = Some(Arc::new(operators));
        self
    }

    /// The same site with shapes for its metrics.
    #[must_use]
    pub fn with_shapes(mut self, shapes: Vec<ShapeParts>) -> Self {
        self.shapes = shapes;
        self
    }

    /// How many workers of a shape are wanted for what may run.
    pub(super) fn wanted(&self, shape: &ShapeParts, runnable: &Runnable, overview: &Overview) -> Wanted {
        let Overview { workers, limits, .. } = overview;
        let fleet = Fleet { workers, limits, in_progress: overview.counts.in_progress, now: overview.now };
        wanted(&shape.shape(&self.config), runnable, &fleet, 0)
    }

    /// Whether a request may look.
    pub(super) fn is_viewer(&self, headers: &HeaderMap) -> bool {
        let is_operator =
            |access: &Arc<OperatorAccess>| access.has_token(headers) || access.operator(headers).is_some();
        self.access.admits(headers) || self.operators.as_ref().is_some_and(is_operator)
    }

    /// The cookie of a viewer who shows the right token, or that of an operator.
    pub(super) fn login(&self, token: &str) -> Option<HeaderValue> {
        let is_operator = || self.operators.as_ref().is_some_and(|access| access.opens(token));
        self.access.login(token).or_else(|| self.access.session().filter(|_| is_operator()))
    }

    pub(super) async fn page(&self, title: &'static str) -> PageBase {
        PageBase {
            acts: self.operators.is_some(),
            ..PageBase::new(title, self.live.look().await, &self.server, self.access.is_locked())
        }
    }
}
