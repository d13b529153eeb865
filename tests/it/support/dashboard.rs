//! A real `distcomp-status serve`, on a free port of its own.
use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bed::Bed;
use super::http::{Answer, request};
use super::wait::{SOON, wait_until};

/// The server; dropped means killed.
pub(crate) struct Dashboard {
    child: Child,
    pub(crate) at: String,
    said: Arc<Mutex<String>>,
}

impl Dashboard {
    /// Without a token, on loopback.
    pub(crate) fn start(bed: &Bed) -> Self {
        Self::with(bed, &["--listen", "127.0.0.1:0"], &[])
    }

    pub(crate) fn with(bed: &Bed, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut cli = bed.cli("distcomp-status").args(["serve"]).args(args);
        for (name, value) in variables {
            cli = cli.env(name, value);
        }
        let mut child = cli
            .into_command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("distcomp-status runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let said = Arc::new(Mutex::new(String::new()));
        let (tell, told) = mpsc::channel();
        let all = Arc::clone(&said);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(rest) = line.split("http://").nth(1) {
                    let _ = tell.send(rest.split('/').next().unwrap_or_default().to_owned());
                }
                all.lock().expect("no panic").push_str(&format!("{line}\n"));
            }
        });
        let at = told
            .recv_timeout(SOON)
            .unwrap_or_else(|_| panic!("serve does not start:\n{}", said.lock().expect("no panic")));
        Self { child, at, said }
    }

    /// The address of a page.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// A request with these headers besides `Host`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, b"")
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("Host", self.at.as_str())];
        all.extend(headers);
        request(&self.at, method, path, &all, body, Duration::from_secs(30))
    }

    /// Bytes of memory that the server has of its own.
    pub(crate) fn resident(&self) -> usize {
        let status = super::read(format!("/proc/{}/status", self.child.id()));
        let kib =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(|kib: usize| kib << 10).expect("RssAnon")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), signal).expect("serve takes a signal");
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        wait_until("serve to exit", SOON, || self.child.try_wait().expect("its status").ok_or("it still runs"))
    }

    /// All that it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- serve said\n{}---", self.said());
        }
    }
}
