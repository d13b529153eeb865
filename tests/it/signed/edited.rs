//! What is edited is signed again, and nothing else is signed on the way.
use serde_json::json;

use super::{SIGNATURES, Signed, keygen};

#[test]
fn edited_line_is_signed_again_until_the_same_moment() {
    let signed = Signed::new();
    let line = signed.line("meant");
    signed.bed.submit(&["--expires", "1h", "-"], &line).expect(0);
    let before = signed.signature(&line);
    let new = line.replacen("shell:0:0:1", "shell,constraint=!x:0:0:9", 1);
    signed.bed.ctl(&["edit", "--all", "--set", "priority=9", "--set", "constraint=!x", "--yes"]).expect(0);
    assert!(signed.bed.table(SIGNATURES).into_keys().eq([new.clone()]));
    let expires = |signature: &str| signature.split('.').nth(1).map(str::to_owned);
    let after = signed.signature(&new);
    assert_eq!(expires(&after), expires(&before));
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["meant"]);
}

#[test]
fn signed_line_is_not_edited_without_a_key() {
    let mut signed = Signed::new();
    let line = signed.line("meant");
    signed.bed.add([&line]);
    signed.bed.configure(json!({"task_signing_key": null}));
    signed
        .bed
        .ctl(&["edit", "--all", "--set", "priority=9", "--yes"])
        .expect(2)
        .says(&["it is signed, and task_signing_key is not set", "nothing was changed"]);
    // Nor with a key that nobody here knows.
    let other = keygen(&signed.bed, "other");
    let key = signed.bed.out("key.pub");
    signed.bed.configure(json!({"task_signing_key": other, "task_public_keys": [format!("{other}.pub")]}));
    signed
        .bed
        .ctl(&["edit", "--all", "--set", "priority=9", "--yes"])
        .expect(2)
        .says(&["it was signed by key", "nothing was changed"]);
    signed.bed.configure(json!({"task_public_keys": [key]}));
    assert!(signed.bed.table("todo_tasks").contains_key(&line));
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["meant"]);
}

#[test]
fn edit_signs_nothing_that_was_not_signed() {
    let signed = Signed::new();
    let meant = signed.line("meant");
    signed.bed.add([&meant]);
    let (forged, worse) = (signed.line("forged"), signed.line("worse"));
    signed.forge(&forged, None);
    signed
        .bed
        .ctl(&["edit", "--include", "forged", "--set", "priority=9", "--yes"])
        .expect(0)
        .prints_line("edited 1 task");
    let new = forged.replacen(":1:", ":9:", 1);
    signed.is_refused(&new, "no signature");
    signed.forge(&worse, Some(&signed.signature(&meant)));
    signed
        .bed
        .ctl(&["edit", "--include", "worse", "--set", "priority=9", "--yes"])
        .expect(2)
        .says(&["it cannot be signed again: its signature is not of this line"]);
    assert!(signed.bed.table("todo_tasks").contains_key(&worse));
}
