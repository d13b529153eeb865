//! `example/redis/make-secrets.sh`, and the server and configurations that it makes, used as its last lines say.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Bed, Cli, Output, Redis, SOON, ServerOptions, free_port, read, server_program, wait_until};

fn make(args: &[&str]) -> Output {
    Cli::new(concat!(env!("CARGO_MANIFEST_DIR"), "/example/redis/make-secrets.sh")).args(args).run()
}

fn place() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dc-secrets-").tempdir_in("/tmp").expect("a directory in /tmp")
}

/// The server that the script's own `redis.conf` describes, on another port.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let port = free_port();
        let log = fs::File::create(dir.join("log")).expect("a log");
        let child = Command::new(server_program())
            .arg(dir.join("redis.conf"))
            .args(["--bind", "127.0.0.1", "--tls-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("redis-server runs");
        wait_until("the server to be ready", SOON, || {
            let log = read(dir.join("log"));
            if log.contains("Ready to accept connections") { Ok(()) } else { Err(log) }
        });
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bed of a command's user, with what the script wrote for it.
fn bed_of(dir: &Path, user: &str, port: u16) -> Bed {
    let text = read(dir.join(format!("conf.{user}.json")));
    let mut conf: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    conf["redis_port"] = json!(port);
    conf["redis_url"] = Value::Null;
    Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), conf)
}

#[test]
fn what_it_makes_is_a_server_and_four_users_that_work_together() {
    let place = place();
    let dir = place.path().join("secrets");
    make(&["--prefix", "{site-a}:", &dir.display().to_string(), "127.0.0.1", "localhost"]).expect(0);
    let server = Server::start(&dir);
    let bed = |user: &str| bed_of(&dir, user, server.port);
    let (worker, submitter, viewer, operator) = (bed("worker"), bed("submitter"), bed("viewer"), bed("operator"));
    submitter.add(["shell:0:0:1:echo one", "shell:0:0:1:exit 3"]);
    worker.burst("w");
    viewer.status(&[]).expect(0).prints_line("0 todo tasks, 0 in_progress tasks, 1 finished tasks, 1 failed tasks");
    operator.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    worker.cli("distcomp-worker").args(["--check"]).run().expect(0);
    // Each is what it is named: the viewer cannot submit, and the submitter cannot change.
    viewer.submit(&["-"], "shell:0:0:1:true\n").expect(3).says(&["\"viewer\"", "INCRBY"]);
    submitter.ctl(&["purge", "--state", "finished", "--yes"]).expect(3).says(&["\"submitter\""]);
    // A certificate alone is not enough, and neither is a password of another.
    let mut other = bed("worker");
    other.configure(json!({"redis_pass_file": dir.join("viewer.pass")}));
    other.status(&[]).expect(3).says(&["authenticate"]);
}

#[test]
fn secrets_are_private_and_printed_nowhere() {
    let place = place();
    let dir = place.path().join("secrets");
    let output = make(&[&dir.display().to_string(), "node0.example", "10.0.0.5", "fe80::1"]).expect(0);
    assert_eq!(fs::metadata(&dir).expect("it").permissions().mode() & 0o777, 0o700);
    let acl = read(dir.join("users.acl"));
    for user in ["worker", "submitter", "operator", "viewer", "dashboard"] {
        let password = read(dir.join(format!("{user}.pass"))).trim().to_owned();
        assert!(password.len() >= 32, "{user}");
        assert!(!output.all().contains(&password) && !acl.contains(&password), "{user}");
        let hash: String = Sha256::digest(password.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let line = acl.lines().find(|line| line.starts_with(&format!("user {user} "))).expect("its line");
        assert!(line.contains(&format!(" #{hash} ")), "{line}");
    }
    for entry in fs::read_dir(&dir).expect("it").flatten().filter(|entry| entry.path().is_file()) {
        assert_eq!(entry.metadata().expect("it").permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let text = |args: &str| {
        let shown = Command::new("openssl").current_dir(&dir).args(args.split(' ')).output().expect("openssl runs");
        format!("{}{}", String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr))
    };
    let names = text("x509 -in server.crt -noout -ext subjectAltName");
    for name in ["DNS:node0.example", "IP Address:10.0.0.5", "IP Address:FE80:0:0:0:0:0:0:1"] {
        assert!(names.contains(name), "{names}");
    }
    let verified = text("verify -CAfile ca.crt server.crt client.crt");
    assert!(verified.contains("server.crt: OK") && verified.contains("client.crt: OK"), "{verified}");
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .expect("it")
        .flatten()
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap_or_default()))
        .collect();
    all.sort();
    all
}

#[test]
fn nothing_is_ever_overwritten_and_a_failure_leaves_nothing() {
    let place = place();
    let dir = place.path().join("secrets");
    let shown = dir.display().to_string();
    make(&[&shown]).expect(0);
    let before = contents(&dir);
    make(&[&shown]).expect(2).says(&["not empty", "nothing is overwritten"]);
    assert_eq!(contents(&dir), before);
    let new = place.path().join("new").display().to_string();
    for bad in [
        &["--prefix", "a b", &new][..],
        &["--prefix", "a(b", &new],
        &["--days", "x", &new],
        &["--days"],
        &["--nonsense", &new],
        &[&new, "no host"],
        &[&new, ""],
        &[""],
        &[],
    ] {
        make(bad).expect(2);
    }
    assert_eq!(contents(place.path()).len(), 1, "nothing but the first: {:?}", contents(place.path()));
    // An empty directory is as good as none.
    fs::create_dir(&new).expect("made");
    make(&[&new]).expect(0);
    assert!(Path::new(&new).join("redis.conf").is_file());
}

/// The configuration of the README's own server, word by word: what it promises about data and doors.
#[test]
fn the_configuration_of_the_server_keeps_what_it_says() {
    let place = place();
    let dir = place.path().join("secrets");
    make(&[&dir.display().to_string(), "127.0.0.1"]).expect(0);
    let text = read(dir.join("redis.conf"));
    assert!(!text.contains("/etc/distcomp-redis/") && text.contains(&dir.display().to_string()), "{text}");
    let server = Server::start(&dir);
    let bed = bed_of(&dir, "viewer", server.port);
    let overview = bed.status(&["--json"]).expect(0).json();
    assert_eq!(overview["redis"]["append_only"], json!(true), "{overview}");
    assert_eq!(overview["redis"]["eviction_policy"], json!("noeviction"), "{overview}");
    // No door without TLS, no default user behind the one with it.
    bed.cli("distcomp-status").args(["--redis-url", &format!("redis://127.0.0.1:{}", server.port)]).run().expect(3);
    let mut nobody = bed_of(&dir, "viewer", server.port);
    nobody.configure(json!({"redis_user": null, "redis_pass_file": null}));
    nobody.status(&[]).expect(3).says(&["authenticate"]);
}
