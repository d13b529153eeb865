//! A Redis on the network that asks for no password: whoever reaches it runs commands on every worker, so no worker takes tasks from it.
//!
//! Each test has a network of its own, whose one address is not the loopback's. It needs `unshare`, `nsenter` and `ip`, and root or user namespaces.
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::geteuid;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Bed, Cli, SOON, bin, server_program, wait_until};

/// An address like any on a cluster's network.
const HOST: &str = "10.99.0.1";

/// A network of its own with a server on it; dropped, both are gone.
struct Network {
    child: Child,
    dir: TempDir,
    bed: Bed,
}

impl Network {
    /// With these arguments for the server.
    fn with(server: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("dc-net-").tempdir_in("/tmp").expect("a directory in /tmp");
        let socket = dir.path().join("sock");
        let script = format!("ip link set lo up && ip addr add {HOST}/32 dev lo && exec \"$@\"");
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--net", "sh", "-c", &script, "sh"]).arg(server_program());
        command
            .args(["--bind", HOST, "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path());
        command.arg("--unixsocket").arg(&socket).args(server).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("unshare, of util-linux, is needed");
        wait_until("a server in a network of its own (this needs root or user namespaces, and `ip`)", SOON, || {
            if socket.exists() { Ok(()) } else { Err("no socket yet") }
        });
        Self { child, dir, bed: Bed::with(json!({"redis_url": format!("redis://{HOST}:6379/0")})) }
    }

    /// One of the commands, inside.
    fn run(&self, name: &str, args: &[&str]) -> Cli {
        let pid = self.child.id().to_string();
        let mut enter = vec!["-t", &pid, "--net"];
        if !geteuid().is_root() {
            enter.extend(["--user", "--preserve-credentials"]);
        }
        let config = self.bed.conf_path().display().to_string();
        Cli::new("nsenter")
            .args(enter)
            .args([bin(name), "--config", &config])
            .args(args)
            .dir(self.bed.path())
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .stdin("shell:0:0:1:true\n")
            .limit(Duration::from_secs(60))
    }

    fn ask<T: redis::FromRedisValue>(&self, args: &[&str]) -> T {
        let url = format!("redis+unix://{}", self.dir.path().join("sock").display());
        let mut con = redis::Client::open(url).and_then(|client| client.get_connection()).expect("a connection");
        redis::cmd(args[0]).arg(&args[1..]).query(&mut con).expect("an answer")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn open_network_server_without_password_gives_no_tasks() {
    let net = Network::with(&[]);
    for args in [&["--burst"][..], &["--name", "w"], &["--check"]] {
        let output = net.run("distcomp-worker", args).run().expect(2);
        output.says(&[HOST, "asks for no password", "--allow-insecure", "redis_pass_file"]);
    }
    assert!(net.ask::<Vec<String>>(&["KEYS", "*"]).is_empty(), "nothing was written to it either");
}

#[test]
fn who_allows_it_is_warned_and_served() {
    let net = Network::with(&[]);
    net.run("distcomp-submit", &["-"]).run().expect(0);
    let output = net.run("distcomp-worker", &["--burst", "--allow-insecure"]).env("RUST_LOG", "warn").run().expect(0);
    output.says(&["asks for no password"]);
    assert_eq!(net.ask::<u32>(&["HLEN", "finished_tasks"]), 1);
    net.run("distcomp-worker", &["--check", "--allow-insecure"]).run().expect(0);
}

#[test]
fn a_server_that_asks_for_a_password_is_served() {
    let mut net = Network::with(&["--requirepass", "a-good-one"]);
    net.bed.configure(json!({"redis_pass": "a-good-one"}));
    net.run("distcomp-submit", &["-"]).run().expect(0);
    net.run("distcomp-worker", &["--burst"]).run().expect(0);
    net.run("distcomp-status", &[])
        .run()
        .expect(0)
        .prints_line("0 todo tasks, 0 in_progress tasks, 1 finished tasks, 0 failed tasks");
}

/// The question whether a stranger is let in must not be lost in the choice of a database that no stranger may make.
#[test]
fn server_with_a_password_is_accepted_in_any_database() {
    let mut net = Network::with(&["--requirepass", "a-good-one"]);
    net.bed.configure(json!({"redis_url": format!("redis://{HOST}:6379/1"), "redis_pass": "a-good-one"}));
    net.run("distcomp-submit", &["-"]).run().expect(0);
    net.run("distcomp-worker", &["--burst"]).run().expect(0);
    net.run("distcomp-status", &[])
        .run()
        .expect(0)
        .prints_line("0 todo tasks, 0 in_progress tasks, 1 finished tasks, 0 failed tasks");
}

#[test]
fn a_password_of_ours_does_not_help_where_others_need_none() {
    let mut net = Network::with(&[]);
    net.ask::<String>(&["ACL", "SETUSER", "worker", "on", ">a-good-one", "~*", "&*", "+@all"]);
    net.bed.configure(json!({"redis_user": "worker", "redis_pass": "a-good-one"}));
    net.run("distcomp-worker", &["--burst"]).run().expect(2).says(&["asks for no password"]);
    // The user that strangers are is taken its rights.
    net.ask::<String>(&["ACL", "SETUSER", "default", "nopass", "resetkeys", "-@all", "+ping"]);
    net.run("distcomp-worker", &["--burst"]).run().expect(0);
}

#[test]
fn server_that_requires_certificates_is_accepted() {
    let certificates = tempfile::Builder::new().prefix("dc-tls-").tempdir_in("/tmp").expect("a directory in /tmp");
    let at = |name: &str| certificates.path().join(name).display().to_string();
    // An authority, and one certificate for both sides.
    let script = format!(
        "cd {} && openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>&1 && \
         openssl req -newkey rsa:2048 -nodes -keyout one.key -out one.csr -subj /CN=one 2>&1 && \
         printf 'subjectAltName=IP:{HOST}\nbasicConstraints=CA:FALSE\n' > ext && \
         openssl x509 -req -in one.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out one.crt -days 2 -extfile ext 2>&1",
        certificates.path().display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stdout));
    let (ca, cert, key) = (at("ca.crt"), at("one.crt"), at("one.key"));
    let server = |wants: &'static str| {
        let tls = ["--port", "0", "--tls-port", "6379", "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert];
        Network::with(&[&tls[..], &["--tls-key-file", &key, "--tls-auth-clients", wants]].concat())
    };
    let conf =
        json!({"redis_url": format!("rediss://{HOST}:6379/0"), "redis_tls": {"ca": ca, "cert": cert, "key": key}});
    let mut net = server("yes");
    net.bed.configure(conf.clone());
    net.run("distcomp-worker", &["--burst"]).run().expect(0);
    // One that only encrypts lets in whoever asks.
    let mut net = server("no");
    net.bed.configure(conf);
    net.run("distcomp-worker", &["--burst"]).run().expect(2).says(&["asks for no password"]);
}

/// However the address is written, what counts is where it leads.
#[test]
fn the_spelling_of_an_address_makes_no_stranger_a_neighbour() {
    let mut net = Network::with(&["--bind", "* -::*"]);
    for there in [HOST, "174260225", "0x0a630001", "10.99.1", "[::ffff:10.99.0.1]", "0.0.0.0"] {
        net.bed.configure(json!({"redis_url": format!("redis://{there}:6379/0")}));
        net.run("distcomp-worker", &["--burst"]).run().expect(2).says(&["asks for no password", "--allow-insecure"]);
    }
    net.bed.configure(json!({"redis_url": null, "redis_host": HOST}));
    net.run("distcomp-worker", &["--check"]).run().expect(2).says(&["asks for no password"]);
    let socket = net.dir.path().join("sock").display().to_string();
    let here = ["127.0.0.1", "127.1", "127.9.9.9", "localhost", "[::1]", "[::ffff:127.0.0.1]"];
    let urls = here.map(|here| format!("redis://{here}:6379/0")).into_iter().chain([format!("redis+unix://{socket}")]);
    for url in urls {
        net.bed.configure(json!({"redis_host": null, "redis_url": url}));
        net.run("distcomp-worker", &["--burst"]).run().expect(0);
    }
}
