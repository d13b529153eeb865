//! What the flags say about a bare command: its fields, and where and with what it runs.

use serde::Deserialize;

use super::needs::NeedSettings;

/// The flags that make a task line of a command. Each value may hold placeholders; `None` means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `--type`: `shell`, `python` or `demo`; shell.
    pub kind: Option<String>,
    /// `--mem`: GB; 0.
    pub mem: Option<String>,
    /// `--cpus`: cores; 1.
    pub cpus: Option<String>,
    /// `--priority`: 0.
    pub priority: Option<String>,
    /// `--timeout`: seconds or a duration, 0 for no limit; the line has no such field, so that the worker's default counts.
    pub timeout: Option<String>,
    /// `--cwd`: the directory in which the command runs.
    pub cwd: Option<String>,
    /// `--env`, each `NAME=VALUE`: variables of the command.
    pub env: Vec<String>,
    /// `--stdin`: the file that the command reads.
    pub stdin: Option<String>,
    /// `--output`: the file that gets what the command writes.
    pub output: Option<String>,
    /// `--error`: the file that gets what it writes to standard error.
    pub error: Option<String>,
    /// `--name`: the batch or step that the task belongs to; full lines belong to it too.
    pub name: Option<String>,
    /// `--tag`: words to select the tasks of the batch by.
    pub tags: Vec<String>,
    /// What the task needs of its node beside memory and cores; full lines get it too, where they say nothing of it.
    pub needs: NeedSettings,
}

impl Settings {
    /// These, and for what they leave open, those of `outer`. Variables and tags of both count, the inner ones last.
    #[must_use]
    pub fn over(self, outer: &Self) -> Self {
        let outer = outer.clone();
        Self {
            kind: self.kind.or(outer.kind),
            mem: self.mem.or(outer.mem),
            cpus: self.cpus.or(outer.cpus),
            priority: self.priority.or(outer.priority),
            timeout: self.timeout.or(outer.timeout),
            cwd: self.cwd.or(outer.cwd),
            env: [outer.env, self.env].concat(),
            stdin: self.stdin.or(outer.stdin),
            output: self.output.or(outer.output),
            error: self.error.or(outer.error),
            name: self.name.or(outer.name),
            tags: [outer.tags, self.tags].concat(),
            needs: self.needs.over(&outer.needs),
        }
    }

    /// These, given after `earlier` in the same place: the variables and the constraints of both count.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        let needs = self.needs.clone().after(&earlier.needs);
        Self { needs, ..self.over(earlier) }
    }

    /// The flags of bare commands that are set, as they are written.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let values = [
            ("--type", &self.kind),
            ("--mem", &self.mem),
            ("--cpus", &self.cpus),
            ("--priority", &self.priority),
            ("--timeout", &self.timeout),
            ("--cwd", &self.cwd),
            ("--stdin", &self.stdin),
            ("--output", &self.output),
            ("--error", &self.error),
        ];
        let given = values.into_iter().filter(|(_, value)| value.is_some()).map(|(flag, _)| flag);
        given.chain((!self.env.is_empty()).then_some("--env")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_settings_outrank_outer_ones() {
        let text = |text: &str| Some(text.to_owned());
        let outer = Settings { mem: text("1"), cpus: text("2"), env: vec!["A=1".to_owned()], ..Settings::default() };
        let inner = Settings { mem: text("8"), env: vec!["A=2".to_owned()], ..Settings::default() };
        let both = inner.over(&outer);
        assert_eq!((both.mem, both.cpus, both.env), (text("8"), text("2"), vec!["A=1".to_owned(), "A=2".to_owned()]));
        assert_eq!(outer.flags(), ["--mem", "--cpus", "--env"]);
    }
}
