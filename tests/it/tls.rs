//! TLS to Redis: the right certificates let in, every wrong one is refused with a text that says which and why, and with the promised exit code.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Output, Redis, SOON, ServerOptions, holds_for, make_secrets, wait_until};

fn bed() -> Bed {
    let redis = Redis::start(ServerOptions { tls: true, durable: true, ..Default::default() });
    let (port, tls) = (redis.tls_port(), files(&redis.secrets(), "ca.crt"));
    Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_tls": tls}))
}

fn files(secrets: &Path, ca: &str) -> Value {
    json!({"ca": secrets.join(ca), "cert": secrets.join("client.crt"), "key": secrets.join("client.key")})
}

/// All four commands; none may hang on a wrong certificate.
fn all_four(bed: &Bed, code: i32, texts: &[&str]) {
    let run = |name: &str, args: &[&str]| bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run();
    let outputs: [Output; 4] = [
        run("distcomp-worker", &["--check"]),
        run("distcomp-submit", &["-"]),
        run("distcomp-status", &[]),
        run("distcomp-ctl", &["pause", "--yes"]),
    ];
    for output in outputs {
        assert!(output.took < Duration::from_secs(15), "{output}");
        output.expect(code).says(texts);
    }
}

fn openssl(dir: &Path, args: &str) {
    let made = Command::new("openssl").current_dir(dir).args(args.split(' ')).output().expect("openssl runs");
    assert!(made.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn tasks_run_over_tls_and_wake_ups_come_over_it_too() {
    let bed = bed();
    let worker = bed.worker_with("w", json!({"sleep_sec_between_accepting_task": 3600, "auto_sleep_sec": false}), &[]);
    bed.wait_alive("w");
    let subscribed = || {
        let mut numsub = ::redis::cmd("PUBSUB");
        numsub.arg("NUMSUB").arg("distcomp:wake");
        numsub.query::<(String, u32)>(&mut bed.redis.con()).expect("PUBSUB").1
    };
    wait_until("the worker to listen", SOON, || holds_for(subscribed() == 1, worker.log()));
    bed.add(["shell:0:0:1:echo one"]);
    // Without the wake-up it would look again in an hour.
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    bed.status(&[]).expect(0);
    let port = bed.redis.tls_port();
    bed.status(&["--redis-url", &format!("rediss://localhost:{port}/0"), "workers"]);
    let server: String = ::redis::cmd("CLIENT").arg("LIST").query(&mut bed.redis.con()).expect("CLIENT LIST");
    let over_tls = server.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port} "))).count();
    assert!(over_tls >= 2, "both connections of the worker: {server}");
}

#[test]
fn a_worker_comes_back_over_tls_after_a_restart_of_the_server() {
    let mut bed = bed();
    let mut worker = bed.worker("w");
    bed.add(["shell:0:0:1:echo one"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    bed.redis.kill9();
    wait_until("the worker to notice", SOON, || holds_for(worker.log().contains("lost Redis"), worker.log()));
    bed.redis.start_again();
    bed.add(["shell:0:0:1:echo two"]);
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert!(worker.is_running());
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let mut bed = bed();
    let other = bed.path().join("other");
    make_secrets(&other, &["127.0.0.1"]);
    let mut tls = files(&bed.redis.secrets(), "ca.crt");
    tls["ca"] = json!(other.join("ca.crt"));
    bed.configure(json!({"redis_tls": tls}));
    all_four(&bed, 3, &["certificate", "redis_tls.ca"]);
}

#[test]
fn a_server_of_another_name_is_refused() {
    let mut bed = bed();
    bed.status(&[]).expect(0);
    let secrets = bed.redis.secrets();
    openssl(&secrets, "req -new -key server.key -subj /CN=x -out x.csr");
    fs::write(secrets.join("x.ext"), "subjectAltName=DNS:redis.example\n").expect("written");
    openssl(
        &secrets,
        "x509 -req -in x.csr -CA ca.crt -CAkey ca.key -set_serial 7 -days 9 -extfile x.ext -out server.crt",
    );
    bed.redis.kill9();
    bed.redis.start_again();
    all_four(&bed, 3, &["not valid for", "127.0.0.1"]);
}

#[test]
fn an_expired_certificate_is_refused_and_a_renewed_one_taken_up() {
    let mut bed = bed();
    let secrets = bed.redis.secrets();
    let sign = |days: &str| {
        let days = format!("-days {days}");
        openssl(
            &secrets,
            &format!(
                "x509 -req -in x.csr -CA ca.crt -CAkey ca.key -set_serial 7 {days} -extfile x.ext -out server.crt"
            ),
        );
    };
    openssl(&secrets, "req -new -key server.key -subj /CN=x -out x.csr");
    fs::write(secrets.join("x.ext"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    sign("-1");
    bed.redis.kill9();
    bed.redis.start_again();
    all_four(&bed, 3, &["expired"]);
    wait_until("the worker to say so", SOON, || holds_for(worker.log().contains("expired"), worker.log()));
    sign("9");
    bed.redis.kill9();
    bed.redis.start_again();
    bed.add(["shell:0:0:1:echo one"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(worker.is_running());
}

#[test]
fn without_a_client_certificate_one_is_asked_for() {
    let mut bed = bed();
    bed.configure(json!({"redis_tls": {"ca": bed.redis.secrets().join("ca.crt")}}));
    all_four(&bed, 3, &["redis_tls.cert"]);
}

#[test]
fn tls_to_a_plain_port_and_plain_to_a_tls_port_say_which_it_is() {
    let redis = Redis::start(ServerOptions { tls: true, tcp: true, ..Default::default() });
    let (plain, tls_port, tls) = (redis.port(), redis.tls_port(), files(&redis.secrets(), "ca.crt"));
    let conf = json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": plain, "redis_tls": tls});
    let mut bed = Bed::on(redis, conf);
    all_four(&bed, 3, &["does not use TLS"]);
    bed.configure(json!({"redis_port": tls_port, "redis_tls": null}));
    all_four(&bed, 3, &["requires TLS", "rediss://"]);
}

#[test]
fn files_that_cannot_be_used_are_exit_2() {
    let mut bed = bed();
    let secrets = bed.redis.secrets();
    make_secrets(&bed.path().join("other"), &["127.0.0.1"]);
    let good = |name: &str| json!(secrets.join(name));
    let garbage = bed.file("garbage", "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n");
    let empty = bed.file("empty", "");
    let cases = [
        (json!({"ca": good("ca.crt"), "cert": good("client.crt"), "key": "/nowhere.key"}), "redis_tls.key"),
        (json!({"ca": good("ca.crt"), "cert": good("client.crt"), "key": "/tmp"}), "redis_tls.key"),
        (json!({"ca": good("ca.crt"), "cert": good("client.crt")}), "redis_tls"),
        (json!({"ca": "/nowhere.crt"}), "redis_tls.ca"),
        (json!({"ca": good("ca.crt"), "cert": good("client.crt"), "key": bed.path().join("other/client.key")}), "key"),
        (json!({"ca": good("ca.crt"), "cert": good("client.crt"), "key": empty}), "key"),
        (json!({"ca": good("ca.crt"), "cert": empty, "key": good("client.key")}), "cert"),
        (json!({"ca": garbage}), "redis_tls"),
        (json!({"ca": empty}), "redis_tls"),
    ];
    for (tls, text) in cases {
        bed.configure(json!({"redis_tls": tls}));
        let output = bed.status(&[]);
        assert!(output.is(2) && output.stderr.contains(text), "{tls}\n{output}");
    }
    if nix::unistd::geteuid().is_root() {
        // Root may read everything.
        return;
    }
    let key = secrets.join("client.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).expect("its mode");
    bed.configure(json!({"redis_tls": files(&secrets, "ca.crt")}));
    all_four(&bed, 2, &["redis_tls.key"]);
}
