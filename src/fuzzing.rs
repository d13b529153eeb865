//! What the fuzz targets under `fuzz/` call, one function each; their corpus is replayed by the tests.
//!
//! A target fails by a panic: overflow, a slice out of range, or one of the promises that are asserted here.

use crate::model::{FieldOrder, TaskLine};
use crate::signing::{PublicKey, QueueName, Seal, Verifier};
use crate::view::safe_text::safe;

/// A task line, as anybody may put it into the queue.
pub fn task_line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for order in [FieldOrder::MemCpuPrio, FieldOrder::PrioMemCpu] {
        match TaskLine::parse(&text, order) {
            Ok(task) => {
                assert_eq!(task.as_str(), text, "a line is kept as it is");
                assert!(!task.cmd().is_empty() && text.ends_with(task.cmd()));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// The text of a configuration file.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        crate::config::fuzz(text);
    }
}

/// An answer of Redis, and what people are shown of it.
pub fn replies(bytes: &[u8]) {
    let (overview, tasks) = crate::queue::fuzz(bytes);
    let mut shown = Vec::new();
    if let Some(overview) = overview {
        shown.push(crate::view::overview::overview(&overview, 80, 80));
    }
    shown.extend(tasks.iter().map(|task| crate::view::task::task(task, FieldOrder::MemCpuPrio, false)));
    for text in shown {
        let plain = anstream::adapter::strip_str(&text).to_string();
        // Our own styles are gone: what drives a terminal now came from Redis.
        let hostile = plain.lines().find(|line| matches!(safe(line), std::borrow::Cow::Owned(_)));
        assert!(hostile.is_none(), "{hostile:?}");
    }
}

/// An entry of the event log, as anybody who may write there could leave it, and the messages of those who follow a task's output.
pub fn messages(bytes: &[u8]) {
    let _ = crate::queue::fuzz(bytes);
    let text = String::from_utf8_lossy(bytes);
    let (entry, text) = text.split_once('\n').unwrap_or(("1-0", &text));
    for event in crate::model::event::expand(entry, text) {
        let mut written = Vec::new();
        let Ok(()) = crate::view::safe_json::write(&mut written, &event) else { unreachable!("memory takes it") };
        let line = String::from_utf8_lossy(&written);
        assert!(!line.contains(crate::model::safe_text::is_unsafe), "one event, one harmless line: {line:?}");
    }
}

/// What comes over the socket of a keeper.
pub fn frames(bytes: &[u8]) {
    crate::process::fuzz(bytes);
}

/// What lies beside a line where its signature belongs, and the files of keys.
pub fn signature(bytes: &[u8]) {
    const PUBLIC: &str = "distcomp-public-key:ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let Ok(key) = PublicKey::parse(PUBLIC) else { unreachable!("it is a key") };
    let queue = QueueName { id: "q".to_owned(), db: 0, prefix: String::new() };
    // Nobody has the secret half here: nothing may be found good.
    assert!(Verifier::new(vec![key], queue).verify("line", Some(bytes), 0).is_err());
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(seal) = text.parse::<Seal>() {
            assert_eq!(seal.to_string(), text, "a signature has one text");
        }
        let _ = PublicKey::parse(text);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Every input that was kept, so that what was found once is never found again.
    fn replay(target: &str, run: impl Fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let inputs: Vec<_> = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).collect();
        assert!(!inputs.is_empty(), "{} holds nothing", dir.display());
        for input in inputs {
            let path = input.expect("an entry").path();
            // The name of the one that fails is what one needs to know.
            println!("{}", path.display());
            run(&fs::read(&path).expect("an input"));
        }
    }

    #[test]
    fn task_line() {
        replay("task_line", super::task_line);
    }

    #[test]
    fn config() {
        replay("config", super::config);
    }

    #[test]
    fn replies() {
        replay("replies", super::replies);
    }

    #[test]
    fn messages() {
        replay("messages", super::messages);
    }

    #[test]
    fn frames() {
        replay("frames", super::frames);
    }

    #[test]
    fn signature() {
        replay("signature", super::signature);
    }
}
