//! Encodes metrics as text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::model::meters::Histogram;

/// Labels of one line: names and values. The encoder escapes values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// One value with its labels.
#[derive(Clone, Debug)]
enum Value {
    Counter(u64),
    Seconds(f64),
    Gauge(f64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    kind: MetricType,
    values: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct MetricsPage {
    families: Vec<Family>,
}

impl MetricsPage {
    pub(super) fn new() -> Self {
        let mut page = Self::default();
        let version = env!("CARGO_PKG_VERSION");
        page.gauge("distcomp_build_info", "Version of the program", &[(&[("version", version)], 1.0)]);
        page
    }

    /// Counters, one for each set of labels; `name` is without `_total`, which the encoder adds.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, values: &[(Labels<'_>, u64)]) {
        self.family(
            name,
            help,
            MetricType::Counter,
            values.iter().map(|(labels, value)| (*labels, Value::Counter(*value))),
        );
    }

    /// A counter of seconds; `name` is without `_total`.
    pub(super) fn seconds(&mut self, name: &'static str, help: &'static str, seconds: f64) {
        self.family(name, help, MetricType::Counter, [(&[] as Labels<'_>, Value::Seconds(seconds))]);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, values: &[(Labels<'_>, f64)]) {
        self.family(
            name,
            help,
            MetricType::Gauge,
            values.iter().map(|(labels, value)| (*labels, Value::Gauge(*value))),
        );
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        value: &Histogram<N>,
    ) {
        let value = Value::Histogram { sum: value.sum(), count: value.count(), buckets: value.buckets() };
        self.family(name, help, MetricType::Histogram, [(labels, value)]);
    }

    fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Labels<'a>, Value)>,
    ) {
        let owned = |labels: Labels<'_>| labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let values = values.into_iter().map(|(labels, value)| (owned(labels), value)).collect();
        self.families.push(Family { name: name.to_owned(), help: help.to_owned(), kind, values });
    }

    /// The text.
    pub(super) fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(self.families)));
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut page, &registry);
        page
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for family in self.0.iter().filter(|family| !family.values.is_empty()) {
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, family.kind)?;
            for (labels, value) in &family.values {
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                match value {
                    Value::Counter(n) if labels.is_empty() => metric.encode_counter::<NoLabelSet, _, u64>(n, None)?,
                    Value::Counter(n) => {
                        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(n, None)?;
                    }
                    Value::Seconds(n) => metric.encode_counter::<NoLabelSet, _, u64>(n, None)?,
                    Value::Gauge(n) if labels.is_empty() => metric.encode_gauge(n)?,
                    Value::Gauge(n) => metric.encode_family(&labels)?.encode_gauge(n)?,
                    Value::Histogram { sum, count, buckets } if labels.is_empty() => {
                        metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                    }
                    Value::Histogram { sum, count, buckets } => {
                        let mut metric = metric.encode_family(&labels)?;
                        metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}
