//! Promise I12: no device of a node is held twice. Judged by what living processes were given: no record of ours is asked, and a process that its worker
//! has forgotten counts too.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// One whole device, in thousandths.
const WHOLE: u64 = 1000;

/// A device, or a part of one, that a living process was given when it was started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holding {
    /// Resource and name of the device.
    pub(crate) device: String,
    /// The run of a task that it was given to; the processes of one run hold it together.
    pub(crate) run: String,
    /// Thousandths of the device.
    pub(crate) milli: u64,
    pub(crate) pid: i32,
}

/// What of the devices whose names begin with `own` living processes have now.
pub(crate) fn holdings(own: &str) -> BTreeSet<Holding> {
    let pids = fs::read_dir("/proc").expect("/proc is there").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).flat_map(|pid| of_process(pid, own)).collect()
}

fn of_process(pid: i32, own: &str) -> Vec<Holding> {
    // Of a process that is ending this is empty before its locks are gone.
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    of_environ(&String::from_utf8_lossy(&environ), own, pid)
}

fn of_environ(environ: &str, own: &str, pid: i32) -> Vec<Holding> {
    let variables: BTreeMap<&str, &str> = environ.split('\0').filter_map(|one| one.split_once('=')).collect();
    let said = |name: &str| variables.get(name).copied().unwrap_or("?");
    // The mark tells apart two workers of one name.
    let run = ["DISTCOMP_TASK_ID", "DISTCOMP_ATTEMPT", "DISTCOMP_WORKER", "IT_MARK"].map(said).join(" ");
    let mut found = Vec::new();
    for (name, devices) in &variables {
        let Some(resource) = name.strip_prefix("DISTCOMP_RESOURCE_VALUES_") else { continue };
        let devices: Vec<&str> = devices.split(',').collect();
        let amount: f64 = said(&format!("DISTCOMP_RESOURCE_{resource}")).parse().unwrap_or(0.0);
        let milli = if devices.len() == 1 { (amount * WHOLE as f64).round() as u64 } else { WHOLE };
        let ours = devices.into_iter().filter(|device| device.starts_with(own));
        found.extend(ours.map(|device| Holding {
            device: format!("{resource} {device}"),
            run: run.clone(),
            milli,
            pid,
        }));
    }
    found
}

/// The devices of which several runs have more than there is, and these runs.
pub(crate) fn held_twice(holdings: &BTreeSet<Holding>) -> Vec<String> {
    let mut by_device: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for one in holdings {
        by_device.entry(&one.device).or_default().insert(&one.run, one.milli);
    }
    let twice = by_device.into_iter().filter(|(_, runs)| runs.values().sum::<u64>() > WHOLE);
    twice.map(|(device, runs)| format!("{device} by {:?}", runs.keys().collect::<Vec<_>>())).collect()
}

/// Looks twice: processes are read one after the other, and the one that was read first may have ended before the next began. Those that still live at the
/// second look lived together. Answers also what was held at the first.
pub(crate) fn look(own: &str) -> (BTreeSet<Holding>, Vec<String>) {
    let first = holdings(own);
    if held_twice(&first).is_empty() {
        return (first, Vec::new());
    }
    let still = first.iter().filter(|one| of_process(one.pid, own).contains(one)).cloned().collect();
    (first, held_twice(&still))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(all: &[(&str, &str, u64)]) -> BTreeSet<Holding> {
        let one = |(pid, (device, run, milli)): (i32, &(&str, &str, u64))| Holding {
            device: (*device).to_owned(),
            run: (*run).to_owned(),
            milli: *milli,
            pid,
        };
        (1..).zip(all).map(one).collect()
    }

    #[test]
    fn device_that_two_runs_hold_is_a_violation() {
        let good = [("g 0", "a", 1000), ("g 0", "a", 1000), ("g 1", "b", 500), ("g 1", "c", 250), ("g 1", "d", 250)];
        assert_eq!(held_twice(&picture(&good)), [""; 0], "processes of one run, and parts");
        assert_eq!(held_twice(&picture(&[("g 0", "a", 1000), ("g 0", "b", 1)])), ["g 0 by [\"a\", \"b\"]"]);
        assert_eq!(held_twice(&picture(&[("g 0", "a", 600), ("h 0", "b", 1000), ("g 0", "c", 500)])).len(), 1);
    }

    #[test]
    fn environment_of_a_task_tells_what_it_holds() {
        let environ = "A=b\0DISTCOMP_TASK_ID=3f\0DISTCOMP_ATTEMPT=2\0DISTCOMP_WORKER=w\0IT_MARK=5.w\0\
                       DISTCOMP_RESOURCE_GPUS=2\0DISTCOMP_RESOURCE_VALUES_GPUS=own-0,other\0\
                       DISTCOMP_RESOURCE_F=0.25\0DISTCOMP_RESOURCE_VALUES_F=own-x\0DISTCOMP_RESOURCE_LIC=3\0";
        let of =
            |device: &str, milli| Holding { device: device.to_owned(), run: "3f 2 w 5.w".to_owned(), milli, pid: 7 };
        assert_eq!(of_environ(environ, "own-", 7), [of("F own-x", 250), of("GPUS own-0", 1000)]);
        assert_eq!(of_environ("", "own-", 7), []);
    }
}
