//! The events of the queue, and the compact form in which the scripts write them to the event log.
//!
//! One call of a script is one entry: lines of parts with tabs between them, the first line saying of whom. A part that this build does not
//! know is passed over, so that a fleet can be upgraded node by node.

use serde::{Deserialize, Serialize};

use super::{Bytes, Demand, Outcome, TaskId};

/// One change of state. Fields that do not concern it are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, seconds since the epoch by the server's clock.
    pub time: f64,
    /// The entry of the stream it is from; several tasks of one call share one. Log readers go on after it.
    pub entry: String,
    /// What happened: `submitted`, `found` (written by others), `started` (told by the next heartbeat, so of tasks that outlive one; the
    /// end of every attempt says when it started), `finished`, `failed`, `returned`, `lost`,
    /// `reclaimed`, `requeued`, `cancelled`, `purged`, `edited`, `rejected`, `quarantined`; of workers `attached`, `reattached`, `left`, `dead`, `buried`,
    /// `draining`, `suspect`, `cleared`; of the queue `paused`, `resumed`, `stopping`, `limited`, `autoscale_paused`, `autoscale_resumed` (`by` the autoscaler); of batches `blocked`, `released`, `batch_done`, `batch_stopped`.
    pub event: String,
    /// The worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The task's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of `edited`: the id that the task had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_id: Option<String>,
    /// The task's line, where the log has it; of a long one only the beginning, and then `line_sha1` is there and `id` may not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// SHA-1 of a long line, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_sha1: Option<String>,
    /// Attempt number, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What the task asks for: `cpus`, and `mem_gb` in GB.
    #[serde(flatten, with = "asked")]
    pub demand: Option<Demand>,
    /// When the attempt started, seconds since the epoch by the worker's clock; of one that was lost, when it was claimed, by the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// When it ended, by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Of a failure: its kind, such as `exit 3` or `timed out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of a failure: whether it will be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will_retry: Option<bool>,
    /// Of a failure: the memory in GB that the next attempt declares, where it is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_mem_gb: Option<f64>,
    /// Of many tasks changed by one call: how many; 1 is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of those, how many were running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Of those, the last line; `line` is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<String>,
    /// The id of that one, where its line is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// The batch or step. Of `released`, what the tasks waited for; of the others, the batch itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Of a batch that has ended or stopped: how many of its tasks failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// Of `limited`: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Of `limited`: what it is from then on: `20`, `20/2`, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<String>,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A demand under the names of what a task asks for, flat in its event; nothing where it is not known.
mod asked {
    use std::collections::BTreeMap;

    use super::super::{Amounts, Demand, ResourceKind};
    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(demand: &Option<Demand>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (demand, kind) in demand.iter().flat_map(|demand| ResourceKind::OF_WORKERS.map(|kind| (demand, kind))) {
            map.serialize_entry(kind.asked(), &kind.shown(demand.amounts.get(kind)))?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Demand>, D::Error> {
        let others = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let asked = |kind: ResourceKind| others.get(kind.asked()).and_then(serde_json::Value::as_f64);
        let is_known = ResourceKind::ALL.into_iter().any(|kind| asked(kind).is_some());
        let amounts = Amounts::of(|kind| asked(kind).map_or(0, |units| kind.amount(units)));
        Ok(is_known.then_some(Demand { amounts }))
    }
}

/// The events of one entry. `entry` is its id in the stream, `MILLISECONDS-NUMBER`.
#[must_use]
pub fn expand(entry: &str, text: &str) -> Vec<Event> {
    let ms: f64 = entry.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(0.0);
    let blank =
        |event: &str| Event { time: ms / 1000.0, entry: entry.to_owned(), event: event.to_owned(), ..Event::default() };
    let mut events = Vec::new();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        let parts: Vec<&str> = line.split('\t').collect();
        let worker = || parts.get(1).map(|worker| (*worker).to_owned());
        match parts[0] {
            "W" => {
                let part = |at: usize| parts.get(at).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
                events.push(Event { worker: part(2), by: part(3), ..blank(parts.get(1).unwrap_or(&"")) });
            }
            "Q" => {
                let part = |at: usize| parts.get(at).map(|part| (*part).to_owned());
                let (by, limit, most) = (part(2), part(3), part(4));
                events.push(Event { by, limit, most, ..blank(parts.get(1).unwrap_or(&"")) });
            }
            "B" => events.extend(of_batch(&parts, &blank)),
            "A" => events.extend(added(&parts, &blank)),
            "V" => {
                let what = if parts.get(1) == Some(&"quarantine") { "quarantined" } else { "rejected" };
                events.push(with_line(blank(what), parts.get(2).unwrap_or(&"")));
            }
            // The rest of the entry is of this worker, or of this operator's change.
            "C" => {
                let worker = worker();
                events.extend(lines.by_ref().filter_map(|line| started(line, &worker, &blank)));
            }
            "S" => {
                let worker = worker();
                events.extend(lines.by_ref().filter_map(|line| settled(line, &worker, &blank)));
            }
            "L" => {
                let worker = worker();
                for line in lines.by_ref() {
                    match (line.strip_prefix("@\t"), events.last_mut()) {
                        // When the attempt before it began: builds that know no such line pass it over.
                        (Some(ms), Some(last)) => last.start = ms.parse::<u64>().ok().map(|ms| ms as f64 / 1000.0),
                        (Some(_), None) => {}
                        (None, _) => events.extend(taken_over(line, &worker, &blank)),
                    }
                }
            }
            "E" => events.extend(edited(&parts, &mut lines, &blank)),
            "K" => events.extend(changed(&parts, &mut lines, &blank)),
            _ => {}
        }
    }
    events
}

fn added(parts: &[&str], blank: &impl Fn(&str) -> Event) -> Option<Event> {
    let [_, what, count, first, last] = parts else { return None };
    let count: u64 = count.parse().ok()?;
    let event = with_line(blank(what), first);
    if count < 2 {
        return Some(event);
    }
    Some(Event { count: Some(count), last_line: Some(line_text(last)), last_id: id_of(last), ..event })
}

fn started(line: &str, worker: &Option<String>, blank: &impl Fn(&str) -> Event) -> Option<Event> {
    let mut parts = line.splitn(4, '\t');
    let (how, attempt, class, line) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if how != "s" {
        return None;
    }
    let event = blank("started");
    let event = Event { worker: worker.clone(), attempt: attempt.parse().ok(), ..event };
    Some(with_line(with_class(event, class), line))
}

fn settled(line: &str, worker: &Option<String>, blank: &impl Fn(&str) -> Event) -> Option<Event> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [how, id, class, record, ..] = parts.as_slice() else { return None };
    let mut event = blank(match *how {
        "F" => "finished",
        "X" | "Z" => "failed",
        "R" => "returned",
        _ => return None,
    });
    event.worker.clone_from(worker);
    event.id = Some((*id).to_owned());
    event.attempt = number_after(record, "\"a\":").and_then(|n| u32::try_from(n).ok());
    event.start = number_after(record, "\"s\":").map(|ms| ms as f64 / 1000.0);
    event.end = number_after(record, "\"e\":").map(|ms| ms as f64 / 1000.0);
    match *how {
        "R" => event.attempt = event.attempt.or_else(|| parts.get(4)?.parse().ok()),
        "F" => {}
        _ => {
            event.kind = parts.get(4).map(|kind| (*kind).to_owned());
            event.will_retry = Some(*how == "X");
            event.next_mem_gb = parts.get(5).and_then(|bytes| bytes.parse().ok()).map(|bytes| Bytes(bytes).as_gib());
        }
    }
    Some(with_class(event, class))
}

fn taken_over(line: &str, worker: &Option<String>, blank: &impl Fn(&str) -> Event) -> Option<Event> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [what, id, class, attempt] = parts.as_slice() else { return None };
    let mut event = blank(what);
    if *what == "failed" {
        event.kind = Some(Outcome::Lost.group());
        event.will_retry = Some(false);
    }
    event.worker.clone_from(worker);
    event.id = Some((*id).to_owned());
    event.attempt = attempt.parse().ok();
    Some(with_class(event, class))
}

/// What happened to a batch: `done NAME TASKS FAILED`, `stopped NAME FAILED`, `blocked NAME COUNT`, `released NAME COUNT`, `paused NAME BY`, `resumed NAME BY`.
fn of_batch(parts: &[&str], blank: &impl Fn(&str) -> Event) -> Option<Event> {
    let number = |at: usize| parts.get(at).and_then(|number| number.parse().ok());
    let (what, count, failed) = match *parts.get(1)? {
        "done" => ("batch_done", number(3), number(4)),
        "stopped" => ("batch_stopped", None, number(3)),
        "blocked" => ("blocked", number(3), None),
        "released" => ("released", number(3), None),
        what @ ("paused" | "resumed") => (what, None, None),
        _ => return None,
    };
    let is_ordered = matches!(what, "paused" | "resumed");
    let by = parts.get(3).filter(|by| is_ordered && !by.is_empty()).map(|by| (*by).to_owned());
    let batch = parts.get(2).filter(|name| !name.is_empty()).map(|name| (*name).to_owned());
    Some(Event { batch, count, failed, by, ..blank(what) })
}

/// A few tasks one by one, or many as one event.
fn changed<'a>(
    parts: &[&str],
    lines: &mut impl Iterator<Item = &'a str>,
    blank: &impl Fn(&str) -> Event,
) -> Vec<Event> {
    let [_, op, count, running, last] = parts else { return Vec::new() };
    let what = match *op {
        "requeue" => "requeued",
        "cancel" => "cancelled",
        "purge" => "purged",
        other => other,
    };
    let one = |line: &str| {
        let mut parts = line.splitn(4, '\t');
        let (worker, id, class, line) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let worker = Some(worker.to_owned()).filter(|worker| !worker.is_empty());
        let event = Event { worker, id: Some(id.to_owned()), ..with_line(with_class(blank(what), class), line) };
        Some(Event { id: Some(id.to_owned()), ..event })
    };
    // The last part says who ordered it; it has no other tab, as a task's has.
    let mut by = None;
    let mut named: Vec<Event> = Vec::new();
    for line in lines.by_ref() {
        match line.strip_prefix("U\t").filter(|name| !name.contains('\t')) {
            Some(name) => by = Some(name.to_owned()),
            None => named.extend(one(line)),
        }
    }
    let count: u64 = count.parse().unwrap_or(0);
    if count == named.len() as u64 {
        return named.into_iter().map(|event| Event { by: by.clone(), ..event }).collect();
    }
    let (id, line) = named.into_iter().next().map_or((None, None), |event| (event.id, event.line));
    let running = running.parse().ok().filter(|running| *running > 0);
    let (last_line, last_id) = (Some(line_text(last)), id_of(last));
    vec![Event { count: Some(count), running, id, line, last_line, last_id, by, ..blank(what) }]
}

/// Lines that became others: a few one by one, or many as one event.
fn edited<'a>(parts: &[&str], lines: &mut impl Iterator<Item = &'a str>, blank: &impl Fn(&str) -> Event) -> Vec<Event> {
    let [_, count, last] = parts else { return Vec::new() };
    let one = |line: &str| {
        let mut parts = line.splitn(4, '\t');
        let (old, id, class, line) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let event = with_line(with_class(blank("edited"), class), line);
        Some(Event { id: Some(id.to_owned()), old_id: Some(old.to_owned()), ..event })
    };
    let mut named: Vec<Event> = lines.by_ref().filter_map(one).collect();
    let count: u64 = count.parse().unwrap_or(0);
    if count != named.len() as u64 {
        named.truncate(1);
        for event in &mut named {
            event.count = Some(count);
            event.last_line = Some(line_text(last));
            event.last_id = id_of(last);
        }
    }
    named
}

/// The name of a class: what the task asks for, and more.
fn with_class(mut event: Event, class: &str) -> Event {
    event.demand = Demand::of_class(class).map(|(demand, _)| demand);
    event
}

/// A whole line, or `\x01`, forty digits and the beginning of one.
fn with_line(mut event: Event, text: &str) -> Event {
    match short_form(text) {
        Some((sha1, _)) => event.line_sha1 = Some(sha1.to_owned()),
        None => event.id = Some(TaskId::of(text).to_string()),
    }
    event.line = Some(line_text(text));
    event
}

/// The id of a line that is whole.
fn id_of(text: &str) -> Option<String> {
    short_form(text).is_none().then(|| TaskId::of(text).to_string())
}

fn short_form(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\u{1}')?.split_at_checked(40)
}

fn line_text(text: &str) -> String {
    short_form(text).map_or_else(|| text.to_owned(), |(_, begin)| format!("{begin}…"))
}

/// The whole number after `name` in the beginning of a record; one that is cut off is none.
fn number_after(record: &str, name: &str) -> Option<u64> {
    let rest = &record[record.find(name)? + name.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, MilliCores};

    fn names(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.event.as_str()).collect()
    }

    #[test]
    fn a_batch_is_expanded_task_by_task() {
        let text = "C\tn1\ns\t1\t1073741824:500:\tshell:1:0.5:1:a\ns\t2\t\tshell:0:1:1:b";
        let events = expand("1795000000123-0", text);
        assert_eq!(names(&events), ["started", "started"]);
        let demand = Demand::NONE.with_mem(Bytes::GIB).with_cpu(MilliCores(500));
        assert_eq!((events[0].time, events[0].demand), (1_795_000_000.123, Some(demand)));
        let json = serde_json::to_value(&events[0]).expect("JSON");
        assert_eq!((&json["cpus"], &json["mem_gb"]), (&0.5.into(), &1.0.into()));
        assert_eq!(serde_json::from_value::<Event>(json).expect("an event"), events[0]);
        assert_eq!(events[0].id, Some(TaskId::of("shell:1:0.5:1:a").to_string()));
        assert_eq!((events[1].attempt, events[1].worker.as_deref()), (Some(2), Some("n1")));
    }

    #[test]
    fn orders_of_people_say_whose_they_are() {
        let one = expand("5-0", "K\tpurge\t1\t0\tshell:0:1:1:b\n\tid\t0:0:\tshell:0:1:1:b\nU\tdashboard.ann");
        assert_eq!((names(&one), one[0].by.as_deref()), (vec!["purged"], Some("dashboard.ann")));
        let many = expand("5-0", "K\tcancel\t70\t2\tshell:0:1:1:z\n\tid\t0:0:\tshell:0:1:1:b\nU\tdashboard.ann");
        assert_eq!((many.len(), many[0].count, many[0].by.as_deref()), (1, Some(70), Some("dashboard.ann")));
        // A worker of this name is no person.
        let worker = expand("5-0", "K\tcancel\t1\t1\tshell:0:1:1:b\nU\tid\t0:0:\tshell:0:1:1:b");
        assert_eq!((worker[0].worker.as_deref(), &worker[0].by), (Some("U"), &None));
        let drain = expand("5-0", "W\tdraining\tn1\tann@n2");
        assert_eq!((drain[0].worker.as_deref(), drain[0].by.as_deref()), (Some("n1"), Some("ann@n2")));
        let batch = expand("5-0", "B\tpaused\ts1\tann");
        assert_eq!(
            (batch[0].event.as_str(), batch[0].batch.as_deref(), batch[0].by.as_deref()),
            ("paused", Some("s1"), Some("ann"))
        );
    }

    #[test]
    fn how_an_attempt_ended_comes_with_its_times() {
        let record = r#"{"a":1,"w":"n1","s":1795000000000,"e":1795000001500,"#;
        let events = expand(
            "5-0",
            &format!("S\tn1\nF\tid1\t0:0:\t{record}\t\nX\tid2\t0:0:\t{record}\texit 3\t\nR\tid3\t0:0:\t\t1"),
        );
        assert_eq!(names(&events), ["finished", "failed", "returned"]);
        assert_eq!((events[0].start, events[0].end), (Some(1_795_000_000.0), Some(1_795_000_001.5)));
        assert_eq!((events[1].kind.as_deref(), events[1].will_retry), (Some("exit 3"), Some(true)));
        assert_eq!((events[2].start, events[2].attempt), (None, Some(1)));
        assert_eq!(number_after("\"e\":17950", "\"e\":"), None, "cut off in the middle");
    }

    #[test]
    fn many_changes_are_one_event() {
        let events = expand("5-0", "K\tpurge\t100\t3\tshell:0:0:1:z\n\tid1\t0:0:\tshell:0:0:1:a");
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].count, events[0].running), (Some(100), Some(3)));
        assert_eq!(
            (events[0].line.as_deref(), events[0].last_line.as_deref()),
            (Some("shell:0:0:1:a"), Some("shell:0:0:1:z"))
        );
        let one = expand("5-0", "K\tcancel\t1\t1\tx\nn1\tid1\t0:0:\tx");
        assert_eq!((one[0].worker.as_deref(), one[0].id.as_deref(), one[0].count), (Some("n1"), Some("id1"), None));
    }

    #[test]
    fn an_edited_line_is_told_with_the_id_of_the_old_one() {
        let one = expand("5-0", "E\t1\tshell:0:0:9:a\nid1\tid2\t0:0::\tshell:0:0:9:a");
        assert_eq!(names(&one), ["edited"]);
        assert_eq!((one[0].old_id.as_deref(), one[0].id.as_deref(), one[0].count), (Some("id1"), Some("id2"), None));
        let many = expand("5-0", "E\t50\tshell:0:0:9:z\nid1\tid2\t0:0::\tshell:0:0:9:a");
        assert_eq!((many.len(), many[0].count, many[0].last_line.as_deref()), (1, Some(50), Some("shell:0:0:9:z")));
        assert!(expand("5-0", "E\t50").is_empty());
    }

    #[test]
    fn a_long_line_is_its_beginning_and_its_sha1() {
        let sha1 = "a".repeat(40);
        let events = expand("5-0", &format!("A\tsubmitted\t1\t\u{1}{sha1}shell:0\t\u{1}{sha1}shell:0"));
        assert_eq!(
            (events[0].line.as_deref(), events[0].line_sha1.as_deref()),
            (Some("shell:0…"), Some(sha1.as_str()))
        );
        assert_eq!(events[0].id, None);
    }

    #[test]
    fn what_happens_to_a_batch_names_it() {
        let events = expand("5-0", "A\tsubmitted\t1\tx\tx\nB\tblocked\ts2\t1");
        assert_eq!(names(&events), ["submitted", "blocked"]);
        assert_eq!((events[1].batch.as_deref(), events[1].count), (Some("s2"), Some(1)));
        let done = expand("5-0", "B\tdone\ts1\t100\t2");
        assert_eq!((done[0].event.as_str(), done[0].count, done[0].failed), ("batch_done", Some(100), Some(2)));
        let stopped = expand("5-0", "B\tstopped\ts1\t6");
        assert_eq!((stopped[0].event.as_str(), stopped[0].failed), ("batch_stopped", Some(6)));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        for text in ["", "B\tnew\tx", "Y\tnew\tthing", "W", "A\tsubmitted", "C", "S\tn\nF", "K\tx", "L\tn1\nlost"] {
            assert!(expand("x", text).iter().all(|event| event.id.is_none()), "{text:?}");
        }
    }
}
