//! What this node has besides memory and cores: found once, at the start, and read with the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::attach::StartError;
use crate::config::{Config, ResourceDef};
use crate::host::gpus::{self, Gpus, Places};
use crate::model::needs::show_milli;
use crate::policy::pools::Supply;
use crate::process::{self, DeviceLocks};
use crate::safe_dir::SafeDir;

/// GPUs, cores, device locks and scratch records of the node.
#[derive(Clone, Debug)]
pub struct NodeExtras {
    /// The GPUs that were found.
    pub gpus: Gpus,
    /// The cores that this worker may use, by number; empty where the kernel does not tell.
    pub cores: BTreeSet<usize>,
    /// The locks of the node's devices.
    pub locks: DeviceLocks,
    /// Where the directories of running attempts are recorded.
    pub scratch_records: PathBuf,
}

impl NodeExtras {
    /// Looks at the node. `nvidia-smi` may take seconds.
    pub async fn find(scratch_records: PathBuf) -> Self {
        let nothing = Gpus { vendor: None, names: Vec::new(), note: Some("the search has failed".to_owned()) };
        let gpus = tokio::task::spawn_blocking(|| gpus::find(&Places::of_process())).await.unwrap_or(nothing);
        Self { gpus, cores: process::allowed_cores(), locks: DeviceLocks::of_node(), scratch_records }
    }

    /// Makes the directories that keepers need, so that these do not depend on the umask of tasks.
    ///
    /// # Errors
    /// [`StartError::Io`] when one cannot be made.
    pub fn prepare(&self, config: &Config) -> Result<(), StartError> {
        if let Some(dir) = &config.scratch_dir {
            let made = SafeDir::make(dir, 0o755).and_then(|_| std::fs::create_dir_all(&self.scratch_records));
            made.map_err(|error| StartError::io(format!("use scratch_dir {}", dir.display()), error))?;
        }
        if config.pin_cpus && self.cores.is_empty() {
            tracing::warn!(
                "pin_cpus is set and cannot be done here: the kernel does not say which cores this worker may use"
            );
        }
        let has_devices = self.supplies(config).iter().any(|(_, supply)| matches!(supply, Supply::Devices(_)));
        if has_devices {
            self.locks.prepare().map_err(|error| StartError::io("create the locks of this node's devices", error))?;
        }
        Ok(())
    }

    /// The resources that are switched on, by name.
    #[must_use]
    pub fn supplies(&self, config: &Config) -> Vec<(Arc<str>, Supply)> {
        let supply = |def: &ResourceDef| match def {
            ResourceDef::Auto => Supply::Devices(self.gpus.names.iter().map(|name| name.as_str().into()).collect()),
            ResourceDef::Devices(names) => Supply::Devices(names.clone()),
            ResourceDef::Sum(amount) => Supply::Sum(*amount),
        };
        let all = config.resources.iter().map(|(name, def)| (Arc::clone(name), supply(def)));
        all.filter(|(_, supply)| match supply {
            Supply::Devices(names) => !names.is_empty(),
            Supply::Sum(amount) => *amount > 0,
        })
        .collect()
    }

    /// How much of each device is held on this node, whoever holds it, by resource and device, in thousandths.
    #[must_use]
    pub fn held_devices(&self, config: &Config) -> Vec<(Arc<str>, Arc<str>, u64)> {
        let mut held = Vec::new();
        for (resource, supply) in self.supplies(config) {
            let Supply::Devices(devices) = supply else { continue };
            for device in devices {
                match self.locks.held(&resource, &device) {
                    Ok(amount) => held.push((Arc::clone(&resource), device, amount)),
                    Err(error) => tracing::debug!(%resource, %device, %error, "cannot read the lock of a device"),
                }
            }
        }
        held
    }

    /// The resources for people, and why there is no GPU where these are looked for: `gpus 2 (0, 1), lic 3`.
    #[must_use]
    pub fn shown(&self, config: &Config) -> String {
        let supplies = self.supplies(config);
        let shown = supplies.iter().map(|(name, supply)| match supply {
            Supply::Devices(devices) => format!("{name} {} ({})", devices.len(), devices.join(", ")),
            Supply::Sum(total) => format!("{name} {}", show_milli(*total)),
        });
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if text.is_empty() {
            text.push_str("none");
        }
        let is_auto = config.resources.get(crate::config::GPUS) == Some(&ResourceDef::Auto);
        if let Some(note) = self.gpus.note.as_ref().filter(|_| is_auto) {
            text = format!("{text}; GPUs: {note}");
        }
        text
    }
}

/// The labels of a worker on this host, sorted: those of the configuration and `host=NAME`.
#[must_use]
pub fn labels(config: &Config, host: &str) -> Vec<String> {
    let mut labels = config.labels.clone();
    labels.push(format!("host={host}"));
    labels.sort();
    labels
}
