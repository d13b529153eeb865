//! What the stream of a page sends: at first all that the page shows, then what has changed since the frame before. Pages that show the same
//! share a feed, which makes each frame once and compresses it once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::figures::WorkerRow;
use super::fleet::{FILTER, Fleet};
use super::gzip::Packed;
use super::live_state::Snapshot;

/// Different pages that are followed at once: a filter makes one.
const FEEDS: usize = 48;

/// Parts of the figures that every page is told.
const EVERYWHERE: [&str; 2] = ["nobody_lives", "dead"];

/// Workers on the overview.
pub(super) const OVERVIEW_WORKERS: usize = 12;

/// Which figures a page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum View {
    /// All of them, and the first workers.
    #[default]
    Overview,
    /// Every worker that matches a filter, and what is wrong with them.
    Workers(String),
    /// The texts alone.
    Texts,
}

impl View {
    /// The view of the query of a stream. An unknown one is the overview.
    pub(super) fn of(view: &str, filter: &str) -> Self {
        match view {
            "workers" => Self::Workers(filter.trim().chars().take(FILTER).collect()),
            "texts" => Self::Texts,
            _ => Self::Overview,
        }
    }
}

/// Every feed that somebody follows.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    open: Mutex<HashMap<View, Weak<Feed>>>,
}

/// As many as may be are followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyFeeds;

impl Feeds {
    /// The feed of this view, with all who follow it.
    pub(super) fn open(&self, view: View) -> Result<Arc<Feed>, TooManyFeeds> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, feed| feed.strong_count() > 0);
        if let Some(feed) = open.get(&view).and_then(Weak::upgrade) {
            return Ok(feed);
        }
        if open.len() >= FEEDS {
            return Err(TooManyFeeds);
        }
        let feed = Arc::new(Feed { view: view.clone(), latest: Mutex::default() });
        open.insert(view, Arc::downgrade(&feed));
        Ok(feed)
    }
}

/// The frames of one view.
#[derive(Debug)]
pub(super) struct Feed {
    view: View,
    latest: Mutex<Option<Latest>>,
}

/// The snapshot that was told last.
#[derive(Debug)]
struct Latest {
    number: u64,
    /// When it was read, seconds since the epoch.
    at: f64,
    shown: Shown,
    point: Value,
    /// Everything, for those who come.
    whole: OnceLock<Arc<Frame>>,
    /// What has changed since the snapshot of this number.
    change: Option<(u64, Arc<Frame>)>,
}

impl Feed {
    /// The frame that takes a page from the snapshot numbered `seen`, or from nothing, to this one or a later one, whose number comes with it.
    pub(super) fn frame(&self, snapshot: &Snapshot, seen: Option<u64>) -> (Option<u64>, Arc<Frame>) {
        if let Some(outage) = snapshot.outage() {
            return (seen, Arc::new(Frame::new(&json!({ "outage": outage }))));
        }
        let mut told = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = match told.take() {
            Some(latest) if latest.number >= snapshot.number => latest,
            before => Latest::after(before, snapshot, &self.view),
        };
        let frame = match &latest.change {
            Some((base, change)) if seen == Some(*base) => Arc::clone(change),
            Some(_) | None => latest.whole(),
        };
        let number = told.insert(latest).number;
        (Some(number), frame)
    }
}

impl Latest {
    fn after(before: Option<Self>, snapshot: &Snapshot, view: &View) -> Self {
        let shown = Shown::of(snapshot, view);
        let at = snapshot.point.t;
        let point = if *view == View::Overview { json!(snapshot.point) } else { Value::Null };
        let change = before.map(|before| {
            let change = shown.since(&before.shown);
            (before.number, Arc::new(Frame::new(&framed(change, false, &point, at))))
        });
        Self { number: snapshot.number, at, shown, point, whole: OnceLock::new(), change }
    }

    fn whole(&self) -> Arc<Frame> {
        let make = || Arc::new(Frame::new(&framed(self.shown.since(&Shown::default()), true, &self.point, self.at)));
        Arc::clone(self.whole.get_or_init(make))
    }
}

/// The event: `whole` where a page forgets what it had before.
fn framed(mut figures: Map<String, Value>, is_whole: bool, point: &Value, at: f64) -> Value {
    figures.insert("whole".to_owned(), Value::Bool(is_whole));
    json!({ "outage": null, "at": at, "figures": figures, "point": point })
}

/// What a page shows, in parts that are compared.
#[derive(Debug, Default)]
struct Shown {
    /// Texts by the name of their place.
    texts: Map<String, Value>,
    /// All else, each part sent as a whole.
    parts: Map<String, Value>,
    /// The rows of the table of workers.
    rows: Vec<(String, Map<String, Value>)>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

impl Shown {
    fn of(snapshot: &Snapshot, view: &View) -> Self {
        let figures = &snapshot.figures;
        let mut parts = object(json!(figures));
        let texts = parts.remove("text").map(object).unwrap_or_default();
        let mut rows = Vec::new();
        match view {
            View::Overview => rows.extend(figures.workers.iter().take(OVERVIEW_WORKERS).map(row)),
            View::Texts => parts.retain(|name, _| EVERYWHERE.contains(&name.as_str())),
            View::Workers(filter) => {
                let fleet = Fleet::new(&snapshot.overview, figures, filter);
                rows.extend(fleet.rows().map(row));
                parts.retain(|name, _| name == "alarms" || EVERYWHERE.contains(&name.as_str()));
                parts.extend(object(json!({
                    "told": fleet.told(), "totals": fleet.totals(), "map": fleet.map(), "names": fleet.names(),
                })));
            }
        }
        Self { texts, parts, rows }
    }

    /// What is not as it was `before`.
    fn since(&self, before: &Self) -> Map<String, Value> {
        let mut change = differing(&self.parts, &before.parts);
        let texts = differing(&self.texts, &before.texts);
        if !texts.is_empty() {
            change.insert("text".to_owned(), Value::Object(texts));
        }
        let is_in_order = self.rows.len() == before.rows.len()
            && self.rows.iter().zip(&before.rows).all(|((now, _), (then, _))| now == then);
        if !is_in_order {
            change.insert("order".to_owned(), self.rows.iter().map(|(name, _)| name.as_str()).collect());
        }
        let old: BTreeMap<&str, &Map<String, Value>> =
            before.rows.iter().map(|(name, row)| (name.as_str(), row)).collect();
        let changed = |(name, row): &(String, Map<String, Value>)| {
            let mut cells = old.get(name.as_str()).map_or_else(|| row.clone(), |old| differing(row, old));
            if cells.is_empty() {
                return None;
            }
            cells.insert("name".to_owned(), json!(name));
            Some(Value::Object(cells))
        };
        let rows: Vec<Value> = self.rows.iter().filter_map(changed).collect();
        if !rows.is_empty() {
            change.insert("workers".to_owned(), Value::Array(rows));
        }
        change
    }
}

/// A row without its name.
fn row(row: &WorkerRow) -> (String, Map<String, Value>) {
    let mut cells = object(json!(row));
    cells.remove("name");
    (row.name.clone(), cells)
}

fn differing(now: &Map<String, Value>, before: &Map<String, Value>) -> Map<String, Value> {
    let is_new = |(key, value): &(&String, &Value)| before.get(*key) != Some(*value);
    now.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// An event of a stream, as text and compressed; each is made once.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) text: Bytes,
    packed: OnceLock<Packed>,
}

impl Frame {
    /// An event with this data.
    pub(super) fn new(data: &Value) -> Self {
        Self::verbatim(format!("data: {data}\n\n"))
    }

    /// Text of a stream, its blank line included.
    pub(super) fn verbatim(text: String) -> Self {
        Self { text: text.into(), packed: OnceLock::new() }
    }

    /// The same compressed.
    pub(super) fn packed(&self) -> &Packed {
        self.packed.get_or_init(|| Packed::new(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::live_state::LiveState;
    use super::super::many_workers::overview;
    use super::*;
    use crate::model::snapshot::Overview;

    fn data(frame: &Frame) -> Value {
        let text = std::str::from_utf8(&frame.text).expect("text");
        serde_json::from_str(text.strip_prefix("data: ").expect("data")).expect("JSON")
    }

    async fn look(live: &LiveState, overview: &Overview) -> Arc<Snapshot> {
        live.publish(overview.clone());
        live.look().await
    }

    #[tokio::test]
    async fn only_changed_cells_follow_the_first_frame() {
        let mut overview = overview(1200);
        let live = LiveState::new(overview.clone());
        let feed = Feeds::default().open(View::of("workers", "")).expect("there is room");
        let tell = |snapshot: Arc<Snapshot>, seen| feed.frame(&snapshot, seen);
        let (seen, first) = tell(live.look().await, None);
        let told = data(&first);
        assert_eq!(told["figures"]["workers"].as_array().map(Vec::len), Some(500));
        assert_eq!(told["figures"]["order"].as_array().map(Vec::len), Some(500));
        assert!(told["figures"]["alarms"].is_array(), "the page has a list of them");
        overview.workers[9].finished = 7;
        let (seen, second) = tell(look(&live, &overview).await, seen);
        let told = data(&second);
        assert_eq!(told["figures"]["workers"], json!([{ "name": "node-0009", "finished": "7" }]));
        assert_eq!(told["figures"]["order"], Value::Null, "{told}");
        assert!(second.text.len() < 500 && first.packed().bytes.len() < 10_000, "{told}");
        // A viewer that has missed a frame gets all of it, and one that comes shares that.
        tell(look(&live, &overview).await, None);
        let now = look(&live, &overview).await;
        let (_, late) = feed.frame(&now, seen);
        let (_, new) = feed.frame(&now, None);
        assert!(Arc::ptr_eq(&late, &new) && data(&new)["figures"]["whole"] == json!(true));
    }

    #[tokio::test]
    async fn a_page_of_texts_gets_no_rows_and_an_outage_keeps_its_place() {
        let live = LiveState::new(overview(10));
        let feed = Feeds::default().open(View::of("texts", "")).expect("there is room");
        let tell = |snapshot: Arc<Snapshot>, seen| feed.frame(&snapshot, seen);
        let (seen, first) = tell(live.look().await, None);
        assert_eq!(data(&first)["figures"]["workers"], Value::Null);
        live.publish_outage("gone");
        let (after, frame) = tell(live.look().await, seen);
        assert_eq!((after, data(&frame)["figures"].is_null()), (seen, true));
    }

    #[test]
    fn filters_that_are_followed_are_bounded() {
        let feeds = Feeds::default();
        let held: Vec<_> = (0..FEEDS).map(|at| feeds.open(View::of("workers", &at.to_string()))).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(feeds.open(View::of("", "")).err(), Some(TooManyFeeds));
        drop(held);
        assert!(feeds.open(View::of("", "")).is_ok());
    }
}
