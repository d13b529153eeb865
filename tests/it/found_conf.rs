//! A `conf.json` that nobody has named: used only if nobody but this user and root can have put it there.
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Bed, Cli, Output, SOON, bin, holds_for, wait_until};

/// Somebody without rights.
const NOBODY: u32 = 65_534;

/// Each program with arguments that make it connect.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("distcomp-worker", &["--check"]),
    ("distcomp-submit", &["-"]),
    ("distcomp-status", &[]),
    ("distcomp-ctl", &["pause", "--yes"]),
];

fn own(path: &Path, uid: u32, mode: u32) {
    chown(path, Some(uid), Some(uid)).expect("another owner");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A directory below the bed's with a `conf.json` in it.
fn place(bed: &Bed, name: &str, conf: &serde_json::Value) -> PathBuf {
    fs::set_permissions(bed.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let place = bed.path().join(name);
    fs::create_dir(&place).expect("a directory");
    fs::write(place.join("conf.json"), conf.to_string()).expect("written");
    place
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The overview as this user, with no file named.
fn look(place: &Path, uid: u32) -> Output {
    let status = bin("distcomp-status");
    let user = [format!("--reuid={uid}"), format!("--regid={uid}")];
    Cli::new("setpriv").args(user).args(["--clear-groups", status]).dir(place).run()
}

#[test]
fn somebody_elses_file_gets_no_password_and_no_connection() {
    if !is_root() {
        return; // Only root can give a file away.
    }
    let bed = Bed::new();
    let spy = TcpListener::bind("127.0.0.1:0").expect("a port");
    spy.set_nonblocking(true).expect("without waiting");
    let port = spy.local_addr().expect("an address").port();
    let secret = bed.file("secret", "of-root-alone");
    let conf = json!({"redis_host": "127.0.0.1", "redis_port": port, "redis_pass_file": secret});
    let place = place(&bed, "his", &conf);
    own(&place.join("conf.json"), NOBODY, 0o644);
    own(&place, NOBODY, 0o755);
    for (program, args) in COMMANDS {
        let run = |named: &[&str]| {
            let run = Cli::new(bin(program)).args(named).args(args).dir(&place);
            run.env("DISTCOMP_REDIS_PASSWORD", "of-the-environment").env("XDG_STATE_HOME", bed.path())
        };
        let output = run(&[]).run().expect(2).says(&[
            "conf.json",
            "belongs to the user with number 65534",
            "--config conf.json",
        ]);
        assert!(spy.accept().is_err(), "{program} has connected: {output}");
        assert!(!output.all().contains("of-root-alone"), "{output}");
    }
    // Named, it is used: by a flag and by the variable.
    for named in [Some("conf.json"), None] {
        let run = Cli::new(bin("distcomp-status")).args(named.map(|name| format!("--config={name}"))).dir(&place);
        let started = if named.is_none() { run.env("DISTCOMP_CONFIG", "conf.json") } else { run }.start();
        wait_until("a connection", SOON, || holds_for(spy.accept().is_ok(), "none"));
        started.signal(nix::sys::signal::Signal::SIGKILL);
        drop(started.finish());
    }
}

#[test]
fn a_file_that_only_its_user_and_root_can_change_is_used() {
    if !is_root() {
        return; // Only root can give a file away.
    }
    let bed = Bed::new();
    let conf = json!({"redis_url": bed.redis.url(), "task_field_order": "mem:cpu:prio"});
    let socket = bed.redis.socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("chmod");
    for parent in socket.ancestors().skip(1).take_while(|parent| *parent != Path::new("/tmp")) {
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    for (name, dir, file, code) in [
        ("mine", (NOBODY, 0o755), (NOBODY, 0o600), 0),
        ("of my group", (NOBODY, 0o775), (NOBODY, 0o664), 0),
        ("of root", (0, 0o755), (0, 0o644), 0),
        ("mine in a sticky directory", (0, 0o1777), (NOBODY, 0o600), 0),
        ("another's in a sticky directory", (0, 0o1777), (1234, 0o644), 2),
        ("open to all", (NOBODY, 0o755), (NOBODY, 0o666), 2),
        ("in a directory that is open to all", (NOBODY, 0o777), (NOBODY, 0o644), 2),
        ("of root in another's directory", (1234, 0o755), (0, 0o644), 2),
    ] {
        let place = place(&bed, name, &conf);
        own(&place.join("conf.json"), file.0, file.1);
        own(&place, dir.0, dir.1);
        let output = look(&place, NOBODY);
        assert!(output.is(code), "{name}: {output}");
        if code == 2 {
            output.says(&["--config conf.json, if you trust it"]);
        }
    }
}

#[test]
fn a_file_that_was_found_is_not_taken_from_another_later() {
    if !is_root() {
        return; // Only root can give a file away.
    }
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    let text = fs::read_to_string(bed.conf_path()).expect("conf.json");
    let place = place(&bed, "shared", &json!({}));
    own(&place, 0, 0o1777);
    let path = place.join("conf.json");
    fs::write(&path, &text).expect("written");
    own(&path, 0, 0o600);
    let worker = Cli::new(bin("distcomp-worker")).args(["--name", "w"]).dir(&place).env("XDG_STATE_HOME", bed.path());
    let started = worker.start();
    bed.wait_alive("w");
    fs::write(place.join("new"), text.replace("\"max_task_per_worker\": 1", "\"max_task_per_worker\": 7"))
        .expect("written");
    own(&place.join("new"), NOBODY, 0o644);
    fs::rename(place.join("new"), &path).expect("in its place");
    bed.add((0..3).map(|at| format!("shell:0:0:1:sleep 300.{at}")));
    started.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("one task to run", SOON, || {
        let seen = bed.count("in_progress_tasks");
        holds_for(seen == 1, seen)
    });
    started.signal(nix::sys::signal::Signal::SIGTERM);
    started.signal(nix::sys::signal::Signal::SIGTERM);
    let output = started.finish();
    assert!(output.stderr.contains("belongs to the user with number 65534"), "{output}");
    assert!(!output.stderr.contains("configuration changed"), "{output}");
}
