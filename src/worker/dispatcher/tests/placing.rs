//! Devices and cores of tasks.

use std::collections::BTreeSet;

use super::bench::{Bench, TASK};
use crate::host::gpus::Gpus;
use crate::process::{DeviceLocks, ExitStatus};
use crate::queue::session::Settlement;
use crate::worker::events::{Action, Event};
use crate::worker::node_extras::NodeExtras;
use crate::worker::placement::Placement;

/// A node of four cores, on which tasks are pinned.
fn pinning() -> Bench {
    let mut bench = Bench::new(r#"{"max_task_per_worker": 8, "task_prefetch": 24, "pin_cpus": true}"#);
    let extras = NodeExtras {
        gpus: Gpus { vendor: None, names: Vec::new(), note: None },
        cores: BTreeSet::from([0, 1, 2, 3]),
        locks: DeviceLocks::at("/nonexistent".into()),
        scratch_records: "/nonexistent".into(),
    };
    bench.dispatcher.placement = Placement::new(extras, &bench.dispatcher.config, "h", 0);
    bench.node(32);
    bench.claim();
    bench
}

#[test]
fn busy_device_returns_the_task_and_counts_no_attempt() {
    let mut bench = Bench::new("{}");
    bench.node(32);
    bench.claim();
    bench.answer(1, &[TASK]);
    let key = bench.start();
    bench.actions.clear();
    bench.event(Event::DeviceBusy { key, resource: "gpus".to_owned(), device: "0".to_owned() });
    let (settled, settle) = bench.settle();
    assert_eq!((settled, settle.record.is_none()), (key, true));
    assert!(matches!(settle.settlement, Settlement::Return), "{settle:?}");
}

#[test]
fn others_leave_the_cores_before_their_owner_starts() {
    let mut bench = pinning();
    bench.answer(1, &["shell:0:0.5:0:true"]);
    let Action::Start { key: half, placed, slot, .. } = bench.next() else { panic!("not started") };
    assert_eq!((placed.own_cores.len(), placed.shared_cores), (0, vec![0, 1, 2, 3]));
    bench.actions.clear();
    bench.event(Event::Started { key: half, keeper: 1 });
    bench.actions.clear();
    bench.answer(1, &["shell:0:2:0:true"]);
    let moved = bench.next();
    assert!(
        matches!(&moved, Action::Move { key, slot: at, cores } if (*key, *at) == (half, slot) && *cores == [2, 3]),
        "{moved:?}"
    );
    let Action::Start { key: whole, placed, .. } = bench.next() else { panic!("not started") };
    assert_eq!((placed.own_cores, placed.shared_cores.len()), (vec![0, 1], 0));
    bench.event(Event::Started { key: whole, keeper: 2 });
    bench.actions.clear();
    bench.ended(whole, ExitStatus::Exited(0), 1);
    let moves: Vec<&Action> = bench.actions.iter().filter(|action| matches!(action, Action::Move { .. })).collect();
    assert!(
        matches!(moves[..], [Action::Move { key, cores, .. }] if *key == half && *cores == [0, 1, 2, 3]),
        "{moves:?}"
    );
}

#[test]
fn pinned_tasks_do_not_wait_in_keepers() {
    let mut bench = pinning();
    let lines: Vec<String> = (0..16).map(|n| format!("shell:0:0.1:0:true # {n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for _ in 0..300 {
        bench.dispatcher.completion_rate.ended(bench.now, std::time::Duration::ZERO);
        bench.now += std::time::Duration::from_micros(333);
    }
    bench.answer(8, &lines);
    let slots: Vec<_> = std::mem::take(&mut bench.actions)
        .into_iter()
        .filter_map(|action| if let Action::Start { slot, key, .. } = action { Some((slot, key)) } else { None })
        .collect();
    for (_, key) in &slots {
        bench.event(Event::Started { key: *key, keeper: 1 });
    }
    assert_eq!(slots.len(), 8);
    assert!(!bench.actions.iter().any(|action| matches!(action, Action::Start { .. })), "{:?}", bench.actions);
}
