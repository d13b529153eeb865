//! The text of `distcomp-status` without arguments.

use super::batches::kept_back;
use super::ctl_command::ctl;
use super::deaths::alarms;
use super::explain::{TopReason, never_run, top_reason};
use super::failures::failures;
use super::glyphs;
use super::limits;
use super::safe_text::safe;
use super::shares::shares;
use super::style::{BAD, DIM, GOOD, WARN, paint};
use super::text::{bytes, count, counted, duration, parted_bar, rate, shorten, verb, wrap};
use super::workers::workers_in_use;
use crate::model::snapshot::{AutoscalerView, Counts, Overview, ProgressParts, RedisHealth, TaskState};

/// Workers shown before the rest is a number.
const MOST_WORKERS: usize = 20;

/// Columns of the bar, where there is more room than it needs.
const WIDEST_BAR: usize = 100;

/// Used memory in percent of the limit from which on there is a warning.
const FULL_PERCENT: u64 = 80;

/// Python DistComp's line, which scripts read.
#[must_use]
pub fn counts_line(counts: &Counts) -> String {
    format!(
        "{} todo tasks, {} in_progress tasks, {} finished tasks, {} failed tasks",
        counts.todo, counts.in_progress, counts.finished, counts.failed
    )
}

/// The whole screen; its first line is [`counts_line`], without a style. Lines of text have at most `longest` columns.
#[must_use]
pub fn overview(overview: &Overview, width: usize, longest: usize) -> String {
    let mut lines = vec![counts_line(&overview.counts)];
    let alarms = alarms(overview).into_iter().flat_map(|alarm| wrap(&alarm, longest));
    lines.extend(alarms.map(|line| paint(BAD, &line)));
    lines.extend(progress(overview, width));
    let notices = notices(overview).into_iter().chain(cancelled_notice(overview));
    lines.extend(notices.map(|notice| paint(WARN, &shorten(&notice, longest))));
    // A full limit is among the notices, and so is what is kept back.
    let is_new = |top: &TopReason| !top.is_limit && kept_back(overview).as_ref() != Some(&top.why);
    if let Some(TopReason { waiting, why, .. }) = top_reason(overview).filter(is_new) {
        lines.push(shorten(&format!("{} {}: {why}", count(waiting), verb(waiting, "wait")), longest));
    }
    let warnings =
        warnings(&overview.redis).into_iter().flat_map(|warning| wrap(&format!("warning: {warning}"), longest));
    lines.extend(warnings.map(|line| paint(BAD, &line)));
    lines.push(String::new());
    let shown = &overview.workers[..overview.workers.len().min(MOST_WORKERS)];
    let (table, below) = workers_in_use(shown, width);
    lines.push(table.trim_end().to_owned());
    let in_use: Vec<String> = below.into_iter().flatten().collect();
    if !in_use.is_empty() {
        lines.extend(wrap(&format!("in use: {}", in_use.join("; ")), longest));
    }
    let rest = overview.workers.len() - shown.len();
    if rest > 0 {
        lines.push(paint(DIM, &format!("and {} more; distcomp-status workers shows all", count(rest as u64))));
    }
    if !overview.failures.is_empty() {
        lines.push(String::new());
        lines.push(failures(&overview.failures, width).trim_end().to_owned());
    }
    lines.push(String::new());
    lines.push(paint(DIM, &shorten(&health(&overview.redis), longest)));
    lines.join("\n") + "\n"
}

/// A bar over the whole width, and what its parts are, with the rate and the time to go.
fn progress(overview: &Overview, width: usize) -> Vec<String> {
    let counts = &overview.counts;
    let so_far = &overview.progress();
    let [done, runs, fails, gives_up, waits] = glyphs::parts();
    let parts = [
        (so_far.finished, done, GOOD, "done"),
        (so_far.running, runs, WARN, "running"),
        (so_far.failed, fails, BAD, "failed"),
        (so_far.waiting, waits, DIM, "waiting"),
    ];
    let amounts: Vec<(u64, char)> = parts.iter().map(|(amount, fill, ..)| (*amount, *fill)).collect();
    let cells = parted_bar(&amounts, width.min(WIDEST_BAR));
    let drawn: String = cells.iter().zip(&parts).map(|(cells, (.., style, _))| paint(*style, cells)).collect();
    let mut ahead: Vec<String> = match overview.rate_per_second {
        _ if overview.is_at_rest() && counts.todo + counts.in_progress > 0 => vec!["no run is active".to_owned()],
        r if r > 0.0 => vec![rate(r)],
        _ if counts.todo == 0 && counts.in_progress == 0 => vec!["nothing to do".to_owned()],
        _ => vec!["nothing finished in the last minute".to_owned()],
    };
    // Where most fail, the rate of what finishes does not tell when the queue is empty.
    let is_at_work = counts.todo + counts.in_progress > 0 && !overview.is_at_rest();
    if overview.failed_per_second > overview.rate_per_second && is_at_work {
        ahead.push(format!("{} failed", rate(overview.failed_per_second)));
    }
    ahead.extend(overview.eta_seconds.map(|eta| format!("{} to go", duration(eta))));
    let ahead = ahead.join(", ");
    let mut lines: Vec<String> = if so_far.all() == 0 { Vec::new() } else { vec![drawn] };
    // Most queues have none that were cancelled. They are no part of the bar.
    let apart = Some((so_far.cancelled, gives_up, DIM, "cancelled")).filter(|(amount, ..)| *amount > 0);
    let mut legend = String::new();
    let mut used = 0;
    for (amount, fill, style, name) in parts.into_iter().chain(apart) {
        let figure = if name == "done" { percent(so_far) } else { count(amount) };
        let text = format!(" {name} {figure}");
        let length = 1 + text.chars().count();
        // The rest goes on the next line.
        if used + length > width && used > 0 {
            lines.push(std::mem::take(&mut legend).trim_end().to_owned());
            used = 0;
        }
        used += length + 2;
        legend.push_str(&format!("{}{text}  ", paint(style, &fill.to_string())));
    }
    // Where both do not fit on a line, they have one each.
    if used + ahead.chars().count() <= width {
        lines.push(format!("{legend} {ahead}").trim_end().to_owned());
    } else {
        lines.push(legend.trim_end().to_owned());
        lines.push(shorten(&ahead, width));
    }
    lines
}

/// `52 %`, and from 99 on `99.9 %`: rounded down, so that only all is 100 %.
#[must_use]
pub fn percent(parts: &ProgressParts) -> String {
    let permille = parts.permille();
    if permille.is_multiple_of(10) || permille < 990 {
        format!("{} %", permille / 10)
    } else {
        format!("{:.1} %", parts.percent())
    }
}

/// How many of the failed tasks were cancelled, beside the line of counts of Python DistComp, which has them among the failed.
fn cancelled_notice(overview: &Overview) -> Option<String> {
    match overview.counts.of(TaskState::Cancelled) {
        0 => None,
        1 => Some("of the failed, 1 was cancelled".to_owned()),
        many => Some(format!("of the failed, {} were cancelled", count(many))),
    }
}

/// What keeps tasks from running, and what an operator asked for.
pub(super) fn notices(overview: &Overview) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(who) = &overview.paused {
        notices.push(format!("paused by {}; {} resume continues", safe(who), ctl()));
    }
    notices.extend(kept_back(overview).map(|text| format!("of those that wait: {text}")));
    notices.extend(never_run(overview));
    notices.extend(overview.fair_share.as_ref().map(shares));
    notices.extend(overview.autoscalers.iter().filter_map(|view| autoscaler(view, overview.now)));
    notices.extend(limits::notices(overview));
    match overview.ordered {
        0 => {}
        1 => notices.push("1 running task is being stopped, as an operator ordered".to_owned()),
        many => notices.push(format!("{} running tasks are being stopped, as an operator ordered", count(many))),
    }
    if overview.stopping {
        notices.push(format!("stopping: workers claim nothing more; {} resume cancels the stop", ctl()));
    }
    for reservation in &overview.reservations {
        notices.push(format!("{} reserves room for {}", safe(&reservation.worker), safe(&reservation.line)));
    }
    if overview.counts.quarantined > 0 {
        notices.push(format!(
            "{} in quarantine, not UTF-8; distcomp-ctl purge --quarantined removes them",
            counted(overview.counts.quarantined, "line")
        ));
    }
    notices
}

/// Silent for longer than this, an autoscaler is none any more.
const FORGOTTEN: u64 = 86_400;

/// What is wrong with an autoscaler.
fn autoscaler(view: &AutoscalerView, now: u64) -> Option<String> {
    let name = safe(&view.name);
    match (view.silent_for(now), &view.paused) {
        (Some(age), _) if age < FORGOTTEN => Some(format!("autoscaler {name} has not reported for {}", duration(age))),
        (Some(_), _) => None,
        (None, Some(why)) => Some(format!("autoscaler {name} is paused: {}", safe(why))),
        (None, None) => view.problem.as_ref().map(|why| format!("autoscaler {name}: {}", safe(why))),
    }
}

/// What is wrong with the server.
#[must_use]
pub fn warnings(redis: &RedisHealth) -> Vec<String> {
    let mut warnings = Vec::new();
    if !redis.eviction_policy.is_empty() && redis.eviction_policy != "noeviction" {
        let policy = safe(&redis.eviction_policy);
        warnings.push(format!(
            "Redis evicts keys, and with them tasks, when it is full: maxmemory-policy is {policy}; set noeviction"
        ));
    }
    if redis.is_replica {
        warnings.push("this Redis is a replica and refuses writes".to_owned());
    }
    if redis.cannot_save {
        warnings.push("the last attempt of Redis to save its data to disk failed".to_owned());
    }
    let percent = redis.used_memory.saturating_mul(100).checked_div(redis.max_memory).unwrap_or(0);
    if percent >= FULL_PERCENT {
        let limit = bytes(redis.max_memory);
        warnings
            .push(format!("Redis uses {percent} % of its memory limit of {limit}; distcomp-ctl purge frees memory"));
    }
    warnings
}

pub(super) fn health(redis: &RedisHealth) -> String {
    let limit = if redis.max_memory == 0 { String::new() } else { format!(" of {}", bytes(redis.max_memory)) };
    let kept = if redis.append_only { "append-only file" } else { "no append-only file" };
    format!(
        "Redis {}, {}{limit} used, {kept}, {} {}",
        safe(&redis.version),
        bytes(redis.used_memory),
        count(redis.clients),
        if redis.clients == 1 { "client" } else { "clients" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_that_of_python_distcomp() {
        let counts = Counts { todo: 20_124, in_progress: 147, finished: 1390, failed: 196, ..Counts::default() };
        let screen = overview(&Overview { counts, ..Overview::default() }, 80, 80);
        let first = screen.lines().next();
        assert_eq!(first, Some("20124 todo tasks, 147 in_progress tasks, 1390 finished tasks, 196 failed tasks"));
    }

    #[test]
    fn cancelled_tasks_are_told_from_failures() {
        let counts = Counts { finished: 3, failed: 15, cancelled: 12, ..Counts::default() };
        for width in [40, 60, 140] {
            let screen = overview(&Overview { counts, ..Overview::default() }, width, width);
            let screen = anstream::adapter::strip_str(&screen).to_string();
            assert_eq!(screen.lines().next(), Some(counts_line(&counts).as_str()));
            assert!(screen.contains("of the failed, 12 were cancelled"), "{screen}");
            assert!(screen.contains("failed 3") && screen.contains("cancelled 12"), "{screen}");
            assert!(screen.lines().skip(1).all(|line| line.chars().count() <= width), "{screen}");
        }
    }

    #[test]
    fn a_server_that_evicts_or_is_full_is_warned_of() {
        let redis = RedisHealth { eviction_policy: "allkeys-lru".to_owned(), ..RedisHealth::default() };
        assert_eq!(warnings(&redis).len(), 1);
        let full = RedisHealth { eviction_policy: "noeviction".to_owned(), used_memory: 80, max_memory: 100, ..redis };
        assert!(warnings(&full)[0].contains("80 %"));
        assert!(warnings(&RedisHealth { used_memory: 79, ..full }).is_empty());
    }

    #[test]
    fn waiting_without_workers_and_a_pause_are_said() {
        let counts = Counts { todo: 3, ..Counts::default() };
        let state = Overview { counts, paused: Some("ann".to_owned()), stopping: true, ..Overview::default() };
        assert_eq!(notices(&state).len(), 2);
        let idle = Overview { counts, ..Overview::default() };
        assert!(overview(&idle, 80, 80).contains("3 wait: no worker is running"), "{}", overview(&idle, 80, 80));
    }
}
