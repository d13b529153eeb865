//! The blocks of a file: what its directives say about which lines. A whole file is gone through before its first task is made, since `--after X` means the
//! step X of the file wherever that stands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use super::batch_flags::{BatchSettings, needs_a_name};
use super::directive::Directive;
use super::task_file::TaskFile;
use crate::compose::jsonl::Record;
use crate::compose::{NeedSettings, Settings};
use crate::model::BatchName;

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
    /// What is said about the batch as a whole.
    pub(crate) batch: BatchSettings,
    /// The name of the batch as it was written, of which the name in `settings` may be a step.
    pub(crate) base: Option<String>,
}

/// More names than this are no longer all named after a barrier.
const MOST_NAMED: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Before any directive.
    first: Scope,
    /// From the line of this number on, or what is wrong with the directive there.
    scopes: BTreeMap<u64, Result<Scope, String>>,
    pub(super) steps: Steps,
    /// Names that are known before the first task, with the line of their directive.
    pub(super) names: Vec<(BatchName, u64)>,
    /// What waits for what, likewise.
    pub(super) edges: Vec<(BatchName, BatchName, u64)>,
    /// What makes the file useless as a whole, with the line.
    pub(super) faults: Vec<(u64, String)>,
}

/// The steps of a file, by which `--after X` is told from the name of another batch.
#[derive(Debug, Default)]
pub(super) struct Steps {
    base: Option<String>,
    /// Each level of each name, as it is written in the file.
    levels: BTreeSet<String>,
    /// Levels below which names come from placeholders.
    open: BTreeSet<String>,
}

impl Steps {
    fn add(&mut self, step: &str) {
        let mut at = 0;
        while let Some(slash) = step[at..].find('/') {
            at += slash + 1;
            self.levels.insert(step[..at - 1].to_owned());
        }
        self.levels.insert(step.to_owned());
        if let Some(fixed) = fixed_part(step).filter(|fixed| *fixed != step) {
            self.open.insert(fixed.to_owned());
        }
    }

    /// The name of a step, in full.
    fn full(&self, step: &str) -> String {
        self.base.as_ref().map_or_else(|| step.to_owned(), |base| format!("{base}/{step}"))
    }

    /// Makes the names of steps among these, which may be lists with commas between, names in full.
    fn resolve(&self, texts: &mut [String]) {
        for text in texts {
            let is_step = |name: &str| {
                let below = |open: &String| name.strip_prefix(open.as_str()).is_some_and(|rest| rest.starts_with('/'));
                self.levels.contains(name) || self.open.iter().any(below)
            };
            let names = text.split(',').map(str::trim);
            let full = names.map(|name| if is_step(name) { self.full(name) } else { name.to_owned() });
            *text = full.collect::<Vec<_>>().join(",");
        }
    }

    /// What a JSON object or a directive says, with names in full.
    pub(super) fn place(&self, settings: &mut Settings) {
        let NeedSettings { after, after_any, .. } = &mut settings.needs;
        self.resolve(after);
        self.resolve(after_any);
    }

    /// The same of a JSON object, whose name is that of a step.
    pub(super) fn place_record(&self, settings: &mut Settings) {
        self.place(settings);
        settings.name = settings.name.as_deref().map(|name| self.full(name));
    }
}

/// The levels of a name before the first with a placeholder; `None` where there is none.
fn fixed_part(name: &str) -> Option<&str> {
    match name.find('{') {
        None => Some(name),
        Some(brace) => name[..brace].rfind('/').map(|slash| &name[..slash]),
    }
}

/// Directives with no task between them, and how many tasks follow.
#[derive(Default)]
struct Block {
    directives: Vec<(u64, Result<Directive, String>)>,
    tasks: u64,
    /// The name of the step.
    name: Option<String>,
}

impl Block {
    fn valid(&self) -> impl Iterator<Item = (u64, &Directive)> {
        self.directives.iter().filter_map(|(number, directive)| Some((*number, directive.as_ref().ok()?)))
    }

    fn has_name(&self) -> bool {
        self.valid().any(|(_, directive)| directive.name.is_some())
    }

    fn barrier(&self) -> Option<u64> {
        self.valid().find(|(_, directive)| directive.barrier).map(|(number, _)| number)
    }

    /// The line of the directive that names it, or of the first.
    fn line(&self) -> u64 {
        let named = self.valid().find(|(_, directive)| directive.name.is_some()).map(|(number, _)| number);
        named.or_else(|| self.barrier()).or_else(|| self.directives.first().map(|(number, _)| *number)).unwrap_or(1)
    }
}

impl Blocks {
    /// Goes through a file. `outer` is what the command line says.
    pub(super) fn read<R: BufRead>(lines: &mut TaskFile<R>, outer: &Scope) -> io::Result<Self> {
        let mut blocks = vec![Block::default()];
        let (mut has_begun, mut is_in_block, mut reads_json) = (false, false, outer.form == Form::Json);
        let mut json_names = Vec::new();
        while let Some(line) = lines.next()? {
            let number = line.number;
            let Some(last) = blocks.last_mut() else { break };
            if !line.is_directive {
                (has_begun, is_in_block) = (true, false);
                last.tasks += 1;
                // Objects are read twice only where they can hold names.
                if let Ok(text) = line.text
                    && reads_json
                    && text.contains("\"name\"")
                {
                    json_names.extend(Record::parse(text).ok().and_then(|record| record.settings.name));
                }
                continue;
            }
            let directive = line.text.and_then(Directive::parse);
            let directive = directive.and_then(|directive| directive.batch.settings().map(|_| directive));
            let (names, bars) = directive.as_ref().map_or((false, false), |one| (one.name.is_some(), one.barrier));
            reads_json |= directive.as_ref().is_ok_and(|directive| directive.jsonl);
            let begins = if has_begun && !is_in_block {
                true
            } else if blocks.len() == 1 {
                bars || (names && blocks[0].has_name())
            } else {
                let last = blocks.last();
                last.is_some_and(|last| (names && last.has_name()) || (bars && last.barrier().is_some()))
            };
            if begins {
                blocks.push(Block::default());
            }
            if let Some(last) = blocks.last_mut() {
                last.directives.push((number, directive));
            }
            is_in_block = true;
        }
        Ok(Self::of(blocks, outer, &json_names))
    }

    fn of(mut blocks: Vec<Block>, outer: &Scope, json_names: &[String]) -> Self {
        let mut made = Self::default();
        let first_name = blocks[0].valid().find_map(|(_, directive)| directive.name.clone());
        let base = outer.settings.name.clone().or(first_name);
        made.steps.base.clone_from(&base);
        name_steps(&mut blocks);
        blocks.iter().filter_map(|block| block.name.as_ref()).chain(json_names).for_each(|name| made.steps.add(name));
        let head = made.place_head(&blocks[0], outer, base.as_ref());
        for at in 1..blocks.len() {
            made.place_block(&blocks, at, &head);
        }
        if let Some(name) = base.as_ref().filter(|name| fixed_part(name) == Some(name.as_str())) {
            made.names.extend(name.parse().ok().map(|name| (name, 1)));
        }
        made
    }

    /// What holds at the head; answers what holds for the whole file.
    fn place_head(&mut self, head: &Block, outer: &Scope, base: Option<&String>) -> Scope {
        let of_file = |said: &Scope| Scope {
            form: if outer.form == Form::TaskLines { said.form } else { outer.form },
            settings: outer.settings.clone().over(&said.settings),
            batch: outer.batch.clone().over(&said.batch),
            base: base.cloned(),
        };
        // Tasks at the head may be a step of their own.
        let in_step = |scope: &Scope, steps: &Steps| match &head.name {
            Some(step) => {
                Scope { settings: Settings { name: Some(steps.full(step)), ..scope.settings.clone() }, ..scope.clone() }
            }
            None => scope.clone(),
        };
        let mut said = Scope::default();
        self.first = in_step(&of_file(&said), &self.steps);
        for (number, directive) in &head.directives {
            let scope = directive.as_ref().map_err(String::clone).and_then(|directive| {
                let batch = directive.batch.settings()?;
                let mut settings = directive.settings();
                self.steps.place(&mut settings);
                said.settings = settings.after(&said.settings);
                said.form = form_of(directive).unwrap_or(said.form);
                said.batch = batch.over(&said.batch);
                Ok(in_step(&of_file(&said), &self.steps))
            });
            self.scopes.insert(*number, scope);
        }
        let file = of_file(&said);
        let flag = file.batch.first_flag().or_else(|| (!file.settings.tags.is_empty()).then_some("--tag"));
        if let Some(flag) = flag.filter(|_| base.is_none() && file.form != Form::Json) {
            self.faults.push((0, needs_a_name(flag)));
        }
        self.note_edges(&in_step(&file, &self.steps).settings, head.line());
        file
    }

    /// What holds in a later block.
    fn place_block(&mut self, blocks: &[Block], at: usize, file: &Scope) {
        let block = &blocks[at];
        let mut said = Settings::default();
        if let Some(line) = block.barrier() {
            match self.before_barrier(blocks, at, file) {
                Ok(names) => said.needs.after = names,
                Err(fault) => self.faults.push((line, format!("--barrier: {fault}"))),
            }
        }
        let mut form = file.form;
        for (number, directive) in &block.directives {
            let scope = directive.as_ref().map_err(String::clone).and_then(|directive| {
                if let Some(flag) = directive.batch.settings()?.first_flag() {
                    return Err(format!("{flag} is of the whole batch: give it before the first task and step"));
                }
                let mut settings = directive.settings();
                self.steps.place(&mut settings);
                said = settings.after(&said);
                said.name = block.name.as_ref().map(|step| self.steps.full(step));
                form = form_of(directive).unwrap_or(form);
                Ok(Scope { form, settings: said.clone().over(&file.settings), ..file.clone() })
            });
            self.scopes.insert(*number, scope);
        }
        self.note_edges(&said.over(&file.settings), block.line());
    }

    /// The names of all steps above a barrier.
    fn before_barrier(&self, blocks: &[Block], at: usize, file: &Scope) -> Result<Vec<String>, String> {
        let base = file.base.as_ref().ok_or("the batch needs a name: --name NAME")?;
        if base.contains('{') {
            return Err(format!("the name of the batch, {base}, has a placeholder; valid: a fixed name"));
        }
        let names_from = |from: usize| {
            let mut names: Vec<String> = Vec::new();
            for step in blocks[from..at].iter().filter_map(|block| block.name.as_ref()) {
                let fixed = fixed_part(step).ok_or_else(|| {
                    format!("the name of a step above, {step}, has a placeholder in its first part; valid: such as all/{step}")
                })?;
                let name = self.steps.full(fixed);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok::<_, String>(names)
        };
        let all = names_from(0)?;
        // A step after a barrier waits for all before it already, if it has a task that does.
        let last = (0..at).rev().find(|at| blocks[*at].barrier().is_some() && blocks[*at].tasks > 0);
        match last.filter(|_| all.len() > MOST_NAMED) {
            Some(last) => names_from(last),
            None => Ok(all),
        }
    }

    /// Remembers a name, and what it waits for, where both are the same for all its tasks.
    fn note_edges(&mut self, settings: &Settings, line: u64) {
        let Some(name) = settings.name.as_ref().and_then(|name| name.parse::<BatchName>().ok()) else { return };
        let after = settings.needs.after.iter().chain(&settings.needs.after_any);
        let names = after.flat_map(|text| text.split(',')).filter_map(|name| name.trim().parse().ok());
        self.edges.extend(names.map(|after| (name.clone(), after, line)));
        self.names.push((name, line));
    }

    /// Before any directive.
    pub(super) fn first(&self) -> &Scope {
        &self.first
    }

    /// From the directive on that stands in this line; `None` where none was.
    pub(super) fn at(&self, number: u64) -> Option<&Result<Scope, String>> {
        self.scopes.get(&number)
    }

    /// All that holds somewhere in the file.
    pub(super) fn all(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.first).chain(self.scopes.values().filter_map(|scope| scope.as_ref().ok()))
    }
}

fn form_of(directive: &Directive) -> Option<Form> {
    match (directive.commands, directive.jsonl) {
        (true, _) => Some(Form::Commands),
        (_, true) => Some(Form::Json),
        (false, false) => None,
    }
}

/// Gives each step its name. With a barrier, blocks without one are numbered: what a barrier waits for needs a name.
fn name_steps(blocks: &mut [Block]) {
    for block in blocks.iter_mut().skip(1) {
        let name = block.valid().find_map(|(_, directive)| directive.name.clone());
        block.name = name;
    }
    if blocks.iter().all(|block| block.barrier().is_none()) {
        return;
    }
    let taken: BTreeSet<String> = blocks.iter().filter_map(|block| block.name.clone()).collect();
    let mut number = 0;
    for block in blocks.iter_mut() {
        if block.tasks > 0 || block.barrier().is_some() || block.name.is_some() {
            number += 1;
        }
        if block.name.is_none() && (block.tasks > 0 || block.barrier().is_some()) {
            while taken.contains(&format!("step{number}")) {
                number += 1;
            }
            block.name = Some(format!("step{number}"));
        }
    }
}
