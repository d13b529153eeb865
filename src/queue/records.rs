//! The layout of what Rust and the scripts exchange. Each record is declared once, here, and both sides use the names of its fields.
//!
//! A script has at most one record of each role:
//!
//! | role | written by | in Lua |
//! | --- | --- | --- |
//! | `args` | Rust, the first arguments | `ARGV[ARG.worker]` |
//! | `each` | Rust, repeated to the end | `for i = ARG.size + 1, #ARGV, EACH.size do … ARGV[i + EACH.line]` |
//! | `reply` | the script, its first values | `{ [REPLY.state] = 'OK', … }` |
//! | `row` | the script, repeated to the end | `reply[at + ROW.line] = line`, `at` being the position of its first value |
//!
//! The loader puts the number in place of each `ROLE.field`, and the value in place of each constant that both sides use (`GROUP.stopped`), so that a name
//! costs nothing at run time. A field of amounts is one argument for each kind of resource: `ARG.room_mem`, `ARG.room_cpu`. To add a field, add a line here: the compiler names
//! the places in Rust that fill it in or ignore it.

pub(super) mod constants;
mod shape;

use std::time::Duration;

pub(super) use self::shape::{Shape, numbered};
use super::args::{Args, ArgumentRecord, FieldArguments};
use super::error::QueueError;
use super::reply::{Reply, ReplyRecord, ReplyValue};
use crate::model::{Amounts, Class, Offer, Stocks, TaskId, Traits};

macro_rules! records {
    ($($file:literal { $($(#[$doc:meta])* $role:ident $name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty),* $(,)? })* })*) => {
        $($(
            $(#[$doc])*
            pub(super) struct $name $(<$life>)? {
                $(pub(super) $field: $type),*
            }
            records!(@$role $name $(<$life>)?: $($field: $type),*);
        )*)*

        /// The records of the script in this file.
        pub(super) fn of(file: &str) -> Vec<Shape> {
            match file {
                $($file => vec![$(records!(@shape $role $name $($field)*)),*],)*
                _ => Vec::new(),
            }
        }
    };
    (@args $($record:tt)*) => { records!(@sent $($record)*); };
    (@each $($record:tt)*) => { records!(@sent $($record)*); };
    (@reply $($record:tt)*) => { records!(@received $($record)*); };
    (@row $($record:tt)*) => { records!(@received $($record)*); };
    (@sent $name:ident $(<$life:lifetime>)?: $($field:ident: $type:ty),*) => {
        impl $(<$life>)? ArgumentRecord for $name $(<$life>)? {
            fn names() -> Vec<String> {
                [$(<$type as FieldArguments>::names(stringify!($field))),*].concat()
            }

            fn write(self, args: &mut Args) {
                $(args.field(&self.$field);)*
            }
        }
    };
    (@received $name:ident: $($field:ident: $type:ty),*) => {
        impl ReplyRecord for $name {
            const SIZE: usize = [$(stringify!($field)),*].len();

            fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
                let mut at = at..;
                let mut next = || at.next().unwrap_or(usize::MAX);
                Ok(Self { $($field: <$type as ReplyValue>::read(reply, next())?),* })
            }
        }
    };
    (@shape args $name:ident $($field:ident)*) => { Shape::new("ARG", 1, $name::names()) };
    (@shape each $name:ident $($field:ident)*) => { Shape::new("EACH", 0, $name::names()) };
    (@shape reply $name:ident $($field:ident)*) => { Shape::new("REPLY", 1, vec![$(stringify!($field).to_owned()),*]) };
    (@shape row $name:ident $($field:ident)*) => { Shape::new("ROW", 0, vec![$(stringify!($field).to_owned()),*]) };
}

// Classes are "MEM:CPU:NEEDS:". A base score is without a sequence number: (65535 - priority) * 2^37. A fence is "instance:epoch".
records! {
    "attach.lua" {
        /// `previous` is the owner seen before or our own last fence, `registration` is JSON, `offer` is empty while the worker takes nothing.
        /// `newest` and `oldest` are the versions of the layout that it supports. `is_drained`: an operator has drained it, as far as it knows.
        args AttachArgs<'a> {
            worker: &'a str,
            instance: &'a str,
            previous: &'a str,
            registration: String,
            offer: Option<Offer>,
            traits: &'a Traits,
            newest: u32,
            order: &'a str,
            is_drained: bool,
            oldest: u32,
        }
        /// `epoch` is 0 when another instance owns the name, and -1 when the layout is not supported. `layout` is the version, or the owner for epoch 0.
        /// `behind` is a worker that does not support the newest layout, `refusal` why the server did not let it be raised; either may be empty.
        reply AttachReply {
            epoch: i64,
            layout: String,
            behind: String,
            refusal: String,
        }
    }
    "heartbeat.lua" {
        /// `suspect_after` is how many tasks may speak against the worker before it pauses, 0 for any number. `usage` is "USEDCORES:TOTALCORES:USEDGB:TOTALGB", `load` is JSON for people, `offer` is empty while the worker takes nothing. `started` lines
        /// follow that have started since the last heartbeat.
        args HeartbeatArgs<'a> {
            worker: &'a str,
            fence: &'a str,
            usage: &'a str,
            load: &'a str,
            offer: Option<Offer>,
            traits: &'a Traits,
            order: &'a str,
            started: usize,
            suspect_after: u32,
        }
        /// A claim ended by an operator's order, of which nothing runs any more.
        each StoppedClaim<'a> {
            line: &'a str,
            token: &'a str,
        }
        /// Whether an operator asked the worker to drain, the stop command is there, the queue has another field order. `suspect` is how many tasks speak
        /// against it, 0 while it may take tasks; `may_try`: it may take one all the same.
        reply HeartbeatHead {
            state: String,
            drain: bool,
            stop: bool,
            other_order: bool,
            suspect: u64,
            may_try: bool,
        }
        /// A claim that the worker must stop.
        row RevokedClaim {
            line: String,
            token: String,
        }
    }
    "claim.lua" {
        /// `slots` tasks may start now, together of at most `room`. `prefetch_slots` tasks may be claimed before a slot is free, each of at most `prefetch`.
        /// `offer` is the most that this node could give to one task, empty for none; `traits` is what it has beside, and `free` what
        /// of its named resources may start now. Lines to pass over follow.
        args ClaimArgs<'a> {
            worker: &'a str,
            fence: &'a str,
            token: &'a str,
            slots: u32,
            room: Amounts,
            prefetch_slots: u32,
            prefetch: Amounts,
            offer: Option<Amounts>,
            traits: &'a Traits,
            free: &'a Stocks,
            prefer_wait: Duration,
            dead_after: Duration,
            starve_after: Duration,
            avoid: Duration,
            wants_leftovers: bool,
            wants_signatures: bool,
            order: &'a str,
        }
        /// `state` is OK, STOP, PAUSED, DRAIN or ORDER. `reserved` is the line for which room is kept, or empty, and `reserved_mem` the memory that it declares now. `next_timer_ms` is -1 for none.
        /// `started` of the claims may start now; the rest is prefetched.
        reply ClaimHead {
            state: String,
            waiting: u64,
            indexed: u64,
            has_leftovers: bool,
            reserved: String,
            next_timer_ms: i64,
            started: u64,
            reserved_mem: u64,
        }
        /// `signature` is empty where none was asked for, or there is none. `names` are the batches it belongs to, `upstream` is how what it waited for has
        /// ended ("finished" or "failed"); both may be empty. `mem` is the memory that it declares now.
        row ClaimedLine {
            line: String,
            attempt: i64,
            signature: Option<Vec<u8>>,
            names: String,
            upstream: String,
            mem: u64,
        }
    }
    "settle.lua" {
        /// `keep_results`: a result whose line is nowhere is kept, after Redis lost data.
        args SettleArgs<'a> {
            worker: &'a str,
            fence: &'a str,
            max_retry: u32,
            avoid: Duration,
            keep_results: bool,
        }
        /// `op` is F finished (`value` for finished_tasks), X failed (`value` for task_fail_reason), I refused for ever (the same), R returned.
        /// `record` is the attempt's evidence, empty for one that never started. `backoff` is the delay after a first failure,
        /// `outcome` its code. `more_mem` is how much memory the next attempt should declare, empty for as much as this one; where that is bounded by the
        /// nodes that live, `node_mem` is what the node of this attempt has.
        /// `run_ms` is the run time of an attempt that finished or failed, `mem_part` the peak of a finished task in thousandths of what it declared; both are
        /// empty where that is not known.
        /// `family` is under which a finished task without a batch adds its `peak`, after "=" where its line names it; empty where none is known.
        each SettleEntry<'a> {
            op: &'a str,
            line: &'a str,
            token: &'a str,
            id: TaskId,
            value: &'a str,
            record: String,
            class: Option<&'a Class>,
            backoff: Duration,
            group: String,
            outcome: &'a str,
            more_mem: Option<u64>,
            node_mem: Option<u64>,
            family: String,
            peak: Option<u64>,
            run_ms: Option<u64>,
            mem_part: Option<u64>,
        }
    }
    "reassert.lua" {
        /// `data_lost`: Redis may have lost data.
        args ReassertArgs<'a> {
            worker: &'a str,
            fence: &'a str,
            data_lost: bool,
        }
        /// A line that the worker runs.
        each RunningLine<'a> {
            line: &'a str,
            token: &'a str,
            attempt: u32,
            class: &'a Class,
        }
    }
    "detach.lua" {
        /// The worker that leaves.
        args DetachArgs<'a> {
            worker: &'a str,
            fence: &'a str,
        }
    }
    "submit.lua" {
        /// `rerun`: lines that have finished or are out of retries are added too. `order` is the field order in which the lines were read. `submission` is
        /// the one that was begun for each batch that they belong to; empty to add without one.
        args SubmitArgs<'a> {
            rerun: bool,
            order: &'a str,
            submission: &'a str,
        }
        /// `signature` is empty for a line that is not signed. `belongs` is the batch or step that it belongs to, and after a blank its tags, separated by
        /// commas; empty for none.
        each SubmittedLine<'a> {
            line: &'a str,
            class: &'a Class,
            base_score: u64,
            signature: &'a str,
            belongs: &'a str,
        }
        /// `added` is -1 when the queue has another field order, and -2 when the submission is not under way. The next four are how many lines were there
        /// already. `blocked` of the added ones wait behind a gate. `crowded` belong to as many batches as a line may, and did not join.
        reply SubmitReply {
            added: i64,
            queued: u64,
            running: u64,
            finished: u64,
            failed: u64,
            blocked: u64,
            crowded: u64,
        }
    }
    "reclaim.lua" {
        /// `mode` is "lease" (only while its heartbeat is still `proof`, and at least `lease` old), "own" (`proof` is the fence of the name's owner), or
        /// "operator".
        args ReclaimArgs<'a> {
            worker: &'a str,
            mode: &'a str,
            lease: Duration,
            proof: String,
            max_lost: u32,
            avoid: Duration,
        }
        /// `record` is the evidence of the lost attempt.
        each ReclaimedLine<'a> {
            line: &'a str,
            id: TaskId,
            class: &'a Class,
            base_score: u64,
            record: String,
        }
        /// `state` is OK, ALIVE or FENCED.
        reply ReclaimReply {
            state: String,
            returned: u64,
            failed: u64,
        }
    }
    "deregister.lua" {
        /// A worker that was declared dead.
        args DeregisterArgs<'a> {
            worker: &'a str,
        }
    }
    "check.lua" {
        /// A random name.
        args CheckArgs<'a> {
            nonce: &'a str,
        }
    }
    "index.lua" {
        /// `order` is the field order in which the lines were read.
        args IndexArgs<'a> {
            avoid: Duration,
            order: &'a str,
        }
        /// A waiting line.
        each FoundLine<'a> {
            line: &'a str,
            class: &'a Class,
            base_score: u64,
        }
    }
    "reject.lua" {
        /// `order` is the field order in which the lines were read.
        args RejectArgs<'a> {
            order: &'a str,
        }
        /// `destination` is "failed" or "quarantine", `reason` a JSON string.
        each RejectedLine<'a> {
            line: &'a [u8],
            destination: &'a str,
            reason: String,
            group: String,
        }
    }
    "sweep.lua" {
        /// `lane` is empty for the lines of retries, "*" for those behind gates, and "=" to set COUNT to what the index really holds. About `count` lines are examined.
        args SweepArgs<'a> {
            lane: &'a str,
            cursor: &'a str,
            count: usize,
        }
        /// `cursor` is "0" at the end.
        reply SweepReply {
            cursor: String,
            dropped: u64,
        }
    }
    "reconcile.lua" {
        /// `worker` is empty for the kinds that are not a worker's own, and the name of a limit for those of one. `mode` is "look", with a record, or "mend", with the fields that an earlier look
        /// has found wrong.
        args ReconcileArgs<'a> {
            kind: &'a str,
            worker: &'a str,
            mode: &'a str,
        }
        /// About `count` entries are examined from `cursor` on.
        each ReconcileStep<'a> {
            cursor: &'a str,
            count: u64,
        }
    }
    "control.lua" {
        /// `op` is "requeue", "cancel", "purge" or "give_up": waiting lines only, with this reason and group of failures. `selected` is the state that the
        /// lines were selected in, empty for any. `by` is for the log.
        args ControlArgs<'a> {
            op: &'a str,
            selected: &'a str,
            reason: &'a str,
            group: &'a str,
            by: &'a str,
        }
        /// `class` is empty for a line that is not a task. `record` is the evidence of the cancellation.
        each ChangedLine<'a> {
            line: &'a str,
            id: TaskId,
            class: Option<&'a Class>,
            base_score: u64,
            record: String,
        }
        /// Of the `changed` lines, `stopping` are being stopped, and `freed` were in progress without a claim.
        reply ControlReply {
            changed: u64,
            stopping: u64,
            freed: u64,
        }
    }
    "edit.lua" {
        /// For how long a worker that failed a task leaves it to others.
        args EditArgs {
            avoid: Duration,
        }
        /// A waiting line and the one that it becomes. `signature` is empty for one that is not signed.
        each EditedLine<'a> {
            old: &'a str,
            old_id: TaskId,
            old_class: &'a Class,
            new: &'a str,
            id: TaskId,
            class: &'a Class,
            base_score: u64,
            signature: &'a str,
        }
    }
    "batch.lua" {
        /// `op` is "begin" or "end" of `submission`, "step", "close", "open" (more is to come), "waive", "hold", "go_on", "forget", "leave" or "forgotten"; `value`
        /// is by whom, or why, or the name that is being forgotten, or "empty" for "forget" of a batch without tasks.
        args BatchArgs<'a> {
            op: &'a str,
            submission: &'a str,
            value: &'a str,
        }
        /// A batch, or with "step" and "waive" any name, or with "leave" a line. With "begin", `record` replaces the record `expected`.
        each BatchEntry<'a> {
            name: &'a str,
            record: &'a str,
            expected: &'a str,
        }
    }
    "release.lua" {
        /// About `most` lines are looked at. `done` is a chore that is over, empty for none.
        args ReleaseArgs<'a> {
            most: usize,
            done: &'a str,
        }
        /// Whether there is more to do.
        reply ReleaseHead {
            has_more: bool,
        }
        /// A batch that has stopped.
        row StoppedBatch {
            batch: String,
        }
    }
    "recount.lua" {
        /// An empty `cursor` begins. About `count` members are examined.
        args RecountArgs<'a> {
            cursor: &'a str,
            count: usize,
        }
    }
    "share.lua" {
        /// `op` is "add", with lines in progress, or "sum".
        args ShareArgs<'a> {
            op: &'a str,
        }
        each ShareLine<'a> {
            line: &'a str,
            class: &'a Class,
        }
    }
    "aside.lua" {
        /// A waiting line.
        each AsideLine<'a> {
            line: &'a str,
            class: &'a Class,
        }
    }
    "restore.lua" {
        /// For how long a worker that failed a task leaves it to others.
        args RestoreArgs {
            avoid: Duration,
        }
        /// A line that was set aside.
        each RestoredLine<'a> {
            line: &'a str,
            class: &'a Class,
            base_score: u64,
        }
    }
}

#[cfg(test)]
mod tests;
