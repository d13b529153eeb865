//! Estimates how fast tasks end and when the last one ends: the one estimate behind every progress bar, the overview, `watch` and the
//! dashboard.
//!
//! [`Workload::seconds_left`] is the estimate. [`Estimator`] measures what it needs where a program watches counts, such as a bar;
//! [`of_overview`] takes it from what workers report.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::snapshot::{Overview, WorkerView};

/// The rate is that of this time, and longer where fewer than [`ENOUGH`] tasks ended in it.
const WINDOW: Duration = Duration::from_secs(60);

/// So many ends tell a rate.
const ENOUGH: u64 = 10;

/// Nothing runs and nothing ends for this long: the rate of before says nothing about the rest.
const STALL: Duration = Duration::from_secs(5);

/// Looks at which tasks ended whose run times are remembered.
const REMEMBERED: usize = 64;

/// What is left to do, and how fast it goes, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Tasks that have not started.
    pub waiting: u64,
    /// Tasks that run.
    pub running: u64,
    /// Seconds for which some of those have run, and how many have; the others count as new.
    pub ages: Vec<(f64, u64)>,
    /// Tasks that end per second.
    pub rate: f64,
    /// Seconds that a task takes; 0 = unknown.
    pub typical: f64,
    /// Seconds that the longest task took; 0 = unknown.
    pub longest: f64,
}

impl Workload {
    /// Whole seconds until the last task ends, at least 1; `None` without a rate, and when nothing is left.
    ///
    /// A running task owes the part that is missing of a typical one, and the end is not before the end of the longest-running task.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        if self.waiting + self.running == 0 || !(self.rate.is_finite() && self.rate > 0.0) {
            return None;
        }
        let mut new = self.running;
        let (mut owed, mut last) = (self.waiting as f64, 0.0_f64);
        for &(age, count) in &self.ages {
            let count = count.min(new);
            new -= count;
            if count > 0 {
                let rest = self.rest(age.max(0.0));
                owed += self.part(rest) * count as f64;
                last = last.max(rest);
            }
        }
        if new > 0 {
            owed += new as f64;
            last = last.max(self.typical);
        }
        let seconds = (owed / self.rate).max(last).ceil();
        Some((seconds as u64).max(1))
    }

    /// Seconds that a task of this age still takes. One that is late tells nothing but by how much: the later it is, the later it may become.
    fn rest(&self, age: f64) -> f64 {
        if age < self.typical { self.typical - age } else { (age - self.typical).max((self.longest - age) / 2.0) }
    }

    /// That time as a part of a typical task.
    fn part(&self, rest: f64) -> f64 {
        if self.typical > 0.0 { (rest / self.typical).min(1.0) } else { 1.0 }
    }
}

/// The seconds left of a whole queue; `None` where nobody takes its tasks, and until there is something to go by.
#[must_use]
pub fn of_overview(overview: &Overview) -> Option<u64> {
    let counts = &overview.counts;
    let is_moving = overview.workers.iter().any(WorkerView::takes_tasks)
        && (counts.todo == 0 || (overview.paused.is_none() && !overview.stopping));
    if !is_moving {
        return None;
    }
    // Of what no worker could run, or may not now, the rate says nothing.
    let apart = counts.blocked.saturating_add(counts.held);
    let stuck = overview.fits_nowhere().map(|need| need.waiting).fold(apart, u64::saturating_add);
    let loads = || overview.workers.iter().filter_map(|worker| Some((worker, worker.present_load()?)));
    let told = loads().map(|(_, load)| u64::from(load.running)).fold(0, u64::saturating_add);
    // Python workers do not tell what runs; what ours have claimed ahead does not run.
    let is_all_told = overview.workers.iter().all(|worker| worker.load.is_some() || !worker.is_alive());
    let running = if is_all_told { told.min(counts.in_progress) } else { counts.in_progress };
    let waiting = counts.todo.saturating_sub(stuck).saturating_add(counts.in_progress - running);
    let ages = loads()
        .flat_map(|(worker, load)| {
            let since = worker.heartbeat_age_seconds.unwrap_or(0);
            load.tasks.iter().map(move |task| (task.seconds.saturating_add(since) as f64, 1))
        })
        .collect();
    let mut rate = overview.ended_per_second();
    let (sum, weight) = loads()
        .filter_map(|(_, load)| load.mean_seconds.filter(|mean| *mean > 0.0).map(|mean| (mean, load.running)))
        .fold((0.0, 0.0), |(sum, weight), (mean, running)| {
            (sum + mean * f64::from(running), weight + f64::from(running))
        });
    let mut typical = if weight > 0.0 { sum / weight } else { 0.0 };
    // Where nothing ended in the last minute, slots and run times tell the rate; where no run time is told, slots and rate do.
    if rate <= 0.0 && typical > 0.0 {
        rate = running as f64 / typical;
    } else if typical <= 0.0 && rate > 0.0 {
        typical = running as f64 / rate;
    }
    Workload { waiting, running, ages, rate, typical, longest: 0.0 }.seconds_left()
}

/// How many of the tasks that a program follows have ended, run and wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Ended for good, ever.
    pub ended: u64,
    /// Running now.
    pub running: u64,
    /// Not started.
    pub waiting: u64,
}

/// Where the count of ends stood at a moment.
#[derive(Clone, Copy, Debug)]
struct CountSample {
    at: Instant,
    ended: u64,
    /// Seconds that what ran had run by then, all together; `None` where some had started before this program looked.
    age: Option<f64>,
    running: u64,
}

/// Measures rate and run times from counts that are looked at now and then. What was done before the first look is nobody's speed.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    /// Of the window, oldest first.
    marks: VecDeque<CountSample>,
    now: Option<(Instant, TaskCounts)>,
    /// Ends since the first look.
    ended: u64,
    /// The last time that something ran or ended.
    moved: Option<Instant>,
    /// When what runs was started, oldest first; `None`: before the first look.
    starts: VecDeque<(Option<Instant>, u64)>,
    /// Run times of what ended, and how many had them.
    took: VecDeque<(f64, u64)>,
    /// Seconds of running since the first look, all tasks together.
    busy: f64,
}

impl Estimator {
    /// Takes note of a look. Looks come in the order of time.
    pub fn observe(&mut self, now: Instant, seen: TaskCounts) {
        let Some((then, before)) = self.now.replace((now, seen)) else {
            self.moved = Some(now);
            self.start(None, seen.running);
            self.marks.push_back(self.mark(now, seen));
            return;
        };
        let passed = now.saturating_duration_since(then).as_secs_f64();
        let ran = passed * (before.running + seen.running) as f64 / 2.0;
        // Ends that were taken back (a requeue, a purge) are none.
        let ended = seen.ended.saturating_sub(before.ended);
        self.busy += ran;
        self.ended += ended;
        self.end(now, ended, if ended > 0 { ran / ended as f64 } else { 0.0 });
        // What is given back ended without a result; what is more was started since the last look, in the middle of that time on average.
        let still: u64 = self.starts.iter().map(|(_, count)| count).sum();
        self.forget(still.saturating_sub(seen.running));
        self.start(Some(then + now.saturating_duration_since(then) / 2), seen.running.saturating_sub(still));
        if ended > 0 || seen.running > 0 {
            self.moved = Some(now);
        }
        if ended > 0 {
            self.marks.push_back(self.mark(now, seen));
            self.narrow(now);
        }
    }

    /// Tasks that end per second; `None` until one has ended, and while nothing runs or ends.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let (now, seen) = self.now?;
        let first = self.marks.front()?;
        let passed = now.saturating_duration_since(first.at).as_secs_f64();
        let is_stalled = self.moved.is_none_or(|moved| now.saturating_duration_since(moved) >= STALL);
        if self.ended == 0 || passed <= 0.0 || is_stalled {
            return None;
        }
        let last = self.mark(now, seen);
        let mut done = (last.ended - first.ended) as f64;
        // What runs is done in part, if it is known since when it runs.
        if let (Some(before), Some(after)) = (first.age, last.age) {
            let typical = self.typical();
            let part = |age: f64, running: u64| if typical > 0.0 { (age / typical).min(running as f64) } else { 0.0 };
            done += part(after, last.running) - part(before, first.running);
        }
        // All of the window's ends may lie at its very beginning.
        let done = if done > 0.0 { done } else { self.ended as f64 * passed / self.busy.max(passed) };
        Some(done / passed)
    }

    /// Seconds until all is done; `None` until there is something to go by.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        let (now, seen) = self.now?;
        let longest = self.took.iter().map(|(took, _)| *took).fold(0.0, f64::max);
        let first = self.marks.front()?.at;
        let ages = self
            .starts
            .iter()
            .map(|(since, count)| (now.saturating_duration_since(since.unwrap_or(first)).as_secs_f64(), *count))
            .collect();
        let TaskCounts { running, waiting, .. } = seen;
        Workload { waiting, running, ages, rate: self.rate()?, typical: self.typical(), longest }.seconds_left()
    }

    /// Seconds that a task takes: the mean of those that were seen from start to end; else what ran before, shared among what ended.
    fn typical(&self) -> f64 {
        let count: u64 = self.took.iter().map(|(_, count)| count).sum();
        if count > 0 {
            return self.took.iter().map(|(took, count)| took * *count as f64).sum::<f64>() / count as f64;
        }
        if self.ended > 0 { (self.busy - self.known_age().1).max(0.0) / self.ended as f64 } else { 0.0 }
    }

    /// Whether it is known since when all that runs does, and the seconds that those of which it is known have run, all together.
    fn known_age(&self) -> (bool, f64) {
        let Some((now, _)) = self.now else { return (false, 0.0) };
        let known = self.starts.iter().filter_map(|(since, count)| Some(((*since)?, *count)));
        let age = known.map(|(since, count)| now.saturating_duration_since(since).as_secs_f64() * count as f64).sum();
        (self.starts.iter().all(|(since, _)| since.is_some()), age)
    }

    fn mark(&self, at: Instant, seen: TaskCounts) -> CountSample {
        let (is_known, age) = self.known_age();
        CountSample { at, ended: self.ended, age: is_known.then_some(age), running: seen.running }
    }

    /// Forgets the marks before the window.
    fn narrow(&mut self, now: Instant) {
        while let Some(second) = self.marks.get(1).copied() {
            // Between two marks tasks ended; the part of a second that they are apart is of no use.
            let is_old = now.saturating_duration_since(second.at) >= WINDOW && self.ended - second.ended >= ENOUGH;
            if !is_old {
                break;
            }
            self.marks.pop_front();
        }
        // A mark for each look would be many.
        if let [.., before, last, _] = self.marks.make_contiguous()
            && last.at.saturating_duration_since(before.at) < Duration::from_secs(1)
        {
            let at = self.marks.len() - 2;
            self.marks.remove(at);
        }
    }

    fn start(&mut self, since: Option<Instant>, count: u64) {
        if count > 0 {
            self.starts.push_back((since, count));
        }
    }

    /// So many ended: the first to start are taken to be the first to end, which is right for the sum of their run times in any case. Those that
    /// were never seen running took `brief` seconds.
    fn end(&mut self, now: Instant, mut count: u64, brief: f64) {
        while count > 0 {
            let Some((since, there)) = self.starts.front_mut() else {
                self.remember(brief, count);
                return;
            };
            let ended = count.min(*there);
            let took = since.map(|since| now.saturating_duration_since(since).as_secs_f64());
            *there -= ended;
            count -= ended;
            if *there == 0 {
                self.starts.pop_front();
            }
            if let Some(took) = took {
                self.remember(took, ended);
            }
        }
    }

    fn forget(&mut self, mut count: u64) {
        while let Some((_, there)) = self.starts.front_mut().filter(|_| count > 0) {
            let gone = count.min(*there);
            *there -= gone;
            count -= gone;
            if *there == 0 {
                self.starts.pop_front();
            }
        }
    }

    fn remember(&mut self, took: f64, count: u64) {
        if self.took.len() == REMEMBERED {
            self.took.pop_front();
        }
        self.took.push_back((took, count));
    }
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
