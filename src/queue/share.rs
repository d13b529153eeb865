//! Fair share among users or batches of equal priority; see `lua/shared/shares.lua`.

use std::collections::BTreeMap;

use super::args::Args;
use super::call_size;
use super::client::{Connection, ScanPage};
use super::error::QueueError;
use super::events::note_queue;
use super::keys::Key;
use super::lossy_string;
use super::records::{ShareArgs, ShareLine};
use super::{batches, scripts};
use crate::model::snapshot::{OwnerUse, ShareView};
use crate::model::{FairShare, FieldOrder, TaskLine, Weight};

const MODE: &str = "fair_share";
const WEIGHT: &str = "weight:";

/// Lines in progress that are looked at in one step.
const STEP: usize = 250;

/// Whose tasks are weighed against each other now; `None` where order is that of submission alone.
///
/// # Errors
/// Those of any call.
pub async fn mode(conn: &Connection) -> Result<Option<FairShare>, QueueError> {
    let mode: Option<String> = conn.cmd(redis::cmd("HGET").arg(conn.name(Key::Policy)).arg(MODE)).await?;
    Ok(mode.as_deref().and_then(parse))
}

fn parse(mode: &str) -> Option<FairShare> {
    [FairShare::User, FairShare::Batch].into_iter().find(|share| share.as_str() == mode)
}

/// Switches the share in the name of `by`, and counts what is in progress. From then on each claim goes by it; of what was in progress before, the last is counted at the end
/// of this call. Safe to repeat.
///
/// # Errors
/// Those of any call; the share may be on then and not all be counted, which is mended when records are reconciled.
pub async fn set(conn: &Connection, share: Option<FairShare>, order: FieldOrder, by: &str) -> Result<(), QueueError> {
    let policy = conn.name(Key::Policy);
    let Some(share) = share else {
        let mut pipe = redis::pipe();
        pipe.hdel(policy, MODE).del(vec![using(conn), format!("{}:of", using(conn))]);
        conn.pipe::<(u64, u64)>(&pipe).await?;
        note_queue(conn, "share", &format!("{by}: off")).await;
        return Ok(());
    };
    conn.cmd::<u64>(redis::cmd("HSET").arg(policy).arg(MODE).arg(share.as_str())).await?;
    count(conn, order).await?;
    note_queue(conn, "share", &format!("{by}: {share}")).await;
    Ok(())
}

/// Sets in the name of `by` how many times the cores of others an owner may use.
///
/// # Errors
/// Those of any call.
pub async fn set_weight(conn: &Connection, owner: &str, weight: Weight, by: &str) -> Result<(), QueueError> {
    let (policy, field) = (conn.name(Key::Policy), format!("{WEIGHT}{owner}"));
    let command = if weight == Weight::ONE {
        redis::cmd("HDEL").arg(policy).arg(field).clone()
    } else {
        redis::cmd("HSET").arg(policy).arg(field).arg(weight.to_string()).clone()
    };
    conn.cmd::<u64>(&command).await?;
    note_queue(conn, "share", &format!("{by}: {owner}={weight}")).await;
    Ok(())
}

/// Counts all that is in progress and is not counted, and drops what is not in progress any more; answers how many lines that were. Nothing while there is
/// no share.
///
/// # Errors
/// Those of any call; it can be begun again.
pub async fn count(conn: &Connection, order: FieldOrder) -> Result<u64, QueueError> {
    if mode(conn).await?.is_none() {
        return Ok(0);
    }
    let (mut cursor, mut changed) = (0, 0);
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(conn.name(Key::InProgress)).arg(cursor).arg("COUNT").arg(STEP);
        let (next, entries): ScanPage = conn.cmd(&scan).await?;
        let tasks: Vec<TaskLine> = entries
            .iter()
            .filter_map(|(line, _)| TaskLine::parse(std::str::from_utf8(line).ok()?, order).ok())
            .collect();
        for part in call_size::parts(&tasks, STEP, |task| task.as_str().len()) {
            let mut args = Args::new();
            args.record(ShareArgs { op: "add" });
            for task in part {
                args.record(ShareLine { line: task.as_str(), class: task.class() });
            }
            changed += conn.script::<u64>(&scripts::SHARE, None, &args).await?;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut args = Args::new();
    args.record(ShareArgs { op: "sum" });
    changed += conn.script::<u64>(&scripts::SHARE, None, &args).await?;
    Ok(changed)
}

/// The share and what each owner uses; `None` where there is none.
///
/// # Errors
/// Those of any call.
pub async fn view(conn: &Connection) -> Result<Option<ShareView>, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hgetall(conn.name(Key::Policy)).hgetall(using(conn));
    let (policy, using) = conn.pipe(&pipe).await?;
    let (policy, using) = (lossy_string::hash(policy), lossy_string::hash(using));
    let Some(by) = policy.get(MODE).and_then(|mode| parse(mode)) else { return Ok(None) };
    let mut owners: BTreeMap<String, OwnerUse> = BTreeMap::new();
    let mut add = |owner: &str, thousandths: u64| {
        let weight = policy.get(&format!("{WEIGHT}{owner}")).and_then(|text| text.parse::<Weight>().ok());
        let weight = weight.unwrap_or_default().as_f64();
        let new = || OwnerUse { owner: owner.to_owned(), cores: 0.0, weight };
        owners.entry(owner.to_owned()).or_insert_with(new).cores += thousandths as f64 / 1000.0;
    };
    let names: Vec<_> = using.keys().filter_map(|batch| batch.parse().ok()).collect();
    let records = if by == FairShare::User { batches::records(conn, &names).await? } else { Vec::new() };
    for (batch, thousandths) in &using {
        let made_by = names.iter().zip(&records).find_map(|(name, record)| {
            (name.as_str() == batch).then(|| record.as_ref().map(|record| record.by.as_str()))?
        });
        let owner = if by == FairShare::User { made_by.unwrap_or_default() } else { batch };
        add(owner, thousandths.parse().unwrap_or(0));
    }
    for field in policy.keys() {
        if let Some(owner) = field.strip_prefix(WEIGHT) {
            add(owner, 0);
        }
    }
    let mut owners: Vec<OwnerUse> = owners.into_values().collect();
    owners.sort_by(|a, b| b.cores.total_cmp(&a.cores).then_with(|| a.owner.cmp(&b.owner)));
    Ok(Some(ShareView { by, owners }))
}

/// The sums of what each batch has in progress.
fn using(conn: &Connection) -> String {
    format!("{}using", conn.name(Key::Ready))
}
