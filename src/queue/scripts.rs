//! The scripts: what each is made of, which keys it declares, and how it is called.

use std::sync::LazyLock;

use super::keys::Key;

/// One script: its keys in the order in which they are passed, and its text.
pub(super) struct ScriptDef {
    /// The name of its file.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) script: redis::Script,
    pub(super) text: String,
}

impl ScriptDef {
    /// Binds the declared keys to local names and puts the shared functions before the body.
    fn new(name: &'static str, keys: &'static [Key], body: &str) -> Self {
        let names: Vec<&str> = keys.iter().map(|key| key.lua()).collect();
        let bound: Vec<String> = (1..=keys.len()).map(|n| format!("KEYS[{n}]")).collect();
        // Functions of common.lua look their keys up as globals of this chunk, so undeclared ones stay an error.
        let header = format!("local {} = {}\n", names.join(", "), bound.join(", "));
        let text = format!("{header}{}\n{body}", include_str!("lua/common.lua"));
        Self { name, keys, script: redis::Script::new(&text), text }
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal [$($key:ident),* $(,)?];)*) => {
        $($(#[$doc])*
        pub(super) static $name: LazyLock<ScriptDef> =
            LazyLock::new(|| ScriptDef::new($file, &[$(Key::$key),*], include_str!(concat!("lua/", $file))));)*
        /// Every script, to load at connect and to test.
        pub(super) fn all() -> Vec<(&'static str, &'static ScriptDef)> {
            vec![$(($file, &*$name)),*]
        }
    };
}

scripts! {
    ATTACH = "attach.lua" [Status, Owner, Workers, Capacity, Drain, Format, FieldOrder, Events];
    BEAT = "beat.lua" [
        Todo, InProgress, Finished, Failed, Reason, Status, Owner, Load, Capacity, Claims, Revoked, Marks, Drain, Lost,
        Attempts, Evidence, Quarantine, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held, Delayed, Avoided,
        Idle, Wake, Events, Signatures, FieldOrder, Apart,
    ];
    DETACH = "detach.lua" [
        Todo, InProgress, Finished, Failed, Reason, Status, Owner, Workers, Load, Capacity, Claims, Revoked, Marks,
        Lost, Attempts, Evidence, Quarantine, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held,
        Delayed, Avoided, Idle, Wake, Events, Signatures, Apart, ApartBy,
    ];
    CLAIM = "claim.lua" [
        Todo, InProgress, Finished, Status, Owner, Capacity, Claims, Revoked, Drain, Paused, Attempts, Failed, Ready,
        Sequence, Count, Heads, Held, Delayed, Avoided, Blocked, Reserved, Idle, Signatures, FieldOrder, Lost, Apart, ApartBy,
    ];
    SETTLE = "settle.lua" [
        Todo, InProgress, Finished, Failed, Reason, Owner, Claims, Revoked, Marks, Refused, Lost, Attempts, Evidence,
        Quarantine, Tally, Rate, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held, Delayed, Avoided, Idle,
        Wake, Events, Signatures, Apart
    ];
    SUBMIT = "submit.lua" [
        Todo, InProgress, Finished, Failed, Reason, Marks, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held,
        Delayed, Avoided, Idle, Wake, Events, Signatures, FieldOrder,
    ];
    RECLAIM = "reclaim.lua" [
        Todo, InProgress, Finished, Failed, Reason, Status, Owner, Capacity, Claims, Revoked, Marks, Refused, Lost,
        Attempts, Evidence, Quarantine, Tally, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held, Delayed,
        Avoided, Idle, Wake, Events, Signatures, Load, Apart, ApartBy
    ];
    BURY = "bury.lua" [Status, Owner, Workers, Load, Capacity, Claims, Revoked, Idle, Events, ApartBy];
    REASSERT = "reassert.lua" [
        Todo, InProgress, Finished, Owner, Claims, Revoked, Marks, Refused, Ready, Sequence, Count, Heads, Held,
        Delayed, Avoided, Events,
    ];
    CHECK = "check.lua" [
        Todo, InProgress, Finished, Failed, Reason, Status, Owner, Workers, Load, Capacity, Claims, Revoked, Drain, Lost,
        Attempts, Evidence, Quarantine, Tally, Rate, Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held,
        Delayed, Avoided, Blocked, Reserved, Idle, Wake, Events, Apart, ApartBy,
    ];
    INDEX = "index.lua" [
        Todo, Failed, Ready, Sequence, Count, Heads, Held, Delayed, Avoided, Idle, Wake, Events, FieldOrder, Apart,
    ];
    SWEEP = "sweep.lua" [Todo, Ready, Count, Heads, Held, Delayed, Avoided];
    REJECT = "reject.lua" [Todo, Failed, Reason, Quarantine, Tally, Groups, Samples, Kinds, Events, FieldOrder];
    RECONCILE = "reconcile.lua" [
        Todo, InProgress, Finished, Failed, Reason, Owner, Workers, Load, Capacity, ClaimsOf, RevokedOf, Marks, Refused,
        Lost, Attempts, Groups, Samples, Kinds, Ready, Count, Heads, Held, Delayed, Avoided, Blocked, Reserved, Idle,
        Wake, Signatures, Aside,
    ];
    CONTROL = "control.lua" [
        Todo, InProgress, Finished, Failed, Reason, ClaimsOf, RevokedOf, Marks, Lost, Attempts, Evidence, Quarantine,
        Groups, Samples, Kinds, Ready, Sequence, Count, Heads, Held, Delayed, Avoided, Idle, Wake, Events, Signatures, Apart
    ];
    ASIDE = "aside.lua" [Todo, Aside, Ready, Count, Heads, Held, Delayed, Avoided];
    RESTORE = "restore.lua" [
        Todo, InProgress, Finished, Failed, Aside, Ready, Sequence, Count, Heads, Held, Delayed, Avoided, Idle, Wake, Apart,
    ];
}
