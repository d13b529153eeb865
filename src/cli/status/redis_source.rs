//! The data source of the dashboard: a connection to Redis that is renewed when it breaks, the loop that reads the overview, and the answers to
//! pages.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::output_stream::output_stream;
use crate::cli::groups::groups_of_batch;
use crate::config::Config;
use crate::model::failure_cause::FailureDetail;
use crate::model::listing::{PageCursor, TaskFilter, TaskPage};
use crate::model::snapshot::{BatchDetail, BatchList, FailureGroup, LimitView, RecentAttempts, Runnable};
use crate::model::{BatchName, TaskId};
use crate::queue::failure_details::failure_details;
use crate::queue::find::{TaskMatch, find};
use crate::queue::{
    Client, Connection, QueueError, batch_steps, batch_views, browse, edit, events, history, inspect, limits, lists,
    recent, runnable,
};
use crate::sys::wall_clock;
use crate::view::dashboard::{
    BATCHES, EventPage, EventRange, LiveState, QueueSource, ScrapeExtras, SourceError, SourceFuture, TaskDefaults,
    TaskSeen,
};
use crate::view::output_event::OutputStream;

/// How long one look may take before Redis counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two reads of what only metrics tell; of the first second after a change, less.
const EXTRAS: Duration = Duration::from_millis(1900);

/// How long looking for an id through the whole queue may take.
const SEARCH: Duration = Duration::from_secs(15);

/// Between two looks at the history, which gets a row a minute.
const HISTORY: Duration = Duration::from_secs(15);

/// Pages of the history, of a day each.
const HISTORY_PAGES: usize = 20;

/// Seconds of attempts that the timeline shows.
const RECENT: f64 = 600.0;

/// Steps of a batch that its page shows.
const STEPS: usize = 200;

/// Bytes of lines that are remembered by their ids.
const REMEMBERED: usize = 8 << 20;

/// Answers the questions of the dashboard from Redis. A broken connection is dropped and made anew by the loop that reads the overview.
pub(super) struct RedisSource {
    client: Client,
    conn: Mutex<Option<Connection>>,
    clock: Mutex<SequenceClock>,
    seen: Mutex<KnownLines>,
    searching: tokio::sync::Mutex<()>,
    defaults: TaskDefaults,
}

/// When sequence numbers were given out, as far as this process has seen it: tasks do not carry the time of their submission, only their number.
#[derive(Debug, Default)]
struct SequenceClock {
    /// The last number at a moment, oldest first; both grow.
    seen: VecDeque<(Instant, u64)>,
}

impl SequenceClock {
    /// Moments that are kept; of the older half every second one goes when there are more.
    const MOMENTS: usize = 4096;

    fn saw(&mut self, now: Instant, sequence: u64) {
        if self.seen.back().is_some_and(|(_, last)| sequence < *last) {
            // Another queue, or one that was emptied: nothing that was seen holds any more.
            self.seen.clear();
        }
        if self.seen.back().is_some_and(|(_, last)| sequence == *last) {
            return;
        }
        self.seen.push_back((now, sequence));
        if self.seen.len() > Self::MOMENTS {
            let mut at = 0;
            self.seen.retain(|_| {
                at += 1;
                at == 1 || at > Self::MOMENTS / 2 || at % 2 == 0
            });
        }
    }

    /// Seconds since the task of this number was there for certain; one from before our time has waited for at least as long as this process runs.
    fn age(&self, now: Instant, sequence: u64) -> Option<f64> {
        let at = self.seen.partition_point(|(_, last)| *last < sequence);
        self.seen.get(at).map(|(then, _)| now.saturating_duration_since(*then).as_secs_f64())
    }
}

/// Lines that were shown, so that a link to one costs no search.
#[derive(Default)]
struct KnownLines {
    lines: HashMap<String, String>,
    order: VecDeque<String>,
    bytes: usize,
}

impl KnownLines {
    fn add(&mut self, id: &str, line: &str) {
        if self.lines.contains_key(id) {
            return;
        }
        self.bytes += line.len() + 2 * id.len();
        self.lines.insert(id.to_owned(), line.to_owned());
        self.order.push_back(id.to_owned());
        while self.bytes > REMEMBERED {
            let Some(oldest) = self.order.pop_front() else { break };
            let line = self.lines.remove(&oldest).unwrap_or_default();
            self.bytes = self.bytes.saturating_sub(line.len() + 2 * oldest.len());
        }
    }
}

impl RedisSource {
    pub(super) fn new(client: Client, conn: Connection) -> Self {
        Self {
            client,
            conn: Mutex::new(Some(conn)),
            clock: Mutex::default(),
            seen: Mutex::default(),
            searching: tokio::sync::Mutex::new(()),
            defaults: TaskDefaults::default(),
        }
    }

    /// The same with what the configuration says of tasks.
    pub(super) fn with_defaults(mut self, config: &Config) -> Self {
        self.defaults = TaskDefaults {
            timeout_seconds: config.default_timeout.map_or(0, |limit| limit.as_secs()),
            most_attempts: config.max_retry.max(1),
        };
        self
    }

    fn present(&self) -> Option<Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers from a connection that is there; a broken one is dropped, and the reader makes a new one.
    async fn ask<T>(
        &self,
        within: Duration,
        call: impl AsyncFnOnce(&Connection) -> Result<T, QueueError>,
    ) -> Result<T, SourceError> {
        let Some(conn) = self.present() else {
            return Err(SourceError::Unavailable("reconnecting to Redis".to_owned()));
        };
        match tokio::time::timeout(within, call(&conn)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.breaks_connection() {
                    self.drop_connection();
                }
                Err(SourceError::Unavailable(format!("failed to {error}")))
            }
            Err(_) => Err(SourceError::Unavailable(format!("no answer within {} s", within.as_secs()))),
        }
    }

    fn drop_connection(&self) {
        *self.conn.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remember(&self, id: &str, line: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(id, line);
    }

    /// Reads what only metrics tell, and puts it up. Where that fails, what is up grows old.
    pub(super) async fn publish_extras(&self, live: &LiveState) {
        let read = async |conn: &Connection| {
            let oldest = browse::oldest_sequence(conn).await?;
            let known = match oldest {
                Some(sequence) => browse::age_of(conn, sequence).await?,
                None => None,
            };
            Ok((oldest, known, batch_views::first(conn, BATCHES).await?, runnable::runnable(conn).await?))
        };
        let Ok((oldest, known, batches, runnable)) = self.ask(PATIENCE, read).await else { return };
        let now = Instant::now();
        let age = |sequence| self.clock.lock().unwrap_or_else(PoisonError::into_inner).age(now, sequence);
        // One that came after the last look at the clock has only begun to wait.
        let oldest_waiting_seconds = oldest.and_then(age).unwrap_or(0.0).max(known.unwrap_or(0.0));
        let (batches, runnable) = (Arc::new(batches), Arc::new(runnable));
        live.publish_extras(ScrapeExtras { read_at: now, batches, runnable, oldest_waiting_seconds });
    }

    /// The overview, over a new connection where there is none.
    async fn overview(&self) -> Result<crate::model::snapshot::Overview, QueueError> {
        let conn = match self.present() {
            Some(conn) => conn,
            None => {
                let conn = self.client.connect().await?;
                *self.conn.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn.clone());
                conn
            }
        };
        let reading = async {
            let overview = inspect::shown_overview(&conn).await?;
            let sequence = browse::sequence(&conn).await?;
            self.clock.lock().unwrap_or_else(PoisonError::into_inner).saw(Instant::now(), sequence);
            Ok(overview)
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        let read = read.unwrap_or(Err(QueueError::TimedOut(PATIENCE)));
        if read.as_ref().is_err_and(QueueError::breaks_connection) {
            self.drop_connection();
        }
        read
    }
}

impl QueueSource for RedisSource {
    fn tasks<'a>(&'a self, filter: &'a TaskFilter, cursor: PageCursor, within: Duration) -> SourceFuture<'a, TaskPage> {
        Box::pin(async move {
            let page = self.ask(PATIENCE, async |conn| lists::page(conn, filter, cursor, within).await).await?;
            for row in &page.rows {
                self.remember(&row.id, &row.line);
            }
            Ok(page)
        })
    }

    fn task<'a>(&'a self, line: &'a str) -> SourceFuture<'a, Option<TaskSeen>> {
        Box::pin(async move {
            let lines = [line.to_owned()];
            let tasks = self.ask(PATIENCE, async |conn| inspect::tasks(conn, &lines).await).await?;
            let Some(task) = tasks.into_iter().next().filter(|task| !task.states.is_empty()) else { return Ok(None) };
            let claim = match &task.worker {
                Some(worker) => self.ask(PATIENCE, async |conn| lists::claim_of(conn, line, worker).await).await?,
                None => None,
            };
            Ok(Some(TaskSeen { task, claim }))
        })
    }

    fn line_of<'a>(&'a self, id: &'a str) -> SourceFuture<'a, Option<String>> {
        Box::pin(async move {
            let known = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).lines.get(id).cloned();
            if let Some(line) = known() {
                return Ok(Some(line));
            }
            // An address from a log or from before a restart. One search at a time: it goes through the whole queue, in small steps.
            let _turn = self.searching.lock().await;
            match self.ask(SEARCH, async |conn| find(conn, id).await).await? {
                TaskMatch::One(line) => {
                    self.remember(id, &line);
                    Ok(Some(line))
                }
                TaskMatch::None | TaskMatch::Many(_) => Ok(None),
            }
        })
    }

    fn lines_of<'a>(&'a self, beginning: &'a str) -> SourceFuture<'a, Vec<(String, String)>> {
        /// More than a page shows.
        const MOST: usize = 100;
        Box::pin(async move {
            let known = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).lines.get(beginning).cloned();
            if let Some(line) = known() {
                return Ok(vec![(beginning.to_owned(), line)]);
            }
            let _turn = self.searching.lock().await;
            let lines = match self.ask(SEARCH, async |conn| find(conn, beginning).await).await? {
                TaskMatch::None => Vec::new(),
                TaskMatch::One(line) => vec![line],
                TaskMatch::Many(lines) => lines,
            };
            let found: Vec<(String, String)> =
                lines.into_iter().take(MOST).map(|line| (TaskId::of(&line).to_string(), line)).collect();
            for (id, line) in &found {
                self.remember(id, line);
            }
            Ok(found)
        })
    }

    fn defaults(&self) -> TaskDefaults {
        self.defaults
    }

    fn output(self: Arc<Self>, line: String) -> OutputStream {
        output_stream(self.client.clone(), line)
    }

    fn failures(&self) -> SourceFuture<'_, Vec<(FailureGroup, FailureDetail)>> {
        Box::pin(async move {
            let groups = self.ask(PATIENCE, browse::failure_groups).await?;
            let kinds: Vec<String> = groups.iter().map(|group| group.kind.clone()).collect();
            let details = self.ask(PATIENCE, async |conn| failure_details(conn, &kinds).await).await?;
            let causes = details.iter().flat_map(|detail| &detail.causes).map(|cause| &cause.sample);
            for sample in groups.iter().map(|group| &group.sample).chain(causes) {
                self.remember(&TaskId::of(sample).to_string(), sample);
            }
            Ok(groups.into_iter().zip(details).collect())
        })
    }

    fn failures_of<'a>(&'a self, batch: &'a BatchName) -> SourceFuture<'a, (Vec<FailureGroup>, bool)> {
        Box::pin(async move {
            let found = self.ask(PATIENCE, async |conn| groups_of_batch(conn, batch).await).await?;
            for group in &found.0 {
                self.remember(&TaskId::of(&group.sample).to_string(), &group.sample);
            }
            Ok(found)
        })
    }

    fn recent(&self) -> SourceFuture<'_, RecentAttempts> {
        Box::pin(async move {
            let now = wall_clock::now().unwrap_or_default().as_secs_f64();
            self.ask(PATIENCE, async |conn| recent::attempts(conn, now - RECENT).await).await
        })
    }

    fn batches(&self) -> SourceFuture<'_, BatchList> {
        Box::pin(async move { self.ask(PATIENCE, async |conn| batch_views::first(conn, BATCHES).await).await })
    }

    fn batch<'a>(&'a self, name: &'a BatchName) -> SourceFuture<'a, Option<BatchDetail>> {
        let read = async |conn: &Connection| {
            if batch_views::are_known(conn, std::slice::from_ref(name)).await? != [true] {
                return Ok(None);
            }
            batch_steps::with_steps(conn, name, STEPS).await.map(Some)
        };
        Box::pin(async move { self.ask(PATIENCE, read).await })
    }

    fn earlier_ids<'a>(&'a self, line: &'a str) -> SourceFuture<'a, Vec<String>> {
        Box::pin(async move { self.ask(PATIENCE, async |conn| edit::earlier_ids(conn, line).await).await })
    }

    fn limits(&self) -> SourceFuture<'_, Vec<LimitView>> {
        Box::pin(async move { self.ask(PATIENCE, limits::all_views).await })
    }

    fn runnable(&self) -> SourceFuture<'_, Runnable> {
        Box::pin(async move { self.ask(PATIENCE, runnable::runnable).await })
    }

    fn events<'a>(&'a self, (after, limit): &'a EventRange) -> SourceFuture<'a, EventPage> {
        Box::pin(async move {
            let read = async |conn: &Connection| events::page(conn, after.as_deref(), *limit).await;
            let (next, events) = self.ask(PATIENCE, read).await?;
            Ok(EventPage { events, next })
        })
    }
}

/// The loop that reads for everybody.
pub(super) struct OverviewLoop {
    pub(super) source: Arc<RedisSource>,
    pub(super) live: Arc<LiveState>,
}

impl OverviewLoop {
    /// For ever.
    pub(super) async fn run(self) {
        let mut extras_at = Instant::now();
        let mut due = Instant::now();
        loop {
            self.live.next_look().await;
            match self.source.overview().await {
                Ok(overview) => {
                    if extras_at.elapsed() >= EXTRAS {
                        extras_at = Instant::now();
                        self.source.publish_extras(&self.live).await;
                    }
                    for group in &overview.failures {
                        self.source.remember(&TaskId::of(&group.sample).to_string(), &group.sample);
                    }
                    self.live.publish(overview);
                    due = self.read_history(due).await;
                }
                Err(error) => self.live.publish_outage(&format!("failed to {error}")),
            }
        }
    }

    /// Reads what is new in the history of the queue, if it is time for that. Answers when to read again. Without it, such as
    /// for a user of Redis who may not read it, the charts show what this process saw.
    async fn read_history(&self, due: Instant) -> Instant {
        if Instant::now() < due {
            return due;
        }
        // No more pages than there can be; what is left comes the next time.
        for _ in 0..HISTORY_PAGES {
            let after = self.live.newest_row();
            match self.source.ask(PATIENCE, async |conn| history::after(conn, after).await).await {
                Ok(rows) if !rows.is_empty() => self.live.keep_history(&rows),
                Ok(_) | Err(_) => break,
            }
        }
        Instant::now() + HISTORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_old_as_the_first_moment_that_knew_it() {
        let mut clock = SequenceClock::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for (seconds, sequence) in [(0, 10), (5, 10), (10, 20), (20, 30)] {
            clock.saw(at(seconds), sequence);
        }
        let age = |sequence| clock.age(at(100), sequence);
        assert_eq!([3, 10, 11, 20, 30].map(age), [Some(100.0), Some(100.0), Some(90.0), Some(90.0), Some(80.0)]);
        assert_eq!(age(31), None, "given out since the last look");
        clock.saw(at(110), 1);
        assert_eq!(clock.age(at(111), 1), Some(1.0), "a queue that began anew");
    }

    #[test]
    fn the_clock_is_bounded_and_stays_in_order() {
        let mut clock = SequenceClock::default();
        let start = Instant::now();
        for n in 0..50_000_u64 {
            clock.saw(start + Duration::from_secs(n), n);
        }
        assert!(clock.seen.len() <= SequenceClock::MOMENTS, "{}", clock.seen.len());
        assert!(clock.seen.iter().zip(clock.seen.iter().skip(1)).all(|(a, b)| a < b));
        assert_eq!(clock.seen.front().map(|(_, n)| *n), Some(0), "the oldest is kept");
    }

    #[test]
    fn what_is_remembered_of_lines_is_bounded() {
        let mut seen = KnownLines::default();
        let line = "x".repeat(100_000);
        for n in 0..200 {
            seen.add(&format!("{n:016}"), &line);
        }
        assert!(seen.bytes <= REMEMBERED && seen.lines.len() == seen.order.len(), "{} bytes", seen.bytes);
        assert!(seen.lines.contains_key("0000000000000199") && !seen.lines.contains_key("0000000000000000"));
    }
}
