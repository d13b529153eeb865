//! The tasks: each appends its number to one file; some sleep, fail at first, leave daemons, print megabytes, or take what guards them away. Some have needs:
//! devices and parts of them, sums, labels, a limit of the fleet. Some are diamonds: a batch of steps that wait for each other.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::site::{Site, WITH_SSD};
use crate::faults::Dice;
use crate::support::{SOON, UniqueSleep, holds_for, unique_sleep, wait_until};

/// Tasks that wait at most: more are added when there are fewer.
const WAITING: usize = 200;

pub(super) struct Load {
    /// By number.
    pub(super) lines: Vec<String>,
    /// Tasks that fail each time.
    pub(super) hopeless: usize,
    pub(super) runs: String,
    pub(super) twice: String,
    /// Tasks that found their device taken, or were on a worker that lacks what they ask for.
    pub(super) misplaced: String,
    pub(super) mark: UniqueSleep,
    /// The number of the last task of each diamond, and its file.
    diamonds: Vec<(usize, String)>,
    locks: String,
    /// Runs that a task asks for itself, by failing at first.
    pub(super) extra: BTreeMap<String, usize>,
    pub(super) refused: usize,
    has_python: bool,
    /// Without one, who clears its environment outlives worker and keepers killed together.
    has_cgroup: bool,
}

impl Load {
    pub(super) fn new(site: &Site) -> Self {
        wait_until("the elder to start", SOON, || {
            let log = site.elder().log();
            holds_for(log.contains("containment="), log)
        });
        let locks = site.bed.out("locks");
        fs::create_dir(&locks).expect("a directory");
        Self {
            lines: Vec::new(),
            hopeless: 0,
            runs: site.bed.out("runs"),
            twice: site.bed.out("twice"),
            misplaced: site.bed.out("misplaced"),
            mark: unique_sleep(),
            diamonds: Vec::new(),
            locks,
            extra: BTreeMap::new(),
            refused: 0,
            has_python: site.has_python(),
            has_cgroup: site.elder().log().contains("containment=\"cgroup"),
        }
    }

    fn line(&mut self, dice: &mut Dice) -> String {
        if dice.roll(100) < 20 { self.line_with_needs(dice) } else { self.plain_line(dice) }
    }

    /// Each looks for itself whether it is where it should be. A lock that is named by its device is held as long as a process of the task lives.
    fn line_with_needs(&self, dice: &mut Dice) -> String {
        let at = self.lines.len();
        let (runs, misplaced, locks, mark) = (&self.runs, &self.misplaced, &self.locks, &self.mark);
        let count = format!("echo {at} >> {runs}");
        let taken = format!("echo {at} $DISTCOMP_WORKER $DISTCOMP_RESOURCE_VALUES_GPUS >> {misplaced}");
        let lock = format!("exec 9>{locks}/$DISTCOMP_RESOURCE_VALUES_GPUS; flock -n");
        let on = |is_there: bool| {
            let [there, other] = if is_there { [":", &taken] } else { [taken.as_str(), ":"] };
            format!("case $DISTCOMP_WORKER in {}) {there};; *) {other};; esac; {count}", WITH_SSD.join("|"))
        };
        let nap = format!("sleep 0.{}", 1 + dice.roll(5));
        let (needs, command) = match dice.roll(25) {
            0..4 => ("gpus=1", format!("{lock} 9 || {taken}; {count}; {nap}")),
            // A daemon has the device until it is killed with the tree.
            4..6 => ("gpus=1", format!("{lock} 9 || {taken}; {count}; (setsid sleep {mark} &); {nap}")),
            6..8 => ("gpus=0.5", format!("{lock} -s 9 || {taken}; {count}; {nap}")),
            8..10 => ("gpus=0.25", format!("{lock} -s 9 || {taken}; {count}; {nap}")),
            10..11 => ("gpus=2", format!("{count}; {nap}")),
            11..13 => ("lic=1", format!("{count}; {nap}")),
            13..14 => ("lic=2.5", count),
            14..16 => ("constraint=ssd", on(true)),
            16..17 => ("constraint=!ssd", on(false)),
            17..18 => ("constraint=nowhere|ssd,gpus=0.5,lic=0.5", on(true)),
            18..19 => ("prefer=ssd", count),
            19..20 => ("prefer=nowhere,gpus=1", format!("{lock} 9 || {taken}; {count}")),
            20..24 => ("limit=disk", format!("{count}; {nap}")),
            _ => ("gpus=0.25,limit=disk", format!("{lock} -s 9 || {taken}; {count}; {nap}")),
        };
        format!("shell,{needs}:{}:0:0:{command}", dice.roll(10))
    }

    fn plain_line(&mut self, dice: &mut Dice) -> String {
        let at = self.lines.len();
        let (runs, twice, locks, mark) = (&self.runs, &self.twice, &self.locks, &self.mark);
        let count = format!("echo {at} >> {runs}");
        let priority = dice.roll(10);
        // A lock is held while the task lives: a copy beside it finds it taken.
        let alone = format!("exec 9>{locks}/{at}; flock -n 9 || echo {at} >> {twice}; {count}");
        let command = match dice.roll(100) {
            0..60 => count,
            60..75 => format!("{alone}; sleep 0.{}", 1 + dice.roll(9)),
            75..78 => format!("{alone}; sleep {}", 1 + dice.roll(3)),
            // Python's worker waits for daemons for ever, and leaves them running.
            78..86 if self.has_python => count,
            78..86 => format!("{count}; (setsid sleep {mark} &); (sleep {mark} &)"),
            86..90 => format!("{count}; head -c 300000 /dev/zero | tr '\\000' x"),
            // Python's worker takes bytes that are no ASCII for a failure, gives up at the first one, and has no keepers.
            _ if self.has_python => count,
            90..92 => format!("{count}; head -c 2000000 /dev/urandom"),
            92..96 => {
                self.extra.insert(at.to_string(), 1);
                format!("{count}; test -e {locks}/{at} || {{ touch {locks}/{at}; exit 1; }}")
            }
            96..98 => {
                self.hopeless += 1;
                self.extra.insert(at.to_string(), 5);
                format!("{count}; exit 9")
            }
            98 => {
                self.extra.insert(at.to_string(), 1);
                format!("{count}; test -e {locks}/{at} || {{ touch {locks}/{at}; kill -9 $PPID; sleep 5; }}")
            }
            _ if self.has_cgroup => format!("{count}; trap '' TERM HUP; (env -i setsid sleep {mark} &); sleep 0.2"),
            _ => format!("{count}; trap '' TERM HUP; (setsid sleep {mark} &); sleep 0.2"),
        };
        format!("shell:{priority}:0:0:{command}")
    }

    /// One task, three and two that wait for it, and one that waits for all: each says whether what it waited for has run. The first may be Python's.
    fn add_diamond(&mut self, dice: &mut Dice) {
        let first = self.lines.len();
        let (runs, misplaced, name) = (self.runs.clone(), self.misplaced.clone(), format!("d{first}"));
        let priority = dice.roll(10);
        let mut text = format!("#DC --name {name}\n");
        let mut step = |step: &str, needs: &str, count: usize, after: std::ops::Range<usize>| {
            text.push_str(&format!("#DC --name {step}\n"));
            for _ in 0..count {
                let at = self.lines.len();
                let checks: String = after
                    .clone()
                    .map(|upstream| format!("grep -qx {upstream} {runs} || echo {at} early >> {misplaced}; "))
                    .collect();
                let line = format!("shell{needs}:{priority}:0:0:{checks}echo {at} >> {runs}");
                text.push_str(&line);
                text.push('\n');
                self.lines.push(line);
            }
        };
        step("root", "", 1, 0..0);
        let after = format!(",afterany={name}/root");
        step("left", &after, 3, first..first + 1);
        step("right", &after, 2, first..first + 1);
        let after = format!(",afterany={name}/left,afterany={name}/right");
        step("join", &after, 1, first + 1..first + 6);
        self.diamonds.push((self.lines.len() - 1, text));
    }

    /// Submits so many by the submitter itself, until it says that they are in.
    pub(super) fn add(&mut self, site: &Site, dice: &mut Dice, count: usize) {
        let first = self.lines.len();
        for _ in 0..count {
            let line = self.line(dice);
            self.lines.push(line);
        }
        let plain = self.lines.len();
        for _ in 0..1 + count / 100 {
            self.add_diamond(dice);
        }
        self.submit_lines(site, &(self.lines[first..plain].join("\n") + "\n"));
        self.submit_diamonds(site, first);
        site.checker.expect(&self.lines[first..]);
    }

    /// From this number on, again and again until it is acknowledged; twice does no harm.
    pub(super) fn submit(&mut self, site: &Site, first: usize) {
        let of_diamonds: Vec<usize> = self.diamonds.iter().flat_map(|(last, _)| last - 6..=*last).collect();
        let plain = (first..self.lines.len()).filter(|at| !of_diamonds.contains(at));
        let text: String = plain.map(|at| self.lines[at].clone() + "\n").collect();
        self.submit_lines(site, &text);
        self.submit_diamonds(site, first);
    }

    fn submit_diamonds(&mut self, site: &Site, first: usize) {
        let texts: Vec<String> =
            self.diamonds.iter().filter(|(last, _)| *last >= first).map(|(_, text)| text.clone()).collect();
        texts.iter().for_each(|text| self.submit_lines(site, text));
    }

    fn submit_lines(&mut self, site: &Site, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !site.bed.submit(&["-"], text).is(0) {
            self.refused += 1;
            assert!(Instant::now() < end, "submission is refused for ever");
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn top_up(&mut self, site: &Site, dice: &mut Dice) {
        let waiting = ["todo_tasks", "distcomp:waiting"].map(|key| site.bed.try_count(key));
        if let [Some(plain), Some(with_needs)] = waiting
            && plain + with_needs < WAITING
        {
            self.add(site, dice, WAITING);
        }
    }

    /// Waits until nothing waits and nothing runs; answers whether that came about.
    pub(super) fn wait_over(&self, site: &Site, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        while Instant::now() < end {
            let left = ["todo_tasks", "distcomp:waiting", "in_progress_tasks"].map(|key| site.bed.try_count(key));
            if left == [Some(0); 3] {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }
}
