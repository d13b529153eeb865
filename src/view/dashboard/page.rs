//! The parts that every page has, and how a page becomes a response.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::assets;
use super::history::Range;
use super::live_state::Snapshot;
use crate::model::{BatchName, ResourceKind};

/// What every page has.
pub(super) struct PageBase {
    pub(super) title: &'static str,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) server: String,
    pub(super) is_locked: bool,
    /// Whether operators act from these pages.
    pub(super) acts: bool,
    pub(super) version: &'static str,
    pub(super) assets: &'static str,
}

impl PageBase {
    pub(super) fn new(title: &'static str, snapshot: Arc<Snapshot>, server: &str, is_locked: bool) -> Self {
        Self {
            title,
            snapshot,
            server: server.to_owned(),
            is_locked,
            acts: false,
            version: env!("CARGO_PKG_VERSION"),
            assets: &assets::VERSION,
        }
    }
}

/// What a page calls a kind of resource.
pub(super) struct KindLabels {
    pub(super) stem: &'static str,
    pub(super) noun: &'static str,
    pub(super) title: &'static str,
    pub(super) column: String,
    /// The unit of amounts beside a number: ` GB`, or ` cores`.
    pub(super) amounts: String,
}

impl PageBase {
    /// Whether the queue has no task in any state.
    pub(super) fn is_unused(&self) -> bool {
        let counts = &self.snapshot.overview.counts;
        counts.todo + counts.in_progress + counts.finished + counts.failed == 0
    }

    /// The ranges of charts: the name in an address, and the text of the button.
    pub(super) fn ranges(&self) -> [(&'static str, &'static str); 4] {
        Range::ALL.map(|(_, name, label)| (name, label))
    }

    pub(super) fn kinds(&self) -> [KindLabels; ResourceKind::OF_WORKERS.len()] {
        ResourceKind::OF_WORKERS.map(|kind| {
            let unit = if kind.is_counted() { String::new() } else { format!(", {}", kind.unit()) };
            KindLabels {
                stem: kind.stem(),
                noun: kind.noun(),
                title: kind.title(),
                column: format!("{}{unit}", kind.title()),
                amounts: format!(" {}", if kind.is_counted() { kind.noun() } else { kind.unit() }),
            }
        })
    }
}

/// The address of the page of a batch or a step. No character of a name has a meaning in it.
pub(super) fn batch_address(name: &BatchName) -> String {
    format!("/batch/{name}")
}

pub(super) fn html(status: StatusCode, rendered: Result<String, askama::Error>) -> Response {
    match rendered {
        Ok(text) => (status, Html(text)).into_response(),
        // A template fails only when writing to memory does.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

macro_rules! respond {
    ($($page:ident),*) => {
        $(impl $page {
            pub(super) fn respond(&self) -> Response {
                html(StatusCode::OK, self.render())
            }
        })*
    };
}
pub(super) use respond;
