//! Makes keepers, from the zygote. Starts another zygote if a task, or the kernel's out-of-memory killer, has killed it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::process::{
    self, ConfineError, Confinement, Ended, ExitStatus, Keeper, KeeperCommand, KeeperEvent, KeeperSettings,
    ProcessError, ProcessTag, RunSpec, SlotCgroup, SlotCgroups, TagFile, WorkerCgroup, Zygote,
};

/// How long a task that does nothing may take, on a node that is very busy.
const TRIAL: Duration = Duration::from_secs(20);

/// How often a first task is tried, and the pause between two tries.
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(300);

/// Why a first task did not run.
enum Fault {
    /// Another time it may.
    Passing(String),
    /// Whoever was to keep it died, and left no word.
    Killed(String),
    /// It will not.
    Lasting(String),
}

/// See the module. Clones share one zygote.
#[derive(Clone)]
pub struct KeeperFactory {
    zygote: Arc<Mutex<Zygote>>,
    settings: Arc<KeeperSettings>,
    /// Before the leaf: what is in it goes first.
    groups: Option<Arc<SlotCgroups>>,
    leaf: Option<Arc<WorkerCgroup>>,
}

impl KeeperFactory {
    /// Starts the first zygote, in the leaf where there is one that takes it. With `groups`, each keeper gets a cgroup with limits.
    ///
    /// # Errors
    /// [`ProcessError::Start`], and [`ProcessError::Group`] when the zygote is not where the groups are.
    pub fn start(
        settings: KeeperSettings,
        leaf: Option<WorkerCgroup>,
        groups: Option<SlotCgroups>,
    ) -> Result<Self, ProcessError> {
        let zygote = Zygote::start(&settings)?;
        let leaf = leaf.filter(|leaf| leaf.add_process(zygote.pid()).is_ok()).map(Arc::new);
        if let Some(groups) = &groups {
            groups.add_zygote(zygote.pid()).map_err(ProcessError::Group)?;
        }
        let zygote = Arc::new(Mutex::new(zygote));
        Ok(Self { zygote, settings: Arc::new(settings), groups: groups.map(Arc::new), leaf })
    }

    /// The layers of containment that are on, for people.
    #[must_use]
    pub fn containment(&self) -> String {
        let groups = self.groups.as_deref();
        containment(self.leaf.is_some(), self.settings.tag_file.is_some(), &self.settings.confinement, groups)
    }

    /// Runs a first task that does nothing: better no worker than one that can start no task, whose every task fails, or runs as somebody else.
    ///
    /// Where this node is only short of processes, memory or descriptors, that passes: it is logged, and no error.
    ///
    /// # Errors
    /// [`ConfineError::Start`] when no keeper or task starts in a few tries, and [`ConfineError::Trial`] when it starts in another way than the
    /// configuration says.
    pub async fn try_out(&self, shell: &Path) -> Result<(), ConfineError> {
        let confinement = &self.settings.confinement;
        let wanted = confinement.user.as_ref().map(|user| user.uid.to_string());
        let ended = match self.try_often(shell, wanted.is_some()).await {
            Ok(ended) => ended,
            Err(Fault::Passing(error)) if confinement.is_plain() => {
                tracing::warn!(error, "failed to start a first task; the node lacks a resource");
                return Ok(());
            }
            Err(Fault::Passing(error) | Fault::Killed(error) | Fault::Lasting(error)) => {
                return Err(if confinement.is_plain() {
                    ConfineError::Start(error)
                } else {
                    ConfineError::Trial(error)
                });
            }
        };
        let said = String::from_utf8_lossy(ended.stdout.tail(1024)).trim().to_owned();
        let is_closed = said.ends_with("\nclosed");
        let said = said.trim_end_matches("\nclosed");
        if is_closed {
            let user = confinement.keys.run_as_user.as_deref().unwrap_or_default();
            tracing::warn!(user, "run_as_user cannot access the directory in which tasks start");
        }
        if !confinement.is_plain() && (ended.status != ExitStatus::Exited(0) || wanted.is_some_and(|uid| uid != said)) {
            let complaint = String::from_utf8_lossy(&ended.stderr_tail).trim().to_owned();
            return Err(ConfineError::Trial(format!("{} {said} {complaint}", shell.display())));
        }
        Ok(())
    }

    /// A few times: a keeper that dies without a word may have been killed, but not each time.
    async fn try_often(&self, shell: &Path, asks_user: bool) -> Result<Ended, Fault> {
        // Where tasks have no limits, the shell is not asked: a wrapper may do more than nothing.
        let (program, args): (&Path, Vec<OsString>) = if self.settings.confinement.is_plain() {
            (&self.settings.exe, vec!["--version".into()])
        } else {
            let command = if asks_user { "id -u; test -x . || echo closed" } else { ":" };
            (shell, vec!["-c".into(), command.into()])
        };
        let mut tries = 0;
        loop {
            let spec = RunSpec {
                program: program.to_owned(),
                args: args.clone(),
                env: Vec::new(),
                max_inline: 1024,
                head_keep: 0,
                tail_keep: 0,
                stderr_tail_keep: 1024,
                overflow_path: PathBuf::new(),
                result_dir: None,
                memory_limit: 0,
                process_limit: 0,
                start_by_ms: 0,
                ..RunSpec::default()
            };
            tries += 1;
            let ended = tokio::time::timeout(TRIAL, self.trial(spec)).await;
            match ended.unwrap_or_else(|_| Err(Fault::Lasting("it does not end".to_owned()))) {
                Err(Fault::Passing(_)) if tries < TRIES => tokio::time::sleep(BETWEEN).await,
                Err(Fault::Killed(error)) if tries < TRIES => {
                    tracing::warn!(error, "a keeper died at its start");
                    tokio::time::sleep(BETWEEN).await;
                }
                Err(Fault::Killed(error)) => return Err(Fault::Lasting(error)),
                tried => return tried,
            }
        }
    }

    async fn trial(&self, spec: RunSpec) -> Result<Ended, Fault> {
        let (mut keeper, _group) = self.keeper().await.map_err(Fault::of)?;
        keeper.send(KeeperCommand::Run { key: 1, spec: Box::new(spec) }).await.map_err(Fault::of)?;
        loop {
            match keeper.recv().await.map_err(Fault::of)? {
                KeeperEvent::Ended(ended) => return Ok(*ended),
                KeeperEvent::SpawnFailed { error, is_node_fault: true, .. } => return Err(Fault::Passing(error)),
                KeeperEvent::SpawnFailed { error, is_node_fault: false, .. } => return Err(Fault::Lasting(error)),
                KeeperEvent::SetupFailed { error } => return Err(Fault::of(ProcessError::SetupFailed(error))),
                KeeperEvent::Started { .. }
                | KeeperEvent::DeviceBusy { .. }
                | KeeperEvent::Recalled { .. }
                | KeeperEvent::Output(_) => {}
            }
        }
    }

    /// The present zygote.
    #[must_use]
    pub fn zygote(&self) -> Zygote {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new keeper, in a cgroup of its own where each has one. The group is to be dropped after the keeper.
    ///
    /// # Errors
    /// Those of [`Zygote::keeper`], of a start where the zygote had died, and of a group that could not be made.
    pub async fn keeper(&self) -> Result<(Keeper, Option<SlotCgroup>), ProcessError> {
        let zygote = self.zygote();
        let mut keeper = match zygote.keeper().await {
            Err(ProcessError::ZygoteGone) => self.replace(zygote.pid())?.keeper().await?,
            answered => answered?,
        };
        let Some(groups) = &self.groups else { return Ok((keeper, None)) };
        let slot = groups.create_slot(keeper.pid()).map_err(ProcessError::Group)?;
        keeper.send(KeeperCommand::Group(slot.dirs.clone())).await?;
        Ok((keeper, Some(slot)))
    }

    /// Starts another zygote in place of a dead one, unless somebody has done so.
    fn replace(&self, dead: u32) -> Result<Zygote, ProcessError> {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if zygote.pid() == dead {
            *zygote = Zygote::start(&self.settings)?;
            if let Some(leaf) = &self.leaf
                && let Err(error) = leaf.add_process(zygote.pid())
            {
                tracing::warn!(error = %error, "failed to move the process to the cgroup; only keepers contain its tasks");
            }
            if let Some(groups) = &self.groups {
                groups.add_zygote(zygote.pid()).map_err(ProcessError::Group)?;
            }
            tracing::error!(dead, "the process that creates keepers was killed; started another");
        }
        Ok(zygote.clone())
    }

    /// Kills what no keeper keeps: the trees of keepers that died with the zygote that had to look after them. `keepers` are those that live.
    pub async fn kill_strays(&self, mut keepers: Vec<u32>) {
        keepers.push(self.zygote().pid());
        let (settings, leaf) = (Arc::clone(&self.settings), self.leaf.clone());
        let killed = tokio::task::spawn_blocking(move || {
            let variable = settings.env_add.first();
            let environment = variable.map(|(name, value)| format!("{}={}", name.display(), value.display()));
            let mark = settings.tag_file.as_deref().and_then(TagFile::at);
            let user = settings.confinement.user.as_ref().map(|user| user.uid);
            let marks = ProcessTag {
                environment: &environment.unwrap_or_default(),
                tag_file: mark.as_ref(),
                cgroup: leaf.as_deref().map(WorkerCgroup::dir),
                users: user.as_slice(),
                before: None,
            };
            process::kill_tagged(marks, |pid| process::descends_from(pid, &keepers))
        });
        if let Some(killed) = killed.await.ok().filter(|killed| *killed > 0) {
            tracing::error!(
                killed,
                "a keeper and the process that creates keepers were killed; killed the leftover processes"
            );
        }
    }

    /// Closes the lifeline and waits until the last process below it has ended, at most a few seconds.
    pub async fn shutdown(self) {
        self.zygote().shutdown().await;
    }
}

impl Fault {
    fn of(error: ProcessError) -> Self {
        let text = error.to_string();
        if matches!(error, ProcessError::ZygoteGone | ProcessError::KeeperGone) {
            Self::Killed(text)
        } else if error.is_passing() {
            Self::Passing(text)
        } else {
            Self::Lasting(text)
        }
    }
}

/// Names the layers of containment.
#[must_use]
pub fn containment(has_leaf: bool, has_mark: bool, confinement: &Confinement, groups: Option<&SlotCgroups>) -> String {
    let marks = if has_mark { "marks" } else { "a mark" };
    let mut layers: Vec<String> = has_leaf.then(|| "cgroup".to_owned()).into_iter().collect();
    layers.extend(["keepers".to_owned(), marks.to_owned()]);
    layers.extend(confinement.layers());
    if let Some(groups) = groups {
        let limits = if groups.limits_processes() { "memory and process limits" } else { "memory limits" };
        layers.push(limits.to_owned());
    }
    layers.join(", ")
}
