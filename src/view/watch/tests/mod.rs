//! The screens of `watch` at four sizes, and the effect of keys. `DISTCOMP_UPDATE_GOLDEN=1` writes the files under `tests/golden` anew.

mod keys;
mod lists;

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::model::snapshot::{
    Awaited, BatchList, BatchState, BatchView, Counts, FailureGroup, Overview, RedisHealth, ResourceUse, RunningTask,
    WaitingGroup, WorkerExtras, WorkerLoad, WorkerState, WorkerView,
};
use crate::model::{BatchHold, Bytes, Demand, MilliCores, TaskId, Usage};

fn worker(number: u64) -> WorkerView {
    let task = |seconds: u64, limit, mem_bytes, cmd: &str| {
        let line = format!("shell:8:2:5:{limit}:{cmd} {number}");
        RunningTask { id: TaskId::of(&line).to_string(), line, attempt: 1, seconds, limit, mem_bytes }
    };
    let of = |used, total| ResourceUse { used, total };
    let resources = match number {
        1 => [("gpus".to_owned(), of(1.5, 4.0)), ("scratch_gb".to_owned(), of(200.0, 800.0))].into(),
        2 => [("lic".to_owned(), of(0.0, 3.0))].into(),
        _ => std::collections::BTreeMap::new(),
    };
    WorkerView {
        name: format!("node{number}"),
        state: if number == 3 { WorkerState::Draining } else { WorkerState::Live },
        heartbeat_age_seconds: Some(1),
        usage: Usage::of_status(&format!("{}:16:{}:84", 3.5 * number as f64, 20.25 * number as f64)),
        is_python: false,
        finished: 460 * number,
        is_estimate: false,
        failed: 11 * number,
        returned: 2,
        timed_out: number,
        extras: WorkerExtras { resources, ..WorkerExtras::default() },
        load: Some(WorkerLoad {
            running: 16,
            slots: 16,
            waiting: Some("every slot is taken".to_owned()),
            tasks: vec![
                task(100 * number, 300, 3 << 30, "./cachesim trace.bin 64"),
                task(7, 0, 0, "./encode --two-pass 'a \u{1b}[31mred' input"),
            ],
            ..WorkerLoad::default()
        }),
        process: None,
    }
}

fn batches() -> BatchList {
    let view = |name: &str, state, [tasks, open, running, blocked, failed]: [u64; 5]| BatchView {
        name: name.parse().unwrap(),
        state,
        tasks,
        open,
        finished: tasks - open - failed,
        failed,
        cancelled: 0,
        running,
        waiting: open - running - blocked,
        blocked,
        aside: 0,
        starts_at: None,
        submissions: 0,
        rate_per_second: if running > 0 { 9.1 } else { 0.0 },
        eta_seconds: (running > 0).then_some(960),
        held: None,
        released: None,
        by: "ann".to_owned(),
        created: 0,
        max_fails: None,
        kill_on_invalid_dep: false,
        after: Vec::new(),
    };
    let mut s2 = view("s2", BatchState::Stopped, [5000, 4700, 0, 0, 101]);
    s2.held = Some(BatchHold::Stopped("101 failed, --max-fails 100 \u{1b}[2J".to_owned()));
    let mut report = view("report", BatchState::Blocked, [1, 1, 0, 1, 0]);
    let awaited = |name: String| Awaited {
        name: name.parse().unwrap(),
        open: 1,
        failed: 0,
        cancelled: 0,
        gone: 0,
        tasks: 10_101,
        submissions: 0,
        is_known: true,
        is_waived: false,
        held: None,
    };
    report.after = (1..=1000).map(|n| awaited(format!("s1/{n}"))).collect();
    let s1 = view("s1", BatchState::Running, [10_101, 8864, 64, 6800, 3]);
    BatchList { batches: vec![report, s1, s2, view("s3", BatchState::Finished, [7, 0, 0, 0, 0])], known: 700 }
}

fn data() -> WatchData {
    let group = |kind: &str, count, reason: &str| FailureGroup {
        kind: kind.to_owned(),
        count,
        workers: Vec::new(),
        sample: format!("shell:8:2:5:./cachesim {kind}"),
        reason: reason.to_owned(),
    };
    let failures = vec![
        group("exit 3", 1204, "exit 3: one\nno such trace: /data/trace.bin"),
        group("timed out", 9, "timed out after 300 s"),
    ];
    let overview = Overview {
        counts: Counts { todo: 20_124, in_progress: 147, finished: 13_900, failed: 1196, ..Counts::default() },
        workers: (1..=3).map(worker).collect(),
        rate_per_second: 12.5,
        eta_seconds: Some(1622),
        failures: failures.clone(),
        needs: vec![WaitingGroup {
            needs: String::new(),
            demand: Demand::NONE.with_mem(Bytes(96 << 30)).with_cpu(MilliCores::CORE),
            failed_on: Vec::new(),
            waiting: 8,
        }],
        redis: RedisHealth {
            version: "7.0.15".to_owned(),
            used_memory: 90 << 20,
            max_memory: 100 << 20,
            eviction_policy: "noeviction".to_owned(),
            append_only: true,
            clients: 7,
            ..RedisHealth::default()
        },
        now: 1_000_000,
        ..Overview::default()
    };
    let [waiting, finished] = listed().map(Some);
    WatchData {
        overview,
        failures,
        batches: Some(batches()),
        waiting,
        finished,
        clock: "12:00:05".to_owned(),
        ..WatchData::default()
    }
}

/// What waits and what has finished: names of nodes and commands are long, and differ at their ends.
fn listed() -> [ListedTasks; 2] {
    let task = |n: u32| ListedTask {
        id: format!("{n:08x}00000000"),
        line: format!("shell:8:2:5:./cachesim --config /data/experiments/2026/conf.json --trace /data/t{n}.bin"),
        ..ListedTask::default()
    };
    let waiting =
        |n: u32| ListedTask { prio: Some(5), demand: Some([f64::from(n), 0.5]), failures: n as usize % 2, ..task(n) };
    let finished = |n: u32| ListedTask {
        worker: Some(format!("rack{n}-node-with-a-long-name-0{n}.cluster.example.org")),
        ended: Some(1_000_000.0 - f64::from(n * 50)),
        took: Some(f64::from(n) * 1.5),
        peak: Some(u64::from(n) << 28),
        ..task(n)
    };
    let all = |row: &dyn Fn(u32) -> ListedTask| ListedTasks { rows: (1..=4).map(row).collect(), has_more: true };
    [all(&waiting), all(&finished)]
}

/// The screen as text, without blanks at the ends of lines.
fn drawn(watch: &mut WatchState, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| watch.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let row: String = (0..width).filter_map(|x| buffer.cell((x, y))).map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("DISTCOMP_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{} has changed (DISTCOMP_UPDATE_GOLDEN=1 accepts it):\n{text}", path.display());
}

fn watching() -> WatchState {
    let mut watch = WatchState::default();
    watch.update(data());
    watch
}

#[test]
fn every_screen_at_four_sizes() {
    for (width, height) in [(60, 20), (80, 24), (140, 30), (160, 50)] {
        let mut watch = watching();
        for (digit, name) in [
            ('1', "overview"),
            ('2', "workers"),
            ('3', "running"),
            ('4', "failures"),
            ('5', "batches"),
            ('6', "waiting"),
            ('7', "finished"),
        ] {
            watch.press(Key::Char(digit));
            let text = drawn(&mut watch, width, height);
            golden(&format!("watch_{name}_{width}.txt"), &text);
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        watch.press(Key::Char('?'));
        golden(&format!("watch_help_{width}.txt"), &drawn(&mut watch, width, height));
    }
}

#[test]
fn an_outage_is_a_banner_over_the_old_figures() {
    let mut watch = watching();
    watch.fail(" Redis is away for 12 s: could not reach it".to_owned());
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("Redis is away for 12 s") && text.contains("20124 todo tasks"), "{text}");
    watch.update(data());
    assert!(!drawn(&mut watch, 80, 24).contains("away"));
}

#[test]
fn any_size_and_any_state_can_be_drawn() {
    for (width, height) in [(1, 1), (3, 2), (20, 3), (40, 10), (300, 100)] {
        let mut watch = WatchState::default();
        drawn(&mut watch, width, height);
        watch.update(data());
        watch.fail("away".to_owned());
        for key in ['1', '2', '3', '4', '5', '6', '7', '?', 's', 'S', 'G'] {
            watch.press(Key::Char(key));
            drawn(&mut watch, width, height);
            watch.press(Key::PageDown);
        }
        watch.update(WatchData::default());
        drawn(&mut watch, width, height);
    }
}

/// Runs only when the test below starts it on a terminal.
#[test]
fn panics_when_it_is_asked_to() {
    if std::env::var_os("DISTCOMP_TEST_PANIC").is_some() {
        let mut terminal = super::terminal::Terminal::open().unwrap();
        terminal.draw(&mut watching()).unwrap();
        panic!("asked to");
    }
}

#[test]
fn a_panic_leaves_the_terminal_clean() {
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "stty rows 24 cols 80; stty -g; DISTCOMP_TEST_PANIC=1 {} view::watch::tests::panics_when_it_is_asked_to --exact --nocapture; stty -g; echo all over",
        exe.display()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("TERM", "xterm");
    let mut session = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    let all = session.exp_string("all over").unwrap();
    let enter = all.find("\u{1b}[?1049h").expect("the other screen");
    let leave = all.find("\u{1b}[?1049l").expect("the old one again");
    let message = all.find("asked to").expect("the message of the panic");
    assert!(enter < leave && leave < message, "{all:?}");
    assert!(all.rfind("\u{1b}[?25h") > all.rfind("\u{1b}[?25l"), "the cursor is there: {all:?}");
    let settings = all.split("\r\n").next().unwrap();
    assert_eq!(all.matches(settings).count(), 2, "the same settings before and after: {all:?}");
}
