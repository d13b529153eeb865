//! Tests of pools: what is given out, and what is left.

use proptest::prelude::*;

use super::*;

fn whole(pool: &Pool) -> usize {
    pool.devices.iter().filter(|device| device.left() == DEVICE).count()
}

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|index| index.to_string().into()).collect()
}

fn shown(grant: &Grant) -> String {
    grant.shares.iter().map(|share| format!("{}:{} ", share.device, share.amount)).collect()
}

fn take(pool: &mut Pool, amount: u64) -> String {
    pool.take(amount).map_or("-".to_owned(), |grant| shown(&grant))
}

#[test]
fn whole_devices_come_lowest_first() {
    let mut pool = Pool::new(&names(4));
    assert_eq!(take(&mut pool, 1000), "0:1000 ");
    let two = pool.take(2000).expect("two are free");
    assert_eq!(shown(&two), "1:1000 2:1000 ");
    assert_eq!((take(&mut pool, 2000), whole(&pool)), ("-".to_owned(), 1));
    pool.give(&two);
    assert_eq!(take(&mut pool, 1000), "1:1000 ");
}

#[test]
fn parts_are_packed_and_never_share_with_a_whole_device() {
    let mut pool = Pool::new(&names(2));
    assert_eq!([500, 500].map(|part| take(&mut pool, part)), ["0:500 ", "0:500 "]);
    assert_eq!([1000, 500, 1].map(|amount| take(&mut pool, amount)), ["1:1000 ", "-", "-"]);
    let mut pool = Pool::new(&names(3));
    let taken = [600, 700, 300, 400].map(|part| take(&mut pool, part));
    assert_eq!(taken, ["0:600 ", "1:700 ", "1:300 ", "0:400 "], "the fullest that has room");
    assert_eq!(whole(&pool), 1);
}

#[test]
fn amount_that_is_no_device_and_no_part_is_never_granted() {
    let mut pool = Pool::new(&names(8));
    assert_eq!([0, 1500, 9000, u64::MAX].map(|amount| take(&mut pool, amount)), ["-"; 4]);
    assert_eq!(Pool::default().take(1), None);
}

#[test]
fn device_that_others_hold_is_not_offered() {
    let resource: Arc<str> = "gpus".into();
    let mut pools = Pools::new(&[(Arc::clone(&resource), Supply::Devices(names(2)))]);
    let one = vec![(Arc::clone(&resource), 1000)];
    let ours = pools.take(&one).expect("both are free");
    pools.observe(&[(Arc::clone(&resource), "0".into(), 1000), (Arc::clone(&resource), "1".into(), 1000)]);
    assert_eq!(pools.free().collect::<Vec<_>>(), [(&resource, model::Stock::Devices(vec![0, 0]))]);
    pools.give(&ours);
    assert!(pools.take(&one).is_some(), "what was ours is not another's");
    pools.observe(&[(Arc::clone(&resource), "1".into(), 250)]);
    assert_eq!(pools.free().collect::<Vec<_>>(), [(&resource, model::Stock::Devices(vec![0, 750]))]);
    pools.found_busy("gpus", "1");
    assert!(!pools.holds(&[(Arc::clone(&resource), 1)]));
    pools.observe(&[(resource, "1".into(), 0)]);
    assert!(pools.holds(&one));
}

#[test]
fn what_is_no_longer_configured_is_not_offered_again() {
    let (gpus, lic): (Arc<str>, Arc<str>) = ("gpus".into(), "lic".into());
    let supply =
        |count, total| [(Arc::clone(&gpus), Supply::Devices(names(count))), (Arc::clone(&lic), Supply::Sum(total))];
    let mut pools = Pools::new(&supply(2, 3000));
    let all = vec![(Arc::clone(&gpus), 2000), (Arc::clone(&lic), 3000)];
    let taken = pools.take(&all).expect("all is free");
    pools.redefine(&supply(1, 1000));
    assert!(pools.take(&[(Arc::clone(&lic), 1)]).is_none(), "more is in use than there is");
    pools.give(&taken);
    assert_eq!(pools.free().map(|(_, free)| free.total()).collect::<Vec<_>>(), [1000, 1000]);
    assert!(!pools.holds(&all) && pools.holds(&[(Arc::clone(&gpus), 1000), (Arc::clone(&lic), 1000)]));
    let taken = pools.take(&[(Arc::clone(&gpus), 500)]).expect("it is free");
    pools.redefine(&[]);
    assert!(!pools.holds(&[(Arc::clone(&gpus), 1)]));
    pools.redefine(&supply(1, 0));
    assert!(!pools.holds(&[(Arc::clone(&gpus), 1000)]), "a task has half of it");
    pools.give(&taken);
    assert!(pools.holds(&[(gpus, 1000)]));
}

#[test]
fn resource_that_changes_its_kind_remembers_what_tasks_have() {
    let gpus: Arc<str> = "gpus".into();
    let devices = [(Arc::clone(&gpus), Supply::Devices(names(2)))];
    let demand = |amount: u64| vec![(Arc::clone(&gpus), amount)];
    let mut pools = Pools::new(&devices);
    let first = pools.take(&demand(1000)).unwrap();
    pools.redefine(&[(Arc::clone(&gpus), Supply::Sum(2000))]);
    assert!(!pools.holds(&demand(1001)), "a task has one of them");
    let part = pools.take(&demand(250)).unwrap();
    pools.redefine(&devices);
    assert!(!pools.holds(&demand(2000)), "a task still has the first device");
    pools.give(&first);
    pools.give(&part);
    assert!(pools.holds(&demand(2000)));
    pools.redefine(&[]);
    assert!(!pools.holds(&demand(1)));
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64, u64, u64),
    Give(prop::sample::Index),
    Others(usize, u64),
    Redefine(usize, u64),
    /// The GPUs become a sum of this many.
    Merge(usize),
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), 1..1000_u64, (1..4_u64).prop_map(|count| count * 1000)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (amount(), amount(), 0..2500_u64).prop_map(|(a, b, c)| Step::Take(a, b, c)),
        3 => any::<prop::sample::Index>().prop_map(Step::Give),
        1 => (0..4_usize, 0..1001_u64).prop_map(|(device, amount)| Step::Others(device, amount)),
        1 => (0..5_usize, 0..4000_u64).prop_map(|(count, total)| Step::Redefine(count, total)),
        1 => (0..4_usize).prop_map(Step::Merge),
    ]
}

proptest! {
    #[test]
    fn no_device_is_ever_given_out_beyond_itself(steps in prop::collection::vec(step(), 1..60)) {
        let resources: [Arc<str>; 3] = ["fpga".into(), "gpus".into(), "lic".into()];
        let supply = |count, total| [
            (Arc::clone(&resources[0]), Supply::Devices(names(2))),
            (Arc::clone(&resources[1]), Supply::Devices(names(count))),
            (Arc::clone(&resources[2]), Supply::Sum(total)),
        ];
        let mut pools = Pools::new(&supply(3, 3000));
        let mut running: Vec<Grants> = Vec::new();
        for step in steps {
            match step {
                Step::Take(fpga, gpus, lic) => {
                    let wanted = [fpga, gpus, lic];
                    let demand: ResourceDemand = resources.iter().cloned().zip(wanted)
                        .filter(|(_, amount)| *amount > 0).collect();
                    let (before, would) = (format!("{pools:?}"), pools.holds(&demand));
                    match pools.take(&demand) {
                        Some(grants) => {
                            prop_assert!(would);
                            let got: Vec<u64> = grants.0.iter().map(|(_, granted)| match granted {
                                Granted::Devices(grant) => grant.shares.iter().map(|share| share.amount).sum(),
                                Granted::Sum(amount) => *amount,
                            }).collect();
                            prop_assert_eq!(got, demand.iter().map(|(_, amount)| *amount).collect::<Vec<_>>());
                            running.push(grants);
                        }
                        None => prop_assert!(!would && format!("{pools:?}") == before, "all or nothing"),
                    }
                }
                Step::Give(index) if !running.is_empty() => {
                    let grants = running.swap_remove(index.index(running.len()));
                    pools.give(&grants);
                }
                Step::Give(_) => {}
                Step::Others(device, amount) => {
                    let held = (Arc::clone(&resources[1]), device.to_string().into(), amount);
                    pools.observe(&[held]);
                }
                Step::Redefine(count, total) => pools.redefine(&supply(count, total)),
                Step::Merge(count) => pools.redefine(&[(Arc::clone(&resources[1]), Supply::Sum(count as u64 * DEVICE))]),
            }
            // What the running tasks have, from their grants alone.
            let mut by_device: BTreeMap<(&Arc<str>, &Arc<str>), Vec<u64>> = BTreeMap::new();
            for (resource, share) in running.iter().flat_map(Grants::devices) {
                by_device.entry((resource, &share.device)).or_default().push(share.amount);
            }
            for (device, amounts) in by_device {
                prop_assert!(amounts.iter().sum::<u64>() <= DEVICE, "{device:?}: {amounts:?}");
                prop_assert!(!amounts.contains(&DEVICE) || amounts.len() == 1, "a whole device is shared");
            }
        }
        for grants in running.drain(..) {
            pools.give(&grants);
        }
        pools.redefine(&supply(3, 3000));
        pools.observe(&names(3).into_iter().map(|name| (Arc::clone(&resources[1]), name, 0)).collect::<Vec<_>>());
        let all: ResourceDemand = resources.iter().cloned().zip([2000, 3000, 3000]).collect();
        prop_assert!(pools.take(&all).is_some(), "what was given back is free: {pools:?}");
    }

    #[test]
    fn part_goes_where_least_is_left(used in prop::collection::vec(0..1000_u64, 1..6), part in 1..1000_u64) {
        let mut pool = Pool::new(&names(used.len()));
        for (device, used) in pool.devices.iter_mut().zip(&used) {
            device.used = *used;
        }
        let granted = pool.take(part);
        let best = used.iter().filter(|used| *used + part <= DEVICE).max();
        let got = granted.map(|grant| used[grant.shares[0].device.parse::<usize>().expect("an index")]);
        prop_assert_eq!(got.as_ref(), best);
    }
}
