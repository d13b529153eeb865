//! The scripts: the files each consists of, the keys it declares, and how it is called.
//!
//! A script is its own file in `lua/` and before it the files of `lua/shared/` that it names, in this order. A function or a key that a script does not
//! name is an unknown global in it, and an error when it is used, never a silent nil. What nothing in a script calls is left out of it.

use std::sync::LazyLock;

use super::keys::Key;
use super::records;
use needed::needed;

/// A file of `lua/shared/`: its name and its text.
type Part = (&'static str, &'static str);

/// One script: its keys in the order in which they are passed, and its text.
pub(super) struct ScriptDef {
    /// The name of its file.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) script: redis::Script,
    pub(super) text: String,
}

impl ScriptDef {
    /// Binds the declared keys to local names, puts what the body needs of the shared files before it, and the numbers of its records' fields in place of
    /// their names.
    fn new(name: &'static str, parts: &[Part], keys: &'static [Key], body: &str) -> Self {
        let names: Vec<&str> = keys.iter().map(|key| key.lua()).collect();
        let bound: Vec<String> = (1..=keys.len()).map(|n| format!("KEYS[{n}]")).collect();
        let mut text = format!("local {} = {}\n", names.join(", "), bound.join(", "));
        text.push_str(&needed(&parts.iter().map(|part| part.1).collect::<Vec<_>>(), body));
        text.push_str(body);
        let text = records::numbered(&text, &records::of(name));
        Self { name, keys, script: redis::Script::new(&text), text }
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal with [$($part:ident),* $(,)?] on [$($key:ident),* $(,)?];)*) => {
        $(pub(super) static $name: LazyLock<ScriptDef> = LazyLock::new(|| {
            let parts = [$((stringify!($part), include_str!(concat!("lua/shared/", stringify!($part), ".lua")))),*];
            ScriptDef::new($file, &parts, &[$(Key::$key),*], include_str!(concat!("lua/", $file)))
        });)*
        /// Every script, to load at connect and to test.
        pub(super) fn all() -> Vec<(&'static str, &'static ScriptDef)> {
            vec![$(($file, &*$name)),*]
        }
        /// The shared files that scripts name, some of them many times.
        #[cfg(test)]
        fn parts() -> Vec<Part> {
            vec![$($((stringify!($part), include_str!(concat!("lua/shared/", stringify!($part), ".lua"))),)*)*]
        }
    };
}

scripts! {
    ATTACH = "attach.lua" with [basics, field_order, events] on [
        Status, Owner, Workers, Capacity, Drain, Format, FieldOrder, Events, Ready, Held, Delayed, RetryElsewhere, Count, Blocked, Reserved, Idle, Scan, Marks, Died,
    ];
    HEARTBEAT = "heartbeat.lua" with [basics, home, field_order, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, limits, claims, shares, transition, failures, evidence, events, turns, blame, marks, orders] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Status, Owner, Load, Capacity, Claims, Revoked, Marks, Drain, Lost, Attempts, Evidence, Quarantine, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, FieldOrder, Apart, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Policy, Blamed, Grown, Learnt, Limits, LimitsIn, LimitsAt,
    ];
    DETACH = "detach.lua" with [basics, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, limits, claims, shares, transition, failures, evidence, events, turns, marks, orders] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Status, Owner, Workers, Load, Capacity, Claims, Revoked, Marks, Lost, Attempts, Evidence, Quarantine, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, Apart, ApartBy, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Policy, Grown, Learnt, Limits, LimitsIn, LimitsAt,
    ];
    CLAIM = "claim.lua" with [basics, spread, home, field_order, members, grown, lanes, gates, needs, learnt, walk, suspects, retries, waking, limits, claims, shares, transition, turns, releasing, isolation, others, reservations] on [
        Todo, Waiting, InProgress, Finished, Status, Owner, Capacity, Claims, Revoked, Drain, Paused, Attempts, Failed, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Blocked, Reserved, Idle, Signatures, FieldOrder, Lost, Apart, ApartBy, Member, BatchN, Batches, BatchWaived, BatchHeld, Wake, Events, Policy, Grown, Learnt, Limits, LimitsIn, LimitsAt, Spread,
    ];
    SETTLE = "settle.lua" with [basics, spread, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, limits, claims, shares, transition, failures, evidence, events, turns, blame, releasing, marks, orders, growing, learning] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Owner, Claims, Revoked, Marks, Refused, Lost, Attempts, Evidence, Quarantine, Tally, Rate, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Ended, Signatures, Apart, Capacity, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, BatchRate, Policy, Blamed, Edited, Grown, Learnt, Limits, LimitsIn, LimitsAt, Spread,
    ];
    SUBMIT = "submit.lua" with [basics, home, field_order, members, grown, lanes, gates, needs, learnt, waking, failures, events, marks] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Marks, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, FieldOrder, Capacity, Member, BatchN, Batches, BatchWaived, BatchSubmits, Grown, Learnt,
    ];
    RECLAIM = "reclaim.lua" with [basics, deaths, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, limits, claims, shares, transition, failures, evidence, events, turns, marks, orders] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Status, Owner, Capacity, Claims, Revoked, Marks, Refused, Lost, Attempts, Evidence, Quarantine, Tally, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, Load, Apart, ApartBy, Died, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Policy, Grown, Learnt, Limits, LimitsIn, LimitsAt,
    ];
    DEREGISTER = "deregister.lua" with [basics, deaths, events] on [
        Status, Owner, Workers, Load, Capacity, Claims, Revoked, Idle, Events, ApartBy, Died,
    ];
    REASSERT = "reassert.lua" with [basics, home, members, grown, lanes, gates, limits, claims, shares, transition, events, marks] on [
        Todo, Waiting, InProgress, Finished, Owner, Claims, Revoked, Marks, Refused, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Events, Member, BatchN, Batches, BatchWaived, Policy, Grown, Limits, LimitsIn, LimitsAt,
    ];
    CHECK = "check.lua" with [] on [
        Todo, Waiting, InProgress, Finished, Failed, Reason, Status, Owner, Workers, Load, Capacity, Claims, Revoked, Drain, Lost, Attempts, Evidence, Quarantine, Tally, Rate, Groups, Samples, Kinds, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Blocked, Reserved, Idle, Wake, Events, Apart, ApartBy, Died, Limits, LimitsAt, Spread,
    ];
    INDEX = "index.lua" with [basics, home, field_order, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, failures, events, turns] on [
        Todo, Waiting, Failed, Retrying, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, FieldOrder, Apart, Capacity, Member, BatchN, Batches, BatchWaived, Grown, Learnt,
    ];
    SWEEP = "sweep.lua" with [basics, home, members, grown, lanes, gates] on [
        Todo, Waiting, Ready, Count, Cells, Held, Delayed, RetryElsewhere, Member, BatchN, Batches, BatchWaived, Grown,
    ];
    REJECT = "reject.lua" with [basics, home, field_order, members, grown, lanes, gates, failures, events, turns] on [
        Todo, Waiting, Failed, Retrying, Reason, Quarantine, Tally, Groups, Samples, Kinds, KindsOf, Events, FieldOrder, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Ready, Count, Cells, Held, Delayed, RetryElsewhere, Grown,
    ];
    RECONCILE = "reconcile.lua" with [basics, home, members, grown, lanes, gates, limits, claims, shares, transition, failures, turns, marks] on [
        Quarantine, Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Owner, Workers, Load, Capacity, ClaimsOf, RevokedOf, Marks, Refused, Lost, Attempts, Groups, Samples, Kinds, KindsOf, Ready, Count, Cells, Held, Delayed, RetryElsewhere, Blocked, Reserved, Idle, Wake, Signatures, Aside, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Events, Policy, Edited, Blamed, Grown, Limits, LimitsIn, LimitsAt,
    ];
    CONTROL = "control.lua" with [basics, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, limits, claims, shares, transition, failures, evidence, events, turns, giving_up, marks, orders] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, ClaimsOf, RevokedOf, Marks, Lost, Attempts, Evidence, Quarantine, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, Apart, Capacity, Member, BatchN, Batches, BatchWaived, BatchFails, BatchHeld, Tally, Policy, Grown, Learnt, Limits, LimitsIn, LimitsAt,
    ];
    EDIT = "edit.lua" with [basics, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, failures, events] on [
        Todo, Waiting, InProgress, Finished, Failed, Retrying, Reason, Lost, Attempts, Evidence, Groups, Samples, Kinds, KindsOf, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Signatures, Apart, Capacity, Member, BatchN, Batches, BatchWaived, Edited, Grown, Learnt,
    ];
    ASIDE = "aside.lua" with [basics, home, members, grown, lanes, gates] on [
        Todo, Waiting, Aside, Ready, Count, Cells, Held, Delayed, RetryElsewhere, Member, BatchN, Batches, BatchWaived, Grown,
    ];
    RESTORE = "restore.lua" with [basics, home, members, grown, lanes, gates, suspects, retries, needs, learnt, waking, shares, limits, transition] on [
        Todo, Waiting, InProgress, Finished, Failed, Aside, Ready, Sequence, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Apart, Capacity, Member, BatchN, Batches, BatchWaived, Policy, Grown, Learnt, Limits, LimitsIn, LimitsAt,
    ];
    BATCH = "batch.lua" with [basics, members, grown, lanes, gates, turns] on [
        Member, BatchN, Batches, BatchWaived, BatchHeld, BatchFails, BatchSubmits, Ready, Cells, Count, Held, Delayed, RetryElsewhere, Wake, Events, Kinds, Grown,
    ];
    RELEASE = "release.lua" with [basics, home, members, grown, lanes, gates, suspects, needs, learnt, waking, failures, turns, releasing, giving_up] on [
        Todo, Waiting, Failed, Retrying, Reason, Attempts, Lost, Apart, Tally, Groups, Samples, Kinds, KindsOf, Member, BatchN, Batches, BatchWaived, BatchHeld, BatchFails, BatchSubmits, Ready, Count, Cells, Held, Delayed, RetryElsewhere, Idle, Wake, Events, Capacity, Grown, Learnt,
    ];
    SHARE = "share.lua" with [basics, members, shares] on [InProgress, Member, Batches, Policy, Ready];
    RECOUNT = "recount.lua" with [basics, members] on [
        Member, BatchN, Batches, BatchSubmits, Ready,
    ];
}

mod needed;
#[cfg(test)]
mod tests;
