//! What an autoscaler shows of itself: its record in Redis, and its log.

use std::sync::PoisonError;
use std::time::Instant;

use serde_json::json;

use super::planner::Plan;
use super::scaler::Scaler;
use crate::cli::output::Out;
use crate::model::Offer;
use crate::model::snapshot::AutoscalerView;
use crate::view::text::duration;

impl Scaler<'_> {
    /// Shows how it stands, for others to read.
    pub(super) fn show(&self, plan: &Plan) {
        let own = self.planner.allocations.own();
        let paused = self.record.paused(Instant::now());
        let paused = paused.map(|(why, left)| match left {
            Some(left) => format!("{why}; it tries again in {}", duration(left.as_secs())),
            None => format!("{why}; it is trying one start"),
        });
        let started = self.planner.allocations.unattached();
        let seen_offer = self.planner.seen_offer.map(|amounts| Offer { amounts }.to_string());
        self.change_view(|view| {
            view.workers = own.attached;
            view.pending = own.pending;
            view.starting = own.starting + own.given_up;
            view.wanted = plan.wanted.wanted + own.pending + own.starting;
            view.paused = paused;
            view.started = started;
            view.seen_offer = seen_offer;
        });
    }

    pub(super) fn change_view(&self, change: impl FnOnce(&mut AutoscalerView)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says a problem once, and that it is over.
    pub(super) fn say_problem(&mut self, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        match &problem {
            Some(problem) => self.tell("problem", None, problem),
            None => self.tell("well", None, "the provider and Redis answer again"),
        }
        self.problem = problem;
        let shown = self.problem.clone();
        self.change_view(|view| view.problem = shown);
    }

    /// What has happened: a line for people, or with `--json` an object.
    pub(super) fn tell(&self, event: &str, id: Option<&str>, why: &str) {
        let Self { name, args, .. } = self;
        if self.session.manner.json {
            let line = json!({ "autoscaler": name, "event": event, "id": id, "why": why });
            let mut out = Out::new();
            // A reader that has gone does not end a daemon.
            let _ = out.json(&line).and_then(|()| out.finish());
            return;
        }
        let id = id.unwrap_or_default();
        let provider = args.name();
        let text = match event {
            "started" => format!("started {provider} {id}: {why}"),
            "attached" => format!("{provider} {id} attached: {why}"),
            "failed" => format!("{provider} {id} failed: {why}"),
            "refused" => format!("{provider} refused a start: {why}"),
            "paused" => format!("autoscaler {name} is PAUSED: {why}"),
            "resumed" => format!("autoscaler {name} goes on: {why}"),
            "cancelled" => format!("{provider} {id} cancelled: {why}"),
            _ => why.to_owned(),
        };
        if !self.session.manner.quiet || matches!(event, "paused" | "failed" | "refused" | "problem") {
            self.session.say(&text);
        }
    }
}
