//! The restrictions of tasks (limits, user, `no_new_privs`), which the zygote gets at its start.

use nix::unistd::{Uid, User, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;

use crate::config::Confine;

/// The restrictions of the configuration, and the user that `run_as_user` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The keys of the configuration.
    pub keys: Confine,
    /// The user of tasks; `None`: the worker's user.
    pub user: Option<TaskUser>,
}

/// A user other than the worker's. It is looked up once, because a slow name service must not delay tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUser {
    /// Login name.
    pub name: String,
    /// Home directory, as bytes.
    home: Vec<u8>,
    /// User id; never 0.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Why tasks cannot be restricted as the configuration says. The text fits after "failed to ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfineError {
    /// There is no such user.
    #[error("use run_as_user: there is no user {0:?} on this node")]
    NoSuchUser(String),
    /// Another name of root.
    #[error("use run_as_user: {0:?} is root")]
    Root(String),
    /// Only root can become another user.
    #[error("use run_as_user: only a worker that runs as root can run tasks as {0:?}")]
    NotRoot(String),
    /// The name service failed.
    #[error("use run_as_user: looking up {0:?}: {1}")]
    Lookup(String, nix::errno::Errno),
    /// The trial task did not run with these restrictions.
    #[error("run a task with run_as_user, task_rlimits and the other keys of containment: {0}")]
    Trial(String),
    /// The trial task could not be started, with or without restrictions, because of this node or the container of the worker.
    #[error(
        "start a first task on this node: {0}. Tasks need a system call or a resource that is forbidden or missing here: check the system call filter (seccomp, SystemCallFilter=) and the limits of this worker"
    )]
    Start(String),
}

impl Confinement {
    /// Looks up the user that the configuration names. If the worker runs as this user already, `user` is `None`.
    ///
    /// # Errors
    /// When tasks cannot run as this user.
    pub fn of(keys: &Confine) -> Result<Self, ConfineError> {
        let user = match &keys.run_as_user {
            None => None,
            Some(name) => look_up(name)?,
        };
        Ok(Self { keys: keys.clone(), user })
    }

    /// Whether no restriction is set that a child could fail to apply.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Confine { oom_score_adj: _, enforce_memory: _, umask: _, ref rlimits, nice, no_new_privs, run_as_user: _ } =
            self.keys;
        self.user.is_none() && *rlimits == Default::default() && nice.is_none() && !no_new_privs
    }

    /// The restrictions in force, for people.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        let mut layers = Vec::new();
        if let Some(user) = &self.user {
            layers.push(format!("user {}", user.name));
        }
        if self.keys.no_new_privs {
            layers.push("no_new_privs".to_owned());
        }
        if self.keys.rlimits != Default::default() {
            layers.push("rlimits".to_owned());
        }
        layers
    }
}

impl TaskUser {
    /// The variables of a login of this user.
    pub(super) fn variables(&self) -> Vec<(&'static str, Vec<u8>)> {
        let name = self.name.as_bytes().to_vec();
        vec![("HOME", self.home.clone()), ("USER", name.clone()), ("LOGNAME", name)]
    }
}

fn look_up(name: &str) -> Result<Option<TaskUser>, ConfineError> {
    let fail = |errno| ConfineError::Lookup(name.to_owned(), errno);
    let by_number = || name.parse().map_or(Ok(None), |uid| User::from_uid(Uid::from_raw(uid)));
    let user = match User::from_name(name).map_err(fail)? {
        Some(user) => user,
        None => by_number().map_err(fail)?.ok_or_else(|| ConfineError::NoSuchUser(name.to_owned()))?,
    };
    if user.uid.is_root() {
        return Err(ConfineError::Root(name.to_owned()));
    }
    if user.uid == geteuid() {
        return Ok(None);
    }
    if !geteuid().is_root() {
        return Err(ConfineError::NotRoot(name.to_owned()));
    }
    let login = CString::new(user.name.as_bytes()).map_err(|_| ConfineError::NoSuchUser(name.to_owned()))?;
    let groups = getgrouplist(&login, user.gid).map_err(fail)?;
    Ok(Some(TaskUser {
        name: user.name,
        home: user.dir.as_os_str().as_bytes().to_vec(),
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Result<Confinement, ConfineError> {
        Confinement::of(&Confine { run_as_user: Some(name.to_owned()), ..Confine::default() })
    }

    #[test]
    fn only_an_existing_user_other_than_root_is_accepted() {
        assert_eq!(of("no-such-user-here"), Err(ConfineError::NoSuchUser("no-such-user-here".to_owned())));
        assert_eq!(of("0"), Err(ConfineError::Root("0".to_owned())));
        let nobody = of("nobody");
        if geteuid().is_root() {
            let user = nobody.unwrap().user.unwrap();
            assert!(user.uid > 0 && user.groups.contains(&user.gid), "{user:?}");
            assert_eq!(of(&user.uid.to_string()).unwrap().user.as_ref(), Some(&user));
        } else {
            assert_eq!(nobody, Err(ConfineError::NotRoot("nobody".to_owned())));
            let own = geteuid().as_raw().to_string();
            if User::from_uid(geteuid()).is_ok_and(|user| user.is_some()) {
                assert_eq!(of(&own).unwrap().user, None);
            }
        }
    }
}
