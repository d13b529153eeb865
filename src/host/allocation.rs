//! Finds out when the batch system ends the job that this process is a part of.
//!
//! Slurm: `SLURM_JOB_END_TIME` (since 22.05), else `squeue`. PBS and Torque: `qstat -f`.

use std::ffi::OsString;
use std::time::Duration;

use super::program;
use crate::sys::wall_clock;

/// How long a program of the batch system may take: its server may be busy.
const ANSWER: Duration = Duration::from_secs(20);

/// What this process knows of its job. Tests give their own.
#[derive(Clone, Debug)]
pub struct Job {
    /// `SLURM_JOB_ID`.
    pub slurm_job: Option<String>,
    /// `SLURM_JOB_END_TIME`, in seconds since the epoch.
    pub slurm_end: Option<String>,
    /// `PBS_JOBID`.
    pub pbs_job: Option<String>,
    /// Directories of programs, as in `PATH`.
    pub path: OsString,
    /// How long a program may take.
    pub patience: Duration,
}

impl Job {
    /// That of this process, if it is in one.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            slurm_job: text("SLURM_JOB_ID"),
            slurm_end: text("SLURM_JOB_END_TIME"),
            pbs_job: text("PBS_JOBID"),
            path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
            patience: ANSWER,
        }
    }

    /// Whether there is a job.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.slurm_job.is_some() || self.pbs_job.is_some()
    }

    /// How long the job still lives; `None` where there is no job, or its time is not limited. Blocking: it may wait for a program of the batch system.
    ///
    /// # Errors
    ///
    /// Why the batch system did not say, in words that name the job.
    pub fn time_left(&self) -> Result<Option<Duration>, String> {
        if let Some(job) = &self.slurm_job {
            return self.of_slurm(job).map_err(|problem| format!("the end of Slurm job {job} is not known: {problem}"));
        }
        match &self.pbs_job {
            Some(job) => {
                self.of_pbs(job).map_err(|problem| format!("the end of PBS job {job} is not known: {problem}"))
            }
            None => Ok(None),
        }
    }

    fn of_slurm(&self, job: &str) -> Result<Option<Duration>, String> {
        if let Some(end) = self.slurm_end.as_deref().and_then(|end| end.trim().parse::<u64>().ok()) {
            let left = end.saturating_mul(1000).saturating_sub(wall_clock::unix_ms());
            return Ok(Some(Duration::from_millis(left)));
        }
        let text = self.ask("squeue", &["--noheader", "--jobs", job, "--format=%L"])?;
        let text = text.trim();
        if matches!(text, "UNLIMITED" | "NOT_SET") {
            return Ok(None);
        }
        clock(text).map(Some).ok_or_else(|| format!("squeue printed {text:?}, which is no time"))
    }

    fn of_pbs(&self, job: &str) -> Result<Option<Duration>, String> {
        let text = self.ask("qstat", &["-f", job])?;
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().split_once(" = "));
            lines.find_map(|(found, value)| (found == key).then(|| value.trim().to_owned()))
        };
        let time = |key: &str| {
            let parse = |text: String| clock(&text).ok_or_else(|| format!("{key} is {text:?}, which is no time"));
            value(key).map(parse).transpose()
        };
        let used = time("resources_used.walltime")?.unwrap_or_default();
        Ok(time("Resource_List.walltime")?.map(|limit| limit.saturating_sub(used)))
    }

    fn ask(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let program = program::find(name, &self.path).ok_or_else(|| format!("there is no program {name}"))?;
        program::ask(&program, args, &self.path, self.patience).map_err(|problem| format!("{name}: {problem}"))
    }
}

/// `[DAYS-]HOURS:MINUTES:SECONDS`, `MINUTES:SECONDS` or `SECONDS`.
fn clock(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (days.parse::<u32>().ok()?, rest),
        None => (0, text),
    };
    let mut seconds = 0u64;
    for part in rest.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(u64::from(part.parse::<u32>().ok()?))?;
    }
    let parts = rest.split(':').count();
    let is_sound = parts <= 3 && (days == 0 || parts == 3);
    is_sound.then(|| Duration::from_secs(u64::from(days) * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A directory with one program.
    fn with_program(name: &str, script: &str) -> (tempfile::TempDir, Job) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let job = Job {
            slurm_job: None,
            slurm_end: None,
            pbs_job: None,
            path: dir.path().into(),
            patience: Duration::from_secs(20),
        };
        (dir, job)
    }

    #[test]
    fn times_of_batch_systems_are_read() {
        for (text, seconds) in [
            ("30", Some(30)),
            ("5:00", Some(300)),
            ("1:00:30", Some(3630)),
            ("2-01:00:00", Some(2 * 86_400 + 3600)),
            ("01:00:00", Some(3600)),
            ("100:00:00", Some(360_000)),
            ("", None),
            ("INVALID", None),
            ("1-2", None),
            ("1:2:3:4", None),
            ("-1", None),
        ] {
            assert_eq!(clock(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn process_outside_a_job_has_no_end() {
        let (_dir, job) = with_program("squeue", "echo 5:00");
        assert_eq!(job.time_left(), Ok(None));
    }

    #[test]
    fn slurm_tells_the_end_by_variable_or_by_squeue() {
        let script = r#"test "$*" = "--noheader --jobs 42 --format=%L" && echo 1-00:00:10"#;
        let (_dir, job) = with_program("squeue", script);
        let job = Job { slurm_job: Some("42".to_owned()), pbs_job: Some("7.server".to_owned()), ..job };
        assert_eq!(job.time_left(), Ok(Some(Duration::from_secs(86_410))));
        let end = wall_clock::unix_ms() / 1000 + 600;
        let left = Job { slurm_end: Some(end.to_string()), ..job.clone() }.time_left().unwrap().unwrap();
        assert!(left <= Duration::from_secs(600) && left > Duration::from_secs(500), "{left:?}");
        let over = Job { slurm_end: Some("1000".to_owned()), ..job.clone() };
        assert_eq!(over.time_left(), Ok(Some(Duration::ZERO)));
        for (printed, wanted) in [
            ("echo UNLIMITED", Ok(None)),
            ("echo INVALID", Err("the end of Slurm job 42 is not known: squeue printed \"INVALID\", which is no time")),
            ("exit 1", Err("the end of Slurm job 42 is not known: squeue: it failed (exit status: 1)")),
        ] {
            let (_dir, stand_in) = with_program("squeue", printed);
            let job = Job { path: stand_in.path, ..job.clone() };
            assert_eq!(job.time_left(), wanted.map_err(str::to_owned), "{printed}");
        }
        let none = Job { path: "/nonexistent".into(), ..job };
        let problem = "the end of Slurm job 42 is not known: there is no program squeue";
        assert_eq!(none.time_left(), Err(problem.to_owned()));
    }

    #[test]
    fn pbs_tells_the_limit_and_what_is_used() {
        let text = "Job Id: 7.server\n    Job_Name = w\n    resources_used.walltime = 00:10:00\n    job_state = R\n    \
                    Resource_List.select = 1:ncpus=4\n    Resource_List.walltime = 01:00:00";
        let (_dir, job) = with_program("qstat", &format!("test \"$*\" = '-f 7.server' && cat <<'E'\n{text}\nE"));
        let job = Job {
            pbs_job: Some("7.server".to_owned()),
            path: format!("{}:/bin:/usr/bin", job.path.display()).into(),
            ..job
        };
        assert_eq!(job.time_left(), Ok(Some(Duration::from_secs(3000))));
        let (_dir, stand_in) = with_program("qstat", "echo '    job_state = R'");
        assert_eq!(Job { path: stand_in.path, ..job }.time_left(), Ok(None));
    }
}
