//! The page of one order: what it would change, the question, and what became of it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::orders::{OrderEntry, Progress, Question};
use crate::view::dashboard::figures::LINE;
use crate::view::dashboard::page::{PageBase, html};
use crate::view::safe_text::safe;
use crate::view::text::shorten;
use crate::view::web::Operator;

/// `/operate/order/ID`.
#[derive(Template)]
#[template(path = "order.html")]
pub(super) struct OrderPage {
    page: PageBase,
    /// `Purge`.
    verb: &'static str,
    stage: Shown,
    what: String,
    examples: Vec<String>,
    notes: Vec<String>,
    /// What has to be typed.
    words: Option<String>,
    /// It was not typed.
    was_wrong: bool,
    form_secret: String,
    action: String,
    by: String,
    /// Where to go back to.
    origin: String,
}

/// How far it is, in the words of the page.
enum Shown {
    Preparing,
    Nothing,
    Asking,
    Running,
    Done(String),
    Failed(String),
    Expired,
}

impl OrderPage {
    /// What has to be typed before what cannot be undone.
    pub(super) fn words(question: &Question) -> String {
        format!("purge {}", question.count)
    }

    pub(super) fn new(page: PageBase, operator: &Operator, entry: &OrderEntry, was_wrong: bool) -> Self {
        let (stage, question) = match entry.progress() {
            Progress::Preparing => (Shown::Preparing, None),
            Progress::Asking(question) if question.count == 0 => (Shown::Nothing, Some(question)),
            Progress::Asking(question) => (Shown::Asking, Some(question)),
            Progress::Running(question) => (Shown::Running, Some(question)),
            Progress::Done(question, told) => (Shown::Done(safe(&told).into_owned()), Some(question)),
            Progress::Failed(why) => (Shown::Failed(safe(&why).into_owned()), None),
            Progress::Expired => (Shown::Expired, None),
        };
        let question = question.as_deref();
        let lines = |list: &[String]| list.iter().map(|line| shorten(&safe(line), LINE)).collect::<Vec<_>>();
        Self {
            page,
            verb: entry.order.verb.title(),
            stage,
            what: question.map_or_else(String::new, |question| safe(&question.what).into_owned()),
            examples: question.map_or_else(Vec::new, |question| lines(&question.examples)),
            notes: question.map_or_else(Vec::new, |question| lines(&question.notes)),
            words: question.filter(|_| entry.order.is_final()).map(Self::words),
            was_wrong,
            form_secret: operator.form_secret.clone(),
            action: format!("/operate/order/{}", entry.id),
            by: operator.name.clone(),
            origin: entry.order.origin(),
        }
    }

    /// Whether the page loads itself again.
    fn is_under_way(&self) -> bool {
        matches!(self.stage, Shown::Preparing | Shown::Running)
    }

    fn is_asking(&self) -> bool {
        matches!(self.stage, Shown::Asking)
    }

    pub(super) fn respond(&self, status: StatusCode) -> Response {
        html(status, self.render())
    }
}
