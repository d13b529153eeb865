//! The table of layers in `src/lib.rs`, enforced: a module imports from layers below its own, and each outside crate has its place.

mod circles;
mod test_names;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top; modules of one row never see each other.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["policy", "compose", "safe_dir", "sys"],
    &["config"],
    &["queue", "process", "host", "local", "signing", "view", "telemetry"],
    &["worker"],
    &["cli"],
    &["bin", "fuzzing"],
];

/// An outside path and the modules that may name it.
const PLACES: &[(&str, &[&str])] = &[
    ("redis::", &["queue"]),
    // Who acts on processes, and who may ask the system for a user, a name, a limit.
    ("nix::sys::", &["process", "local", "safe_dir", "config", "cli"]),
    ("nix::sys::signal", &["process", "local"]),
    ("nix::sys::wait", &["process"]),
    ("nix::sys::stat::", &["process", "safe_dir"]),
    ("nix::sys::statfs::", &["config"]),
    ("nix::sys::statvfs::", &["local"]),
    ("nix::sys::termios::", &["cli"]),
    ("nix::time::", &["sys"]),
    ("nix::unistd", &["process", "local", "host", "config", "safe_dir"]),
    ("terminal_size::", &["cli"]),
    ("postcard::", &["process"]),
    ("serde_bytes::", &["process"]),
    ("tokio::process", &["process", "local"]),
    // One owner: whoever subscribes elsewhere would forget what was ignored at the start.
    ("tokio::signal", &["process"]),
    ("sysinfo::", &["host"]),
    // The time of day and chance come in at one place each; whoever decides by them is given them.
    ("SystemTime::now", &["sys"]),
    ("std::time::SystemTime::now", &["sys"]),
    ("jiff::Zoned::now", &["sys"]),
    ("jiff::Timestamp::now", &["sys"]),
    ("getrandom::", &["sys"]),
    ("serde_ignored::", &["config"]),
    ("tracing_subscriber::", &["telemetry"]),
    ("regex::", &["policy", "compose", "cli"]),
    ("shlex::", &["compose", "cli"]),
    ("clap::", &["cli"]),
    ("clap_complete::", &["cli"]),
    ("clap_mangen::", &["cli"]),
    ("ed25519_dalek::", &["signing"]),
    ("axum::", &["view"]),
    ("hyper::", &["view"]),
    ("hyper_util::", &["view"]),
    ("tower_http::", &["view"]),
    ("flate2::", &["view"]),
    ("askama::", &["view"]),
    ("comfy_table::", &["view"]),
    ("indicatif::", &["view"]),
    ("ratatui::", &["view"]),
    ("prometheus_client::", &["view"]),
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn source_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn without_unit_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    text.split("\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The code without comments and unit tests; strings stay, and do not matter here.
fn code(path: &Path) -> String {
    without_unit_tests(path)
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Modules of this crate that the code names: `crate::NAME`, and each of `crate::{A, B}`.
fn modules_named(code: &str, root: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| is_word(c) || c == ':') {
            continue;
        }
        let rest = &code[at + root.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word, mut fresh) = (0, String::new(), true);
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    ':' if depth == 0 => fresh = false,
                    c if depth == 0 && fresh && is_word(c) => {
                        word.push(c);
                        continue;
                    }
                    _ => {}
                }
                if !word.is_empty() {
                    named.push(std::mem::take(&mut word));
                }
            }
            named.extend((!word.is_empty()).then_some(word));
        } else {
            named.push(rest.chars().take_while(|&c| is_word(c)).collect());
        }
    }
    named
}

/// Whether the code names an outside path, not as the tail of another one.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = &code[..at];
        !before.ends_with(is_word) && (!before.ends_with("::") || before.ends_with(" ::") || before.ends_with("(::"))
    })
}

#[test]
fn modules_import_from_below_and_crates_keep_their_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    assert!(files.len() > 5, "src/ is read");
    let mut faults = String::new();
    for file in files {
        let inside = file.strip_prefix(&src).expect("below src");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || inside.to_string_lossy().ends_with("tests.rs") {
            continue;
        }
        let Some(own) = layer(module) else {
            let _ = writeln!(faults, "{}: the module {module} is in no layer", inside.display());
            continue;
        };
        let code = code(&file);
        let root = if module == "bin" { "distcomp::" } else { "crate::" };
        for named in modules_named(&code, root) {
            let allowed = named == module || layer(&named).is_none_or(|other| other < own);
            if !allowed {
                let _ = writeln!(faults, "{}: {module} may not name {named}", inside.display());
            }
        }
        for (path, places) in PLACES {
            // `config/redis.rs` is a module of that name, not the crate.
            let has_own = src.join(module).join(path.replace("::", ".rs")).exists();
            if names(&code, path) && !places.contains(&module) && !has_own {
                let _ = writeln!(faults, "{}: {path} belongs to {places:?}", inside.display());
            }
        }
    }
    assert!(faults.is_empty(), "the layers are broken:\n{faults}");
}

#[test]
fn binaries_do_nothing() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    for name in ["worker", "submit", "status", "ctl"] {
        let path = src.join(format!("distcomp-{name}.rs"));
        let lines = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(lines.lines().count() <= 15, "{} has more than 15 lines", path.display());
    }
}

#[test]
fn the_layer_test_can_fail() {
    let named =
        modules_named("use crate::{cli::x, queue::{client, keys}, model};\nlet a = crate::worker::run();", "crate::");
    assert_eq!(named, ["cli", "queue", "model", "worker"]);
    assert!(names("use redis::Client;", "redis::") && names("a(::redis::cmd)", "redis::"));
    assert!(!names("use crate::queue::redis::x;", "redis::") && !names("use fred_redis::x;", "redis::"));
}

/// `O_NOFOLLOW` has one number on x86-64 and another on aarch64: a number protects on one of them only.
#[test]
fn no_flag_of_open_is_written_as_a_number() {
    let mut files = Vec::new();
    source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut wrong = String::new();
    for path in files {
        let code = code(&path);
        for (at, _) in code.match_indices("custom_flags(") {
            let argument = code[at + "custom_flags(".len()..].split(')').next().unwrap_or_default().trim();
            let name = argument.rsplit("::").next().unwrap_or_default();
            // A constant of this file is looked at where it is declared.
            let declared = code.split(&format!("const {name}:")).nth(1).and_then(|rest| rest.split(';').next());
            let meant = declared.unwrap_or(argument);
            if !meant.contains("O_")
                || meant.split(|c: char| !is_word(c)).any(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            {
                let _ = writeln!(wrong, "{}: custom_flags({argument})", path.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
