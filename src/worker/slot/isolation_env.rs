//! The variables that tell a task what it has.

use crate::config::GPUS;
use crate::host::gpus::Vendor;
use crate::model::needs::show_milli;
use crate::policy::cores;
use crate::policy::pools::Granted;
use crate::worker::placed::Placed;

/// What does not depend on the task.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvRules {
    /// Whose GPUs the node has; `None`: none was found.
    pub(super) vendor: Option<Vendor>,
    /// `hide_gpus`.
    pub(super) hides_gpus: bool,
    /// The worker's own environment says how many threads OpenMP starts.
    pub(super) has_omp_threads: bool,
}

/// The variables of a task.
pub(super) fn variables(placed: &Placed, rules: EnvRules) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut set = |name: String, value: String| variables.push((name, value));
    let mut sees_gpus = false;
    for (resource, granted) in &placed.grants.0 {
        let name = resource.to_uppercase().replace(['.', '/', '-'], "_");
        let (amount, devices) = match granted {
            Granted::Sum(amount) => (*amount, None),
            Granted::Devices(grant) => {
                let names: Vec<&str> = grant.shares.iter().map(|share| &*share.device).collect();
                (grant.shares.iter().map(|share| share.amount).sum(), Some(names.join(",")))
            }
        };
        set(format!("DISTCOMP_RESOURCE_{name}"), show_milli(amount));
        if let Some(devices) = devices {
            if &**resource == GPUS {
                // Devices that the configuration names are taken for NVIDIA's, unless only others were found.
                let variable = rules.vendor.unwrap_or(Vendor::Nvidia).variable();
                set(variable.to_owned(), devices.clone());
                sees_gpus = true;
            }
            set(format!("DISTCOMP_RESOURCE_VALUES_{name}"), devices);
        }
    }
    if rules.hides_gpus && !sees_gpus {
        for vendor in [Vendor::Nvidia, Vendor::Amd] {
            set(vendor.variable().to_owned(), String::new());
        }
    }
    if !placed.own_cores.is_empty() {
        set("DISTCOMP_CPU_LIST".to_owned(), cores::list(&placed.own_cores));
        if !rules.has_omp_threads {
            set("OMP_NUM_THREADS".to_owned(), placed.own_cores.len().to_string());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::Pools;
    use crate::policy::pools::Supply;

    const RULES: EnvRules = EnvRules { vendor: None, hides_gpus: false, has_omp_threads: false };

    fn shown(demand: &[(&str, u64)], own_cores: &[usize], rules: EnvRules) -> String {
        let supply = |names: &[&str]| Supply::Devices(names.iter().map(|name| (*name).into()).collect());
        let mut pools = Pools::new(&[
            ("gpus".into(), supply(&["2", "5"])),
            ("a/b.c-d".into(), Supply::Sum(9000)),
            ("fpga".into(), supply(&["x"])),
        ]);
        let demand: Vec<(Arc<str>, u64)> = demand.iter().map(|(name, amount)| ((*name).into(), *amount)).collect();
        let grants = pools.take(&demand).expect("it is free");
        let placed = Placed { grants, own_cores: own_cores.to_vec(), shared_cores: Vec::new() };
        variables(&placed, rules).iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn task_is_told_what_it_has() {
        assert_eq!(shown(&[], &[], RULES), "");
        assert_eq!(
            shown(&[("gpus", 2000), ("a/b.c-d", 1500)], &[], RULES),
            "DISTCOMP_RESOURCE_GPUS=2 CUDA_VISIBLE_DEVICES=2,5 DISTCOMP_RESOURCE_VALUES_GPUS=2,5 DISTCOMP_RESOURCE_A_B_C_D=1.5 "
        );
        assert_eq!(shown(&[("fpga", 250)], &[], RULES), "DISTCOMP_RESOURCE_FPGA=0.25 DISTCOMP_RESOURCE_VALUES_FPGA=x ");
        let amd = EnvRules { vendor: Some(Vendor::Amd), ..RULES };
        assert!(shown(&[("gpus", 500)], &[], amd).contains("ROCR_VISIBLE_DEVICES=2 "));
    }

    #[test]
    fn gpus_are_hidden_from_tasks_without_any() {
        let rules = EnvRules { hides_gpus: true, ..RULES };
        assert_eq!(shown(&[("fpga", 1000)], &[], rules).matches("VISIBLE_DEVICES= ").count(), 2);
        let shown = shown(&[("gpus", 1000)], &[], rules);
        assert!(shown.contains("CUDA_VISIBLE_DEVICES=2 ") && !shown.contains("ROCR"), "{shown}");
    }

    #[test]
    fn cores_of_its_own_are_named_and_set_the_threads_of_openmp() {
        assert_eq!(shown(&[], &[4, 5, 6, 7], RULES), "DISTCOMP_CPU_LIST=4-7 OMP_NUM_THREADS=4 ");
        let rules = EnvRules { has_omp_threads: true, ..RULES };
        assert_eq!(shown(&[], &[1, 3], rules), "DISTCOMP_CPU_LIST=1,3 ");
    }
}
