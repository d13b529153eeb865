//! A clock that can be set, in one process and its children: `clock.c`, compiled and loaded before the C library. Only the clock of the wall is
//! turned, never the monotonic one, as when an operator or NTP sets it. (`libfaketime` hangs in a server that has jemalloc.)
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// See the module.
pub(crate) struct Clock {
    dir: TempDir,
}

impl Clock {
    /// Right at first.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dc-clock-").tempdir_in("/tmp").expect("a directory in /tmp");
        let clock = Self { dir };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&clock.library(), &source])
            .output()
            .expect("cc, which Rust needs too, is there");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::write(clock.file(), 0_i64.to_ne_bytes()).expect("the offset");
        clock
    }

    /// So many seconds before (negative) or after the real time, from now on.
    pub(crate) fn set(&self, seconds: i64) {
        // In place: the file is mapped where it is read.
        let mut file = fs::OpenOptions::new().write(true).open(self.file()).expect("the offset");
        file.write_all(&(seconds * 1_000_000).to_ne_bytes()).expect("the offset");
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("clock.so")
    }

    /// What makes a program see it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library().display().to_string()), ("IT_CLOCK", self.file().display().to_string())]
    }

    /// As a command that executes another one.
    pub(crate) fn through(&self) -> Vec<String> {
        let variables = self.environment().map(|(name, value)| format!("{name}={value}"));
        std::iter::once("env".to_owned()).chain(variables).collect()
    }
}
