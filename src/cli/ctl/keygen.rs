//! `keygen`: creates a key to sign tasks with. It asks nothing and connects to nothing; its only result is two new files.

use std::path::Path;

use serde_json::json;

use super::args::ChangeOptions;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::signing::{SecretKey, public_path};
use crate::view::safe_text::safe;

/// Writes `path` and `path.pub`, and says what to do with them.
pub(super) fn keygen(path: &Path, manner: ChangeOptions) -> Result<Exit, CliError> {
    let public = public_path(path);
    // Whole paths: they are going to stand in configuration files.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let (secret_text, public_text) = (whole(path), whole(&public));
    let mut out = Out::new();
    if manner.dry_run {
        if manner.json {
            out.json(&json!({ "key": null, "secret": secret_text, "public": public_text, "dry_run": true }))?;
        } else {
            out.line(&format!("would write {} and {}", safe(&secret_text), safe(&public_text)))?;
        }
        out.finish()?;
        return Ok(Exit::Done);
    }
    let key = SecretKey::create(path)
        .map_err(|(at, error)| CliError::Usage(format!("--out {}: {} {error}", secret_text, at.display())))?;
    if manner.json {
        out.json(
            &json!({ "key": key.id().to_string(), "secret": secret_text, "public": public_text, "dry_run": false }),
        )?;
    } else {
        out.line(&format!("key {}: wrote {} (secret) and {}", key.id(), safe(&secret_text), safe(&public_text)))?;
        complain(
            "distcomp-ctl",
            &format!(
                "next: keep {secret_text} only on machines that submit tasks, and set \"task_signing_key\" to it there\n\
             copy {public_text} to every worker, and set \"require_signed_tasks\": true and \"task_public_keys\": [\"{public_text}\"]"
            ),
        );
    }
    out.finish()?;
    Ok(Exit::Done)
}
