//! The flags of needs (`--gpus`, `--resource`, `--constraint`, `--prefer`, `--limit`, `--time-request`, `--after`, `--after-any`, `--begin`), and what they
//! add to the type field of a line.

use serde::Deserialize;

use super::error::ComposeError;
use super::moment;
use super::row::Row;
use super::seconds::seconds;
use super::template::{Quoting, Template};
use crate::model::needs::{NeedError, Needs, ResourceName, parse_milli, show_milli, valid_amount};
use crate::model::{BatchName, Constraint, Limit, LimitName, NoBatchName};

/// What a task needs of its node beside memory and cores. Each value may hold placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeedSettings {
    /// `--gpus`: devices, or a part of one.
    pub gpus: Option<String>,
    /// `--resource`, each `NAME=N`: amounts of other resources.
    pub resource: Vec<String>,
    /// `--constraint`: what must hold of the labels of the node.
    pub constraint: Vec<String>,
    /// `--prefer`: what should hold of them.
    pub prefer: Vec<String>,
    /// `--limit`, each `NAME` or `NAME=N`: the limits that the task counts against.
    pub limit: Vec<String>,
    /// `--time-request`: how long the worker must have to live, seconds or a duration.
    pub time_request: Option<String>,
    /// `--after`: batches and steps that must have finished, each value with commas between names.
    pub after: Vec<String>,
    /// `--after-any`: those that must have ended.
    pub after_any: Vec<String>,
    /// `--begin`: not before this time.
    pub begin: Option<String>,
    /// When the command began, in seconds since the epoch, for what `begin` says of the time from then on.
    #[serde(skip)]
    pub now: i64,
}

impl NeedSettings {
    /// These, and of `outer` what these do not name: a resource by its name, constraints, preferences and limits as a whole. What must come first is of both.
    #[must_use]
    pub fn over(mut self, outer: &Self) -> Self {
        let named = |text: &str| text.split_once('=').map_or_else(|| text.to_owned(), |(name, _)| name.to_owned());
        let mut inner: Vec<String> = self.resource.iter().map(|text| named(text)).collect();
        inner.extend(self.gpus.iter().map(|_| ResourceName::GPUS.to_owned()));
        if !inner.iter().any(|name| name == ResourceName::GPUS) {
            self.gpus.clone_from(&outer.gpus);
        }
        self.resource.extend(outer.resource.iter().filter(|text| !inner.contains(&named(text))).cloned());
        let wholes = [
            (&mut self.constraint, &outer.constraint),
            (&mut self.prefer, &outer.prefer),
            (&mut self.limit, &outer.limit),
        ];
        for (inner, outer) in wholes {
            if inner.is_empty() {
                inner.clone_from(outer);
            }
        }
        for (inner, outer) in [(&mut self.after, &outer.after), (&mut self.after_any, &outer.after_any)] {
            let lacking: Vec<String> = outer.iter().filter(|name| !inner.contains(name)).cloned().collect();
            inner.splice(0..0, lacking);
        }
        self.time_request = self.time_request.or_else(|| outer.time_request.clone());
        self.begin = self.begin.or_else(|| outer.begin.clone());
        self.now = self.now.max(outer.now);
        self
    }

    /// Whether they ask for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { gpus, resource, constraint, prefer, limit, time_request, after, after_any, begin, now: _ } = self;
        let texts = [gpus, time_request, begin];
        let lists = [resource, constraint, prefer, limit, after, after_any];
        texts.iter().all(|text| text.is_none()) && lists.iter().all(|list| list.is_empty())
    }

    /// These, given after `earlier` in the same place: the constraints and the limits of both count.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        let both = [
            (&mut self.constraint, &earlier.constraint),
            (&mut self.prefer, &earlier.prefer),
            (&mut self.limit, &earlier.limit),
        ];
        for (later, earlier) in both {
            later.splice(0..0, earlier.iter().cloned());
        }
        self.over(earlier)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Gpus,
    Resource,
    Constraint,
    Prefer,
    Limit,
    TimeRequest,
    After,
    AfterAny,
    Begin,
}

impl Flag {
    fn name(self) -> &'static str {
        match self {
            Self::Gpus => "--gpus",
            Self::Resource => "--resource",
            Self::Constraint => "--constraint",
            Self::Prefer => "--prefer",
            Self::Limit => "--limit",
            Self::TimeRequest => "--time-request",
            Self::After => "--after",
            Self::AfterAny => "--after-any",
            Self::Begin => "--begin",
        }
    }

    /// Puts the needs that a value stands for, each `KEY=VALUE`, to the end of `out`. An amount of zero is no need.
    fn read(self, value: &str, now: i64, out: &mut Vec<String>) -> Result<(), ComposeError> {
        let wrong = |valid| ComposeError::Invalid { flag: self.name(), value: value.to_owned(), valid };
        match self {
            Self::Gpus => {
                let need = amount(ResourceName::GPUS, value).map_err(wrong)?;
                out.extend(need);
            }
            Self::Resource => {
                const VALID: &str = "NAME=N, a name like lic or scratch_gb (a-z 0-9 _ . / -, no keyword such as time or constraint) and a decimal number";
                let parts = value.split_once('=').filter(|(name, _)| ResourceName::parse(name).is_some());
                let (name, number) = parts.ok_or_else(|| wrong(VALID))?;
                out.extend(amount(name, number).map_err(wrong)?);
            }
            Self::Constraint | Self::Prefer => {
                let key = if self == Self::Constraint { "constraint" } else { "prefer" };
                for terms in value.split('&') {
                    let terms: Vec<&str> = terms.split('|').map(str::trim).collect();
                    let parsed = Constraint::parse(&terms.join("|"));
                    let need = format!("{key}={}", parsed.ok_or_else(|| wrong(VALID_EXPRESSION))?);
                    valid(&need).map_err(wrong)?;
                    out.push(need);
                }
            }
            Self::Limit => {
                let (name, _) = limit(value).ok_or_else(|| wrong(VALID_LIMIT))?;
                out.push(format!("limit={name}"));
            }
            Self::TimeRequest => {
                let time = seconds(value).ok_or_else(|| wrong("seconds, or a duration like 90m or 1h30m"))?;
                out.extend((time > 0).then(|| format!("time={time}")));
            }
            Self::After | Self::AfterAny => {
                let key = if self == Self::After { "after" } else { "afterany" };
                for name in value.split(',').map(str::trim) {
                    let name: BatchName = name.parse().map_err(|error: NoBatchName| wrong(error.valid()))?;
                    out.push(format!("{key}={name}"));
                }
            }
            Self::Begin => {
                let seconds = moment::begin(value, now).ok_or_else(|| wrong(moment::VALID))?;
                let need = format!("begin={seconds}");
                valid(&need).map_err(wrong)?;
                out.push(need);
            }
        }
        Ok(())
    }
}

/// What a limit may be.
const VALID_LIMIT: &str =
    "NAME, NAME=N or NAME=N/PER_NODE, a name like disk: a lower-case letter, then at most 31 of a-z 0-9 _ . / -";

/// The name of a limit, and what it is to be where none is set.
fn limit(value: &str) -> Option<(LimitName, Option<Limit>)> {
    let (name, most) = match value.split_once('=') {
        Some((name, most)) => (name, Some(most.parse().ok()?)),
        None => (value, None),
    };
    Some((name.parse().ok()?, most))
}

/// What an expression over labels may be.
const VALID_EXPRESSION: &str = "labels like ssd, region=eu or !spot, with & between needs that must all hold, and | between those of which one must";

/// The need of so much of a resource; `None` for none of it. What would be valid, if the number is not.
fn amount(name: &str, number: &str) -> Result<Option<String>, &'static str> {
    let milli = parse_milli(number).ok_or_else(|| valid_amount(number))?;
    let need = format!("{name}={}", show_milli(milli));
    valid(&need)?;
    Ok((milli > 0).then_some(need))
}

/// Refuses a need that no line may have, with what would be valid.
fn valid(need: &str) -> Result<(), &'static str> {
    match Needs::parse(need) {
        Ok(_) => Ok(()),
        Err(NeedError::Value { valid, .. }) => Err(valid),
        Err(_) => Err("KEY=VALUE"),
    }
}

/// The flags of needs, checked once, from which each row makes needs.
#[derive(Debug, Default)]
pub struct NeedRecipe {
    given: Vec<(Flag, Template)>,
    now: i64,
}

impl NeedRecipe {
    /// Parses the templates. `names` are those of the columns.
    #[must_use]
    pub(super) fn parse(settings: &NeedSettings, names: &[String]) -> Self {
        let NeedSettings { gpus, resource, constraint, prefer, limit, time_request, after, after_any, begin, now } =
            settings;
        let one =
            |flag: Flag, value: &Option<String>| value.iter().map(|text| (flag, text.clone())).collect::<Vec<_>>();
        let many = |flag: Flag, values: &[String]| values.iter().map(|text| (flag, text.clone())).collect::<Vec<_>>();
        let given = [
            one(Flag::Gpus, gpus),
            many(Flag::Resource, resource),
            many(Flag::Constraint, constraint),
            many(Flag::Prefer, prefer),
            many(Flag::Limit, limit),
            one(Flag::TimeRequest, time_request),
            many(Flag::After, after),
            many(Flag::AfterAny, after_any),
            one(Flag::Begin, begin),
        ];
        let given = given.concat().into_iter().map(|(flag, text)| (flag, Template::parse(&text, names))).collect();
        Self { given, now: *now }
    }

    /// For whole lines: the only column of a row is the command.
    ///
    /// # Errors
    /// Every placeholder of a column that does not exist, and every value that is wrong in whichever row.
    pub fn of_whole_lines(settings: &NeedSettings) -> Result<Self, Vec<ComposeError>> {
        let recipe = Self::parse(settings, &[]);
        let beyond = |(place, template): (&'static str, &Template)| {
            let placeholder = template.beyond(1)?.to_owned();
            Some(ComposeError::NoColumn { place: place.to_owned(), placeholder, columns: 1 })
        };
        let mut faults: Vec<ComposeError> = recipe.templates().filter_map(beyond).collect();
        faults.extend(recipe.constant_faults());
        if faults.is_empty() { Ok(recipe) } else { Err(faults) }
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        self.given.iter().map(|(flag, template)| (flag.name(), template))
    }

    /// What is wrong with values that are the same for every row.
    pub(super) fn constant_faults(&self) -> Vec<ComposeError> {
        let constant = self.given.iter().filter(|(_, template)| !template.has_placeholder());
        let read = |(flag, template): &(Flag, Template)| {
            flag.read(&template.filled(&Row::default(), Quoting::None), self.now, &mut Vec::new()).err()
        };
        constant.filter_map(read).collect()
    }

    /// The needs of a row, each `KEY=VALUE`, sorted.
    ///
    /// # Errors
    /// A value is not what its flag must be.
    pub fn fill(&self, row: &Row) -> Result<Vec<String>, ComposeError> {
        let mut needs = Vec::new();
        for (flag, template) in &self.given {
            flag.read(&template.filled(row, Quoting::None), self.now, &mut needs)?;
        }
        needs.sort();
        // The same constraint said twice is one; an amount said twice is a fault, which the line shows.
        needs.dedup_by(|a, b| {
            a == b && ["constraint=", "prefer=", "limit=", "after=", "afterany="].iter().any(|key| a.starts_with(key))
        });
        Ok(needs)
    }

    /// The limits of a row that are to be set where none is set, as [`Self::fill`] found them valid.
    #[must_use]
    pub fn limits(&self, row: &Row) -> Vec<(LimitName, Limit)> {
        let of_limits = self.given.iter().filter(|(flag, _)| *flag == Flag::Limit);
        let set = |(_, template): &(Flag, Template)| match limit(&template.filled(row, Quoting::None)) {
            Some((name, Some(most))) => Some((name, most)),
            Some((_, None)) | None => None,
        };
        of_limits.filter_map(set).collect()
    }

    /// A valid line with the needs whose keys it lacks, and what it is to wait for and does not yet; `None` when it lacks none.
    ///
    /// # Errors
    /// As of [`Self::fill`].
    pub fn add_to(&self, line: &str, row: &Row) -> Result<Option<String>, ComposeError> {
        let added = self.fill(row)?;
        let (head, rest) = line.split_once(':').unwrap_or((line, ""));
        let (kind, own) =
            head.split_once(',').map_or((head, Vec::new()), |(kind, own)| (kind, own.split(',').collect()));
        let key = |need: &str| need.split_once('=').map_or(String::new(), |(key, _)| key.to_owned());
        // A line that waits for something of its own, or has a limit, has the rest too: an order that was asked for is never left out.
        let adds_up = |need: &str| ["after=", "afterany=", "limit="].iter().any(|key| need.starts_with(key));
        let has = |need: &String| own.iter().any(|one| one == need || (key(one) == key(need) && !adds_up(need)));
        let lacking: Vec<&str> = added.iter().filter(|need| !has(need)).map(String::as_str).collect();
        if lacking.is_empty() {
            return Ok(None);
        }
        let mut needs = [own.as_slice(), &lacking].concat();
        needs.sort_unstable();
        Ok(Some(format!("{kind},{}:{rest}", needs.join(","))))
    }
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
