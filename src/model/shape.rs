//! The shape of a worker that is not there yet: what a node would offer, as far as it decides which tasks its worker may take.

use std::fmt;

use super::labels::Label;
use super::needs::show_milli;
use super::{Amounts, Demand, Labels, Needs, Stock, Stocks, Traits, Unsuited};

/// What a new worker would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Memory and cores; `None` where nobody has said it, and no worker has shown it yet.
    pub offer: Option<Amounts>,
    /// Tasks that it runs at once.
    pub slots: u32,
    /// Its named resources.
    pub stocks: Stocks,
    /// Its labels; the `host=NAME` of a node is not known beforehand.
    pub labels: Labels,
    /// Seconds that it lives; `None` for no limit.
    pub lifetime: Option<u64>,
    /// Seconds of those that a task with `time=` can count on.
    pub usable_life: Option<u64>,
}

/// Why such a worker could never run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It asks for more memory, cores or named resources.
    Size,
    /// It asks for other labels.
    Labels,
    /// It asks for a longer life.
    Lifetime,
}

impl Shape {
    /// Whether such a worker could run a task, if it ran nothing else.
    ///
    /// # Errors
    /// The first thing that it lacks.
    pub fn suits(&self, demand: &Demand, needs: &Needs) -> Result<(), Unfit> {
        if !self.offer.is_none_or(|offer| offer.holds(&demand.amounts)) {
            return Err(Unfit::Size);
        }
        if !needs.is_extended() {
            return Ok(());
        }
        let traits = Traits { stocks: self.stocks.clone(), labels: self.labels.clone(), ends_at: self.usable_life };
        traits.suits(needs, 0).map_err(|lacks| match lacks {
            Unsuited::Resource(_) => Unfit::Size,
            Unsuited::Label(_) => Unfit::Labels,
            Unsuited::Lifetime(_) => Unfit::Lifetime,
        })
    }
}

/// `cpus=4,mem=16,gpus=1,label=ssd,time=3600`, in an order of its own: the label `shape` of metrics.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.offer.map(|offer| format!("cpus={},mem={}", offer.cpu(), offer.mem().as_gib()));
        let stock = |stock: &Stock| show_milli(stock.total());
        let stocks = self.stocks.0.iter().map(|(name, of)| format!("{name}={}", stock(of)));
        let labels = self.labels.iter().map(|label: &Label| format!("label={label}"));
        let time = self.lifetime.map(|seconds| format!("time={seconds}"));
        let parts: Vec<String> = size.into_iter().chain(stocks).chain(labels).chain(time).collect();
        if parts.is_empty() { f.write_str("any") } else { f.write_str(&parts.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, MilliCores};

    fn shape() -> Shape {
        let traits: Traits = "gpus@1000/1000,lic=1500:region=eu,ssd:".parse().expect("traits");
        Shape {
            offer: Some(Amounts::NONE.with_mem(Bytes(16 << 30)).with_cpu(MilliCores(4000))),
            slots: 8,
            stocks: traits.stocks,
            labels: traits.labels,
            lifetime: Some(3600),
            usable_life: Some(3540),
        }
    }

    fn demand(mem: u64, cpu: u64) -> Demand {
        Demand::NONE.with_mem(Bytes(mem << 30)).with_cpu(MilliCores(cpu))
    }

    #[test]
    fn shape_suits_what_its_worker_would_run() {
        let parse = |needs: &str| if needs.is_empty() { Needs::NONE } else { Needs::parse(needs).expect(needs) };
        let suits = |mem, cpu, needs: &str| shape().suits(&demand(mem, cpu), &parse(needs));
        assert_eq!(suits(16, 4000, "gpus=2,constraint=ssd,time=3540,constraint=!spot"), Ok(()));
        assert_eq!(suits(17, 1000, ""), Err(Unfit::Size));
        assert_eq!(suits(1, 4001, ""), Err(Unfit::Size));
        assert_eq!(suits(1, 1, "gpus=3"), Err(Unfit::Size));
        assert_eq!(suits(1, 1, "constraint=nvme"), Err(Unfit::Labels));
        assert_eq!(suits(1, 1, "time=3541"), Err(Unfit::Lifetime));
        let unknown = Shape { offer: None, ..shape() };
        assert_eq!(unknown.suits(&demand(1 << 20, 1 << 40), &Needs::NONE), Ok(()));
    }

    #[test]
    fn shape_is_written_in_one_order() {
        assert_eq!(shape().to_string(), "cpus=4,mem=16,gpus=2,lic=1.5,label=region=eu,label=ssd,time=3600");
        assert_eq!(Shape::default().to_string(), "any");
    }
}
