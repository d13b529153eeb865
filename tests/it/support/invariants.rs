//! The promises I1 to I4 and I7 as code: judged on atomic pictures of the hashes, taken all the time while a test runs. And I9 and I10, see [`gates`],
//! I11, see [`limits`], and I12, see [`held`].
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::gates::Batches;
use super::held;
use super::limits::Limits;
use super::two_steps::TwoSteps;

const PERIOD: Duration = Duration::from_millis(40);

/// At most this many violations are kept: the first ones tell the story.
const KEPT: usize = 20;

pub(crate) type Bytes = Vec<u8>;
type Rows = BTreeMap<Bytes, Bytes>;

/// A promise that a line shows to be broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) line: Bytes,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, String::from_utf8_lossy(&self.line))
    }
}

/// The hashes at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) todo: Rows,
    pub(crate) waiting: Rows,
    pub(crate) in_progress: Rows,
    pub(crate) finished: Rows,
    pub(crate) failed: Rows,
    pub(crate) quarantine: Rows,
    pub(crate) batches: Batches,
    pub(crate) limits: Limits,
}

impl Snapshot {
    /// One MULTI, so that no step of anybody is seen half done.
    pub(crate) fn take(con: &mut ::redis::Connection) -> ::redis::RedisResult<Self> {
        let mut pipe = ::redis::pipe();
        pipe.atomic();
        for key in ["todo_tasks", "distcomp:waiting", "in_progress_tasks", "finished_tasks", "failed_tasks"] {
            pipe.cmd("HGETALL").arg(key);
        }
        pipe.cmd("HGETALL").arg("distcomp:quarantine");
        for key in Batches::KEYS {
            pipe.cmd("HGETALL").arg(key);
        }
        pipe.cmd("GET").arg("distcomp:ready:counts").cmd("HGETALL").arg(Limits::KEY);
        let (todo, waiting, in_progress, finished, failed, quarantine, members, counters, waived, counts, limits) =
            pipe.query(con)?;
        let batches = Batches::new(members, counters, waived, counts);
        let limits = Limits::new(limits);
        Ok(Self { todo, waiting, in_progress, finished, failed, quarantine, batches, limits })
    }

    /// What is wrong with this one picture.
    pub(crate) fn violations(&self, submitted: &BTreeSet<Bytes>) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let mut say = |rule: &'static str, line: &[u8]| wrong.push(Violation { rule, line: line.to_vec() });
        for line in submitted {
            let places = [&self.todo, &self.waiting, &self.in_progress, &self.finished, &self.failed, &self.quarantine];
            if !places.iter().any(|rows| rows.contains_key(line)) {
                say("I1 nowhere", line);
            }
        }
        for line in self.todo.keys().chain(self.waiting.keys()).filter(|line| self.in_progress.contains_key(*line)) {
            say("I2 in todo and in progress", line);
        }
        for line in self.finished.keys() {
            if [&self.todo, &self.waiting, &self.in_progress].iter().any(|rows| rows.contains_key(line)) {
                say("I3 finished and not over", line);
            }
        }
        for name in self.batches.miscounted() {
            say("I10 counters and members differ", name.as_bytes());
        }
        // What stands in todo may be anybody's.
        for rows in [&self.in_progress, &self.finished, &self.failed] {
            for (line, value) in rows {
                if std::str::from_utf8(line).is_err() || std::str::from_utf8(value).is_err() {
                    say("I7 not UTF-8", line);
                }
            }
        }
        wrong
    }
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) pictures: usize,
    pub(crate) violations: Vec<String>,
    /// How often a device was seen in use, and the most processes that had one at once.
    pub(crate) held: (usize, usize),
    /// What was seen last.
    last: Snapshot,
    /// A worker among them that moves tasks in two steps.
    two_steps: Option<TwoSteps>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures, {} violations {:#?}", self.pictures, self.violations.len(), self.violations)
    }
}

impl Report {
    /// See [`Checker::know_python`].
    pub(crate) fn know_python(&mut self, worker: &str, patience: usize) {
        self.two_steps = Some(TwoSteps::new(worker, patience));
    }

    pub(crate) fn add(&mut self, picture: Snapshot, submitted: &BTreeSet<Bytes>) {
        self.pictures += 1;
        let seen = picture.violations(submitted);
        let mut wrong = match &mut self.two_steps {
            Some(two_steps) => two_steps.not_its_own(seen, &self.last, &picture),
            None => seen,
        };
        // What a gate kept from starting in both pictures, and started in between.
        for line in picture.in_progress.keys().filter(|line| self.last.waiting.contains_key(*line)) {
            if self.last.batches.keep(line) && picture.batches.keep(line) {
                wrong.push(Violation { rule: "I9 started before its gate", line: line.clone() });
            }
        }
        let limits = &picture.limits;
        for line in limits.exceeded(&picture.in_progress, &self.last.limits, &self.last.in_progress) {
            wrong.push(Violation { rule: "I11 started beyond its limit", line });
        }
        for (line, value) in &self.last.finished {
            // A result, once recorded, is nobody's to write again.
            if picture.finished.get(line).is_some_and(|now| now != value) {
                wrong.push(Violation { rule: "I4 result written twice", line: line.clone() });
            }
        }
        self.last = picture;
        self.keep(wrong.iter().map(ToString::to_string));
    }

    /// What of the devices processes hold, and which of them are held twice.
    pub(crate) fn add_held(&mut self, processes: usize, twice: Vec<String>) {
        self.held = (self.held.0 + usize::from(processes > 0), self.held.1.max(processes));
        self.keep(twice.into_iter().map(|device| format!("I12 held twice: {device}")));
    }

    fn keep(&mut self, wrong: impl Iterator<Item = String>) {
        let room = KEPT.saturating_sub(self.violations.len());
        self.violations.extend(wrong.take(room));
    }
}

/// Takes pictures in a thread until it is asked for its report.
pub(crate) struct Checker {
    is_over: Arc<AtomicBool>,
    is_paused: Arc<AtomicBool>,
    submitted: Arc<Mutex<BTreeSet<Bytes>>>,
    devices: Arc<Mutex<Option<String>>>,
    report: Arc<Mutex<Report>>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    /// On the server at this address; `lines` have been submitted already.
    pub(crate) fn start<L: AsRef<str>>(url: String, lines: impl IntoIterator<Item = L>) -> Self {
        let submitted: BTreeSet<Bytes> = lines.into_iter().map(|line| line.as_ref().as_bytes().to_vec()).collect();
        let (is_over, report) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let submitted = Arc::new(Mutex::new(submitted));
        let is_paused = Arc::new(AtomicBool::new(false));
        let paused = Arc::clone(&is_paused);
        let devices = Arc::new(Mutex::new(None));
        let watched = Arc::clone(&devices);
        let (over, kept, known) = (Arc::clone(&is_over), Arc::clone(&report), Arc::clone(&submitted));
        let thread = thread::spawn(move || {
            let mut con = None;
            while !over.load(Ordering::Relaxed) {
                if !paused.load(Ordering::Relaxed) {
                    look(&url, &mut con, &known, &kept);
                }
                look_at_devices(&watched, &kept);
                thread::sleep(PERIOD);
            }
        });
        Self { is_over, is_paused, submitted, devices, report, thread: Some(thread) }
    }

    /// More lines, acknowledged by now.
    pub(crate) fn expect<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        let mut submitted = self.submitted.lock().expect("no panic in here");
        submitted.extend(lines.into_iter().map(|line| line.as_ref().as_bytes().to_vec()));
    }

    /// A Python worker of this name takes part, which may stand between two steps of a move for so many pictures in a row.
    pub(crate) fn know_python(&self, worker: &str, patience: usize) {
        self.report.lock().expect("no panic in here").know_python(worker, patience);
    }

    /// Looks from now on for processes that hold devices whose names begin so, even while it looks away from the hashes: no loss of data excuses a device
    /// that is held twice.
    pub(crate) fn watch_devices(&self, own: &str) {
        *self.devices.lock().expect("no panic in here") = Some(own.to_owned());
    }

    /// Looks away while data is lost on purpose.
    pub(crate) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
        // A picture may be on its way.
        thread::sleep(PERIOD * 2);
    }

    /// Looks again; what results were before is forgotten, since a lost one may be made anew by another.
    pub(crate) fn resume(&self) {
        self.report.lock().expect("no panic in here").last = Snapshot::default();
        self.is_paused.store(false, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> Report {
        self.report.lock().expect("no panic in here").clone()
    }

    /// Ends it; it must have seen something, and nothing wrong.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Report {
        self.end();
        let report = self.report();
        assert!(report.pictures > 0 && report.violations.is_empty(), "{report}");
        report
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.end();
    }
}

fn look_at_devices(devices: &Mutex<Option<String>>, report: &Mutex<Report>) {
    let Some(own) = devices.lock().expect("no panic in here").clone() else { return };
    let (held, twice) = held::look(&own);
    report.lock().expect("no panic in here").add_held(held.len(), twice);
}

/// One picture, where the server lets us: it may be dead, frozen or loading.
fn look(url: &str, con: &mut Option<::redis::Connection>, submitted: &Mutex<BTreeSet<Bytes>>, report: &Mutex<Report>) {
    if con.is_none() {
        *con = ::redis::Client::open(url).ok().and_then(|client| client.get_connection().ok());
        if let Some(con) = con {
            let _ = con.set_read_timeout(Some(Duration::from_secs(1)));
        }
    }
    let Some(open) = con else { return };
    // What is submitted after the picture must not be missed in it.
    let expected = submitted.lock().expect("no panic in here").clone();
    match Snapshot::take(open) {
        Ok(picture) => report.lock().expect("no panic in here").add(picture, &expected),
        Err(_) => *con = None,
    }
}
