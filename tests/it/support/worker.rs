//! A real worker daemon: started, signalled, and searched for survivors when it is gone.
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};

use super::cli::bin;
use super::tree::{Process, kill_all, with_mark};
use super::wait::{SOON, wait_until};

/// How long a dead worker's processes may live on; the promise is 2 s, the rest is for a busy machine.
const GONE: Duration = Duration::from_secs(5);

/// One worker process with a configuration file and state directory of its own.
pub(crate) struct Worker {
    child: Child,
    name: String,
    mark: String,
    dir: PathBuf,
    conf: Map<String, Value>,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// Starts `distcomp-worker --name NAME` with `conf`, in `dir`. The state directory is kept between two workers of one name.
    /// `through` is a command that executes it in place of itself, such as `prlimit`; empty for none.
    pub(crate) fn spawn(dir: &Path, name: &str, mut conf: Map<String, Value>, args: &[&str], through: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let home = dir.join(format!("worker-{name}"));
        fs::create_dir_all(&home).expect("the worker's directory");
        conf.entry("state_dir").or_insert_with(|| home.join("state").display().to_string().into());
        let mark = format!("IT_MARK={}.{}.{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log")).expect("a log file");
        let program = bin("distcomp-worker");
        let mut command = Command::new(through.first().unwrap_or(&program));
        command.args(through.iter().skip(1).chain((!through.is_empty()).then_some(&program)));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DISTCOMP_") {
                command.env_remove(name);
            }
        }
        let work_dir = dir.join("cwd");
        fs::create_dir_all(&work_dir).expect("the working directory");
        let conf_path = home.join("conf.json");
        write_conf(&conf_path, &conf);
        command
            .args(["--name", name, "--config"])
            .arg(&conf_path)
            .args(args)
            .current_dir(work_dir)
            .env_remove("STATE_DIRECTORY")
            .env_remove("INVOCATION_ID")
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1")
            .env("RUST_LOG", "info")
            .env("IT_MARK", mark.split_once('=').expect("NAME=VALUE").1)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, name: name.to_owned(), mark, dir: home, conf, ended: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Its whole log, of earlier workers of this name in this test too.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the worker takes a signal");
    }

    pub(crate) fn sigterm(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGKILL to the worker alone; what it leaves behind is the test's question.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("its status");
        }
        self.ended.is_none()
    }

    /// Waits for its end and returns the exit code; a signal is -1.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> i32 {
        wait_until("the worker to exit", timeout, || if self.is_running() { Err("it still runs") } else { Ok(()) });
        self.ended.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// Processes of this worker other than itself: keepers, and tasks that kept their environment.
    pub(crate) fn survivors(&self) -> Vec<Process> {
        let mut found = with_mark(&self.mark);
        found.retain(|one| self.ended.is_some() || Pid::from_raw(one.pid) != self.pid());
        found
    }

    /// The processes that run and guard its tasks.
    pub(crate) fn keepers(&self) -> Vec<Process> {
        let mut found = self.survivors();
        found.retain(|one| one.argv.contains("__keeper"));
        found
    }

    /// SIGKILL to it and to its keepers at one moment: nobody is left to clear up.
    pub(crate) fn kill9_with_keepers(&mut self) {
        // Frozen first, so that none of them sees another one go, nor one is made meanwhile that nobody has seen.
        self.signal(Signal::SIGSTOP);
        let state = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()).unwrap_or('X')
        };
        let mut told = HashSet::from([self.pid().as_raw()]);
        let keepers = wait_until("worker and keepers to be frozen", SOON, || {
            let keepers = self.keepers();
            // A keeper may wait in the kernel (D) for a child that was frozen on its way to exec: it, too, does nothing until it stops.
            let is_frozen = |pid: i32, told: &HashSet<i32>| match state(pid) {
                'T' | 'Z' | 'X' => true,
                'D' => told.contains(&pid),
                _ => false,
            };
            let going: Vec<&Process> = keepers.iter().filter(|one| !is_frozen(one.pid, &told)).collect();
            for one in &going {
                let _ = kill(Pid::from_raw(one.pid), Signal::SIGSTOP);
                told.insert(one.pid);
            }
            let is_still = going.is_empty() && is_frozen(self.pid().as_raw(), &told);
            if is_still { Ok(keepers) } else { Err(keepers.iter().map(ToString::to_string).collect::<String>()) }
        });
        kill_all(&keepers);
        self.kill9();
    }

    /// Memory of its own that it holds now, in KiB, without the pages of the program, and its open descriptors.
    pub(crate) fn footprint(&self) -> (u64, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let rss =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok());
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count);
        (rss.unwrap_or(0), files)
    }

    /// Changes some keys of its configuration file, at one moment.
    pub(crate) fn reconfigure(&mut self, changes: &Value) {
        for (key, value) in changes.as_object().expect("an object") {
            self.conf.insert(key.clone(), value.clone());
        }
        let text = serde_json::to_string_pretty(&self.conf).expect("JSON");
        self.write_conf_text(&text);
    }

    /// Puts any text in its configuration file, at one moment: the worker may be about to read it, and half of it is another text.
    pub(crate) fn write_conf_text(&self, text: &str) {
        let (new, conf) = (self.dir.join("conf.json.new"), self.dir.join("conf.json"));
        fs::write(&new, text).expect("a file beside its conf.json");
        if let Ok(old) = fs::metadata(&conf) {
            fs::set_permissions(&new, old.permissions()).expect("chmod");
        }
        fs::rename(&new, &conf).expect("its conf.json");
    }
}

fn write_conf(path: &Path, conf: &Map<String, Value>) {
    let text = serde_json::to_string_pretty(conf).expect("JSON");
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill9();
        }
        if thread::panicking() {
            eprintln!("--- log of worker {}\n{}---", self.name, self.log());
        }
        let mut left = self.survivors();
        for _ in 0..GONE.as_millis() / 20 {
            if left.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
            left = self.survivors();
        }
        kill_all(&left);
        let shown: Vec<String> = left.iter().map(ToString::to_string).collect();
        let text = format!("worker {} is gone and left processes behind:\n{}", self.name, shown.join("\n"));
        assert!(thread::panicking(), "{text}");
        eprintln!("{text}");
    }
}
