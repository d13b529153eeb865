//! The screens of `watch` at four sizes, and the effect of keys. `DISTCOMP_UPDATE_GOLDEN=1` writes the files under `tests/golden` anew.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::model::snapshot::{
    Awaited, BatchList, BatchState, BatchView, Counts, FailureGroup, Overview, RedisHealth, ResourceUse, RunningTask,
    WaitingGroup, WorkerExtras, WorkerLoad, WorkerState, WorkerView,
};
use crate::model::{Bytes, Demand, MilliCores, TaskId, Usage};

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
        running,
        waiting: open - running - blocked,
        blocked,
        submissions: 0,
        rate_per_second: if running > 0 { 9.1 } else { 0.0 },
        eta_seconds: (running > 0).then_some(960),
        held: None,
        by: "ann".to_owned(),
        created: 0,
        max_fails: None,
        kill_on_invalid_dep: false,
        after: Vec::new(),
    };
    let mut s2 = view("s2", BatchState::Stopped, [5000, 4700, 0, 0, 101]);
    s2.held = Some("stopped: 101 failed, --max-fails 100 \u{1b}[2J".to_owned());
    let mut report = view("report", BatchState::Blocked, [1, 1, 0, 1, 0]);
    let awaited = |name: String| Awaited {
        name: name.parse().unwrap(),
        open: 1,
        failed: 0,
        tasks: 10_101,
        submissions: 0,
        is_known: true,
        is_waived: false,
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
    WatchData { overview, failures, batches: Some(batches()), waiting, finished, clock: "12:00:05".to_owned() }
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
fn chosen_workers_resources_show_where_not_all_fit() {
    let mut watch = watching();
    watch.press(Key::Char('2'));
    // The bar above, three workers and their head, one line more, the bar below.
    let text = drawn(&mut watch, 80, 7);
    assert!(text.contains("node3") && text.contains("node1: gpus 1.5/4, scratch_gb 200/800\n1 of 3"), "{text}");
    watch.press(Key::Down);
    let text = drawn(&mut watch, 80, 7);
    assert!(text.contains("node2: lic 0/3\n2 of 3") && !text.contains("gpus"), "{text}");
    watch.press(Key::Down);
    assert!(!drawn(&mut watch, 80, 7).contains("lic"));
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
fn keys_choose_filter_open_and_leave() {
    let mut watch = watching();
    assert_eq!(watch.press(Key::Tab), KeyAction::Nothing);
    assert_eq!(watch.press(Key::Tab), KeyAction::Nothing);
    assert_eq!(watch.screen, Screen::Running);
    watch.press(Key::Char('/'));
    "node2".chars().for_each(|c| drop(watch.press(Key::Char(c))));
    assert!(drawn(&mut watch, 80, 24).contains("/node2█"));
    watch.press(Key::Enter);
    assert_eq!(watch.rows.len(), 2, "both tasks of node2");
    watch.press(Key::Down);
    watch.press(Key::Down);
    assert_eq!(watch.at, 1, "the last is the last");
    let KeyAction::Open(wanted) = watch.press(Key::Enter) else { panic!("it opens") };
    assert!(matches!(&wanted, Wanted::Task(line) if line.ends_with("input 2")), "{wanted:?}");
    assert!(drawn(&mut watch, 80, 24).contains("reading …"));
    watch.show(&Wanted::Task("another".to_owned()), "wrong".to_owned());
    watch.show(&wanted, (0..100).map(|n| format!("line {n}\n")).collect());
    watch.press(Key::End);
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("line 99") && !text.contains("wrong"), "{text}");
    assert_eq!(watch.press(Key::Esc), KeyAction::Close);
    assert_eq!(watch.press(Key::Esc), KeyAction::Nothing, "the filter goes first");
    assert_eq!(watch.rows.len(), 6);
    assert_eq!(watch.press(Key::Esc), KeyAction::Nothing, "at the top it leaves nothing");
    assert_eq!(watch.press(Key::Char('q')), KeyAction::Quit);
    assert_eq!(watch.press(Key::Interrupt), KeyAction::Interrupt);
}

#[test]
fn batches_are_listed_found_opened_and_closed() {
    let mut watch = WatchState::default();
    watch.update(WatchData { batches: None, ..data() });
    assert_eq!(watch.looked(), Looked { opened: None, list: Some(Screen::Overview) });
    watch.press(Key::Char('5'));
    assert!(watch.looked().list == Some(Screen::Batches) && drawn(&mut watch, 80, 24).contains("reading …"));
    watch.update(data());
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("and 997 more") && text.contains("1 of 4, 700 in all"), "{text}");
    // On a low screen the note of the chosen one is there.
    watch.press(Key::Down);
    watch.press(Key::Down);
    let text = drawn(&mut watch, 60, 11);
    assert!(text.contains("s2 stopped: 101 failed") && !text.contains("997"), "{text}");
    watch.press(Key::Char('/'));
    "report".chars().for_each(|c| drop(watch.press(Key::Char(c))));
    watch.press(Key::Enter);
    let KeyAction::Open(wanted) = watch.press(Key::Enter) else { panic!("it opens") };
    assert_eq!(wanted, Wanted::Batch("report".parse().unwrap()));
    assert_eq!(watch.looked(), Looked { opened: Some(wanted.clone()), list: None });
    watch.show(&wanted, "what is known\n".to_owned());
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("Batch report") && text.contains("what is known") && text.contains("Esc back"), "{text}");
    assert_eq!(watch.press(Key::Esc), KeyAction::Close);
    // What was read before stays until it is read anew.
    watch.update(WatchData { batches: None, ..data() });
    assert_eq!(watch.rows.len(), 1);
    watch.update(WatchData { batches: Some(BatchList::default()), ..data() });
    watch.press(Key::Esc);
    assert!(drawn(&mut watch, 80, 24).contains("distcomp-submit --name NAME makes one"));
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

#[test]
fn rows_are_sorted_and_the_chosen_one_stays_chosen() {
    let mut watch = watching();
    watch.press(Key::Char('3'));
    let first = |watch: &WatchState| watch.rows[0].cells.clone();
    assert_eq!(first(&watch)[3], "5 m 01 s", "the oldest is the first");
    watch.press(Key::Down);
    let chosen = watch.chosen().map(|row| row.key.clone());
    watch.press(Key::Char('S'));
    assert_eq!(first(&watch)[3], "8 s");
    assert_eq!(watch.chosen().map(|row| row.key.clone()), chosen);
    watch.press(Key::Char('s'));
    assert!(drawn(&mut watch, 80, 20).contains("left▼"));
    watch.press(Key::Char('s'));
    assert!(drawn(&mut watch, 60, 20).contains("memory▼"), "a column that sorts is never left out");
    let mut later = data();
    later.overview.workers.retain(|worker| worker.name != "node3");
    watch.update(later);
    assert_eq!(watch.chosen().map(|row| row.key.clone()), chosen);
    for _ in 0..2 {
        watch.press(Key::Char('s'));
    }
    assert!(!drawn(&mut watch, 80, 20).contains('▼'), "after the last column as they come");
}

#[test]
fn a_long_list_scrolls_a_line_at_a_time() {
    let mut watch = WatchState::default();
    let rows = (0..100).map(|n| ListedTask { id: n.to_string(), line: format!("task {n}"), ..ListedTask::default() });
    let waiting = Some(ListedTasks { rows: rows.collect(), has_more: false });
    watch.update(WatchData { waiting, ..WatchData::default() });
    watch.press(Key::Char('6'));
    let seen = |watch: &mut WatchState| -> Vec<String> {
        let text = drawn(watch, 80, 13);
        text.lines().filter_map(|line| Some(line.split_once("  task ")?.1.to_owned())).collect()
    };
    let rows = |range: std::ops::Range<u32>| -> Vec<String> { range.map(|n| n.to_string()).collect() };
    assert_eq!(seen(&mut watch), rows(0..10));
    for _ in 0..10 {
        watch.press(Key::Down);
    }
    assert_eq!(seen(&mut watch), rows(1..11));
    watch.press(Key::Up);
    assert_eq!(seen(&mut watch), rows(1..11));
    watch.press(Key::PageDown);
    assert_eq!(seen(&mut watch), rows(10..20));
    watch.press(Key::End);
    assert_eq!(seen(&mut watch), rows(90..100));
    watch.press(Key::Home);
    assert_eq!(seen(&mut watch), rows(0..10));
}

#[test]
fn the_overview_scrolls_where_it_does_not_fit() {
    let mut watch = watching();
    assert!(drawn(&mut watch, 60, 20).contains("j k scroll") && !drawn(&mut watch, 60, 20).contains("redis"));
    watch.press(Key::End);
    let text = drawn(&mut watch, 60, 20);
    assert!(text.contains("7.0.15") && text.contains("j k scroll"), "{text}");
    assert!(!drawn(&mut watch, 160, 50).contains("scroll"));
}

#[test]
fn wide_characters_do_not_shift_what_stands_behind_them() {
    let mut watch = WatchState::default();
    let mut data = data();
    for (worker, name) in data.overview.workers.iter_mut().zip(["节点一", "ノード", "node"]) {
        worker.name = name.to_owned();
    }
    watch.update(data);
    for (key, head) in [('2', "state"), ('3', "command")] {
        watch.press(Key::Char(key));
        let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
        terminal.draw(|frame| watch.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let column = |y: u16, text: &str| {
            (0..100).find(|x| {
                let symbols: String = (*x..100).filter_map(|x| buffer.cell((x, y))).map(|cell| cell.symbol()).collect();
                symbols.starts_with(text)
            })
        };
        let begins = column(1, head).expect("the heading");
        for y in 2..5 {
            assert_ne!(buffer.cell((begins, y)).map(|cell| cell.symbol()), Some(" "), "{key} {y}");
            assert_eq!(buffer.cell((begins - 1, y)).map(|cell| cell.symbol()), Some(" "), "{key} {y}");
        }
    }
}

#[test]
fn enter_does_what_the_footer_says() {
    for (key, says) in
        [('2', "Enter worker"), ('3', "Enter task"), ('4', "Enter sample"), ('5', "Enter batch"), ('6', "Enter task")]
    {
        let mut watch = watching();
        watch.press(Key::Char(key));
        let text = drawn(&mut watch, 60, 20);
        assert!(text.contains(says), "{text}");
        assert!(matches!(watch.press(Key::Enter), KeyAction::Open(_)), "{key}");
        assert!(!drawn(&mut watch, 60, 20).contains("Enter"));
    }
    let mut watch = watching();
    assert!(!drawn(&mut watch, 60, 20).contains("Enter"));
    assert_eq!(watch.press(Key::Enter), KeyAction::Nothing);
    watch.press(Key::Char('2'));
    watch.press(Key::Enter);
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("Worker node1") && text.contains("every slot is taken"), "{text}");
    watch.update(WatchData::default());
    assert!(drawn(&mut watch, 80, 24).contains("no worker node1 any more"));
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
