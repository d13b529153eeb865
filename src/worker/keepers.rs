//! How keepers are started here, and which layers of containment they have.

use std::path::Path;

use super::attach::StartError;
use super::keeper_factory::{KeeperFactory, containment};
use super::results;
use super::state::{MARKER, StateDir};
use crate::config::{Config, RedisSettings, withheld_variables};
use crate::process::{Confinement, KeeperSettings, OpenFiles, SlotCgroups, WorkerCgroup};

/// This program, whatever becomes of its file.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// What keepers are made with.
pub struct Keepers<'a> {
    /// The program that is started.
    pub program: &'a Path,
    /// What holds tasks.
    pub confinement: Confinement,
    /// Limits of open files.
    pub files: Option<OpenFiles>,
}

impl Keepers<'_> {
    /// The settings; `marks` are the directory and the instance of a worker that will run tasks.
    #[must_use]
    pub fn settings(self, marks: Option<(&StateDir, &str)>, redis: &RedisSettings) -> KeeperSettings {
        let variable = |(state, instance): (&StateDir, &str)| {
            let (name, value) = state.marker.split_once('=').unwrap_or((MARKER, ""));
            (name.into(), format!("{value}{instance}").into())
        };
        KeeperSettings {
            exe: self.program.to_owned(),
            env_remove: withheld_variables(redis, std::env::vars_os()),
            env_add: marks.map(variable).into_iter().collect(),
            nofile_soft: self.files.map(|files| files.soft_before),
            confinement: self.confinement,
            tag_file: marks.and_then(|(state, _)| Some(state.mark.as_ref()?.path().to_owned())),
        }
    }
}

/// Starts what makes keepers.
///
/// # Errors
/// [`StartError::Io`] when it does not start.
pub fn start(
    settings: KeeperSettings,
    leaf: Option<WorkerCgroup>,
    groups: Option<SlotCgroups>,
) -> Result<KeeperFactory, StartError> {
    KeeperFactory::start(settings, leaf, groups)
        .map_err(|error| StartError::io("start the process keeper", std::io::Error::other(error)))
}

/// What a trial of the containment has shown.
pub struct Trial {
    /// The layers that a worker would have.
    pub layers: String,
    /// What it would have to do without.
    pub missing: Vec<String>,
}

/// Makes the cgroups and processes that a worker would make, runs a task that does nothing, and takes all down again.
///
/// # Errors
/// As the start of a worker.
pub async fn try_out(config: &Config, program: &Path) -> Result<Trial, StartError> {
    let confinement = Confinement::of(&config.confine)?;
    let instance = std::process::id().to_string();
    let mut leaf = WorkerCgroup::create("check", &instance).ok();
    let has_leaf = leaf.is_some();
    let made = config.confine.enforce_memory.then(|| SlotCgroups::create("check", &instance, leaf.as_mut()));
    let (groups, limits) = match made {
        None => (None, None),
        Some(Ok(groups)) => (Some(groups), None),
        Some(Err(why)) => (None, Some(format!("enforce_memory cannot be done here, tasks run without limits: {why}"))),
    };
    let layers = containment(has_leaf, !has_leaf, &confinement, groups.as_ref());
    let results = results::warning(&config.result_dir, confinement.user.as_ref());
    let settings = Keepers { program, confinement, files: None }.settings(None, &config.redis);
    let keeper_factory = start(settings, leaf, groups)?;
    let tried = keeper_factory.try_out(&config.task_shell).await;
    keeper_factory.shutdown().await;
    tried?;
    Ok(Trial { layers, missing: limits.into_iter().chain(results).collect() })
}
