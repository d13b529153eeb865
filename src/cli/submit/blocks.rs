//! The blocks of a file: what its directives say about which lines. A whole file is gone through before its first task is made, since `--after X` means the
//! step X of the file wherever that stands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use super::batch_flags::{BatchSettings, needs_a_name};
use super::directive::{Directive, Glimpse};
use super::task_file::TaskFile;
use crate::compose::jsonl::Record;
use crate::compose::{NeedSettings, Settings};
use crate::model::BatchName;
use crate::model::needs::{MAX_NEEDS, MAX_NEEDS_BYTES};
use crate::view::text::count;

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

/// What a directive makes of the lines below it.
#[derive(Debug)]
pub(super) struct Directed {
    /// What holds there. Where lines are left out, only its name counts.
    pub(super) scope: Scope,
    /// What is wrong with this directive.
    pub(super) fault: Option<String>,
    /// The line of the faulty directive, of this block or of the head, for which the lines are left out.
    pub(super) left_out: Option<u64>,
}

/// More names than this are no longer all named after a barrier.
const MOST_NAMED: usize = 32;

/// The directives of one file, by the lines for which they hold.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Before any directive.
    first: Scope,
    /// From the line of this number on.
    scopes: BTreeMap<u64, Directed>,
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
pub(super) fn fixed_part(name: &str) -> Option<&str> {
    match name.find('{') {
        None => Some(name),
        Some(brace) => name[..brace].rfind('/').map(|slash| &name[..slash]),
    }
}

/// Directives with no task between them, and how many tasks follow.
#[derive(Default)]
struct Block {
    directives: Vec<(u64, Result<Directive, String>)>,
    /// What the directives say of names, the faulty ones included: what waits for a step that is left out still means that step.
    glimpse: Glimpse,
    /// The line of its first directive that is faulty.
    faulty: Option<u64>,
    tasks: u64,
    /// The name of the step.
    name: Option<String>,
}

impl Block {
    fn valid(&self) -> impl Iterator<Item = (u64, &Directive)> {
        self.directives.iter().filter_map(|(number, directive)| Some((*number, directive.as_ref().ok()?)))
    }

    fn add(&mut self, number: u64, directive: Result<Directive, String>, glimpse: Glimpse) {
        self.faulty = self.faulty.or(directive.is_err().then_some(number));
        self.directives.push((number, directive));
        self.glimpse = std::mem::take(&mut self.glimpse).or(glimpse);
    }

    /// A step cannot speak for the whole batch.
    fn refuse_flags_of_the_batch(&mut self) {
        for (number, directive) in &mut self.directives {
            let flag = directive.as_ref().ok().and_then(|one| one.batch.settings().ok()?.first_flag());
            if let Some(flag) = flag {
                *directive = Err(format!("{flag} is of the whole batch: give it before the first task and step"));
                self.faulty = self.faulty.map_or(Some(*number), |line| Some(line.min(*number)));
            }
        }
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
                    json_names.extend(Record::name_in(text));
                }
                continue;
            }
            let glimpse = line.text.as_ref().map_or_else(|_| Glimpse::default(), |text| Glimpse::of(text));
            let directive = line.text.and_then(Directive::parse);
            let directive = directive.and_then(|directive| directive.batch.settings().map(|_| directive));
            let (names, bars) = (glimpse.name.is_some(), glimpse.barrier);
            reads_json |= glimpse.jsonl;
            let is_head = blocks.len() == 1;
            let Some(last) = blocks.last() else { break };
            let repeats = (names && last.glimpse.name.is_some()) || (bars && (is_head || last.glimpse.barrier));
            if (has_begun && !is_in_block) || repeats {
                blocks.push(Block::default());
            }
            if let Some(last) = blocks.last_mut() {
                last.add(number, directive, glimpse);
            }
            is_in_block = true;
        }
        Ok(Self::of(blocks, outer, &json_names))
    }

    fn of(mut blocks: Vec<Block>, outer: &Scope, json_names: &[String]) -> Self {
        let mut made = Self::default();
        blocks.iter_mut().skip(1).for_each(Block::refuse_flags_of_the_batch);
        let first_name = blocks[0].glimpse.name.clone();
        let base = outer.settings.name.clone().or(first_name);
        made.steps.base.clone_from(&base);
        name_steps(&mut blocks);
        blocks.iter().filter_map(|block| block.name.as_ref()).chain(json_names).for_each(|name| made.steps.add(name));
        let head = made.place_head(&blocks[0], outer, base.as_ref());
        for at in 1..blocks.len() {
            made.place_block(&blocks, at, &head);
        }
        let name = base.as_ref().filter(|name| blocks[0].faulty.is_none() && fixed_part(name) == Some(name.as_str()));
        if let Some(name) = name {
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
            let fault = directive.as_ref().map_err(String::clone).and_then(|directive| {
                let batch = directive.batch.settings()?;
                let mut settings = directive.settings();
                self.steps.place(&mut settings);
                said.settings = settings.after(&said.settings);
                said.form = form_of(directive).unwrap_or(said.form);
                said.batch = batch.over(&said.batch);
                Ok(())
            });
            let scope_here = in_step(&of_file(&said), &self.steps);
            let directed = Directed { scope: scope_here, fault: fault.err(), left_out: head.faulty };
            self.scopes.insert(*number, directed);
        }
        let file = of_file(&said);
        if head.faulty.is_some() {
            return file;
        }
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
        let left_out = blocks[0].faulty.or(block.faulty);
        if let Some(line) = block.barrier().filter(|_| left_out.is_none()) {
            match self.before_barrier(blocks, at, file) {
                Ok(names) => said.needs.after = names,
                Err(fault) => self.faults.push((line, format!("--barrier: {fault}"))),
            }
        }
        let mut form = file.form;
        for (number, directive) in &block.directives {
            let fault = directive.as_ref().err().cloned();
            if let Ok(directive) = directive {
                let mut settings = directive.settings();
                self.steps.place(&mut settings);
                said = settings.after(&said);
                form = form_of(directive).unwrap_or(form);
            }
            said.name = block.name.as_ref().map(|step| self.steps.full(step));
            let scope = Scope { form, settings: said.clone().over(&file.settings), ..file.clone() };
            self.scopes.insert(*number, Directed { scope, fault, left_out });
        }
        if left_out.is_some() {
            return;
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
        let last = (0..at)
            .rev()
            .find(|at| blocks[*at].barrier().is_some() && blocks[*at].faulty.is_none() && blocks[*at].tasks > 0);
        match last.filter(|_| all.len() > MOST_NAMED) {
            Some(last) => names_from(last),
            None => Ok(all),
        }
        .and_then(few_enough)
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
    pub(super) fn at(&self, number: u64) -> Option<&Directed> {
        self.scopes.get(&number)
    }

    /// All that holds somewhere in the file.
    pub(super) fn all(&self) -> impl Iterator<Item = &Scope> {
        let directed = self.scopes.values().filter(|directed| directed.left_out.is_none());
        std::iter::once(&self.first).chain(directed.map(|directed| &directed.scope))
    }
}

/// What a line can wait for.
fn few_enough(names: Vec<String>) -> Result<Vec<String>, String> {
    let bytes: usize = names.iter().map(|name| "after=,".len() + name.len()).sum();
    if names.len() <= MAX_NEEDS && bytes <= MAX_NEEDS_BYTES {
        return Ok(names);
    }
    let most =
        if names.len() > MAX_NEEDS { format!("{MAX_NEEDS}") } else { format!("{MAX_NEEDS_BYTES} bytes of names") };
    Err(format!(
        "there are {} steps above, and a task waits for at most {most}: make a batch of its own of what comes before, and use --after with its name",
        count(names.len() as u64)
    ))
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
        block.name.clone_from(&block.glimpse.name);
    }
    if blocks.iter().all(|block| !block.glimpse.barrier) {
        return;
    }
    let taken: BTreeSet<String> = blocks.iter().filter_map(|block| block.name.clone()).collect();
    let mut number = 0;
    for block in blocks.iter_mut() {
        if block.tasks > 0 || block.glimpse.barrier || block.name.is_some() {
            number += 1;
        }
        if block.name.is_none() && (block.tasks > 0 || block.glimpse.barrier) {
            while taken.contains(&format!("step{number}")) {
                number += 1;
            }
            block.name = Some(format!("step{number}"));
        }
    }
}
