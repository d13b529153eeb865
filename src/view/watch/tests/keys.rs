//! What keys do.

use super::*;
use crate::view::output_event::OutputEvent;

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

#[test]
fn changes_are_asked_for_and_only_y_is_yes() {
    let named = |line: &str| Chosen::Task(line.to_owned());
    for (key, change, asks, wanted) in [
        ('3', 'c', "Cancel this task?", Order::Cancel(named("shell:8:2:5:300:./cachesim trace.bin 64 3"))),
        ('4', 'r', "Requeue 1,204 tasks", Order::Requeue(Chosen::Kind("exit 3".to_owned(), 1204))),
        (
            '5',
            'c',
            "Cancel what waits and runs of batch report?",
            Order::Cancel(Chosen::Batch("report".parse().unwrap())),
        ),
        ('5', 'p', "Pause batch report?", Order::Pause(Some("report".parse().unwrap()))),
        ('2', 'p', "Pause the queue? 20,124 tasks wait, 147 in", Order::Pause(None)),
    ] {
        let mut watch = watching();
        watch.press(Key::Char(key));
        assert_eq!(watch.press(Key::Char(change)), KeyAction::Nothing);
        let text = drawn(&mut watch, 60, 20);
        assert!(watch.is_asking() && text.contains(asks) && text.contains("y: yes"), "{text}");
        for other in [Key::Enter, Key::Char('n'), Key::Esc, Key::Char('q'), Key::Char(' ')] {
            assert_eq!(watch.press(other), KeyAction::Nothing, "{other:?}");
            assert!(!watch.is_asking() && drawn(&mut watch, 60, 20).contains("nothing was changed"));
            watch.press(Key::Char(change));
        }
        assert_eq!(watch.press(Key::Char('y')), KeyAction::Do(wanted));
        watch.tell("settled \u{1b}[2J".to_owned());
        assert!(drawn(&mut watch, 60, 20).contains("settled \\x1b[2J"));
        watch.press(Key::Down);
        assert!(!drawn(&mut watch, 60, 20).contains("settled"));
    }
    let mut watch = watching();
    watch.press(Key::Char('r'));
    assert!(!watch.is_asking() && drawn(&mut watch, 60, 20).contains("choose a task"));
    watch.refuse("This Redis user may not write. ".repeat(60));
    let text = drawn(&mut watch, 60, 20);
    assert!(text.contains("Not done") && text.contains("any key closes"), "{text}");
    assert_eq!(watch.press(Key::Char('y')), KeyAction::Nothing);
    assert!(!drawn(&mut watch, 60, 20).contains("Not done"));
}

#[test]
fn p_resumes_what_is_paused() {
    let mut data = data();
    data.overview.paused = Some("ann".to_owned());
    let mut watch = WatchState::default();
    watch.update(data);
    watch.press(Key::Char('p'));
    assert_eq!(watch.press(Key::Char('y')), KeyAction::Do(Order::Resume(None)));
    for key in [Key::Char('5'), Key::Down, Key::Down, Key::Char('p')] {
        watch.press(key);
    }
    assert_eq!(watch.press(Key::Char('y')), KeyAction::Do(Order::Resume(Some("s2".parse().unwrap()))));
}

#[test]
fn an_id_opens_its_task_and_other_text_filters() {
    let mut watch = watching();
    let search = |watch: &mut WatchState, text: &str| {
        watch.press(Key::Char('/'));
        text.chars().for_each(|c| drop(watch.press(Key::Char(c))));
        watch.press(Key::Enter)
    };
    assert_eq!(search(&mut watch, "2a9eddb6"), KeyAction::Find("2a9eddb6".to_owned()));
    watch.press(Key::Char('3'));
    assert_eq!(search(&mut watch, "2a9e"), KeyAction::Nothing, "a row has it");
    assert_eq!(watch.rows.len(), 1);
    watch.press(Key::Esc);
    assert_eq!(search(&mut watch, "ffffff"), KeyAction::Find("ffffff".to_owned()));
    assert_eq!(watch.rows.len(), 6, "the filter is gone");
    assert_eq!(search(&mut watch, "CACHESIM"), KeyAction::Nothing);
    assert_eq!(watch.rows.len(), 3, "in capitals or not");
    watch.press(Key::Esc);
    assert_eq!(search(&mut watch, "re:CACHE(sim|x)"), KeyAction::Nothing);
    assert_eq!(watch.rows.len(), 3, "by a regular expression");
    watch.press(Key::Esc);
    watch.press(Key::Char('/'));
    "re:(cache".chars().for_each(|c| drop(watch.press(Key::Char(c))));
    assert_eq!(watch.rows.len(), 6, "what is no expression yet leaves nothing out");
    assert!(watch.bottom_line(100).contains("no regular expression: unclosed group"), "{}", watch.bottom_line(100));
    watch.press(Key::Esc);
    watch.press(Key::Char('1'));
    search(&mut watch, "encode");
    assert_eq!((watch.screen, watch.rows.len()), (Screen::Running, 3));
}

#[test]
fn v_shows_what_was_printed_with_its_escapes() {
    let mut watch = watching();
    watch.press(Key::Char('3'));
    watch.press(Key::Enter);
    let wanted = watch.opened().unwrap().clone();
    watch.show(&wanted, "what is known\n".to_owned());
    watch.print(Some(OutputEvent::Output {
        is_stderr: false,
        skipped: 0,
        bytes: b"10 %\r20 %\n\x1b[32mgreen\x1b[0m\n".to_vec(),
    }));
    let text = drawn(&mut watch, 80, 24);
    assert!(!text.contains("10 %") && text.contains("\n20 %\ngreen\n") && text.contains("v raw"), "{text}");
    watch.press(Key::Char('v'));
    assert!(watch.looked().is_raw);
    let text = drawn(&mut watch, 80, 24);
    assert!(text.contains("10 %\n20 %\n\\x1b[32mgreen\\x1b[0m") && text.contains("v colours"), "{text}");
}
