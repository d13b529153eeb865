//! Lists: their order, their place, their widths.

use super::*;

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
fn batches_are_listed_found_opened_and_closed() {
    let mut watch = WatchState::default();
    watch.update(WatchData { batches: None, ..data() });
    assert_eq!(watch.looked(), Looked { list: Some(Screen::Overview), ..Looked::default() });
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
    assert_eq!(watch.looked(), Looked { opened: Some(wanted.clone()), ..Looked::default() });
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
                let symbols: String =
                    (*x..100).filter_map(|x| buffer.cell((x, y))).map(ratatui::buffer::Cell::symbol).collect();
                symbols.starts_with(text)
            })
        };
        let begins = column(1, head).expect("the heading");
        for y in 2..5 {
            assert_ne!(buffer.cell((begins, y)).map(ratatui::buffer::Cell::symbol), Some(" "), "{key} {y}");
            assert_eq!(buffer.cell((begins - 1, y)).map(ratatui::buffer::Cell::symbol), Some(" "), "{key} {y}");
        }
    }
}

#[test]
fn lines_that_a_heartbeat_cuts_are_shown_to_their_end() {
    let mut data = data();
    let long = |n: u32| format!("shell:1:1:1:{} --seed {n}", "x".repeat(300));
    data.overview.workers.truncate(1);
    let tasks: Vec<_> = (1..=2)
        .map(|n| RunningTask {
            id: TaskId::of(&long(n)).to_string(),
            line: long(n).chars().take(200).collect(),
            ..RunningTask::default()
        })
        .collect();
    data.overview.workers[0].load.as_mut().unwrap().tasks = tasks;
    data.lines = (1..=2).map(|n| (TaskId::of(&long(n)).to_string(), long(n))).collect();
    let mut watch = WatchState::default();
    watch.update(data);
    watch.press(Key::Char('3'));
    let text = drawn(&mut watch, 60, 20);
    assert!(text.contains("…1\n") && text.contains("…2\n"), "{text}");
    let KeyAction::Open(Wanted::Task(line)) = watch.press(Key::Enter) else { panic!("it opens") };
    assert!(line == long(1) || line == long(2));
}
