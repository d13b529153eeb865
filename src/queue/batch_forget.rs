//! Forgets batches whose tasks were purged, so that a name can be used as if it had never been there.
//!
//! What is gone counts against its batch until then, by [`batches::Member`]s that stay. They leave it first, while the batch counts as being added to, so
//! that none of its gates opens meanwhile; then it is no longer known, which keeps gates closed too. Whoever dies in between leaves a batch that is being
//! added to, and the next purge of it, or its closing, goes on from there.

use std::collections::BTreeSet;

use super::batch_views;
use super::batches::{self, Member, MemberScan, MemberState};
use super::call_size;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::keys::Key;
use super::lossy_string::LossyString;
use super::records::constants;
use crate::model::BatchName;

/// What became of a batch that was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is known of it any more.
    Yes,
    /// It stays known: something may wait for it, and must not start because it vanished.
    WaitedFor,
    /// It stays known: it has tasks, something is being added to it, or all of it had finished.
    No,
}

/// Forgets a batch or a step of which every task was purged unfinished, unless something may wait for it. Safe to repeat; goes on with what was cut short.
///
/// # Errors
/// Those of any call.
pub async fn forget(conn: &Connection, name: &BatchName) -> Result<Forgotten, QueueError> {
    Ok(forget_all(conn, std::slice::from_ref(name), "").await?.pop().unwrap_or(Forgotten::No))
}

/// Forgets a batch that has no task, also where all that it had were purged when they had finished.
///
/// # Errors
/// Those of any call.
pub async fn forget_empty(conn: &Connection, name: &BatchName) -> Result<Forgotten, QueueError> {
    Ok(forget_all(conn, std::slice::from_ref(name), "empty").await?.pop().unwrap_or(Forgotten::No))
}

/// Forgets all batches of which every task was purged unfinished, unless something may wait for them.
///
/// # Errors
/// Those of any call.
pub async fn forget_purged(conn: &Connection) -> Result<(), QueueError> {
    let names: Vec<BatchName> = batch_views::names(conn).await?.iter().filter_map(|name| name.parse().ok()).collect();
    let mut purged = Vec::new();
    for part in names.chunks(batches::STEP) {
        purged.extend(of_purged_tasks(conn, part).await?);
    }
    forget_all(conn, &purged, "").await.map(drop)
}

/// Brings to its end the forgetting of a batch, or of steps of it, that was cut short.
///
/// # Errors
/// Those of any call.
pub async fn finish(conn: &Connection, batch: &BatchName) -> Result<(), QueueError> {
    let marks = fields(conn, Key::BatchSubmits, &format!("{batch}\tforget *")).await?;
    let names: Vec<BatchName> = marks.iter().filter_map(|mark| mark.split_once(' ')?.1.parse().ok()).collect();
    forget_all(conn, &names, "").await.map(drop)
}

/// Those of which nothing is open, and whose every task is gone.
async fn of_purged_tasks(conn: &Connection, names: &[BatchName]) -> Result<Vec<BatchName>, QueueError> {
    let mut counts = redis::cmd("HMGET");
    counts.arg(conn.name(Key::BatchN));
    for name in names {
        counts.arg(name.as_str()).arg(format!("{name}~")).arg(format!("{name}="));
    }
    let counts: Vec<Option<LossyString>> = conn.cmd(&counts).await?;
    let count = |value: &Option<LossyString>| value.as_ref().map_or("0", |LossyString(text)| text).to_owned();
    let counts = counts.as_chunks().0.iter().map(|counts: &[_; 3]| counts.each_ref().map(count));
    let is_purged = |[open, gone, tasks]: &[String; 3]| open == "0" && gone != "0" && gone == tasks;
    Ok(names.iter().zip(counts).filter(|(_, counts)| is_purged(counts)).map(|(name, _)| name.clone()).collect())
}

async fn forget_all(conn: &Connection, names: &[BatchName], which: &str) -> Result<Vec<Forgotten>, QueueError> {
    let mut answers = Vec::with_capacity(names.len());
    for name in names {
        answers.push(match batches::call(conn, "forget", "", which, [(name.as_str(), "", "")]).await? {
            constants::FORGOTTEN => Forgotten::Yes,
            constants::WAITED_FOR => Forgotten::WaitedFor,
            _ => Forgotten::No,
        });
    }
    let begun = || names.iter().zip(&answers).filter(|(_, answer)| **answer == Forgotten::Yes).map(|(name, _)| name);
    if begun().next().is_none() {
        return Ok(answers);
    }
    let mut scan = MemberScan::default();
    while let Some(page) = scan.page(conn).await? {
        for name in begun() {
            let is_gone = |member: &&Member| member.state == MemberState::Gone && member.is_of(name);
            let gone: Vec<&str> = page.iter().filter(is_gone).map(|member| member.line.as_str()).collect();
            for part in call_size::parts(&gone, batches::STEP, |line| line.len()) {
                batches::call(conn, "leave", "", name.as_str(), part.iter().map(|line| (*line, "", ""))).await?;
            }
        }
    }
    for (name, answer) in names.iter().zip(&mut answers).filter(|(_, answer)| **answer == Forgotten::Yes) {
        let counters = fields(conn, Key::BatchN, &format!("{name}/*")).await?;
        let steps: BTreeSet<&str> = counters.iter().map(|field| field.trim_end_matches(['!', '~', '='])).collect();
        let steps: Vec<&str> = steps.into_iter().collect();
        for part in steps.chunks(batches::STEP) {
            batches::call(conn, "forgotten", "", name.as_str(), part.iter().map(|step| (*step, "", ""))).await?;
        }
        let done = batches::call(conn, "forgotten", "", name.as_str(), [(name.as_str(), "", "")]).await?;
        *answer = if done == constants::FORGOTTEN { Forgotten::Yes } else { Forgotten::No };
    }
    Ok(answers)
}

/// The fields of a hash that match a pattern.
async fn fields(conn: &Connection, key: Key, pattern: &str) -> Result<Vec<String>, QueueError> {
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(key)).arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let (next, page): ScanPage = conn.cmd(&scan).await?;
        found.extend(page.into_iter().filter_map(|(field, _)| String::from_utf8(field).ok()));
        cursor = next;
        if next == 0 {
            return Ok(found);
        }
    }
}
