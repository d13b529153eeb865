//! `purge --quarantined`: removes the lines that are not UTF-8 from the quarantine.

use std::fmt::Write;

use serde_json::json;

use super::confirm::confirm;
use super::context::CtlContext;
use crate::cli::exit::CliError;
use crate::queue::{control, inspect};
use crate::view::progress::Progress;
use crate::view::safe_text::safe;
use crate::view::text::{count, shorten};

/// Lines shown as examples.
const EXAMPLES: usize = 3;

/// Columns of one that are shown.
const SHOWN: usize = 100;

/// Says what is there, asks, and removes it.
pub(super) async fn empty(session: &mut CtlContext) -> Result<(), CliError> {
    let there = inspect::counts(&session.conn).await?.quarantined;
    let noun = |number: u64| if number == 1 { "quarantined line" } else { "quarantined lines" };
    let mut examples = String::new();
    for (line, reason) in inspect::quarantined(&session.conn, EXAMPLES).await? {
        // Writing to a string cannot fail.
        let _ = write!(examples, "\n{} ({})", shorten(&safe(&line), SHOWN), safe(&reason));
    }
    if there == 0 || session.manner.dry_run {
        let text = if there == 0 {
            "nothing to purge".to_owned()
        } else {
            format!("would purge {} {}, such as:{examples}", count(there), noun(there))
        };
        return finish(session, there, 0, &text);
    }
    session.announce(&format!("purge {} {}, such as:{examples}", count(there), noun(there)));
    confirm(session.manner)?;
    let mut progress = Progress::new("purge", there, !session.manner.json && !session.manner.quiet);
    let mut purged = 0;
    // What comes in meanwhile nobody was asked about; what was there goes all the same.
    while purged < there {
        let removed = control::purge_quarantined(&session.conn).await?;
        if removed == 0 {
            break;
        }
        purged += removed;
        progress.advance(removed);
    }
    drop(progress);
    finish(session, there, purged, &format!("purged {} {}", count(purged), noun(purged)))
}

fn finish(session: &mut CtlContext, selected: u64, changed: u64, text: &str) -> Result<(), CliError> {
    if !session.manner.json {
        return session.tell(text);
    }
    session.out.json(&json!({
        "command": "purge", "dry_run": session.manner.dry_run, "selected": selected, "changed": changed, "running": 0,
        "result_files_deleted": 0,
    }))
}
