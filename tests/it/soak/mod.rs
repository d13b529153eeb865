//! The soak: several workers, thousands of tasks, random faults of every kind from a printed seed, a verdict with counts. Started by
//! `tests/soak.sh [MINUTES] [SEED]`; no part of an ordinary run.
mod faults;
mod load;
mod site;
mod verdict;

use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::Dice;
use faults::Fault;
use load::Load;
use site::Site;

fn number(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: found {text:?}; valid: a whole number")))
}

#[test]
#[ignore = "long; tests/soak.sh runs it"]
fn soak() {
    let minutes = number("SOAK_MINUTES").unwrap_or(1);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() % 1_000_000);
    let seed = number("SOAK_SEED").unwrap_or(clock);
    println!("soak: {minutes} min, seed {seed}: repeat it with tests/soak.sh {minutes} {seed}");
    let mut dice = Dice::new(seed);
    let mut site = Site::new();
    let mut load = Load::new(&site);
    let base = site.warm_up(&mut load, &mut dice);

    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut injected = std::collections::BTreeMap::<&str, usize>::new();
    while Instant::now() < end {
        load.top_up(&site, &mut dice);
        let fault = Fault::random(&mut dice, site.has_python());
        fault.inject(&mut site, &mut load, &mut dice);
        *injected.entry(fault.name()).or_default() += 1;
        site.heal(&mut dice);
    }
    let broken = verdict::judge(site, load, &injected, base);
    assert!(broken.is_empty(), "broken promises: {broken:?}, seed {seed}");
}
