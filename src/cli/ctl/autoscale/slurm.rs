//! Workers as jobs of Slurm.

use std::time::Duration;

use super::args::BatchArgs;
use super::launch::Launch;
use super::provider::{Asked, Caller, Provider, ProviderError, StartRequest, clock, ended};
use crate::host::user_name;
use crate::policy::allocations::{Listed, Standing};

/// Starts with `sbatch`, lists with `squeue`, ends with `scancel`.
#[derive(Clone, Debug)]
pub(super) struct Slurm {
    launch: Launch,
    caller: Caller,
    flags: Vec<String>,
    job: String,
    user: String,
}

impl Slurm {
    /// With the user's own flags last: of a flag that is given twice, sbatch takes the last.
    pub(super) fn new(launch: Launch, args: &BatchArgs, caller: Caller) -> Self {
        let job = format!("distcomp-{}", launch.name);
        let log = args.log_dir.clone().unwrap_or_default().join(format!("{job}-%j.log"));
        let mut flags = vec![
            format!("--job-name={job}"),
            format!("--time={}", clock(args.time_limit)),
            format!("--output={}", log.display()),
            "--no-requeue".to_owned(),
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
        ];
        if let Some((cpus, mem)) = args.scale.cpus.zip(args.scale.mem) {
            flags.push(format!("--cpus-per-task={}", cpus.0.div_ceil(1000)));
            flags.push(format!("--mem={}M", mem.0.div_ceil(1 << 20)));
        }
        flags.extend(args.flags.iter().cloned());
        Self { launch, caller, flags, job, user: user_name() }
    }

    fn script(&self, patience: Duration) -> String {
        self.launch.script("$SLURM_JOB_ID", patience)
    }

    fn words(&self) -> Vec<&str> {
        ["sbatch", "--parsable"].into_iter().chain(self.flags.iter().map(String::as_str)).collect()
    }
}

impl Provider for Slurm {
    fn start<'a>(&'a self, request: StartRequest<'a>) -> Asked<'a, String> {
        Box::pin(async move {
            let answer = self.caller.call(&self.words(), &self.script(request.patience)).await?;
            // `JOB` or `JOB;CLUSTER`; a site's own sbatch may say more before.
            let last = answer.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            let id = last.split(';').next().unwrap_or_default();
            let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
            if is_id {
                Ok(id.to_owned())
            } else {
                Err(ProviderError(format!("sbatch printed {last:?}, which is no job id")))
            }
        })
    }

    fn list(&self) -> Asked<'_, Option<Vec<Listed>>> {
        Box::pin(async move {
            let name = format!("--name={}", self.job);
            let user = format!("--user={}", self.user);
            let words = ["squeue", "--noheader", "--states=all", &name, &user, "--format=%i|%T"];
            parse(&self.caller.call(&words, "").await?).map(Some)
        })
    }

    fn is_gone<'a>(&'a self, id: &'a str) -> Asked<'a, bool> {
        Box::pin(async move {
            let job = format!("--jobs={id}");
            let finished =
                self.caller.run(&["squeue", "--noheader", "--states=all", &job, "--format=%i|%T"], "").await?;
            let is_unknown = finished.code != Some(0) && finished.stderr.contains("Invalid job id");
            Ok(is_unknown || (finished.code == Some(0) && finished.stdout.trim().is_empty()))
        })
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Asked<'a, ()> {
        Box::pin(async move { self.caller.call(&["scancel", id], "").await.map(drop) })
    }

    fn worker_of(&self, id: &str) -> String {
        self.launch.worker_of(id)
    }

    fn id_of(&self, worker: &str) -> Option<String> {
        self.launch.id_of(worker).filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn shown(&self) -> String {
        format!("{} <<'E'\n{}E", self.words().join(" "), self.script(Duration::ZERO))
    }
}

/// Lines of `JOB|STATE`.
fn parse(text: &str) -> Result<Vec<Listed>, ProviderError> {
    let one = |line: &str| {
        let (id, state) =
            line.split_once('|').ok_or_else(|| ProviderError(format!("squeue printed {line:?}, which is no job")))?;
        Ok(Listed { id: id.to_owned(), standing: standing(state) })
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(one).collect()
}

fn standing(state: &str) -> Standing {
    match state {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "RESV_DEL_HOLD" | "SPECIAL_EXIT" => Standing::Pending,
        "RUNNING" | "CONFIGURING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            Standing::Running
        }
        other => ended(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_squeue_is_read() {
        let found = parse("12|RUNNING\n 13|PENDING\n14|COMPLETING\n15|NODE_FAIL\n\n").expect("a list");
        let states: Vec<(&str, &Standing)> = found.iter().map(|one| (one.id.as_str(), &one.standing)).collect();
        let failed = ended("NODE_FAIL");
        let expected =
            [("12", &Standing::Running), ("13", &Standing::Pending), ("14", &Standing::Running), ("15", &failed)];
        assert_eq!(states, expected);
        assert!(parse("slurm is upgrading").is_err());
    }
}
