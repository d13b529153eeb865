//! A batch system of shell scripts that takes, shows and ends jobs as OpenPBS does.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::{Bed, Cli, Output, Started, read};

/// Takes a job and, unless there is a file `hold`, starts it. With a file `refuse` it takes none; `refuse` is what it says. With `hang` it hangs.
const QSUB: &str = r#"#!/bin/sh
cd "$STAND_IN" || exit 9
echo "$@" >>qsub.args
if [ -e hang ]; then sleep 600; fi
if [ -e refuse ]; then cat refuse >&2; exit 190; fi
name=
while [ $# -gt 0 ]; do
    case $1 in -N) name=$2; shift ;; esac
    shift
done
id=1
until mkdir "jobs/$id" 2>/dev/null; do id=$((id + 1)); done
cat >"jobs/$id/script"
echo "$name" >"jobs/$id/name"
echo Q >"jobs/$id/state"
[ -e hold ] || ./start "$id"
echo "$id.pbs1"
"#;

/// Starts a job that waits, with the clock of its own node.
const START: &str = r#"#!/bin/sh
cd "$STAND_IN" || exit 9
echo R >"jobs/$1/state"
cd "$STAND_IN_HOME" || exit 9
PBS_JOBID=$1.pbs1 env -u LD_PRELOAD -u IT_CLOCK setsid sh -c '
    echo $$ >"$STAND_IN/jobs/$0/pid"
    sh "$STAND_IN/jobs/$0/script"
    echo F >"$STAND_IN/jobs/$0/state"
' "$1" >"$STAND_IN/jobs/$1/log" 2>&1 </dev/null &
"#;

const QDEL: &str = r#"#!/bin/sh
cd "$STAND_IN" || exit 9
id=${1%%.*}
echo "$id" >>qdel.args
if [ -e "jobs/$id/pid" ]; then kill -TERM -- "-$(cat "jobs/$id/pid")"; fi
echo F >"jobs/$id/state"
"#;

/// Shows jobs in both formats; with a file `text`, without JSON, as Torque does. With `blind`, none.
const QSTAT: &str = r#"#!/bin/sh
cd "$STAND_IN" || exit 9
if [ -e hang ]; then sleep 600; fi
if [ "$1 $2 $3" = "-f -F json" ]; then
    if [ -e text ]; then echo "qstat: invalid option -- 'F'" >&2; exit 2; fi
    printf '{\n    "timestamp":1700000000,\n    "pbs_version":"23.06.06",\n    "pbs_server":"pbs1",\n    "Jobs":{'
    comma=
    for job in jobs/*; do
        [ -e "$job/name" ] && [ ! -e blind ] && [ "$(cat "$job/state")" != F ] || continue
        printf '%s\n        "%s.pbs1":{\n            "Job_Name":"%s",\n            "Job_Owner":"%s@login1",\n            "job_state":"%s",\n            "queue":"workq"\n        }' \
            "$comma" "${job#jobs/}" "$(cat "$job/name")" "$USER" "$(cat "$job/state")"
        comma=,
    done
    printf '\n    }\n}\n'
elif [ $# = 1 ]; then
    for job in jobs/*; do
        [ -e "$job/name" ] && [ ! -e blind ] && [ "$(cat "$job/state")" != F ] || continue
        printf 'Job Id: %s.pbs1\n    Job_Name = %s\n    Job_Owner = %s@login1\n    job_state = %s\n    Variable_List = PBS_O_HOME=/home/ann,\n\tPBS_O_LANG=C\n\n' \
            "${job#jobs/}" "$(cat "$job/name")" "$USER" "$(cat "$job/state")"
    done
else
    id=${2%%.*}
    case $(cat "jobs/$id/state" 2>/dev/null) in
    '') echo "qstat: Unknown Job Id $id.pbs1" >&2; exit 153 ;;
    F) echo "qstat: $id.pbs1 Job has finished, use -x or -H to obtain historical job information" >&2; exit 35 ;;
    esac
    echo "Job Id: $id.pbs1"
fi
"#;

/// The stand-in, in the directory of a bed. What it started ends with it.
pub(super) struct StandIn {
    dir: PathBuf,
}

impl StandIn {
    pub(super) fn new(bed: &Bed) -> Self {
        let dir = bed.path().join("pbs");
        fs::create_dir_all(dir.join("jobs")).expect("a directory");
        for (name, text) in [("qsub", QSUB), ("start", START), ("qdel", QDEL), ("qstat", QSTAT)] {
            fs::write(dir.join(name), text).expect("a program");
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        Self { dir }
    }

    /// A file that changes how it behaves.
    pub(super) fn set(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).expect("a file");
    }

    pub(super) fn unset(&self, name: &str) {
        fs::remove_file(self.dir.join(name)).expect("the file is there");
    }

    /// States of all jobs that it ever took, by number.
    pub(super) fn states(&self) -> Vec<String> {
        let state = |id: usize| fs::read_to_string(self.dir.join(format!("jobs/{id}/state"))).ok();
        (1..).map_while(state).map(|state| state.trim().to_owned()).collect()
    }

    /// The arguments of each qsub.
    pub(super) fn submissions(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("qsub.args")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that its jobs have written.
    pub(super) fn logs(&self) -> String {
        (1..=self.states().len()).map(|id| read(self.dir.join(format!("jobs/{id}/log")))).collect()
    }

    /// Starts a job that waits.
    pub(super) fn start(&self, bed: &Bed, id: usize) {
        let program = self.dir.join("start").display().to_string();
        self.around(bed, Cli::new(&program)).args([id.to_string()]).run().expect(0);
    }

    /// Ends a job as a node that fails does.
    pub(super) fn kill(&self, id: usize) {
        let pid = read(self.dir.join(format!("jobs/{id}/pid"))).trim().parse().expect("a pid");
        killpg(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        fs::write(self.dir.join(format!("jobs/{id}/state")), "F").expect("a file");
    }

    fn around(&self, bed: &Bed, cli: Cli) -> Cli {
        let path = format!("{}:{}", self.dir.display(), std::env::var("PATH").expect("PATH"));
        cli.env("PATH", path)
            .env("USER", "ann")
            .env("STAND_IN", &self.dir)
            .env("STAND_IN_HOME", bed.path())
            .env("XDG_STATE_HOME", bed.path().join("state-home"))
    }

    /// `distcomp-ctl autoscale pbs` with short times; later flags take the place of these only where they may be repeated.
    pub(super) fn cli(&self, bed: &Bed, flags: &[&str]) -> Cli {
        let cli = self.around(bed, bed.cli("distcomp-ctl"));
        cli.args(["autoscale", "pbs", "--time-limit", "1h", "--interval", "1s", "--idle-timeout", "1s"]).args(flags)
    }

    pub(super) fn run(&self, bed: &Bed, flags: &[&str]) -> Output {
        self.cli(bed, flags).run()
    }

    pub(super) fn begin(&self, bed: &Bed, flags: &[&str]) -> Started {
        self.cli(bed, flags).limit(std::time::Duration::from_secs(180)).start()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for id in 1..=self.states().len() {
            let pid = fs::read_to_string(self.dir.join(format!("jobs/{id}/pid"))).ok();
            if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok()) {
                // It may have ended.
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
