//! Tests of the private server, with a real one.

use super::*;
use crate::local::place::directory_name;
use crate::local::socket::listener;
use crate::sys::stat::Stat;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Sends one inline command and gives back the start of the answer.
async fn ask(server: &LocalServer, command: &str) -> String {
    let mut stream = UnixStream::connect(server.socket()).await.expect("a connection");
    stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("sent");
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "still not: {what}");
        sleep(STEP).await;
    }
}

/// A state directory and a working directory.
fn dirs() -> (tempfile::TempDir, tempfile::TempDir) {
    (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"))
}

/// The processes whose parent is `pid`: of the server, its guard.
fn children_of(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |child: &u32| Stat::read(*child as i32).is_some_and(|stat| u32::try_from(stat.parent) == Ok(pid));
    pids.filter(is_child).collect()
}

#[tokio::test]
async fn data_survives_a_restart_and_is_gone_after_fresh() {
    let (state, cwd) = dirs();
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    assert!(!server.is_resumed());
    assert_eq!(ask(&server, "SET a b").await, "+OK\r\n");
    let (dir, socket) = (server.dir().to_owned(), server.socket().to_owned());
    for (option, value) in [("appendonly", "yes"), ("maxmemory-policy", "noeviction"), ("save", ""), ("port", "0")] {
        let answer = ask(&server, &format!("CONFIG GET {option}")).await;
        assert!(answer.ends_with(&format!("\r\n{value}\r\n")), "{option}: {answer}");
    }
    server.stop().await.expect("it stops");
    assert!(!socket.exists() && !dir.join("pid").exists());
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    assert!(server.is_resumed());
    assert_eq!(ask(&server, "GET a").await, "$1\r\nb\r\n");
    server.stop().await.expect("it stops");
    let server = LocalServer::start(state.path(), cwd.path(), true).await.expect("it starts");
    assert!(!server.is_resumed());
    assert_eq!(ask(&server, "GET a").await, "$-1\r\n");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn second_start_is_refused_only_in_the_same_directory() {
    let (state, cwd) = dirs();
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    let second = LocalServer::start(state.path(), cwd.path(), true).await;
    let text = second.expect_err("it is refused").to_string();
    assert!(text.contains(&format!("another run is active in {:?}", cwd.path())), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    let (_, elsewhere) = dirs();
    let other = LocalServer::start(state.path(), elsewhere.path(), false).await.expect("it starts");
    assert_eq!(ask(&server, "PING").await, "+PONG\r\n");
    other.stop().await.expect("it stops");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn only_its_user_can_reach_it_and_ctrl_c_does_not() {
    use std::os::unix::fs::PermissionsExt;
    let (state, cwd) = dirs();
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(server.socket()), 0o700);
    assert_eq!(mode(server.socket().parent().expect("a parent")), 0o700);
    assert_eq!(mode(server.dir()), 0o700);
    let pid = listener(server.socket()).await.expect("it listens");
    assert_eq!(server.identity.as_ref().map(|identity| identity.pid), Some(pid), "the child is the server itself");
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"))));
    assert_ne!(group.expect("it runs"), nix::unistd::getpgrp());
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let (state, cwd) = dirs();
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    let identity = server.identity.clone().expect("it runs");
    let guards = children_of(identity.pid);
    assert_eq!(guards.len(), 1);
    drop(server);
    assert!(!identity.is_alive());
    wait_until("the guard is gone", || ServerProcess::of(guards[0]).is_none()).await;
}

#[tokio::test]
async fn a_server_that_dies_is_noticed() {
    let (state, cwd) = dirs();
    let mut server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    assert!(server.is_running());
    server.signal(Signal::SIGKILL);
    wait_until("the death is noticed", || !server.is_running()).await;
    let text = match server.stop().await {
        Ok(()) => panic!("it did not end well"),
        Err(error) => error.to_string(),
    };
    assert!(!text.is_empty(), "{text}");
}

#[tokio::test]
async fn a_program_that_is_no_server_is_told_with_what_it_said() {
    let (state, cwd) = dirs();
    let error = LocalServer::start_program(Path::new("/bin/false"), state.path(), cwd.path(), false).await;
    assert!(matches!(error, Err(LocalError::Ended { .. })), "{error:?}");
    let error = LocalServer::start_program(Path::new("/bin/cat"), state.path(), cwd.path(), false).await;
    let text = error.expect_err("cat is no server").to_string();
    assert!(text.contains("cat: unrecognized option"), "{text}");
    // And the directory is free again.
    let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn next_run_stops_server_whose_guard_was_killed() {
    for is_recorded in [true, false] {
        let (state, cwd) = dirs();
        let mut server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
        assert_eq!(ask(&server, "SET a b").await, "+OK\r\n");
        let old = server.identity.clone().expect("it runs");
        for guard in children_of(old.pid) {
            ServerProcess::of(guard).expect("the guard runs").signal(Signal::SIGKILL);
        }
        wait_until("the guard is dead", || children_of(old.pid).iter().all(|pid| ServerProcess::of(*pid).is_none()))
            .await;
        if !is_recorded {
            fs::remove_file(server.dir().join("pid")).expect("removed");
        }
        // As if we had been killed: the lock is let go, the pipe closes, and nobody stops the server.
        let mut child = server.child.take().expect("it runs");
        drop(child.stdin.take());
        drop(server);
        assert!(old.is_alive());
        let server = LocalServer::start(state.path(), cwd.path(), false).await.expect("it starts");
        assert!(!old.is_alive());
        assert_eq!(ask(&server, "GET a").await, "$1\r\nb\r\n", "written out by the old one");
        child.wait().expect("reaped");
        server.stop().await.expect("it stops");
    }
}

/// Not a test: the process that the next one kills.
#[tokio::test]
#[ignore = "run by a_run_that_is_killed_takes_its_server_along"]
async fn hold_a_server_until_killed() {
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(state), Some(cwd)) = (dir("HOLD_STATE"), dir("HOLD_CWD")) else { return };
    let _server = LocalServer::start(&state, &cwd, false).await.expect("it starts");
    fs::write(cwd.join("ready"), "").expect("written");
    sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_run_that_is_killed_takes_its_server_along() {
    let (state, cwd) = dirs();
    let mut run = Command::new(std::env::current_exe().expect("ourselves"))
        .args(["--exact", "--ignored", "local::server::tests::hold_a_server_until_killed"])
        .env("HOLD_STATE", state.path())
        .env("HOLD_CWD", cwd.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("ourselves again");
    wait_until("the server runs", || cwd.path().join("ready").exists()).await;
    let name = directory_name(&fs::canonicalize(cwd.path()).expect("it is there"));
    let server = ServerProcess::read(&state.path().join("local").join(name).join("pid")).expect("a record");
    assert!(server.is_alive());
    run.kill().expect("killed");
    run.wait().expect("reaped");
    let killed = std::time::Instant::now();
    wait_until("the server is gone", || !server.is_alive()).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}
