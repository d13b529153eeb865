//! Makes tasks of the lines of a file: task lines as they are, bare commands and JSON objects by the flags of the command line and the directives above them.

use super::blocks::{Blocks, Form, Scope};
use super::task_file::ParseRules;
use crate::compose::jsonl::Record;
use crate::compose::{BelongingRecipe, ComposeError, Composed, NeedRecipe, Recipe, Row, Settings};
use crate::model::{Belonging, Limit, LimitName, TaskLine};

/// Composes the lines of one file, under the directives read so far.
pub(super) struct Composer<'a> {
    rules: ParseRules,
    blocks: &'a Blocks,
    /// What holds now.
    current: &'a Scope,
    /// The line of the faulty directive for which the lines are left out.
    left_out: Option<u64>,
    /// Of the current scope, once it is needed: for commands.
    recipe: Option<Recipe>,
    /// The same for task lines.
    of_lines: Option<(NeedRecipe, BelongingRecipe)>,
    /// Of the tasks of all files: `{#}`.
    number: u64,
    composed: Composed,
}

impl<'a> Composer<'a> {
    /// For the first file, see [`Self::begin_file`].
    pub(super) fn new(rules: ParseRules, blocks: &'a Blocks) -> Self {
        let current = blocks.first();
        let composed = Composed::default();
        Self { rules, blocks, current, left_out: None, recipe: None, of_lines: None, number: 0, composed }
    }

    /// Another file begins.
    pub(super) fn begin_file(&mut self, blocks: &'a Blocks) {
        self.blocks = blocks;
        self.left_out = None;
        self.hold(blocks.first());
    }

    /// A directive stands in this line of the file.
    pub(super) fn direct(&mut self, number: u64) -> Result<(), String> {
        let Some(directed) = self.blocks.at(number) else {
            return Err("the file has changed since it was opened".to_owned());
        };
        self.left_out = directed.left_out;
        self.hold(&directed.scope);
        directed.fault.clone().map_or(Ok(()), Err)
    }

    fn hold(&mut self, scope: &'a Scope) {
        self.current = scope;
        self.recipe = None;
        self.of_lines = None;
    }

    /// What holds for the task made last.
    pub(super) fn scope(&self) -> &'a Scope {
        self.current
    }

    /// What the task made last belongs to.
    pub(super) fn belonging(&self) -> Option<&Belonging> {
        self.composed.belonging.as_ref()
    }

    /// The limits that the task made last sets where none is set.
    pub(super) fn limits(&self) -> &[(LimitName, Limit)] {
        &self.composed.limits
    }

    /// Whether the next line is read as a task line, for all that was said so far.
    pub(super) fn reads_task_lines(&self) -> bool {
        self.current.form == Form::TaskLines && self.left_out.is_none()
    }

    /// The command of the task made last, as it was asked for.
    pub(super) fn command(&self) -> &str {
        &self.composed.command
    }

    /// A line that is neither blank nor a comment.
    pub(super) fn make(&mut self, text: &str) -> Result<TaskLine, String> {
        self.number += 1;
        let made = self.make_here(text);
        let Some(line) = self.left_out else { return made };
        // With other flags than it was meant to have, it could start too early, or be another task.
        self.composed.belonging = None;
        self.composed.limits.clear();
        // What is wrong with a task line may be no more than that --commands was not understood.
        let fault = made.err().filter(|_| self.current.form != Form::TaskLines);
        Err(fault.unwrap_or_else(|| format!("left out: the directive in line {line} is faulty")))
    }

    /// With what holds now.
    fn make_here(&mut self, text: &str) -> Result<TaskLine, String> {
        match self.current.form {
            Form::TaskLines => {
                if let Some(flag) = self.current.settings.flags().first() {
                    return Err(format!("{flag} is of bare commands (--commands, --): these lines have their own"));
                }
                let task = self.task_of(text)?;
                task.cmd().clone_into(&mut self.composed.command);
                Ok(task)
            }
            Form::Commands => {
                if self.recipe.is_none() {
                    self.recipe = Some(recipe_of(&self.current.settings)?);
                }
                let Some(recipe) = &self.recipe else { return Err(String::new()) };
                compose(recipe, self.number, text, self.rules, &mut self.composed)
            }
            Form::Json => {
                let mut record = Record::parse(text).map_err(|error| error.to_string())?;
                self.blocks.steps.place_record(&mut record.settings);
                let recipe = recipe_of(&record.settings.over(&self.current.settings))?;
                compose(&recipe, self.number, &record.command, self.rules, &mut self.composed)
            }
        }
    }
}

impl Composer<'_> {
    /// The task of a whole line, with the needs of the flags that it lacks.
    fn task_of(&mut self, text: &str) -> Result<TaskLine, String> {
        let task = self.rules.check(text)?;
        let settings = &self.current.settings;
        self.composed.belonging = None;
        self.composed.limits.clear();
        if settings.needs.is_empty() && settings.name.is_none() && settings.tags.is_empty() {
            return Ok(task);
        }
        if self.of_lines.is_none() {
            let needs = NeedRecipe::of_whole_lines(&settings.needs).map_err(|faults| in_words(&faults))?;
            let belonging = BelongingRecipe::of_whole_lines(settings).map_err(|faults| in_words(&faults))?;
            self.of_lines = Some((needs, belonging));
        }
        let Some((needs, belonging)) = &self.of_lines else { return Err(String::new()) };
        let row = Row::of(self.number, vec![Some(task.cmd().to_owned())]);
        self.composed.belonging = belonging.fill(&row).map_err(|error| error.to_string())?;
        self.composed.limits = needs.limits(&row);
        match needs.add_to(text, &row).map_err(|error| error.to_string())? {
            Some(line) => self.rules.check(&line),
            None => Ok(task),
        }
    }
}

/// For commands that stand as they are: only the flags hold placeholders, of which `{}` is the command.
fn recipe_of(settings: &Settings) -> Result<Recipe, String> {
    Recipe::of_whole_commands(settings).map_err(|faults| in_words(&faults))
}

fn in_words(faults: &[ComposeError]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn compose(
    recipe: &Recipe,
    number: u64,
    command: &str,
    rules: ParseRules,
    out: &mut Composed,
) -> Result<TaskLine, String> {
    let row = Row::of(number, vec![Some(command.to_owned())]);
    recipe.compose(&row, rules.order, out).map_err(|error| error.to_string())?;
    rules.check(&out.line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::submit::directive::directive_in;
    use crate::cli::submit::task_file::TaskFile;
    use crate::model::FieldOrder;

    fn lines(outer: &Scope, text: &str) -> Vec<String> {
        let rules = ParseRules { order: FieldOrder::MemCpuPrio, python_workers: false };
        let blocks = Blocks::read(&mut TaskFile::new(text.as_bytes(), b'\n'), outer).unwrap();
        let mut composer = Composer::new(rules, &blocks);
        let mut made: Vec<String> = blocks.faults.iter().map(|(line, fault)| format!("{line}: {fault}")).collect();
        for (line, number) in text.lines().zip(1..) {
            match directive_in(line) {
                Some(_) => made.extend(composer.direct(number).err()),
                None if line.starts_with('#') => {}
                None => made.push(composer.make(line).map_or_else(
                    |error| error,
                    |task| match composer.belonging() {
                        Some(belonging) => format!("{} {}", belonging.as_str(), task.as_str()),
                        None => task.as_str().to_owned(),
                    },
                )),
            }
        }
        made
    }

    fn scope(form: Form, mem: Option<&str>) -> Scope {
        let settings = Settings { mem: mem.map(str::to_owned), ..Settings::default() };
        Scope { form, settings, ..Scope::default() }
    }

    #[test]
    fn commands_stand_as_they_are_and_get_their_fields() {
        let outer = scope(Form::Commands, Some("2"));
        assert_eq!(
            lines(&outer, "find . -exec ls {} ;\n8080:x"),
            ["shell:2:1:0:find . -exec ls {} ;", "shell:2:1:0: 8080:x"]
        );
    }

    #[test]
    fn later_blocks_start_anew_from_the_head_of_the_file() {
        let text = "#DC --commands --mem 1\n#DC --cpus 2\na\n#DC --mem 8\nb\nc\n#DC --priority 3\nd";
        let expected = ["shell:1:2:0:a", "shell:8:2:0:b", "shell:8:2:0:c", "shell:1:2:3:d"];
        assert_eq!(lines(&Scope::default(), text), expected);
        let outranked = ["shell:4:2:0:a", "shell:8:2:0:b", "shell:8:2:0:c", "shell:4:2:3:d"];
        assert_eq!(lines(&scope(Form::TaskLines, Some("4")), text), outranked);
    }

    #[test]
    fn numbers_and_commands_fill_the_flags() {
        let text = "#DC --commands -o 'logs/{#}.out'\na\nb c";
        let made = lines(&Scope::default(), text);
        assert_eq!(
            made[1],
            "shell:0:1:0:mkdir -p logs || exit 125; { :; } >logs/2.out || exit 125; exec >logs/2.out; b c"
        );
    }

    #[test]
    fn task_lines_have_their_own_fields() {
        let made = lines(&Scope::default(), "#DC --mem 8\nshell:1:1:1:a");
        assert_eq!(made, ["--mem is of bare commands (--commands, --): these lines have their own"]);
    }

    #[test]
    fn task_lines_get_the_needs_that_they_lack() {
        let text = "#DC -G 1 -C ssd\n#DC -C !spot\nshell:1:1:1:a\nshell,gpus=2:1:1:1:b\n#DC -C hdd --resource 'lic={#}'\nshell:1:1:1:c";
        let expected = [
            "shell,constraint=!spot,constraint=ssd,gpus=1:1:1:1:a",
            "shell,constraint=!spot,constraint=ssd,gpus=2:1:1:1:b",
            "shell,constraint=hdd,gpus=1,lic=3:1:1:1:c",
        ];
        assert_eq!(lines(&Scope::default(), text), expected);
        let faulty = lines(&Scope::default(), "#DC -G x --prefer 'a b'\nshell:1:1:1:a");
        assert!(
            faulty[0].starts_with("--gpus is \"x\"; valid: ") && faulty[0].contains("; --prefer is \"a b\""),
            "{faulty:?}"
        );
    }

    #[test]
    fn commands_get_their_needs() {
        let text = "#DC --commands -G 0.5 --time-request 10m\na\n#DC --gpus 0\nb";
        assert_eq!(lines(&Scope::default(), text), ["shell,gpus=0.5,time=600:0:1:0:a", "shell,time=600:0:1:0:b"]);
    }

    #[test]
    fn json_objects_outrank_the_flags() {
        let made = lines(
            &scope(Form::Json, Some("2")),
            "{\"cmd\": \"a {}\"}\n{\"cmd\": \"b\", \"mem\": 8, \"timeout\": \"1m\"}\nc",
        );
        assert_eq!(made[..2], ["shell:2:1:0:a {}", "shell:8:1:0:60:b"]);
        assert!(made[2].contains("no JSON object"), "{}", made[2]);
    }

    #[test]
    fn steps_are_named_and_wait_as_the_directives_say() {
        let text = "#DC --name s1 --commands --cpus 2\n# a comment\n#DC --name prep --mem 1\n./unpack w01\n#DC --name sim --after prep,old --mem 8 --gpus 1\n./sim w01\n#DC --barrier --name report\n./report";
        let expected = [
            "s1/prep shell:1:2:0:./unpack w01",
            "s1/sim shell,after=old,after=s1/prep,gpus=1:8:2:0:./sim w01",
            "s1/report shell,after=s1/prep,after=s1/sim:0:2:0:./report",
        ];
        assert_eq!(lines(&Scope::default(), text), expected);
        let outer = Settings { name: Some("s2".to_owned()), ..Settings::default() };
        let renamed = lines(&Scope { settings: outer, ..Scope::default() }, text);
        assert_eq!(renamed[2], "s2/report shell,after=s2/prep,after=s2/sim:0:2:0:./report");
    }

    #[test]
    fn steps_may_stand_below_and_have_placeholders() {
        let text = "#DC --commands --name s\n#DC --name 'b/{#}' --after 'a/{#},a/9' --after-any c\nx\n#DC --name 'a/{#}' --begin @60\ny\n#DC --barrier --name c\nz";
        let expected = [
            "s/b/1 shell,after=s/a/1,after=s/a/9,afterany=s/c:0:1:0:x",
            "s/a/2 shell,begin=60:0:1:0:y",
            "s/c shell,after=s/a,after=s/b:0:1:0:z",
        ];
        assert_eq!(lines(&Scope::default(), text), expected);
    }

    #[test]
    fn barriers_number_the_steps_without_names() {
        let text = "#DC --name d --commands\none\n#DC --barrier\na\nb\n#DC --barrier\nlast";
        let expected = [
            "d/step1 shell:0:1:0:one",
            "d/step2 shell,after=d/step1:0:1:0:a",
            "d/step2 shell,after=d/step1:0:1:0:b",
            "d/step3 shell,after=d/step1,after=d/step2:0:1:0:last",
        ];
        assert_eq!(lines(&Scope::default(), text), expected);
        let nameless = lines(&Scope::default(), "#DC --commands\none\n#DC --barrier\na");
        assert_eq!(nameless[0], "3: --barrier: the batch needs a name: --name NAME");
    }

    #[test]
    fn task_lines_join_and_wait_too() {
        let text = "#DC --name s --tag big\nshell:1:1:1:a\n#DC --name b --after s2 --max-fails 5\n#DC --after s3\nshell,after=x:1:1:1:b";
        let expected = [
            "s big shell:1:1:1:a",
            "--max-fails is of the whole batch: give it before the first task and step",
            "left out: the directive in line 3 is faulty",
        ];
        assert_eq!(lines(&Scope::default(), text), expected);
        let mended = lines(&Scope::default(), &text.replace(" --max-fails 5", ""));
        assert!(mended[1].starts_with("s/b big shell,after="), "{mended:?}");
    }

    #[test]
    fn blocks_with_a_faulty_directive_are_left_out() {
        let left_out = |line: u64| format!("left out: the directive in line {line} is faulty");
        let fault = "--aftr is no flag of distcomp-submit (did you mean --after?)".to_owned();
        let head = "#DC --commands --name s\n";
        // Also the directives beside the faulty one do not save its block, and what waits for it means this step.
        let text = format!("{head}#DC --name a --aftr x\n#DC --mem 1\none\ntwo\n#DC --name b --after a\nthree");
        let expected = [fault.clone(), left_out(2), left_out(2), "s/b shell,after=s/a:0:1:0:three".to_owned()];
        assert_eq!(lines(&Scope::default(), &text), expected);
        let text = format!("{head}#DC --name a\none\n#DC --name b --aftr a\ntwo\n#DC --barrier --name c\nthree");
        let last = "s/c shell,after=s/a,after=s/b:0:1:0:three".to_owned();
        let expected = ["s/a shell:0:1:0:one".to_owned(), fault.clone(), left_out(4), last];
        assert_eq!(lines(&Scope::default(), &text), expected);
        // What the head says holds for all blocks.
        let text = "#DC --commands --name s --aftr x\n#DC --name a\none\n#DC --name b\ntwo";
        assert_eq!(lines(&Scope::default(), text), [fault, left_out(1), left_out(1)]);
    }

    #[test]
    fn faulty_objects_still_name_their_step() {
        let outer = Settings { name: Some("s".to_owned()), ..Settings::default() };
        let scope = Scope { form: Form::Json, settings: outer, ..Scope::default() };
        let text =
            "{\"cmd\": \"a\", \"name\": \"a\", \"memm\": 1}\n{\"cmd\": \"b\", \"name\": \"b\", \"after\": \"a\"}";
        assert_eq!(lines(&scope, text)[1], "s/b shell,after=s/a:0:1:0:b");
    }

    #[test]
    fn json_objects_name_steps_too() {
        let text = "{\"cmd\": \"b\", \"name\": \"b\", \"after\": [\"a\", \"old\"]}\n{\"cmd\": \"a\", \"name\": \"a\", \"tag\": \"t\"}";
        let outer = Settings { name: Some("s".to_owned()), ..Settings::default() };
        let scope = Scope { form: Form::Json, settings: outer, ..Scope::default() };
        assert_eq!(lines(&scope, text), ["s/b shell,after=old,after=s/a:0:1:0:b", "s/a t shell:0:1:0:a"]);
        let alone = lines(&Scope { form: Form::Json, ..Scope::default() }, text);
        assert_eq!(alone, ["b shell,after=a,after=old:0:1:0:b", "a t shell:0:1:0:a"]);
    }
}
