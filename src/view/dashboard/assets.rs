//! The static files of the pages, all of them compiled into the program.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::view::web::refuse;

const FILES: [(&str, &str, &str); 20] = [
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
    ("dom.js", "text/javascript; charset=utf-8", include_str!("assets/dom.js")),
    ("past.js", "text/javascript; charset=utf-8", include_str!("assets/past.js")),
    ("workers.js", "text/javascript; charset=utf-8", include_str!("assets/workers.js")),
    ("charts.js", "text/javascript; charset=utf-8", include_str!("assets/charts.js")),
    ("timeline.js", "text/javascript; charset=utf-8", include_str!("assets/timeline.js")),
    ("theme.js", "text/javascript; charset=utf-8", include_str!("assets/theme.js")),
    ("stack.js", "text/javascript; charset=utf-8", include_str!("assets/stack.js")),
    ("output.js", "text/javascript; charset=utf-8", include_str!("assets/output.js")),
    ("reading.js", "text/javascript; charset=utf-8", include_str!("assets/reading.js")),
    ("find.js", "text/javascript; charset=utf-8", include_str!("assets/find.js")),
    ("lists.js", "text/javascript; charset=utf-8", include_str!("assets/lists.js")),
    ("reading.css", "text/css; charset=utf-8", include_str!("assets/reading.css")),
    ("dashboard.css", "text/css; charset=utf-8", include_str!("assets/dashboard.css")),
    ("choose.js", "text/javascript; charset=utf-8", include_str!("assets/choose.js")),
    ("operate.css", "text/css; charset=utf-8", include_str!("assets/operate.css")),
    ("uplot.js", "text/javascript; charset=utf-8", include_str!("assets/uplot.js")),
    ("uplot.css", "text/css; charset=utf-8", include_str!("assets/uplot.css")),
    ("uplot.LICENSE", "text/plain; charset=utf-8", include_str!("assets/uplot.LICENSE")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Changes with the files, so that a browser may keep them.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (_, _, text) in FILES {
        hash.update(text);
    }
    hash.finalize().iter().take(5).fold(String::new(), |mut version, byte| {
        // Writing to a string cannot fail.
        let _ = write!(version, "{byte:02x}");
        version
    })
});

/// `GET /assets/{name}`, and `GET /assets/{version}/{name}`, from where a module imports others of its version.
pub(super) async fn asset(Path(path): Path<String>, RawQuery(query): RawQuery) -> Response {
    let (version, name) = path.split_once('/').map_or((None, path.as_str()), |(version, name)| (Some(version), name));
    let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return refuse(StatusCode::NOT_FOUND, "no such file");
    };
    let asked = version.or_else(|| query.as_deref().and_then(|query| query.strip_prefix("v=")));
    // Of another version, or of none, it may be a different file tomorrow.
    let keep = if asked == Some(VERSION.as_str()) { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, keep)], *text).into_response()
}
