//! Limits: the table of all, and what is said of those that hold tasks back.

use super::safe_text::safe;
use super::table::{number, table, text};
use super::text::{count, verb};
use crate::model::Needs;
use crate::model::snapshot::{LimitView, Overview};

/// Full limits that the overview names.
const NAMED: usize = 3;

/// The table of limits.
#[must_use]
pub fn limits(limits: &[LimitView], width: usize) -> String {
    if limits.is_empty() {
        return "no limits: distcomp-ctl limit NAME N sets one, distcomp-submit --limit NAME counts tasks against it\n"
            .to_owned();
    }
    let columns = [text("limit"), number("most"), number("per node"), number("in use"), number("waiting")];
    let most = |most: Option<u32>| most.map_or_else(|| "-".to_owned(), |most| count(u64::from(most)));
    let row = |limit: &LimitView| {
        let name = safe(&limit.limit).into_owned();
        vec![name, most(limit.max), most(limit.per_node), count(limit.in_use), count(limit.waiting)]
    };
    table(&columns, limits.iter().map(row).collect(), width)
}

/// `limit disk: 20 of 20 in use`.
fn standing(limit: &LimitView) -> String {
    let name = safe(&limit.limit);
    match (limit.max, limit.per_node) {
        (Some(0), _) => format!("limit {name}, which is 0"),
        (_, Some(0)) => format!("limit {name}, which is 0 on every node"),
        (Some(max), _) if limit.is_full() => {
            format!("limit {name}: {} of {} in use", count(limit.in_use), count(u64::from(max)))
        }
        (Some(_) | None, Some(per_node)) => {
            format!("limit {name}: {} on each node, all of them in use", count(u64::from(per_node)))
        }
        (Some(_) | None, None) => format!("limit {name}"),
    }
}

/// The full limits that tasks wait for: one line each for the first, and how many more there are.
#[must_use]
pub fn notices(overview: &Overview) -> Vec<String> {
    let mut full: Vec<&LimitView> =
        overview.limits.iter().filter(|limit| limit.waiting > 0 && is_full(overview, limit)).collect();
    full.sort_by_key(|limit| std::cmp::Reverse(limit.waiting));
    let line = |limit: &&LimitView| {
        format!("{} {} for {}", count(limit.waiting), verb(limit.waiting, "wait"), standing(limit))
    };
    let mut lines: Vec<String> = full.iter().take(NAMED).map(line).collect();
    if full.len() > NAMED {
        lines.push(format!("{} more limits are full: distcomp-status limits", count((full.len() - NAMED) as u64)));
    }
    lines
}

/// Why tasks with these needs do not start: each limit that is full.
#[must_use]
pub fn why(overview: &Overview, needs: &Needs) -> Vec<String> {
    let named = |limit: &&LimitView| needs.limits().iter().any(|name| name.as_str() == limit.limit);
    let full = overview.limits.iter().filter(named).filter(|limit| is_full(overview, limit));
    let line = |limit: &LimitView| {
        let waiting = match limit.waiting {
            0 => String::new(),
            many => format!(", {} {} for it", count(many), verb(many, "wait")),
        };
        let name = safe(&limit.limit);
        format!("it waits for {}{waiting}; distcomp-ctl limit {name} N changes it", standing(limit))
    };
    full.map(line).collect()
}

/// The first of these, in few words: `limit disk: 20 of 20 in use`.
#[must_use]
pub fn first(overview: &Overview, needs: &Needs) -> Option<String> {
    let named = |limit: &&LimitView| needs.limits().iter().any(|name| name.as_str() == limit.limit);
    overview.limits.iter().filter(named).find(|limit| is_full(overview, limit)).map(standing)
}

/// The first of these limits that lets nothing start, whatever ends: `limit disk, which is 0`.
#[must_use]
pub fn shut(overview: &Overview, needs: &Needs) -> Option<String> {
    let named = |limit: &&LimitView| needs.limits().iter().any(|name| name.as_str() == limit.limit);
    overview.limits.iter().filter(named).find(|limit| is_shut(limit)).map(standing)
}

fn is_shut(limit: &LimitView) -> bool {
    limit.max == Some(0) || limit.per_node == Some(0)
}

/// Whether no worker that takes tasks may start one more: the limit is used up in all, or on the node of each.
fn is_full(overview: &Overview, limit: &LimitView) -> bool {
    let hosts =
        overview.workers.iter().filter(|worker| worker.takes_tasks()).filter_map(|worker| worker.process.as_ref());
    let mut hosts = hosts.map(|process| process.host.as_str()).peekable();
    limit.is_full() || (hosts.peek().is_some() && hosts.all(|host| limit.is_full_on(host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::{WorkerExtras, WorkerState, WorkerView};
    use crate::model::{Amounts, Usage};

    fn disk() -> LimitView {
        LimitView { limit: "disk".to_owned(), max: Some(20), in_use: 20, waiting: 1204, ..LimitView::default() }
    }

    fn needs(text: &str) -> Needs {
        Needs::parse(text).expect(text)
    }

    #[test]
    fn the_table_shows_what_is_set_and_what_is_not() {
        let net = LimitView { limit: "net".to_owned(), in_use: 1, ..LimitView::default() };
        let drawn = limits(&[LimitView { per_node: Some(2), ..disk() }, net], 80);
        let lines: Vec<String> =
            drawn.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1..], ["disk 20 2 20 1,204", "net - - 1 0"]);
        assert!(limits(&[], 80).starts_with("no limits: "));
    }

    #[test]
    fn a_full_limit_says_how_it_stands_and_what_changes_it() {
        let overview = Overview { limits: vec![disk()], ..Overview::default() };
        let said = "it waits for limit disk: 20 of 20 in use, 1,204 wait for it; distcomp-ctl limit disk N changes it";
        assert_eq!(why(&overview, &needs("limit=disk,limit=net")), [said]);
        assert_eq!(why(&overview, &needs("limit=net")), [] as [&str; 0]);
        assert_eq!(first(&overview, &needs("limit=disk")).as_deref(), Some("limit disk: 20 of 20 in use"));
        assert_eq!(notices(&overview), ["1,204 wait for limit disk: 20 of 20 in use"]);
        let room = Overview { limits: vec![LimitView { in_use: 19, ..disk() }], ..Overview::default() };
        assert!(why(&room, &needs("limit=disk")).is_empty() && notices(&room).is_empty());
        let none = Overview { limits: vec![LimitView { max: Some(0), in_use: 0, ..disk() }], ..Overview::default() };
        assert_eq!(notices(&none), ["1,204 wait for limit disk, which is 0"]);
    }

    #[test]
    fn a_limit_of_a_node_is_full_when_it_is_on_every_node() {
        let on = |hosts: &[&str]| LimitView {
            per_node: Some(1),
            in_use: hosts.len() as u64,
            nodes: hosts.iter().map(|host| ((*host).to_owned(), 1)).collect(),
            ..disk()
        };
        let worker = |host: &str| {
            let process = serde_json::from_value(serde_json::json!({
                "host": host, "pid": 1, "version": "", "since": 0, "containment": ""
            }));
            WorkerView {
                name: host.to_owned(),
                state: WorkerState::Live,
                heartbeat_age_seconds: Some(1),
                usage: Usage { used: Amounts::NONE, total: Amounts::NONE },
                is_python: false,
                is_estimate: false,
                finished: 0,
                failed: 0,
                returned: 0,
                timed_out: 0,
                load: None,
                extras: WorkerExtras::default(),
                process: process.ok(),
            }
        };
        let of =
            |limit| Overview { limits: vec![limit], workers: vec![worker("a"), worker("b")], ..Overview::default() };
        assert!(why(&of(on(&["a"])), &needs("limit=disk")).is_empty(), "b has room");
        let said = &why(&of(on(&["a", "b"])), &needs("limit=disk"))[0];
        assert!(said.starts_with("it waits for limit disk: 1 on each node, all of them in use, 1,204 wait"), "{said}");
    }
}
