//! Chooses the format of a metrics page: OpenMetrics for a client that accepts it, as Prometheus does, otherwise the classic text format.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers with a page, in the form that the request asks for.
#[must_use]
pub fn respond(asked: &HeaderMap, page: String) -> Response {
    let accepts = asked.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|text| text.split(',')).map(|kind| kind.split(';').next().unwrap_or_default());
    if kinds.any(|kind| kind.trim().eq_ignore_ascii_case("application/openmetrics-text")) {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response()
    } else {
        ([(header::CONTENT_TYPE, CLASSIC)], classic(&page)).into_response()
    }
}

/// The same page in the older form: there a counter's family is called like its line, and nothing marks the end.
fn classic(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 256);
    let mut lines = page.lines().filter(|line| *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        // The type of a family follows its help.
        let about = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        match about.zip(lines.peek()) {
            Some(((name, help), kind)) if kind.strip_prefix("# TYPE ") == Some(&format!("{name} counter")) => {
                out.push_str(&format!("# HELP {name}_total {help}\n# TYPE {name}_total counter\n"));
                lines.next();
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_format_differs_only_in_counter_heads_and_end() {
        let page = "# HELP a How many\n# TYPE a counter\na_total{x=\"# HELP b\"} 1\n# HELP b counter\n# TYPE b gauge\nb 2.0\n# EOF\n";
        let older = "# HELP a_total How many\n# TYPE a_total counter\na_total{x=\"# HELP b\"} 1\n# HELP b counter\n# TYPE b gauge\nb 2.0\n";
        assert_eq!(classic(page), older);
    }
}
