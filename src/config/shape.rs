//! Reads the shape of a worker that is not there yet: `cpus=4&mem=16&resource=gpus=1&label=ssd&time=1h&slots=8`.

use std::sync::Arc;
use std::time::Duration;

use super::offering::{parse_label_flag, parse_resource_flag};
use super::resource_def::{GPUS, ResourceDef};
use super::settings::Config;
use crate::model::{Amounts, Bytes, Label, MilliCores, ResourceName, Shape, Stock, Stocks};
use crate::policy::scaling::usable_life;

/// What is said of a worker that is not there yet; what is not said is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShapeParts {
    /// Cores that a task can have there.
    pub cpus: Option<MilliCores>,
    /// Memory that a task can have there.
    pub mem: Option<Bytes>,
    /// Tasks at once; without it, as many as the configuration says.
    pub slots: Option<u32>,
    /// Named resources.
    pub resources: Vec<(Arc<str>, ResourceDef)>,
    /// Labels.
    pub labels: Vec<String>,
    /// How long it lives.
    pub time: Option<Duration>,
}

impl ShapeParts {
    /// The shape of a worker with this configuration.
    #[must_use]
    pub fn shape(&self, config: &Config) -> Shape {
        let offer = self.cpus.zip(self.mem).map(|(cpus, mem)| Amounts::NONE.with_cpu(cpus).with_mem(mem));
        let stocks =
            self.resources.iter().filter_map(|(name, def)| Some((ResourceName::parse(name)?, stock(name, def)?)));
        let usable = |time| usable_life(time, config.drain_timeout, config.kill_grace).as_secs();
        Shape {
            offer,
            slots: self.slots.unwrap_or(config.max_tasks),
            stocks: Stocks(stocks.collect()),
            labels: self.labels.iter().filter_map(|label| Label::parse(label)).collect(),
            lifetime: self.time.map(|time| time.as_secs()),
            usable_life: self.time.map(usable),
        }
    }

    /// Of the pairs of a query. Both `cpus` and `mem` are required.
    ///
    /// # Errors
    /// All that is wrong, a sentence each.
    pub fn of_pairs(pairs: &[(String, String)]) -> Result<Self, Vec<String>> {
        let (mut parts, mut faults) = (Self::default(), Vec::new());
        for (key, value) in pairs {
            if let Err(fault) = parts.take(key, value) {
                faults.push(fault);
            }
        }
        for key in ["cpus", "mem"] {
            if !pairs.iter().any(|(found, _)| found == key) {
                faults.push(format!("{key} is missing; valid: cpus=4 and mem=16, what a task can have on a worker"));
            }
        }
        if faults.is_empty() { Ok(parts) } else { Err(faults) }
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |valid: &str| format!("{key} is {value:?}; valid: {valid}");
        match key {
            "cpus" => self.cpus = Some(some_cores(value).map_err(|valid| wrong(&valid))?),
            "mem" => self.mem = Some(some_gib(value).map_err(|valid| wrong(&valid))?),
            "slots" => {
                let slots = value.parse().ok().filter(|slots| (1..=1_000_000).contains(slots));
                self.slots = Some(slots.ok_or_else(|| wrong("1 to 1000000"))?);
            }
            "resource" => {
                self.resources.push(shape_resource(value).map_err(|fault| format!("{key} is {value:?}: {fault}"))?);
            }
            "label" => {
                self.labels.push(parse_label_flag(value).map_err(|fault| format!("{key} is {value:?}: {fault}"))?);
            }
            "time" => self.time = Some(life(value).map_err(|valid| wrong(&valid))?),
            _ => return Err(format!("{key:?} is no part of a shape; valid: cpus, mem, slots, resource, label, time")),
        }
        Ok(())
    }
}

/// Reads `cpus=4&mem=16`, as of a flag.
///
/// # Errors
/// All that is wrong, in one text.
pub fn parse_shape(text: &str) -> Result<ShapeParts, String> {
    let pair = |part: &str| {
        part.split_once('=').map_or((part.to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()))
    };
    let pairs: Vec<(String, String)> = text.split('&').filter(|part| !part.is_empty()).map(pair).collect();
    ShapeParts::of_pairs(&pairs).map_err(|faults| faults.join("; "))
}

/// Cores of a node, above 0.
///
/// # Errors
/// What would be valid.
pub fn some_cores(text: &str) -> Result<MilliCores, String> {
    const VALID: &str = "a decimal number above 0";
    MilliCores::parse_cores(text).ok().filter(|cores| *cores > MilliCores::ZERO).ok_or_else(|| VALID.to_owned())
}

/// Memory of a node, above 0.
///
/// # Errors
/// What would be valid.
pub fn some_gib(text: &str) -> Result<Bytes, String> {
    const VALID: &str = "a decimal number of GB above 0";
    Bytes::parse_gib(text).ok().filter(|mem| *mem > Bytes::ZERO).ok_or_else(|| VALID.to_owned())
}

/// A named resource of a node that is not there yet: it cannot be found out.
///
/// # Errors
/// Why it is none, and what would be.
pub fn shape_resource(text: &str) -> Result<(Arc<str>, ResourceDef), String> {
    match parse_resource_flag(text)? {
        (_, ResourceDef::Auto) => Err("auto is of a node that is there; valid: gpus=4".to_owned()),
        found => Ok(found),
    }
}

/// How long something lasts: `90m`, `12h`, or seconds; above 0.
///
/// # Errors
/// What would be valid.
pub fn life(text: &str) -> Result<Duration, String> {
    let of_span = || {
        let span: jiff::Span = text.parse().ok()?;
        let time = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(time).ok()
    };
    let time = text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into())).ok().or_else(of_span);
    time.filter(|time| !time.is_zero()).ok_or_else(|| "90m, 12h, or seconds, above 0".to_owned())
}

/// GPUs are devices, each whole, also where only their number is said.
fn stock(name: &str, def: &ResourceDef) -> Option<Stock> {
    match def {
        ResourceDef::Auto => None,
        ResourceDef::Devices(devices) if devices.is_empty() => None,
        ResourceDef::Devices(devices) => Some(Stock::Devices(vec![1000; devices.len()])),
        ResourceDef::Sum(0) => None,
        ResourceDef::Sum(milli) if name == GPUS && milli.is_multiple_of(1000) => {
            Some(Stock::Devices(vec![1000; usize::try_from(milli / 1000).unwrap_or(usize::MAX).min(1024)]))
        }
        ResourceDef::Sum(milli) => Some(Stock::Sum(*milli)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Role, raw, resolve};

    fn config() -> Config {
        let (mut warnings, overrides) = (Vec::new(), Overrides::default());
        let raw = raw::parse("{}", &mut warnings).expect("JSON");
        resolve::resolve(&raw, &overrides, Role::Client, &mut warnings).expect("a configuration")
    }

    #[test]
    fn shape_of_a_query_has_all_its_parts() {
        let parts =
            parse_shape("cpus=4&mem=16&resource=gpus=2&resource=lic=1.5&resource=fpga=a,b&label=ssd&time=1h&slots=8");
        let shape = parts.expect("a shape").shape(&config());
        assert_eq!(shape.to_string(), "cpus=4,mem=16,fpga=2,gpus=2,lic=1.5,label=ssd,time=3600");
        assert_eq!((shape.slots, shape.usable_life), (8, Some(3530)));
        assert_eq!(parse_shape("cpus=1&mem=2").expect("a shape").shape(&config()).slots, 32);
    }

    #[test]
    fn every_fault_of_a_shape_is_said() {
        let faults = parse_shape("cpus=0&resource=gpus=auto&label=a b&time=soon&slots=0&gpus=1").expect_err("faults");
        for part in [
            "cpus is \"0\"; valid: a decimal number above 0",
            "resource is \"gpus=auto\": auto is of a node that is there",
            "label is \"a b\"",
            "time is \"soon\"; valid: 90m, 12h, or seconds, above 0",
            "slots is \"0\"",
            "\"gpus\" is no part of a shape",
            "mem is missing",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }
}
