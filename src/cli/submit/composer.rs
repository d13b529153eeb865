//! Makes tasks of the lines of a file: task lines as they are, bare commands and JSON objects by the flags of the command line and the directives above them.

use super::directive::Directive;
use super::task_file::ParseRules;
use crate::compose::jsonl::Record;
use crate::compose::{ComposeError, Composed, NeedRecipe, NeedSettings, Recipe, Row, Settings};
use crate::model::TaskLine;

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// `TYPE:MEM:CPU:PRIO[:TIMEOUT]:CMD`
    #[default]
    TaskLines,
    /// A command each.
    Commands,
    /// A JSON object each.
    Json,
}

/// What holds for the lines that follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) form: Form,
    pub(crate) settings: Settings,
}

/// See the module.
pub(super) struct Composer<'a> {
    rules: ParseRules,
    /// Of the command line.
    outer: &'a Scope,
    /// What the directives before the first task of the file say.
    head: Scope,
    /// What the directives since the last task say.
    block: Scope,
    /// What holds now.
    current: Scope,
    /// Of the current scope, once it is needed: for commands.
    recipe: Option<Recipe>,
    /// The same for task lines.
    needs: Option<NeedRecipe>,
    /// Whether a task of this file has been met.
    has_begun: bool,
    /// Whether the line before was a directive.
    is_in_block: bool,
    /// Of the tasks of all files: `{#}`.
    number: u64,
    composed: Composed,
}

impl<'a> Composer<'a> {
    pub(super) fn new(rules: ParseRules, outer: &'a Scope) -> Self {
        Self {
            rules,
            outer,
            head: Scope::default(),
            block: Scope::default(),
            current: outer.clone(),
            recipe: None,
            needs: None,
            has_begun: false,
            is_in_block: false,
            number: 0,
            composed: Composed::default(),
        }
    }

    /// Another file begins.
    pub(super) fn begin_file(&mut self) {
        self.head = Scope::default();
        self.block = Scope::default();
        self.current = self.outer.clone();
        self.recipe = None;
        self.needs = None;
        self.has_begun = false;
        self.is_in_block = false;
    }

    /// A directive. Those before the first task are of the whole file, and the command line outranks them; a later block starts anew from these.
    pub(super) fn direct(&mut self, text: &str) -> Result<(), String> {
        let directive = Directive::parse(text)?;
        let form = match (directive.commands, directive.jsonl) {
            (true, _) => Some(Form::Commands),
            (_, true) => Some(Form::Json),
            (false, false) => None,
        };
        let settings = directive.fields.settings();
        if self.has_begun {
            if !self.is_in_block {
                self.block = Scope::default();
                self.current = self.of_file();
            }
            self.block.settings = settings.after(&self.block.settings);
            self.current.settings = self.block.settings.clone().over(&self.of_file().settings);
            self.current.form = form.unwrap_or(self.current.form);
        } else {
            self.head.settings = settings.after(&self.head.settings);
            self.head.form = form.unwrap_or(self.head.form);
            self.current = self.of_file();
        }
        self.is_in_block = true;
        self.recipe = None;
        self.needs = None;
        Ok(())
    }

    fn of_file(&self) -> Scope {
        let form = if self.outer.form == Form::TaskLines { self.head.form } else { self.outer.form };
        Scope { form, settings: self.outer.settings.clone().over(&self.head.settings) }
    }

    /// Whether the next line is read as a task line, for all that was said so far.
    pub(super) fn reads_task_lines(&self) -> bool {
        self.current.form == Form::TaskLines
    }

    /// The command of the task made last, as it was asked for.
    pub(super) fn command(&self) -> &str {
        &self.composed.command
    }

    /// A line that is neither blank nor a comment.
    pub(super) fn make(&mut self, text: &str) -> Result<TaskLine, String> {
        self.has_begun = true;
        self.is_in_block = false;
        self.number += 1;
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
                let record = Record::parse(text).map_err(|error| error.to_string())?;
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
        if self.current.settings.needs == NeedSettings::default() {
            return Ok(task);
        }
        if self.needs.is_none() {
            self.needs =
                Some(NeedRecipe::of_whole_lines(&self.current.settings.needs).map_err(|faults| in_words(&faults))?);
        }
        let Some(needs) = &self.needs else { return Err(String::new()) };
        let row = Row::of(self.number, vec![Some(task.cmd().to_owned())]);
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
    use crate::model::FieldOrder;

    fn lines(outer: &Scope, text: &str) -> Vec<String> {
        let rules = ParseRules { order: FieldOrder::MemCpuPrio, python_workers: false };
        let mut composer = Composer::new(rules, outer);
        let mut made = Vec::new();
        for line in text.lines() {
            match directive_in(line) {
                Some(flags) => made.extend(composer.direct(flags).err()),
                None => made.push(composer.make(line).map_or_else(|error| error, |task| task.as_str().to_owned())),
            }
        }
        made
    }

    fn scope(form: Form, mem: Option<&str>) -> Scope {
        Scope { form, settings: Settings { mem: mem.map(str::to_owned), ..Settings::default() } }
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
}
