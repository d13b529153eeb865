//! The manifests with a real Redis: the Secrets made as docs/kubernetes.md says, the programs started with the commands of the containers.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::manifests::{conf_of, find, texts};
use crate::support::{
    Bed, Redis, SOON, ServerOptions, acl_password, bin, free_port, holds_for, read, try_request, wait_until,
};

const TOKEN: &str = "correct-horse-battery-staple";

/// A container: its files below a directory, in place of those that it mounts.
struct Container {
    child: Child,
    at: String,
    log: PathBuf,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `kubectl create secret` would make of the files of make-secrets.sh; the passwords are those of the server of the tests.
fn secret(made: &Path, dir: &Path, user: &str) {
    fs::create_dir_all(dir).expect("a directory");
    for (key, file) in [("ca.crt", "ca.crt"), ("tls.crt", "client.crt"), ("tls.key", "client.key")] {
        fs::copy(made.join(file), dir.join(key)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    private(&dir.join("password"), &acl_password(user));
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

impl Container {
    fn start(bed: &Bed, pod: &Value, port: u16, conf: Value, user: &str) -> Self {
        let root = bed.path().join(format!("pod-{user}"));
        secret(&bed.redis.secrets(), &root.join("etc/distcomp/redis"), user);
        let token = root.join("etc/distcomp/token");
        fs::create_dir_all(&token).expect("a directory");
        private(&token.join("token"), TOKEN);
        for dir in ["etc/distcomp/conf", "var/lib/distcomp", "work", "tmp"] {
            fs::create_dir_all(root.join(dir)).expect("a directory");
        }
        let below = |text: &str| {
            let mut text = text.to_owned();
            for dir in ["/etc/distcomp", "/var/lib/distcomp", "/work"] {
                text = text.replace(dir, &format!("{}{dir}", root.display()));
            }
            text
        };
        fs::write(root.join("etc/distcomp/conf/conf.json"), below(&conf.to_string())).expect("conf.json");
        let container = &pod["containers"][0];
        let command = texts(&container["command"]);
        let at = format!("127.0.0.1:{port}");
        let log = root.join("log");
        let file = fs::File::create(&log).expect("a log");
        let mut started = Command::new(bin(&command[0]));
        started.args(&command[1..]).current_dir(&root).env("NO_COLOR", "1");
        for arg in texts(&container["args"]) {
            let arg = arg.replace("$(POD_NAME)", "pod-abc12").replace("0.0.0.0:9464", &at).replace("0.0.0.0:8080", &at);
            started.arg(below(&arg));
        }
        for variable in container["env"].as_array().expect("variables") {
            if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
                started.env(name, below(value));
            }
        }
        let child = started.stdin(Stdio::null()).stdout(file.try_clone().expect("a handle")).stderr(file).spawn();
        Self { child: child.expect("it runs"), at, log }
    }

    /// The answer to a probe or a request.
    fn get(&self, path: &str, token: &str) -> Result<(u16, String), String> {
        let bearer = format!("Bearer {token}");
        let headers = [("Host", self.at.as_str()), ("Authorization", bearer.as_str())];
        let answer = try_request(&self.at, "GET", path, &headers, b"", SOON);
        answer.map(|answer| (answer.status, answer.body)).map_err(|error| format!("{error}: {}", read(&self.log)))
    }
}

/// The configuration of a ConfigMap, for the server of the test.
fn conf(name: &str, bed: &Bed) -> Value {
    let mut conf = conf_of(name);
    conf["redis_host"] = json!("127.0.0.1");
    conf["redis_port"] = json!(bed.redis.tls_port());
    conf
}

#[test]
fn pods_work_with_secrets_tls_and_their_own_redis_users() {
    let redis = Redis::start(ServerOptions { tls: true, durable: true, acl: true, ..Default::default() });
    let bed = Bed::on(redis, json!({}));
    let job = find("ScaledJob", "-worker");
    let pod = &job["spec"]["jobTargetRef"]["template"]["spec"];
    let worker = Container::start(&bed, pod, free_port(), conf("-worker", &bed), "worker");
    let probe = pod["containers"][0]["livenessProbe"]["httpGet"]["path"].as_str().expect("a path");
    wait_until("the worker to be alive", SOON, || match worker.get(probe, "") {
        Ok((200, body)) if body == "ok\n" => Ok(()),
        other => Err(format!("{other:?}: {}", read(&worker.log))),
    });
    assert!(!read(&worker.log).contains("WARN"), "{}", read(&worker.log));
    bed.add(["shell:0:0:1:echo done"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let serve = find("Deployment", "-serve");
    let pod = &serve["spec"]["template"]["spec"];
    let serve = Container::start(&bed, pod, free_port(), conf("-serve", &bed), "viewer");
    let probe = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].as_str().expect("a path");
    wait_until("the dashboard to be ready", SOON, || match serve.get(probe, "") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}: {}", read(&serve.log))),
    });
    wait_until("the worker to be shown", SOON, || match serve.get("/api/v1/workers", TOKEN) {
        Ok((200, body)) => holds_for(body.contains("pod-abc12"), body),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(serve.get("/api/v1/overview", "another").map(|(status, _)| status), Ok(401));
}
