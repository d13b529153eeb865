//! Signed tasks: with `require_signed_tasks` nothing runs but what the holder of a key has signed, for this queue, until it expires. Each attack here is
//! one that somebody who can write to Redis, and read all of it, can make.
mod edited;
mod forged;
mod kept;
mod keys;
mod needs;
mod queues;
mod shown;

use serde_json::json;

use crate::support::{Bed, reason_of, run_times};

const SIGNATURES: &str = "distcomp:signatures";

const QUEUE_ID: &str = "distcomp:queue_id";

/// A bed whose submitter signs with a key and whose workers require it.
struct Signed {
    bed: Bed,
}

impl Signed {
    fn new() -> Self {
        Self::on(Bed::new())
    }

    fn on(mut bed: Bed) -> Self {
        let key = keygen(&bed, "key");
        bed.configure(json!({
            "task_signing_key": key, "task_public_keys": [format!("{key}.pub")], "require_signed_tasks": true
        }));
        Self { bed }
    }

    /// Puts a line into the queue past all code of ours, with whatever beside it.
    fn forge(&self, line: &str, signature: Option<&str>) {
        if let Some(signature) = signature {
            self.bed.hset(SIGNATURES, line, signature);
        }
        self.bed.hset("todo_tasks", line, "");
    }

    fn signature(&self, line: &str) -> String {
        let table = self.bed.table(SIGNATURES);
        table.get(line).unwrap_or_else(|| panic!("no signature of {line}: {table:#?}")).clone()
    }

    /// Runs a worker until nothing is left; the line must have failed for ever, unrun, for a reason that holds this.
    #[track_caller]
    fn is_refused(&self, line: &str, why: &str) {
        self.bed.burst("w");
        self.was_refused(line, why);
    }

    #[track_caller]
    fn was_refused(&self, line: &str, why: &str) {
        assert!(self.bed.table("failed_tasks").contains_key(line), "{line} is not in failed_tasks");
        assert!(!self.bed.table("todo_tasks").contains_key(line), "{line} would be tried again");
        assert!(!self.bed.table("finished_tasks").contains_key(line), "{line} was run");
        let reason = reason_of(&self.bed, line);
        assert!(reason.starts_with("not signed: ") && reason.contains(why), "{reason}");
    }

    /// A line that leaves a trace when it runs.
    fn line(&self, name: &str) -> String {
        format!("shell:0:0:1:echo {name} >> {}", self.bed.out("ran"))
    }

    fn ran(&self) -> Vec<String> {
        run_times(self.bed.out("ran")).into_keys().collect()
    }
}

fn keygen(bed: &Bed, name: &str) -> String {
    let path = bed.out(name);
    bed.ctl(&["keygen", "--out", &path]).expect(0);
    path
}

fn command<T: redis::FromRedisValue>(bed: &Bed, args: &[&str]) -> T {
    let mut command = redis::cmd(args[0]);
    command.arg(&args[1..]);
    command.query(&mut bed.redis.con()).expect("the command")
}
