//! The private server: who kills it, and what it lies on.
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Machine;
use crate::support::{SOON, Started, fill, has_small_disks, holds_for, lines_of, on_small_disk, read, wait_until};

/// Tasks that end when the gate is there, after they have said that they began.
fn gated(tasks: usize) -> String {
    let line = |n| format!("shell:0:0:1:echo {n} >> began; until [ -e gate ]; do sleep 0.05; done; echo {n} >> ran\n");
    (0..tasks).map(line).collect()
}

fn wait_began(machine: &Machine, tasks: usize) {
    let began = || lines_of(machine.path("began")).len();
    wait_until("tasks to run", SOON, || holds_for(began() >= tasks, began()));
}

fn kill9(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("killed");
}

/// Its socket, from its own command line.
fn socket(server: u32) -> String {
    let title = read(format!("/proc/{server}/cmdline"));
    let socket = title.split(['\0', ' ']).find_map(|part| part.strip_prefix("unixsocket:"));
    socket.expect("redis-server shows its socket").trim().to_owned()
}

fn wait_new_server(machine: &Machine, old: u32) -> u32 {
    wait_until("another server", SOON, || {
        let server = machine.server();
        let is_new = server != old
            && Path::new(&format!("/proc/{server}")).exists()
            && !read(format!("/proc/{server}/cmdline")).contains("sh\0");
        if is_new { Ok(server) } else { Err(server) }
    })
}

/// Does something to the server while tasks run; the run must go on to its end all the same.
fn survives(what: &str, harm: impl Fn(u32)) {
    let machine = Machine::new();
    machine.task_file(&gated(6));
    let run = machine.command(&["-j2"]).start();
    wait_began(&machine, 2);
    let score = |pid: u32| read(format!("/proc/{pid}/oom_score_adj"));
    let server = machine.server();
    assert_eq!(score(server), score(run.pid()), "the server is not a task");
    harm(server);
    let again = wait_new_server(&machine, server);
    wait_until("the same of the new one", SOON, || holds_for(score(again) == score(run.pid()), score(again)));
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(0).says(&["restarting it with its data", "the run continues"]);
    assert!(output.stdout.contains("6 tasks finished, 0 failed"), "{what}: {output}");
    let mut ran = lines_of(machine.path("ran"));
    ran.sort();
    assert_eq!(ran, ["0", "1", "2", "3", "4", "5"], "{what}: each once");
    machine.assert_alone();
}

#[test]
fn a_server_that_is_killed_is_started_again_and_the_run_goes_on() {
    survives("kill -9", kill9);
}

#[test]
fn tasks_that_a_killed_server_has_lost_are_submitted_again() {
    survives("writes lost", |server| {
        let url = format!("redis+unix://{}", socket(server));
        let client = ::redis::Client::open(url).expect("a URL");
        let mut con = client.get_connection().expect("a connection");
        // As if they had been held back until the end.
        ::redis::cmd("DEL").arg("todo_tasks").exec(&mut con).expect("DEL");
        kill9(server);
    });
}

#[test]
fn run_restarts_a_server_that_was_shut_down() {
    survives("shutdown nosave", |server| {
        let url = format!("redis+unix://{}", socket(server));
        let client = ::redis::Client::open(url).expect("a URL");
        let mut con = client.get_connection().expect("a connection");
        drop(::redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut con));
    });
}

#[test]
fn a_server_whose_socket_was_removed_is_started_again() {
    survives("socket removed", |server| fs::remove_file(socket(server)).expect("removed"));
}

#[test]
fn a_server_that_keeps_ending_ends_the_run_with_3() {
    let machine = Machine::new();
    machine.task_file(&gated(2));
    let run = machine.command(&[]).start();
    wait_began(&machine, 2);
    let (mut run, mut server) = (Some(run), machine.server());
    kill9(server);
    let output = wait_until("the run to end", Duration::from_secs(60), || {
        let now = machine.state().join("pid");
        let now = read(now).split_whitespace().next().and_then(|pid| pid.parse().ok());
        if let Some(now) = now.filter(|now| *now != server) {
            server = now;
            let _ = kill(Pid::from_raw(i32::try_from(server).expect("a pid")), Signal::SIGKILL);
        }
        let is_over = run.as_ref().is_some_and(|run| !is_running(run));
        if is_over { Ok(run.take().expect("it was there").finish()) } else { Err("it runs") }
    });
    let output = output.expect(3).says(&["redis.log", "the same command continues the run"]);
    machine.assert_alone();
    fs::write(machine.path("gate"), "").expect("the gate");
    let again = machine.run(&[]).expect(0);
    assert!(again.stdout.contains("2 tasks finished"), "{output}\n{again}");
}

fn is_running(run: &Started) -> bool {
    // Not reaped before `finish`: a zombie has ended.
    !read(format!("/proc/{}/stat", run.pid())).contains(") Z ")
}

#[test]
fn a_server_that_cannot_start_is_told_with_its_log_and_3() {
    let machine = Machine::new();
    machine.task_file("shell:0:0:1:true\n");
    machine.run(&[]).expect(0);
    let manifest = machine.state().join("appendonlydir/appendonly.aof.manifest");
    fs::write(&manifest, "nonsense\n").expect("written");
    machine.run(&[]).expect(3).says(&["redis.log", "cannot start"]);
}

#[test]
fn a_run_whose_state_is_removed_says_so_and_goes_on() {
    let machine = Machine::new();
    machine.task_file(&gated(3));
    let run = machine.command(&[]).start();
    wait_began(&machine, 3);
    fs::remove_dir_all(machine.state()).expect("removed");
    std::thread::sleep(Duration::from_secs(1));
    fs::write(machine.path("gate"), "").expect("the gate");
    let output = run.finish().expect(0).says(&["was removed: the run continues"]);
    assert!(output.stdout.contains("3 tasks finished, 0 failed"), "{output}");
    assert_eq!(machine.results("results.jsonl").len(), 3);
    machine.assert_alone();
}

/// A run whose state alone is on a small disk.
fn on_disk(machine: &Machine, mib: u32) -> Started {
    let state = machine.path("state");
    let mut all = on_small_disk(&state, mib);
    all.push(crate::support::bin("distcomp-worker").to_owned());
    all.extend(["--local", "-j2", "task"].map(str::to_owned));
    machine.cli_of("unshare").args(all).start()
}

#[test]
fn a_full_disk_is_named_and_ends_the_run_with_3() {
    if !has_small_disks() {
        return;
    }
    let machine = Machine::new();
    let line = |n| format!("shell:0:0:1:echo {n} >> ran; head -c 100000 /dev/urandom | base64\n");
    machine.task_file(&(0..200).map(line).collect::<String>());
    let run = on_disk(&machine, 3);
    let output = run.finish().expect(3).says(&["refuses writes", "is full", "free space there", "continues"]);
    let lines = output.stderr.lines().count();
    assert!(lines < 20, "a fault that lasts is not said every second: {lines} lines\n{output}");
    assert!(!lines_of(machine.path("ran")).is_empty());
    machine.assert_alone();
}

#[test]
fn two_ctrl_c_end_a_run_on_a_full_disk() {
    if !has_small_disks() {
        return;
    }
    let machine = Machine::new();
    machine.task_file(&gated(4));
    let run = on_disk(&machine, 16);
    wait_began(&machine, 2);
    let filler = fill(run.pid(), &machine.path("state"));
    fs::write(machine.path("gate"), "").expect("the gate");
    for _ in 0..2 {
        run.signal(Signal::SIGINT);
        // Two that come at once may be one.
        std::thread::sleep(Duration::from_millis(300));
    }
    wait_until("it to end", SOON, || holds_for(!is_running(&run), "it runs"));
    drop(filler);
    let output = run.finish();
    assert!(matches!(output.code, Some(130 | 3)), "{output}");
    machine.assert_alone();
}

#[test]
fn a_run_that_found_no_room_goes_on_when_there_is_some() {
    if !has_small_disks() {
        return;
    }
    let machine = Machine::new();
    let line = |n| format!("shell:0:0:1:echo {n} >> ran; head -c 100000 /dev/urandom | base64\n");
    machine.task_file(&(0..60).map(line).collect::<String>());
    let (state, worker) = (machine.path("state"), crate::support::bin("distcomp-worker"));
    // All in one mount namespace, which goes with the shell.
    let script = format!(
        "{worker} --local task; echo first $?; {worker} --local task; echo second $?; mount -o remount,size=64m {0}; \
         {worker} --local task; echo third $?",
        state.display()
    );
    let mut all = on_small_disk(&state, 2);
    all.extend(["sh", "-c", &script].map(str::to_owned));
    let output = machine.cli_of("unshare").args(all).limit(Duration::from_secs(120)).run().expect(0);
    for line in ["first 3", "second 3", "third 0", "60 tasks finished, 0 failed"] {
        assert!(output.stdout.contains(line), "no {line:?}\n{output}");
    }
}
