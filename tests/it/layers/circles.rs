//! No circle of modules: whoever reads a file needs to know only what it names, and nothing of those that name it.
//!
//! Read from the text: `use` and paths. A name that a `mod.rs` only hands on counts as its owner's, and a method call counts for nothing.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::{is_word, source_files, without_unit_tests};

/// `crate::queue::keys` as `["queue", "keys"]`; the root of the crate is empty.
type Module = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Source {
    /// Names that it takes over by `use`, each with its path from the root of the crate.
    taken: BTreeMap<String, Module>,
    /// Those of them that others see too.
    handed_on: BTreeSet<String>,
    /// Paths of this crate that it names, from the root.
    named: BTreeSet<Module>,
}

/// The words and the marks of code; comments, strings and characters are left out.
fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = raw_string(rest)
            .or_else(|| rest.starts_with("//").then(|| rest.find('\n').unwrap_or(rest.len())))
            .or_else(|| rest.starts_with("/*").then(|| rest.find("*/").map_or(rest.len(), |at| at + 2)));
        let length = if let Some(skipped) = skipped {
            rest = &rest[skipped..];
            continue;
        } else if first == '"' {
            rest = &rest[1 + end_of_string(&rest[1..])..];
            continue;
        } else if first == '\'' {
            // A lifetime has no second quote where a character has its own.
            let inside = rest[1..].strip_prefix('\\').map_or(1, |_| 2);
            let closing = rest[1..]
                .char_indices()
                .skip(inside)
                .find(|&(_, c)| c == '\'' || !(is_word(c) || c == '{' || c == '}'));
            rest = match closing {
                Some((at, '\'')) => &rest[1 + at + 1..],
                _ => &rest[1..],
            };
            continue;
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// The length of the raw string with which this begins.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let marks = after.len() - after.trim_start_matches('#').len();
    let body = after[marks..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(marks));
    Some(text.len() - body.len() + body.find(&close)? + close.len())
}

/// Where the text after an opening quote goes on behind the closing one.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A path as it is written, made one from the root. `None`: it is of another crate.
fn from_root(
    written: &[String],
    own: &[String],
    children: &BTreeSet<String>,
    taken: &BTreeMap<String, Module>,
) -> Option<Module> {
    let first = written.first()?.as_str();
    let (mut base, mut at) = match first {
        "crate" => (Vec::new(), 1),
        "self" => (own.to_vec(), 1),
        "super" => (own.split_last()?.1.to_vec(), 1),
        _ if children.contains(first) => (own.to_vec(), 0),
        _ => (taken.get(first)?.clone(), 1),
    };
    while written.get(at).is_some_and(|word| word == "super") {
        base.pop();
        at += 1;
    }
    base.extend_from_slice(&written[at..]);
    Some(base)
}

/// The leaves of a `use`: each path as it is written, with the name that it goes by here.
fn leaves(tokens: &[String], at: &mut usize, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(*at) {
        match token.as_str() {
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    leaves(tokens, at, &path, found);
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "," | "}" | ";" => break,
            "as" => {
                found.push((path, tokens.get(*at + 1).cloned().unwrap_or_default()));
                *at += 2;
                return;
            }
            "::" => *at += 1,
            "self" if !path.is_empty() => *at += 1,
            _ => {
                path.push(token.clone());
                *at += 1;
            }
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    found.push((path, name));
}

fn read(code: &str, own: &[String], children: &BTreeSet<String>) -> Source {
    let tokens = tokens(code);
    let mut source = Source::default();
    let (mut at, mut used, mut written, mut public) = (0, Vec::new(), Vec::new(), false);
    while at < tokens.len() {
        match tokens[at].as_str() {
            "use" => {
                at += 1;
                let before = used.len();
                leaves(&tokens, &mut at, &[], &mut used);
                let names = used[before..].iter().map(|(_, name)| name.clone());
                source.handed_on.extend(names.filter(|_| public));
                public = false;
            }
            "pub" => (public, at) = (true, at + 1),
            "(" | ")" | "super" | "self" | "crate" if public => at += 1,
            // `pub(in crate::worker)` says who may see it.
            "in" if at > 0 && tokens[at - 1] == "(" => at += 4,
            word if word.starts_with(is_word) && tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut path = vec![word.to_owned()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens.get(at + 2).is_some_and(|next| next.starts_with(is_word))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                written.push(path);
                at += 1;
            }
            _ => (public, at) = (false, at + 1),
        }
    }
    for (path, name) in used {
        if let Some(path) = from_root(&path, own, children, &BTreeMap::new()) {
            source.taken.insert(name, path.clone());
            source.named.insert(path);
        }
    }
    source.named.extend(written.iter().filter_map(|path| from_root(path, own, children, &source.taken)));
    source
}

/// The owner of a path: the deepest module on it, unless that only hands the name on. `None`: it names a module as such.
fn owner(path: &[String], from: &[String], sources: &BTreeMap<Module, Source>) -> Option<Module> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|&depth| sources.contains_key(&path[..depth]))?;
        let (module, rest) = (&path[..depth], &path[depth..]);
        // What a module takes over for itself alone, those below it see too.
        let name = rest.first()?;
        let is_seen = from.starts_with(module) || sources[module].handed_on.contains(name);
        let taken = sources[module].taken.get(name).filter(|_| is_seen);
        let Some(next) = taken.filter(|next| next.as_slice() != &path[..=depth]) else {
            return Some(module.to_vec());
        };
        path = next.iter().chain(&rest[1..]).cloned().collect();
    }
    None
}

/// Each module with those that it names, and one name of each.
fn arrows(sources: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeMap<Module, String>> {
    let mut all = BTreeMap::new();
    for (module, source) in sources {
        let mut to = BTreeMap::new();
        for path in &source.named {
            if let Some(owner) = owner(path, module, sources).filter(|owner| owner != module) {
                to.entry(owner).or_insert_with(|| path.last().cloned().unwrap_or_default());
            }
        }
        all.insert(module, to);
    }
    all
}

/// Which modules can be reached from one.
fn reached<'a>(from: &'a Module, arrows: &'a BTreeMap<&Module, BTreeMap<Module, String>>) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(arrows.get(module).into_iter().flat_map(BTreeMap::keys).filter(|to| seen.insert(*to)));
    }
    seen
}

/// The circles, each as lines `a -> b: name`.
fn circles(sources: &BTreeMap<Module, Source>) -> Vec<String> {
    let arrows = arrows(sources);
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        sources.keys().map(|module| (module, reached(module, &arrows))).collect();
    let (mut told, mut found) = (BTreeSet::new(), Vec::new());
    for module in sources.keys().filter(|module| reach[module].contains(module)) {
        let members: Vec<_> = reach[module].iter().filter(|other| reach[*other].contains(module)).collect();
        if !told.insert(members[0]) {
            continue;
        }
        let mut text = String::new();
        for from in &members {
            for (to, name) in arrows[*from].iter().filter(|(to, _)| members.contains(&to)) {
                let _ = writeln!(text, "  {} -> {}: {name}", from.join("::"), to.join("::"));
            }
        }
        found.push(text);
    }
    found
}

fn sources_of(files: &[(Module, String)]) -> BTreeMap<Module, Source> {
    files
        .iter()
        .map(|(module, code)| {
            let children = files.iter().filter(|(other, _)| other.split_last().is_some_and(|(_, up)| up == module));
            let children = children.filter_map(|(other, _)| other.last().cloned()).collect();
            (module.clone(), read(code, module, &children))
        })
        .collect()
}

/// `queue/mod.rs` is the module `queue`; `None` for unit tests.
fn module_of(inside: &Path) -> Option<Module> {
    let mut module: Module =
        inside.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if module.iter().any(|part| part == "tests" || part.ends_with("_tests")) {
        return None;
    }
    module.pop_if(|last| last == "mod" || last == "lib");
    Some(module)
}

#[test]
fn modules_name_each_other_in_no_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    source_files(&src, &mut paths);
    let files: Vec<_> = paths
        .iter()
        .filter_map(|path| Some((module_of(path.strip_prefix(&src).expect("below src"))?, without_unit_tests(path))))
        .collect();
    let found = circles(&sources_of(&files));
    assert!(found.is_empty(), "{} circles of modules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn circles_are_found_through_faces_and_names() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let of = |files: &[(&str, &str)]| {
        circles(&sources_of(&files.iter().map(|(path, code)| (module(path), (*code).to_owned())).collect::<Vec<_>>()))
    };
    let face = ("a", "pub use self::one::One;\nmod one; mod two;");
    let straight = [face, ("a::one", "use super::two;\nfn f() { two::g() }"), ("a::two", "fn g() -> super::One { }")];
    assert_eq!(of(&straight), ["  a::one -> a::two: g\n  a::two -> a::one: One\n"]);
    let open = [face, ("a::one", "use crate::a::{two::{self, Two}};"), ("a::two", "struct Two; // super::One")];
    assert_eq!(of(&open), [""; 0]);
    let in_text = [
        face,
        ("a::one", "fn f() { crate::a::two::g('\"', 'a', \"super::x\") }"),
        ("a::two", "pub(in crate::a) fn g<'a>() { r#\"crate::a::one::f\"#; }"),
    ];
    assert_eq!(of(&in_text), [""; 0]);
    let with_the_face =
        [("a", "mod one;\nstruct A;\nfn f() { one::g() }"), ("a::one", "use super::A as B;\nfn g(b: B) {}")];
    assert_eq!(of(&with_the_face), ["  a -> a::one: g\n  a::one -> a: A\n"]);
}
