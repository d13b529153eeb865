//! A signature covers the needs of a line.
use super::{SIGNATURES, Signed};

const WAITING: &str = "distcomp:waiting";

#[test]
fn signed_line_with_needs_runs() {
    let signed = Signed::new();
    let line = signed.line("free").replacen("shell", "shell,constraint=!spot", 1);
    signed.bed.add([&line]);
    assert!(signed.bed.table(WAITING).contains_key(&line));
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["free"]);
}

#[test]
fn changed_need_of_a_signed_line_is_refused() {
    let signed = Signed::new();
    let line = signed.line("meant").replacen("shell", "shell,constraint=!spot", 1);
    signed.bed.add([&line]);
    let signature = signed.signature(&line);
    for (hash, needs) in
        [("todo_tasks", "shell,constraint=!ssd"), (WAITING, "shell,prefer=spot"), ("todo_tasks", "shell")]
    {
        let changed = line.replacen("shell,constraint=!spot", needs, 1);
        signed.bed.hset(SIGNATURES, &changed, &signature);
        signed.bed.hset(hash, &changed, "");
        signed.bed.burst("w");
        signed.was_refused(&changed, "");
        assert!(!signed.bed.table(WAITING).contains_key(&changed));
    }
    assert_eq!(signed.ran(), ["meant"], "what was signed has run, and nothing else");
}
