//! Warns about lines that are valid but probably not meant: demands too large for every node, or the field order of Python DistComp.

use super::checked_line::Place;
use super::task_file::ParseRules;
use crate::cli::duration::parse_duration;
use crate::config::Config;
use crate::model::{Amounts, FieldOrder, TaskLine, Usage};
use crate::view::text::{count, exact_resource, resources};

/// Lines of a kind that are printed.
const PRINTED: u64 = 3;

/// What is noticed while the lines are checked.
pub(super) struct Plausibility {
    /// Of the workers that live; empty where they are not known.
    nodes: Vec<Usage>,
    too_large: u64,
    /// Commands that begin with what was meant as a limit.
    no_limits: u64,
    /// Whether the order was only assumed, with a configuration that was written for Python DistComp.
    is_order_assumed: bool,
    /// The first line that Python DistComp reads otherwise.
    misread: Option<String>,
    /// A line that Python DistComp does not understand: so the file was not written for it.
    is_ours: bool,
}

impl Plausibility {
    /// `has_fields`: the lines have fields of their own, in an order that somebody chose; bare commands do not.
    pub(super) fn new(config: &Config, rules: ParseRules, has_fields: bool, nodes: Vec<Usage>) -> Self {
        let is_order_assumed =
            has_fields && config.is_of_python && config.field_order.is_none() && rules.order == FieldOrder::MemCpuPrio;
        Self { nodes, too_large: 0, no_limits: 0, is_order_assumed, misread: None, is_ours: false }
    }

    /// Looks at a line; what is to be warned of at once.
    pub(super) fn look(&mut self, place: Place<'_>, task: &TaskLine) -> Option<String> {
        if self.is_order_assumed && !self.is_ours {
            match python_fields(task.as_str()) {
                None => self.is_ours = true,
                Some([first, second, third]) if self.misread.is_none() && (first != second || second != third) => {
                    self.misread = Some(format!(
                        "{place} would be read as {first} GB, {second} cores, priority {third}, and Python DistComp reads it as priority {first}, \
                         {second} GB, {third} cores"
                    ));
                }
                Some(_) => {}
            }
        }
        self.look_at_limit(task).or_else(|| self.look_at_size(task))
    }

    /// A limit as people write it is no limit, but a part of the command.
    fn look_at_limit(&mut self, task: &TaskLine) -> Option<String> {
        let (first, rest) = task.cmd().split_once(':')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_limit = match task.timeout() {
            // 1h30m, 10min
            None => {
                !is_number(first)
                    && first.starts_with(|c: char| c.is_ascii_digit())
                    && parse_duration("", first).is_ok()
            }
            // Of 1:30:00 the hours are the limit, and the rest is the command.
            Some(_) => {
                is_number(first)
                    && first.len() <= 2
                    && rest.split_once(':').is_some_and(|(second, _)| is_number(second) && second.len() <= 2)
            }
        };
        if !is_limit {
            return None;
        }
        self.no_limits += 1;
        (self.no_limits <= PRINTED).then(|| {
            format!(
                "the command begins with \"{first}:\", which is no limit; a limit in a task line is a number of seconds"
            )
        })
    }

    fn look_at_size(&mut self, task: &TaskLine) -> Option<String> {
        let demand = task.demand();
        if self.nodes.is_empty() || self.nodes.iter().any(|node| node.could_hold(demand)) {
            return None;
        }
        self.too_large += 1;
        if self.too_large > PRINTED {
            return None;
        }
        let most = self.nodes.iter().fold(Amounts::NONE, |most, node| most.max(&node.total));
        Some(format!(
            "it asks for {}, which no live worker has: at most {}; it waits for a larger node",
            resources(&demand.amounts, exact_resource),
            resources(&most, exact_resource)
        ))
    }

    /// Says what is left to say; why nothing is to be submitted, if so.
    pub(super) fn end(self, say: impl Fn(&str)) -> Option<String> {
        if self.too_large > PRINTED {
            let more = count(self.too_large - PRINTED);
            say(&format!("{more} more lines ask for more than any live worker has; they wait for a larger node"));
        }
        if self.no_limits > PRINTED {
            let more = count(self.no_limits - PRINTED);
            say(&format!("{more} more commands begin with what looks like a limit"));
        }
        let misread = self.misread.filter(|_| !self.is_ours)?;
        Some(format!(
            "task_field_order is not set, and conf.json has only keys of Python DistComp: {misread}. Nothing was submitted: set task_field_order to \
             \"{}\" (Python's) or \"{}\"",
            FieldOrder::PrioMemCpu,
            FieldOrder::MemCpuPrio
        ))
    }
}

/// The three numbers of a line that Python DistComp understands: five fields, the middle ones integers.
fn python_fields(line: &str) -> Option<[u64; 3]> {
    let fields: Vec<&str> = line.split(':').collect();
    let &[kind, first, second, third, _] = fields.as_slice() else { return None };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    matches!(kind, "shell" | "python" | "demo").then(|| Some([number(first)?, number(second)?, number(third)?]))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts(is_order_assumed: bool, nodes: &[(f64, f64)]) -> Plausibility {
        let nodes = nodes.iter().map(|(mem, cores)| Usage::of_status(&format!("0:{cores}:0:{mem}"))).collect();
        Plausibility { nodes, too_large: 0, no_limits: 0, is_order_assumed, misread: None, is_ours: false }
    }

    fn looked(mut doubts: Plausibility, lines: &[&str]) -> (Vec<String>, Option<String>) {
        let mut said: Vec<String> = Vec::new();
        for (line, number) in lines.iter().zip(1..) {
            let task = TaskLine::parse(line, FieldOrder::MemCpuPrio).expect("a task");
            let place = Place::Line("f", number);
            said.extend(doubts.look(place, &task).map(|warning| format!("{place}: {warning}")));
        }
        let rest = std::cell::RefCell::new(said);
        let misread = doubts.end(|text| rest.borrow_mut().push(text.to_owned()));
        (rest.into_inner(), misread)
    }

    #[test]
    fn a_file_in_pythons_order_is_noticed() {
        let misread = looked(doubts(true, &[]), &["shell:1:1:1:a", "shell:4:2:8:x"]).1.expect("it is noticed");
        assert!(misread.contains("f:2 would be read as 4 GB, 2 cores, priority 8"), "{misread}");
        assert!(misread.contains("priority 4, 2 GB, 8 cores") && misread.contains("task_field_order"), "{misread}");
        for lines in [
            &["shell:1:1:1:a"][..],
            &["shell:4:2:8:x", "shell:0.5:2:1:y"],
            &["shell:4:2:8:300:x"],
            &["shell:4:2:8:a b:c"],
        ] {
            assert_eq!(looked(doubts(true, &[]), lines).1, None, "{lines:?}");
        }
        assert_eq!(looked(doubts(false, &[]), &["shell:4:2:8:x"]).1, None, "the order is set");
    }

    #[test]
    fn a_limit_as_people_write_it_is_noticed() {
        for (line, is_noticed) in [
            ("shell:1:1:0:10m:x", true),
            ("shell:1:1:0:1h30m:x", true),
            ("shell:1:1:0:1.5h:x", true),
            ("shell:1:1:0:10min:x", true),
            ("shell:1:1:0:1:30:00:x", true),
            ("shell:1:1:0:60:x", false),
            ("shell:1:1:0:60:python x.py:main", false),
            ("shell:1:1:0:scp a:b c", false),
            ("shell:1:1:0:60:10:x", false),
        ] {
            assert_eq!(!looked(doubts(false, &[]), &[line]).0.is_empty(), is_noticed, "{line}");
        }
    }

    #[test]
    fn a_line_too_large_for_every_node_is_noticed() {
        let nodes = [(64.0, 8.0), (16.0, 32.0)];
        let lines = ["shell:64:8:0:a", "shell:16:32:0:b", "shell:64:32:0:c", "shell:0:33:0:d"];
        let (said, _) = looked(doubts(false, &nodes), &lines);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("f:3: it asks for 64.00 GB and 32 cores"), "{said:?}");
        assert!(said[0].contains("at most 64.00 GB and 32 cores"), "{said:?}");
        assert_eq!(looked(doubts(false, &[]), &lines).0, [""; 0], "nothing is known of nodes");
        let many = looked(doubts(false, &nodes), &["shell:65:0:0:a"; 9]).0;
        assert_eq!(many.len(), 4, "{many:?}");
        assert!(many[3].contains("6 more lines"), "{many:?}");
    }
}
