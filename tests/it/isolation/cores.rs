//! `pin_cpus`: a task of whole cores has them for itself, and the others share the rest.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use distcomp::policy::cores::list;
use distcomp::process::{KeeperCommand, RunSpec};
use serde_json::json;

use super::{cores_of, has_two_cores, own_cores};
use crate::keepers::{ended, keeper, marked, run, shell, start, started, text, unique, wait_for, wait_until_there};
use crate::support::{Bed, SOON, holds_for, read, result_of, wait_until};

const SHOW: &str = "grep Cpus_allowed_list /proc/self/status | cut -f2";

#[tokio::test]
async fn task_is_born_on_its_cores_and_the_next_is_not_bound_by_them() {
    let (_zygote, mut keeper) = keeper().await;
    let (all, last) = (own_cores(), own_cores().pop().unwrap());
    let cores = |cores: Vec<usize>| RunSpec { cores, ..shell(SHOW) };
    assert_eq!(text(&run(&mut keeper, 1, cores(vec![last])).await).trim(), last.to_string());
    assert_eq!(text(&run(&mut keeper, 2, cores(Vec::new())).await).trim(), list(&all));
    assert_eq!(text(&run(&mut keeper, 3, cores(all.clone())).await).trim(), list(&all));
}

#[tokio::test]
async fn running_tree_moves_to_other_cores_and_back() {
    if !has_two_cores() {
        return;
    }
    let (_zygote, mut keeper) = keeper().await;
    let mark = unique();
    let (all, first) = (own_cores(), own_cores()[0]);
    // One that has chosen a core for itself, one that has left its session.
    let command = format!("taskset -c {} sleep {mark}.1 & setsid sleep {mark}.2 & sleep {mark}.3", all[1]);
    start(&mut keeper, 1, RunSpec { cores: all.clone(), ..shell(&command) }).await;
    started(&mut keeper, 1).await;
    wait_until_there(&format!("sleep\0{mark}"), 3);
    let show = || (1..=3).map(|n| marked(&format!("sleep\0{mark}.{n}")).into_iter().map(cores_of).collect::<String>());
    let wait = |wanted: [String; 3]| {
        wait_for(Duration::from_secs(10), "the tree to move", || show().collect::<Vec<_>>(), |now| *now == wanted);
    };
    wait([list(&all[1..2]), list(&all), list(&all)]);
    keeper.send(KeeperCommand::Cores { key: 1, cores: vec![first] }).await.unwrap();
    wait([list(&[first]), list(&[first]), list(&[first])]);
    keeper.send(KeeperCommand::Cores { key: 1, cores: all.clone() }).await.unwrap();
    wait([list(&all), list(&all), list(&all)]);
    keeper.send(KeeperCommand::Cores { key: 7, cores: vec![first] }).await.unwrap();
    keeper.send(KeeperCommand::Kill { key: 1 }).await.unwrap();
    ended(&mut keeper, 1).await;
    assert_eq!(cores_of(keeper.pid()), list(&all), "of a run that is over nothing is moved");
}

/// Writes its cores and what it is told of them to a file, and ends when `go` is there.
fn waiting_task(dir: &Path, name: &str, cpu: &str) -> String {
    let dir = dir.display();
    let said = format!(
        "echo \"$({SHOW}) ${{DISTCOMP_CPU_LIST-none}} ${{OMP_NUM_THREADS-none}}\" > {dir}/{name}.new; mv {dir}/{name}.new {dir}/{name}"
    );
    format!("shell:0:{cpu}:9:{said}; echo $$ > {dir}/{name}.pid; while [ ! -e {dir}/go ]; do sleep 0.02; done; {SHOW}")
}

#[test]
fn whole_cores_are_disjoint_and_part_of_a_core_has_none_of_them() {
    if !has_two_cores() {
        return;
    }
    let bed = Bed::with(json!({"pin_cpus": true}));
    // As many tasks of one core as leave one core for the half.
    let all = own_cores();
    let count = (all.len() - 1).min(4);
    let half = waiting_task(bed.path(), "half", "0.5");
    bed.add([&half]);
    let mut worker = bed.worker_with("w", json!({}), &[]);
    bed.wait_running(&half);
    let file = |name: &str| bed.path().join(name);
    wait_until("the half to say its cores", SOON, || holds_for(file("half.pid").exists(), String::new()));
    assert_eq!(read(file("half")).trim(), format!("{} none none", list(&all)), "it has none for itself");
    bed.add((0..count).map(|n| waiting_task(bed.path(), &n.to_string(), "1")));
    wait_until("all to run", SOON, || {
        let there = (0..count).filter(|n| file(&format!("{n}.pid")).exists()).count();
        holds_for(there == count, format!("{there}\n{}", worker.log()))
    });
    let mut taken = BTreeSet::new();
    for n in 0..count {
        let said = read(file(&n.to_string()));
        let [cores, told, threads] = said.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert_eq!((cores, threads), (told, "1"), "{said}");
        assert!(taken.insert(cores.parse::<usize>().unwrap()), "a core is with two tasks: {cores}");
    }
    let rest: Vec<usize> = all.iter().copied().filter(|core| !taken.contains(core)).collect();
    let pid = read(file("half.pid"));
    wait_until("the half to have left their cores", SOON, || {
        let now = cores_of(pid.trim());
        holds_for(now == list(&rest), now)
    });
    fs::write(file("go"), "").unwrap();
    bed.wait_counts(SOON, [0, 0, count + 1, 0]);
    // What is on nobody's own core any more belongs to all again.
    let (_, after) = result_of(&bed.table("finished_tasks"), &half);
    assert!([list(&rest), list(&all)].contains(&after) || after.contains(&list(&rest)), "{after}");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn cores_are_given_back_when_tasks_end_in_any_way() {
    let bed = Bed::with(json!({"pin_cpus": true, "task_kill_grace_seconds": 0.1}));
    let all = list(&own_cores());
    let count = own_cores().len();
    let mut lines: Vec<String> = Vec::new();
    for n in 0..6 {
        lines.push(format!("shell:0:{count}:9:true # {n}"));
        lines.push(format!("shell:0:{count}:9:exit 3 # {n}"));
        lines.push(format!("shell:0:{count}:9:kill -9 $PPID; sleep 9 # {n}"));
    }
    lines.push(format!("shell:0:{count}:9:1:sleep 30"));
    let last = format!("shell:0:{count}:1:{SHOW}; echo $DISTCOMP_CPU_LIST");
    lines.push(last.clone());
    bed.add(&lines);
    let mut worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(60), [0, 0, 7, 13]);
    assert_eq!(result_of(&bed.table("finished_tasks"), &last).1, format!("{all}\n{all}"), "all of them are free again");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn nobody_is_pinned_unless_the_key_says_so() {
    let bed = Bed::with(json!({}));
    let line = format!("shell:0:1:9:{SHOW}; echo ${{DISTCOMP_CPU_LIST-none}}");
    bed.add([&line]);
    bed.burst("w");
    assert_eq!(result_of(&bed.table("finished_tasks"), &line).1, format!("{}\nnone", list(&own_cores())));
}
