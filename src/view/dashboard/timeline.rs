//! What the workers have run in the last minutes, and how long it took: the page, and the data of its charts.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::app_state::AppState;
use super::page::{PageBase, html, respond};
use super::source::SourceFuture;
use crate::model::meters;
use crate::model::snapshot::{RecentAttempt, RecentAttempts, RecentEnd};
use crate::model::spread::WAIT_BOUNDS;
use crate::sys::wall_clock;
use crate::view::safe_text::safe;
use crate::view::text::{count, duration, tasks};
use crate::view::web::refuse;

respond!(TimelinePage);

/// Waits from the submission to the first claim.
type WaitHistogram = meters::Histogram<{ WAIT_BOUNDS.len() }>;

/// Seconds that the timeline goes back, at most.
pub(super) const SPAN: f64 = 600.0;

/// Workers of the timeline.
const WORKERS: usize = 40;

/// `/timeline`.
#[derive(Template)]
#[template(path = "timeline.html")]
struct TimelinePage {
    page: PageBase,
    worker: String,
}

/// The query of the page and of its data.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TimelineQuery {
    #[serde(default)]
    worker: String,
}

/// `GET /timeline`.
pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    asked: Result<Query<TimelineQuery>, QueryRejection>,
) -> Response {
    let worker = asked.map(|Query(asked)| asked.worker).unwrap_or_default();
    TimelinePage { page: app.page("Timeline").await, worker: safe(&worker).into_owned() }.respond()
}

/// `GET /api/v1/timeline`.
pub(super) async fn data(
    State(app): State<Arc<AppState>>,
    asked: Result<Query<TimelineQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        return refuse(StatusCode::BAD_REQUEST, "this is no worker of /api/v1/timeline");
    };
    let ask =
        || -> SourceFuture<'_, Arc<RecentAttempts>> { Box::pin(async { app.source.recent().await.map(Arc::new) }) };
    match app.recent.get((), ask).await {
        Ok(recent) => {
            let now = wall_clock::now().unwrap_or_default().as_secs_f64();
            let snapshot = app.live.look().await;
            Json(Timeline::of(&recent, &asked.worker, now, &snapshot.overview.spread.wait)).into_response()
        }
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// The data of the page.
#[derive(Serialize)]
struct Timeline {
    from: f64,
    to: f64,
    /// What is shown of how much.
    told: String,
    lanes: Vec<Lane>,
    histograms: [Histogram; 3],
}

/// A worker and its attempts.
#[derive(Serialize)]
struct Lane {
    worker: String,
    attempts: Vec<Bar>,
}

/// An attempt: start, end, how it ended, id, number.
#[derive(Serialize)]
struct Bar(f64, f64, &'static str, String, u32);

impl Timeline {
    fn of(recent: &RecentAttempts, worker: &str, now: f64, wait: &WaitHistogram) -> Self {
        let of_worker =
            || recent.attempts.iter().filter(|attempt| worker.is_empty() || safe(&attempt.worker) == worker);
        let mut lanes: Vec<Lane> = Vec::new();
        let from = recent.complete_since.max(now - SPAN);
        let mut known = std::collections::BTreeSet::new();
        for attempt in of_worker() {
            let name = safe(&attempt.worker);
            known.insert(name.clone());
            let place = match lanes.iter().position(|lane| lane.worker == *name) {
                Some(place) => place,
                None if lanes.len() >= WORKERS => continue,
                None => {
                    lanes.push(Lane { worker: name.into_owned(), attempts: Vec::new() });
                    lanes.len() - 1
                }
            };
            lanes[place].attempts.push(Bar(
                tenth(attempt.start),
                tenth(attempt.end.unwrap_or(now)),
                tone(attempt.ended),
                safe(&attempt.id).into_owned(),
                attempt.attempt,
            ));
        }
        lanes.sort_by(|a, b| a.worker.cmp(&b.worker));
        let attempts = of_worker().count();
        let told = format!(
            "{} of the last {}{}",
            if attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", count(attempts as u64)) },
            duration((now - from).max(0.0) as u64),
            if known.len() > lanes.len() {
                format!(", of {} of {} workers", count(lanes.len() as u64), count(known.len() as u64))
            } else {
                String::new()
            }
        );
        Self { from, to: now, told, lanes, histograms: histograms(of_worker(), wait) }
    }
}

fn tenth(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn tone(ended: RecentEnd) -> &'static str {
    match ended {
        RecentEnd::Runs => "runs",
        RecentEnd::Finished => "finished",
        RecentEnd::Failed => "failed",
        RecentEnd::Returned => "returned",
        RecentEnd::Lost => "lost",
    }
}

/// How many values lie between two bounds each.
#[derive(Debug, PartialEq, Serialize)]
struct Histogram {
    /// What each bar is of.
    labels: Vec<&'static str>,
    counts: Vec<u64>,
    /// How many there are, and their median.
    told: String,
}

const TIMES: [(f64, &str); 8] = [
    (0.1, "< 0.1 s"),
    (1.0, "0.1–1 s"),
    (10.0, "1–10 s"),
    (60.0, "10–60 s"),
    (600.0, "1–10 min"),
    (3600.0, "10–60 min"),
    (86_400.0, "1–24 h"),
    (f64::INFINITY, "> 1 d"),
];

const SHARES: [(f64, &str); 8] = [
    (0.1, "< 10 %"),
    (0.25, "10–25 %"),
    (0.5, "25–50 %"),
    (0.75, "50–75 %"),
    (0.9, "75–90 %"),
    (1.0, "90–100 %"),
    (1.25, "100–125 %"),
    (f64::INFINITY, "> 125 %"),
];

/// The bounds of [`WAIT_BOUNDS`] in words, and what is above them.
const WAITS: [&str; 11] =
    ["≤ 1 s", "1–5 s", "5–15 s", "15–60 s", "1–5 min", "5–15 min", "15–60 min", "1–3 h", "3–12 h", "12–24 h", "> 1 d"];

impl Histogram {
    /// Of what the scripts have counted for the whole queue: the same figures as the metric of the wait.
    fn of_waits(wait: &WaitHistogram) -> Self {
        let counts: Vec<u64> = wait.buckets().into_iter().map(|(_, count)| count).collect();
        let all = wait.count();
        let mut below = 0;
        let median = counts.iter().zip(WAITS).find(|(count, _)| {
            below += **count;
            below * 2 >= all
        });
        let told = match median {
            Some((_, label)) if all > 0 => {
                format!("median {label}, of {} since the queue began", tasks(all))
            }
            Some(_) | None => "no task was claimed yet".to_owned(),
        };
        Self { labels: WAITS.to_vec(), counts, told }
    }

    fn of(bounds: &[(f64, &'static str)], mut values: Vec<f64>, shown: fn(f64) -> String, unknown: &str) -> Self {
        values.sort_by(f64::total_cmp);
        let mut counts = vec![0; bounds.len()];
        for value in &values {
            counts[bounds.partition_point(|(bound, _)| bound <= value).min(bounds.len() - 1)] += 1;
        }
        let told = match values.get(values.len() / 2) {
            None => unknown.to_owned(),
            Some(median) => format!("median {}, of {}", shown(*median), count(values.len() as u64)),
        };
        Self { labels: bounds.iter().map(|(_, label)| *label).collect(), counts, told }
    }
}

/// Run time, wait from the submission to the first claim, and peak over declared memory.
fn histograms<'a>(attempts: impl Iterator<Item = &'a RecentAttempt>, wait: &WaitHistogram) -> [Histogram; 3] {
    let (mut ran, mut used) = (Vec::new(), Vec::new());
    for attempt in attempts {
        let is_whole = matches!(attempt.ended, RecentEnd::Finished | RecentEnd::Failed);
        ran.extend(attempt.end.filter(|_| is_whole).map(|end| (end - attempt.start).max(0.0)));
        used.extend(attempt.peak_over_declared.filter(|_| is_whole));
    }
    let seconds = |value: f64| if value < 60.0 { format!("{value:.1} s") } else { duration(value as u64) };
    [
        Histogram::of(&TIMES, ran, seconds, "none has ended"),
        Histogram::of_waits(wait),
        Histogram::of(&SHARES, used, |share| format!("{:.0} %", share * 100.0), "none has ended"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(worker: usize, start: f64, took: f64) -> RecentAttempt {
        RecentAttempt {
            id: format!("{worker:016x}"),
            worker: format!("node-{worker:02}"),
            start,
            end: Some(start + took),
            ended: RecentEnd::Finished,
            attempt: 1,
            peak_over_declared: Some(0.3),
        }
    }

    #[test]
    fn a_timeline_says_how_many_workers_it_shows() {
        let attempts = (0..60).map(|at| attempt(at, 1000.0 + at as f64, 5.0)).collect();
        let recent = RecentAttempts { attempts, complete_since: 950.0 };
        let mut wait = WaitHistogram::new(WAIT_BOUNDS);
        [0.4, 1.6, 1.7, 90.0].into_iter().for_each(|seconds| wait.add(seconds));
        let all = Timeline::of(&recent, "", 1100.0, &wait);
        assert_eq!((all.lanes.len(), all.from), (WORKERS, 950.0));
        assert!(all.told.ends_with(", of 40 of 60 workers"), "{}", all.told);
        let one = Timeline::of(&recent, "node-03", 1100.0, &WaitHistogram::new(WAIT_BOUNDS));
        assert_eq!((one.lanes.len(), one.lanes[0].attempts.len()), (1, 1));
        assert!(one.told.starts_with("1 attempt of the last"), "{}", one.told);
        assert_eq!(one.histograms[1].told, "no task was claimed yet");
        assert_eq!(all.histograms[1].counts, [1, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(all.histograms[1].told, "median 1–5 s, of 4 tasks since the queue began");
        assert_eq!(all.histograms[0].counts, [0, 0, 60, 0, 0, 0, 0, 0]);
        assert_eq!(all.histograms[2].counts, [0, 0, 60, 0, 0, 0, 0, 0]);
        assert_eq!(all.histograms[2].told, "median 30 %, of 60");
    }

    #[test]
    fn a_value_on_a_bound_lies_above_it() {
        let histogram = Histogram::of(&TIMES, vec![0.1, 1.0, 86_400.0, 1e9], |value| format!("{value}"), "");
        assert_eq!(histogram.counts, [0, 1, 1, 0, 0, 0, 0, 2]);
    }
}
