//! What the soak found, in numbers, and whether that is good.
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::load::Load;
use super::site::{SLOTS, Site};
use crate::support::{SOON, Worker, lines_of, run_times, with_argv};

/// What the elder may hold more than after its first tasks, in KiB: recent reports, which are 2 MiB at most, and a few small ones between them and the
/// next. What large outputs took is given back at once, so that this does not grow with minutes, tasks or faults.
const SLACK_KIB: u64 = 4 * 1024;

/// What is seen when it is as it should be, or after [`SOON`] what is seen then: a busy machine lets go of things later.
fn settled<T>(mut look: impl FnMut() -> T, is_good: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + SOON;
    loop {
        let seen = look();
        if is_good(&seen) || Instant::now() > end {
            return seen;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn tell(injected: &BTreeMap<&str, usize>) {
    println!("faults injected: {}", injected.values().sum::<usize>());
    for (name, count) in injected {
        println!("    {count:4} {name}");
    }
}

/// The directory of a site whose promises were broken goes where the caller wants it.
fn keep(site: &Site) {
    if let Ok(kept) = std::env::var("SOAK_KEEP") {
        let copied = std::process::Command::new("cp").arg("-r").arg(site.bed.path()).arg(kept).status();
        println!("directory kept: {copied:?}");
    }
}

/// The promises that were broken. What is needed to find out why is said last, as only the end of a long output may be kept.
pub(super) fn judge(
    mut site: Site,
    load: Load,
    injected: &BTreeMap<&str, usize>,
    base: (u64, usize),
) -> Vec<&'static str> {
    site.calm();
    let is_over = load.wait_over(&site, Duration::from_secs(120));
    let left = site.bed.counts();
    let times = run_times(&load.runs);
    let (finished, failed) = (site.bed.table("finished_tasks"), site.bed.table("failed_tasks"));

    let recorded = |line: &String| finished.contains_key(line) || failed.contains_key(line);
    let lost: Vec<&String> = load.lines.iter().filter(|line| !recorded(line)).collect();
    let never_run = (0..load.lines.len()).filter(|at| !times.contains_key(&at.to_string())).count();
    let in_both = load.lines.iter().filter(|line| finished.contains_key(*line) && failed.contains_key(*line)).count();
    let given_up = load.lines.iter().filter(|line| failed.contains_key(*line)).count();
    let repeats: usize =
        times.iter().map(|(at, times)| times.saturating_sub(1 + load.extra.get(at).copied().unwrap_or(0))).sum();
    let beside = lines_of(&load.twice);
    let misplaced = lines_of(&load.misplaced);
    // Who cannot be heard cannot be told to stop: only after these may a task run on while another worker has it.
    let unheard = ["worker frozen", "network silent", "answers lost", "live worker declared dead", "Redis lost data"];
    let may_be_beside: usize = unheard.iter().filter_map(|name| injected.get(name)).sum::<usize>() * SLOTS;

    // Keepers may have been made anew meanwhile, one for each slot at most, and a connection may be on its way out.
    let is_back = |(memory, files): (u64, usize)| (memory <= base.0 + SLACK_KIB, files <= base.1 + SLOTS);
    let (memory, files) = settled(|| site.elder().footprint(), |now| is_back(*now) == (true, true));
    let elder_log = site.elder().log();
    let stopped = site.stop();
    let look = || {
        let of_workers = site.workers.iter().flatten().flat_map(Worker::survivors);
        with_argv(&load.mark).into_iter().chain(of_workers).map(|one| one.to_string()).collect::<Vec<_>>()
    };
    let survivors = settled(look, Vec::is_empty);
    let report = site.checker.report();
    let (memory_back, files_back) = is_back((memory, files));

    tell(injected);
    let runs: usize = times.values().sum();
    println!("tasks: {}, runs: {runs}, repeats after faults: {repeats}", load.lines.len());
    println!(
        "out of retries: {given_up} ({} of them by design); submissions repeated: {}",
        load.hopeless, load.refused
    );
    println!("losses: {} ({never_run} never ran)", lost.len());
    println!("doubles: {in_both} recorded twice; {} ran on, unheard, beside their own copy", beside.len());
    println!("pictures taken: {}, violations: {}", report.pictures, report.violations.len());
    println!(
        "devices: in use in {} pictures, by {} processes at most; {} tasks found theirs taken or were on the wrong worker",
        report.held.0,
        report.held.1,
        misplaced.len()
    );
    println!("survivors: {}", survivors.len());
    println!("the worker that was never killed: {} -> {memory} KiB, {} -> {files} descriptors", base.0, base.1);
    println!("all ended {:.1} s after SIGTERM", stopped.as_secs_f64());

    let checks = [
        ("everything came to its end", is_over),
        ("losses", lost.is_empty() && never_run == 0),
        ("doubles", in_both == 0 && beside.len() <= may_be_beside),
        ("violations", report.violations.is_empty() && report.pictures > 0),
        ("devices and labels", misplaced.is_empty() && report.held.0 > 0),
        ("survivors", survivors.is_empty()),
        ("memory", memory_back),
        ("descriptors", files_back),
        ("only the hopeless are out of retries", given_up == load.hopeless),
    ];
    let broken: Vec<&str> = checks.iter().filter(|(_, is_kept)| !is_kept).map(|(what, _)| *what).collect();
    if broken.is_empty() {
        println!("verdict: PASS");
        return broken;
    }
    println!(
        "elder:\n{elder_log}\n{left:?}\nlost: {lost:#?}\nbeside: {beside:?}\nmisplaced: {misplaced:?}\n{report}\nsurvivors: {survivors:#?}"
    );
    keep(&site);
    println!("verdict: FAIL: {}", broken.join(", "));
    broken
}
