//! The words behind `distcomp`, and those that people type for them.

/// Which program does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Worker,
    Submit,
    Status,
    Ctl,
}

impl Program {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Worker, Self::Submit, Self::Status, Self::Ctl];

    /// The name of its file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Worker => "distcomp-worker",
            Self::Submit => "distcomp-submit",
            Self::Status => "distcomp-status",
            Self::Ctl => "distcomp-ctl",
        }
    }
}

/// The command for one machine, as messages name it, and as which `distcomp-worker --local` is then started.
pub(crate) const RUN: &str = "distcomp run";

/// How that is used.
pub(crate) const RUN_USAGE: &str = "distcomp run [OPTIONS] -- COMMAND [::: VALUES]...
       distcomp run [OPTIONS] --commands FILE...
       distcomp run [OPTIONS] TASK_FILE...";

/// A word, and the command that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// What comes first among its arguments.
    pub(crate) first: &'static [&'static str],
    /// Other names of it.
    pub(crate) aliases: &'static [&'static str],
}

const fn word(
    name: &'static str,
    program: Program,
    first: &'static [&'static str],
    aliases: &'static [&'static str],
) -> Word {
    Word { name, program, first, aliases }
}

/// Tasks: run them, add them.
const TASKS: &[Word] = &[
    word("run", Program::Worker, &["--local"], &[]),
    word("submit", Program::Submit, &[], &["add", "enqueue"]),
    word("worker", Program::Worker, &[], &["start"]),
];

/// What looks.
const LOOK: &[Word] = &[
    word("status", Program::Status, &[], &["overview", "queue", "stat", "info"]),
    word("tasks", Program::Status, &["tasks"], &["ls", "list", "jobs", "ps"]),
    word("workers", Program::Status, &["workers"], &["nodes"]),
    word("batches", Program::Status, &["batches"], &[]),
    word("batch", Program::Status, &["batch"], &[]),
    word("wait", Program::Status, &["wait"], &[]),
    word("limits", Program::Status, &["limits"], &[]),
    word("learnt", Program::Status, &["learnt"], &["learned"]),
    word("failures", Program::Status, &["failures"], &["errors", "failed", "fail"]),
    word("show", Program::Status, &["show"], &["task", "cat"]),
    word("logs", Program::Status, &["logs"], &["log", "output"]),
    word("tail", Program::Status, &["logs", "--follow"], &["follow"]),
    word("watch", Program::Status, &["watch"], &["top"]),
    word("explain", Program::Status, &["explain"], &["why"]),
    word("state", Program::Status, &["state"], &[]),
    word("export", Program::Status, &["export"], &[]),
    word("events", Program::Status, &["events"], &[]),
    word("serve", Program::Status, &["serve"], &["dashboard"]),
];

/// What changes.
const CHANGE: &[Word] = &[
    word("requeue", Program::Ctl, &["requeue"], &["retry", "restart", "rerun"]),
    word("cancel", Program::Ctl, &["cancel"], &["kill", "terminate", "abort"]),
    word("purge", Program::Ctl, &["purge"], &["prune"]),
    word("edit", Program::Ctl, &["edit"], &["modify", "change"]),
    word("pause", Program::Ctl, &["pause"], &["hold"]),
    word("resume", Program::Ctl, &["resume"], &["continue", "unpause"]),
    word("release", Program::Ctl, &["release"], &[]),
    word("close", Program::Ctl, &["close"], &[]),
    word("limit", Program::Ctl, &["limit"], &[]),
    word("share", Program::Ctl, &["share"], &[]),
    word("up", Program::Ctl, &["up"], &[]),
    word("autoscale", Program::Ctl, &["autoscale"], &["alloc", "scale"]),
    word("down", Program::Ctl, &["down"], &[]),
    word("drain", Program::Ctl, &["drain"], &[]),
    word("stop", Program::Ctl, &["stop"], &["shutdown"]),
    word("reclaim", Program::Ctl, &["reclaim"], &[]),
    word("keygen", Program::Ctl, &["keygen"], &[]),
    word("ctl", Program::Ctl, &[], &[]),
];

/// For the shell.
const SHELL: &[Word] = &[word("completions", Program::Ctl, &["completions"], &["completion"])];

/// All of them, in groups.
pub(crate) const GROUPS: &[(&str, &[Word])] = &[("Run", TASKS), ("Look", LOOK), ("Change", CHANGE), ("Shell", SHELL)];

/// Words with more than one meaning here: what is right depends on what is wanted.
const UNCLEAR: &[(&str, &str)] = &[
    ("rm", "cancel stops tasks that wait or run; purge removes the records of tasks that have ended"),
    ("delete", "cancel stops tasks that wait or run; purge removes the records of tasks that have ended"),
    ("remove", "cancel stops tasks that wait or run; purge removes the records of tasks that have ended"),
    ("clean", "purge removes the records of tasks that have ended"),
    ("clear", "cancel --all stops all tasks; purge --all removes all records"),
    ("sbatch", "submit -- COMMAND adds a task; submit --array 1-100 -- COMMAND adds an array of them"),
    ("srun", "submit --wait -- COMMAND waits for a task; run -- COMMAND runs it on this machine"),
    ("squeue", "status shows the queue, tasks lists its tasks"),
    ("sinfo", "workers shows each worker and its node"),
    ("sacct", "export prints results and evidence, failures what failed"),
    (
        "scontrol",
        "show tells all about a task; edit changes what waits; pause, resume, requeue and drain change what runs",
    ),
    ("parallel", "run -- COMMAND {} ::: VALUES runs commands on this machine"),
    ("completed", "tasks --state finished lists them, export prints their results"),
    ("results", "export prints results and evidence, logs prints what a task wrote"),
    ("job", "show tells all about a task; submit adds one"),
    ("config", "worker --check shows what this node reads from conf.json"),
    ("man", "help COMMAND explains a command; man distcomp is the manual page"),
    ("version", "distcomp --version prints it"),
    ("init", "nothing needs it: run makes its own queue, and worker and submit use the Redis of conf.json"),
    ("server", "run brings its own Redis; for a cluster, start one, and name it in conf.json"),
];

/// Every word.
pub(crate) fn all() -> impl Iterator<Item = &'static Word> {
    GROUPS.iter().flat_map(|(_, words)| *words)
}

/// What a word that somebody typed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This command.
    Command(&'static Word),
    /// One of several.
    Unclear(&'static str),
    /// Nothing, though it is close to this command's name.
    Near(&'static Word),
    /// Nothing.
    Unknown,
}

/// Words further apart than this are no slips of the finger (Jaro-Winkler).
const CLOSE: f64 = 0.85;

/// Looks a word up.
pub(crate) fn meaning(text: &str) -> Meaning {
    if let Some(word) = all().find(|word| word.name == text || word.aliases.contains(&text)) {
        return Meaning::Command(word);
    }
    if let Some((_, answer)) = UNCLEAR.iter().find(|(unclear, _)| *unclear == text) {
        return Meaning::Unclear(answer);
    }
    let scored = all().map(|word| (strsim::jaro_winkler(text, word.name), word));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, word)) if score > CLOSE => Meaning::Near(word),
        Some(_) | None => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_word_means_two_things() {
        let mut seen = HashSet::new();
        for word in all() {
            for name in [word.name].iter().chain(word.aliases) {
                assert!(seen.insert(*name), "{name}");
            }
        }
        assert!(UNCLEAR.iter().all(|(unclear, _)| seen.insert(unclear)));
    }

    #[test]
    fn what_people_type_leads_to_the_right_command() {
        let named = |text| match meaning(text) {
            Meaning::Command(word) | Meaning::Near(word) => Some(word.name),
            Meaning::Unclear(_) | Meaning::Unknown => None,
        };
        for (text, expected) in [
            ("kill", "cancel"),
            ("retry", "requeue"),
            ("restart", "requeue"),
            ("ls", "tasks"),
            ("list", "tasks"),
            ("queue", "status"),
            ("top", "watch"),
            ("log", "logs"),
            ("hold", "pause"),
            ("requeu", "requeue"),
            ("stats", "status"),
        ] {
            assert_eq!(named(text), Some(expected), "{text}");
        }
        for text in ["rm", "delete", "sbatch", "squeue", "parallel"] {
            assert!(matches!(meaning(text), Meaning::Unclear(_)), "{text}");
        }
        assert_eq!(meaning("xyzzy"), Meaning::Unknown);
    }
}
