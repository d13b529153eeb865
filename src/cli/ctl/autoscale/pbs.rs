//! Workers as jobs of PBS: OpenPBS, PBS Professional and Torque.

use std::time::Duration;

use serde_json::Value;

use super::args::BatchArgs;
use super::launch::Launch;
use super::provider::{Asked, Caller, Provider, ProviderError, StartRequest, clock, ended};
use crate::host::user_name;
use crate::policy::allocations::{Listed, Standing};

/// Starts with `qsub`, lists with `qstat`, ends with `qdel`.
#[derive(Clone, Debug)]
pub(super) struct Pbs {
    launch: Launch,
    caller: Caller,
    flags: Vec<String>,
    job: String,
    user: String,
}

impl Pbs {
    /// With the user's own flags last.
    pub(super) fn new(launch: Launch, args: &BatchArgs, caller: Caller) -> Self {
        let job = format!("distcomp-{}", launch.name);
        let walltime = format!("walltime={}", clock(args.time_limit));
        let mut flags: Vec<String> = ["-N", &job, "-l", &walltime, "-j", "oe", "-r", "n"].map(str::to_owned).to_vec();
        if let Some(dir) = &args.log_dir {
            flags.extend(["-o".to_owned(), format!("{}/", dir.display())]);
        }
        if std::env::var_os("DISTCOMP_REDIS_URL").is_some() {
            flags.extend(["-v", "DISTCOMP_REDIS_URL"].map(str::to_owned));
        }
        let says_nodes = args.flags.iter().any(|flag| flag.contains("select=") || flag.contains("nodes="));
        if let Some((cpus, mem)) = args.scale.cpus.zip(args.scale.mem).filter(|_| !says_nodes) {
            let (cpus, mem) = (cpus.0.div_ceil(1000), mem.0.div_ceil(1 << 20));
            flags.extend(["-l".to_owned(), format!("select=1:ncpus={cpus}:mem={mem}mb")]);
        }
        flags.extend(args.flags.iter().cloned());
        Self { launch, caller, flags, job, user: user_name() }
    }

    fn script(&self, patience: Duration) -> String {
        self.launch.script("${PBS_JOBID%%.*}", patience)
    }

    fn words(&self) -> Vec<&str> {
        std::iter::once("qsub").chain(self.flags.iter().map(String::as_str)).collect()
    }

    /// Of all jobs, ours.
    fn ours(&self, jobs: Vec<Job>) -> Vec<Listed> {
        let is_ours = |job: &Job| job.name == self.job && job.owner.split('@').next() == Some(&self.user);
        jobs.into_iter().filter(is_ours).map(|job| Listed { id: job.id, standing: job.standing }).collect()
    }
}

impl Provider for Pbs {
    fn start<'a>(&'a self, request: StartRequest<'a>) -> Asked<'a, String> {
        Box::pin(async move {
            let answer = self.caller.call(&self.words(), &self.script(request.patience)).await?;
            let last = answer.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            number(last).ok_or_else(|| ProviderError(format!("qsub printed {last:?}, which is no job id")))
        })
    }

    fn list(&self) -> Asked<'_, Option<Vec<Listed>>> {
        Box::pin(async move {
            // Torque has no JSON, and what OpenPBS prints is none where a variable of a job is odd.
            let json = self.caller.run(&["qstat", "-f", "-F", "json"], "").await?;
            let jobs = if json.code == Some(0) { of_json(&json.stdout) } else { None };
            let jobs = match jobs {
                Some(jobs) => jobs,
                None => of_text(&self.caller.call(&["qstat", "-f"], "").await?),
            };
            Ok(Some(self.ours(jobs)))
        })
    }

    fn is_gone<'a>(&'a self, id: &'a str) -> Asked<'a, bool> {
        Box::pin(async move {
            let finished = self.caller.run(&["qstat", "-f", id], "").await?;
            let said = format!("{} {}", finished.stdout, finished.stderr).to_lowercase();
            Ok(finished.code != Some(0) && (said.contains("unknown job") || said.contains("has finished")))
        })
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Asked<'a, ()> {
        Box::pin(async move { self.caller.call(&["qdel", id], "").await.map(drop) })
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

/// A job, as qstat shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    id: String,
    name: String,
    owner: String,
    standing: Standing,
}

/// `123` of `123.server`.
fn number(id: &str) -> Option<String> {
    let number = id.split('.').next().unwrap_or_default();
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.to_owned())
}

fn standing(state: &str) -> Standing {
    match state {
        "R" | "E" | "B" | "S" | "U" => Standing::Running,
        "F" | "X" | "C" => ended("it has finished"),
        // Q, H, W, T, M and what a later version may have.
        _ => Standing::Pending,
    }
}

/// `{"Jobs": {"123.server": {"Job_Name": …, "Job_Owner": …, "job_state": …}}}`; `None` where it is none.
fn of_json(text: &str) -> Option<Vec<Job>> {
    let found: Value = serde_json::from_str(text).ok()?;
    let jobs = match found.get("Jobs") {
        None if found.get("pbs_server").is_some() || found.get("timestamp").is_some() => return Some(Vec::new()),
        other => other?.as_object()?,
    };
    let one = |(id, job): (&String, &Value)| {
        let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let standing = standing(&text("job_state"));
        Some(Job { id: number(id)?, name: text("Job_Name"), owner: text("Job_Owner"), standing })
    };
    Some(jobs.iter().filter_map(one).collect())
}

/// `Job Id: 123.server`, then `    KEY = VALUE` lines; long values go on after a tab.
fn of_text(text: &str) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("Job Id:").map(str::trim) {
            let id = number(id).unwrap_or_default();
            jobs.push(Job { id, name: String::new(), owner: String::new(), standing: Standing::Pending });
        } else if let (Some((key, value)), Some(job)) =
            (line.trim_start_matches(' ').split_once(" = "), jobs.last_mut())
        {
            match key {
                "Job_Name" => job.name = value.trim().to_owned(),
                "Job_Owner" => job.owner = value.trim().to_owned(),
                "job_state" => job.standing = standing(value.trim()),
                _ => {}
            }
        }
    }
    jobs.retain(|job| !job.id.is_empty());
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, standing: Standing) -> Job {
        Job { id: id.to_owned(), name: "distcomp-pbs".to_owned(), owner: "ann@login1".to_owned(), standing }
    }

    #[test]
    fn both_formats_of_qstat_say_the_same() {
        let json = r#"{"timestamp":1,"pbs_version":"23","pbs_server":"s","Jobs":{
            "12.s":{"Job_Name":"distcomp-pbs","Job_Owner":"ann@login1","job_state":"R","resources_used":{"walltime":"00:00:03"}},
            "13.s":{"Job_Name":"distcomp-pbs","Job_Owner":"ann@login1","job_state":"Q"},
            "14.s":{"Job_Name":"distcomp-pbs","Job_Owner":"ann@login1","job_state":"F","Exit_status":1}}}"#;
        let text = "Job Id: 12.s\n    Job_Name = distcomp-pbs\n    Job_Owner = ann@login1\n    job_state = R\n    Variable_List = PBS_O_HOME=/home/ann,\n\tPBS_O_SHELL=/bin/sh\n\n\
            Job Id: 13.s\n    Job_Name = distcomp-pbs\n    Job_Owner = ann@login1\n    job_state = Q\n\
            Job Id: 14.s\n    Job_Name = distcomp-pbs\n    Job_Owner = ann@login1\n    job_state = F\n";
        let expected =
            vec![job("12", Standing::Running), job("13", Standing::Pending), job("14", ended("it has finished"))];
        assert_eq!(of_json(json), Some(expected.clone()));
        assert_eq!(of_text(text), expected);
        assert_eq!(of_json(r#"{"timestamp":1,"pbs_server":"s"}"#), Some(vec![]));
        assert_eq!((of_json("qstat: invalid"), of_text("")), (None, vec![]));
    }
}
