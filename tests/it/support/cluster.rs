//! A master (0), its replica (1) and three sentinels (2 to 4) on free ports of 127.0.0.1; killed on drop.
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::redis::{free_port, make_secrets, server_program};
use super::wait::{SOON, holds_for, wait_until};

/// The name under which the sentinels watch the master.
const NAME: &str = "queue";

/// See the module.
pub(crate) struct Cluster {
    dir: TempDir,
    ports: [u16; 5],
    /// Where they listen with TLS, which is then all that they tell each other and the commands.
    tls_ports: Option<[u16; 5]>,
    children: [Option<Child>; 5],
    /// What the sentinels ask for.
    password: Option<&'static str>,
}

impl Cluster {
    /// Starts all five, and waits until each sentinel knows the others and the replica.
    pub(crate) fn start(password: Option<&'static str>) -> Self {
        Self::start_with(password, false)
    }

    /// The same where all talk TLS to each other, with certificates on both sides; plain ports are left for the test alone.
    pub(crate) fn start_with_tls() -> Self {
        Self::start_with(None, true)
    }

    fn start_with(password: Option<&'static str>, has_tls: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("dc-sentinel-").tempdir_in("/tmp").expect("a directory in /tmp");
        let ports = std::array::from_fn(|_| free_port());
        let tls_ports = has_tls.then(|| std::array::from_fn(|_| free_port()));
        let mut cluster = Self { dir, ports, tls_ports, children: [const { None }; 5], password };
        if has_tls {
            make_secrets(&cluster.secrets(), &["127.0.0.1"]);
        }
        for index in 0..5 {
            cluster.start_again(index);
        }
        cluster.wait_role(0, "master");
        cluster.wait_replicated();
        for index in 2..5 {
            wait_until("a sentinel to know the others", SOON, || {
                let mut ask = ::redis::cmd("SENTINEL");
                let known: Option<Vec<String>> = cluster.try_con(index).and_then(|mut con| {
                    let fields: Vec<Vec<String>> = ask.arg("MASTERS").query(&mut con).ok()?;
                    fields.into_iter().next()
                });
                let known = known.unwrap_or_default();
                let number = |name: &str| {
                    let at = known.iter().position(|field| field == name)?;
                    known.get(at + 1)?.parse::<u32>().ok()
                };
                let is_ready = number("num-slaves") == Some(1) && number("num-other-sentinels") == Some(2);
                holds_for(is_ready, known.join(" "))
            });
        }
        cluster
    }

    /// Starts one (again), with the data and the configuration that it had.
    pub(crate) fn start_again(&mut self, index: usize) {
        let home = self.dir.path().join(index.to_string());
        fs::create_dir_all(&home).expect("its directory");
        let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log")).expect("a log");
        let mut command = Command::new(server_program());
        if index < 2 {
            command.args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--repl-diskless-sync-delay",
                "0",
            ]);
            command.arg("--port").arg(self.ports[index].to_string()).arg("--dir").arg(&home);
            if index == 1 {
                command.args(["--replicaof", "127.0.0.1", &self.announced()[0].to_string()]);
            }
            for (key, value) in self.tls_lines(index) {
                command.arg(format!("--{key}")).arg(value);
            }
        } else {
            let conf = home.join("sentinel.conf");
            if !conf.exists() {
                fs::write(&conf, self.sentinel_conf(index)).expect("sentinel.conf");
            }
            command.arg(conf).arg("--sentinel").current_dir(&home);
        }
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a second handle")).stdout(log);
        self.children[index] = Some(command.spawn().expect("redis-server runs"));
        wait_until("the server to answer", SOON, || {
            let answer = self.try_con(index).and_then(|mut con| ::redis::cmd("PING").query::<String>(&mut con).ok());
            answer.ok_or_else(|| self.log(index))
        });
    }

    fn sentinel_conf(&self, index: usize) -> String {
        let [master, ..] = self.announced();
        let port = self.ports[index];
        let tls: String = self.tls_lines(index).iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let pass = self.password.map(|pass| format!("requirepass {pass}\nsentinel sentinel-pass {pass}\n"));
        format!(
            "bind 127.0.0.1\nport {port}\nprotected-mode no\nsentinel monitor {NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {NAME} 1500\nsentinel failover-timeout {NAME} 10000\n{}{tls}",
            pass.unwrap_or_default()
        )
    }

    /// Where the certificates are.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.dir.path().join("secrets")
    }

    /// The ports that they name to each other.
    fn announced(&self) -> [u16; 5] {
        self.tls_ports.unwrap_or(self.ports)
    }

    /// What a configuration holds for TLS.
    fn tls_lines(&self, index: usize) -> Vec<(&'static str, String)> {
        let Some(ports) = self.tls_ports else { return Vec::new() };
        let file = |name: &str| self.secrets().join(name).display().to_string();
        vec![
            ("tls-port", ports[index].to_string()),
            ("tls-cert-file", file("server.crt")),
            ("tls-key-file", file("server.key")),
            ("tls-ca-cert-file", file("ca.crt")),
            ("tls-auth-clients", "yes".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    /// What goes into `redis_url`.
    pub(crate) fn url(&self) -> String {
        let [.., a, b, c] = self.announced();
        let scheme = if self.tls_ports.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}/{NAME}/0")
    }

    pub(crate) fn try_con(&self, index: usize) -> Option<::redis::Connection> {
        let pass = self.password.filter(|_| index >= 2).map(|pass| format!(":{pass}@")).unwrap_or_default();
        let client = ::redis::Client::open(format!("redis://{pass}127.0.0.1:{}", self.ports[index])).ok()?;
        let con = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
        con.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        Some(con)
    }

    pub(crate) fn con(&self, index: usize) -> ::redis::Connection {
        self.try_con(index).unwrap_or_else(|| panic!("no connection to server {index}:\n{}", self.log(index)))
    }

    /// Which server most of the sentinels call the master, and which says so itself.
    pub(crate) fn master(&self) -> Option<usize> {
        let asked = |index: usize| {
            let mut ask = ::redis::cmd("SENTINEL");
            let mut con = self.try_con(index)?;
            let place: (String, u16) = ask.arg("GET-MASTER-ADDR-BY-NAME").arg(NAME).query(&mut con).ok()?;
            self.announced().iter().position(|port| *port == place.1)
        };
        let named: Vec<usize> = (2..5).filter_map(asked).collect();
        (0..2).find(|index| {
            named.iter().filter(|named| *named == index).count() >= 2 && self.role(*index).as_deref() == Some("master")
        })
    }

    fn role(&self, index: usize) -> Option<String> {
        let info: String = ::redis::cmd("INFO").arg("replication").query(&mut self.try_con(index)?).ok()?;
        info.lines().find_map(|line| line.strip_prefix("role:")).map(|role| role.trim().to_owned())
    }

    #[track_caller]
    pub(crate) fn wait_role(&self, index: usize, role: &str) {
        wait_until(&format!("server {index} to be a {role}"), Duration::from_secs(40), || {
            let seen = self.role(index).unwrap_or_default();
            holds_for(seen == role, seen)
        });
    }

    /// Waits until the replica has what the master has.
    #[track_caller]
    pub(crate) fn wait_replicated(&self) {
        wait_until("the replica to follow", Duration::from_secs(40), || {
            let acked: u32 = ::redis::cmd("WAIT").arg(1).arg(500).query(&mut self.con(0)).unwrap_or(0);
            holds_for(acked == 1, self.log(1))
        });
    }

    /// Tells the sentinels to make the replica the master.
    pub(crate) fn fail_over(&self) {
        wait_until("a sentinel to begin a failover", SOON, || {
            ::redis::cmd("SENTINEL").arg("FAILOVER").arg(NAME).exec(&mut self.con(2))
        });
    }

    pub(crate) fn kill9(&mut self, index: usize) {
        if let Some(mut child) = self.children[index].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: accepts connections and answers nothing.
    pub(crate) fn freeze(&self, index: usize) {
        let child = self.children[index].as_ref().expect("it runs");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGSTOP).expect("it takes a signal");
    }

    fn log(&self, index: usize) -> String {
        let path: PathBuf = self.dir.path().join(index.to_string()).join("log");
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..5 {
            self.kill9(index);
        }
    }
}
