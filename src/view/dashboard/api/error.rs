//! Errors of the API: an HTTP status and `{"error": {"code", "message"}}`, as `--json` prints them.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::view::dashboard::source::SourceError;
use crate::view::safe_json;

/// What all addresses of the API begin with.
pub(in crate::view::dashboard) const PREFIX: &str = "/api/";

/// Bytes of a text in which another part of the server says why it refuses.
const REFUSAL: usize = 4096;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::view::dashboard) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// A query that makes no sense.
    pub(in crate::view::dashboard) fn usage(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "usage", message: message.into() }
    }

    /// Nothing is known of what was named.
    pub(in crate::view::dashboard) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into() }
    }

    /// Redis is away, or did not answer.
    pub(in crate::view::dashboard) fn unavailable(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "redis_unavailable", message: message.into() }
    }

    /// A refusal by its status alone.
    pub(in crate::view::dashboard) fn of_status(status: StatusCode, message: String) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timed_out",
            StatusCode::SERVICE_UNAVAILABLE => "busy",
            _ if status.is_server_error() => "internal",
            _ => "usage",
        };
        let message = if message.is_empty() { reason(status) } else { message };
        Self { status, code, message }
    }
}

fn reason(status: StatusCode) -> String {
    match status {
        StatusCode::NOT_FOUND => "no such address; docs/api.md lists those that there are".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "the API only reads: use GET".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "no answer in time; try again".to_owned(),
        _ => status.canonical_reason().unwrap_or("refused").to_lowercase(),
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let code = match error {
            SourceError::Unavailable(_) => "redis_unavailable",
            SourceError::Busy => "busy",
        };
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code, message: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = safe_json::write(&mut text, &json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, [(header::CONTENT_TYPE, JSON)], text).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The layer around everything: a refusal of any layer inside, to a request of the API, becomes JSON with the same status and headers.
pub(in crate::view::dashboard) async fn errors_as_json(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with(PREFIX);
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let kind = |response: &Response| response.headers().get(header::CONTENT_TYPE).cloned();
    if !is_api || !is_error || kind(&response) == Some(JSON) {
        return response;
    }
    let is_text = kind(&response).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
        && !response.headers().contains_key(header::CONTENT_ENCODING);
    let (mut parts, body) = response.into_parts();
    let said = if is_text { to_bytes(body, REFUSAL).await.unwrap_or_default() } else { Default::default() };
    let error = ApiError::of_status(parts.status, String::from_utf8_lossy(&said).trim().to_owned()).into_response();
    let (made, body) = error.into_parts();
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        parts.headers.remove(name);
    }
    parts.headers.extend(made.headers);
    Response::from_parts(parts, Body::new(body))
}
