//! `limit`: prints a limit of the fleet, sets it, or lifts it.

use serde_json::{Value, json};

use super::args::LimitTo;
use super::change::operator;
use super::context::CtlContext;
use super::switch::{agreed, done};
use crate::cli::exit::CliError;
use crate::model::snapshot::LimitView;
use crate::model::{Limit, LimitName};
use crate::queue::limits;
use crate::view::text::{count, tasks};

/// Prints a limit.
pub(super) async fn show(session: &mut CtlContext, name: &LimitName) -> Result<(), CliError> {
    let view = view(session, name).await?;
    if session.manner.json {
        return session.out.json(&json!({ "command": "limit", "dry_run": session.manner.dry_run, "detail": view }));
    }
    let in_use = format!("{} in use, {} waiting", count(view.in_use), count(view.waiting));
    match limits::get(&session.conn, name).await? {
        Some(limit) => session.tell(&format!("limit {name} is {}: {in_use}", shown(Some(limit)))),
        None => session.tell(&format!("limit {name} is not set: {in_use}")),
    }
}

/// Sets a limit, or lifts it.
pub(super) async fn set(session: &mut CtlContext, name: &LimitName, to: LimitTo) -> Result<(), CliError> {
    let limit = match to {
        LimitTo::Limit(limit) => Some(limit),
        LimitTo::None => None,
    };
    let view = view(session, name).await?;
    let old = limits::get(&session.conn, name).await?;
    let detail = |limit: Option<Limit>| -> Value {
        json!({
            "limit": name, "max": limit.map(|limit| limit.max), "per_node": limit.and_then(|limit| limit.per_node),
            "in_use": view.in_use, "waiting": view.waiting,
        })
    };
    if old == limit {
        return done(session, "limit", &format!("limit {name} is {} already", shown(limit)), detail(limit));
    }
    let was = old.map_or_else(String::new, |old| format!(" (it is {})", shown(Some(old))));
    let standing = format!("{} in use, {} waiting", count(view.in_use), count(view.waiting));
    let plan = match limit {
        Some(limit) => format!("set limit {name} to {}{was}: {standing}", shown(Some(limit))),
        None => format!("lift limit {name}{was}: {standing}"),
    };
    if !agreed(session, "limit", &plan, detail(limit))? {
        return Ok(());
    }
    limits::set(&session.conn, name, limit, operator()?.as_str()).await?;
    let text = match limit {
        Some(limit) if u64::from(limit.max) < view.in_use => format!(
            "limit {name} is {}; {} in progress, and none starts until fewer are",
            shown(Some(limit)),
            tasks(view.in_use)
        ),
        Some(limit) => format!("limit {name} is {}", shown(Some(limit))),
        None => format!("limit {name} is lifted"),
    };
    done(session, "limit", &text, detail(limit))
}

/// How it stands, set or not.
async fn view(session: &CtlContext, name: &LimitName) -> Result<LimitView, CliError> {
    let views = limits::all_views(&session.conn).await?;
    let known = views.into_iter().find(|view| view.limit == name.as_str());
    Ok(known.unwrap_or_else(|| LimitView { limit: name.to_string(), ..LimitView::default() }))
}

/// `20, 2 on one node`; `none`.
fn shown(limit: Option<Limit>) -> String {
    match limit {
        Some(Limit { max, per_node: Some(most) }) => format!("{max}, {most} on one node"),
        Some(Limit { max, per_node: None }) => max.to_string(),
        None => "none".to_owned(),
    }
}
