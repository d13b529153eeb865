//! The manuals: every link leads somewhere, every file they name is there, and every command they show has the flags it is shown with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::bin;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Places whose files the manuals name by their path from the root.
const PLACES: &[&str] = &["src/", "tests/", "benches/", "example/", "docs/", "fuzz/", ".ci/", "packaging/"];

/// A line of a manual: in a block of code, or of text.
struct Line {
    at: String,
    text: String,
    is_code: bool,
}

fn manuals(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && !name.contains("target") && !name.starts_with("corpus") {
                manuals(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

fn lines() -> Vec<(PathBuf, Vec<Line>)> {
    let mut found = Vec::new();
    manuals(Path::new(ROOT), &mut found);
    assert!(found.len() >= 6, "{found:?}");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a manual");
        let name = path.strip_prefix(ROOT).expect("below the root").display().to_string();
        let mut is_code = false;
        let mut lines = Vec::new();
        for (number, text) in text.lines().enumerate() {
            let is_fence = text.trim_start().starts_with("```");
            is_code ^= is_fence;
            if !is_fence {
                lines.push(Line { at: format!("{name}:{}", number + 1), text: text.to_owned(), is_code });
            }
        }
        assert!(!is_code, "{name}: a block of code does not end");
        (path, lines)
    };
    found.into_iter().map(read).collect()
}

/// The anchor of a heading, as GitHub and crates.io make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(lines: &[Line]) -> BTreeSet<String> {
    let headings = lines.iter().filter(|line| !line.is_code && line.text.starts_with('#'));
    headings.map(|line| anchor(line.text.trim_start_matches('#').trim())).collect()
}

/// What stands between `](` and `)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

#[test]
fn every_link_of_the_manuals_leads_somewhere() {
    let manuals = lines();
    let anchors: BTreeMap<&Path, BTreeSet<String>> =
        manuals.iter().map(|(path, lines)| (path.as_path(), anchors(lines))).collect();
    let (mut broken, mut seen) = (Vec::new(), 0);
    for (path, lines) in &manuals {
        for line in lines.iter().filter(|line| !line.is_code) {
            for target in targets(&line.text).filter(|target| !target.contains("://")) {
                seen += 1;
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
                let is_there = match file.canonicalize() {
                    Ok(file) if !heading.is_empty() => {
                        anchors.get(file.as_path()).is_some_and(|known| known.contains(heading))
                    }
                    there => there.is_ok(),
                };
                if !is_there {
                    broken.push(format!("{}: {target}", line.at));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(seen >= 40, "only {seen} links were found");
}

#[test]
fn every_file_that_the_manuals_name_is_there() {
    let (mut missing, mut seen) = (Vec::new(), 0);
    for (path, lines) in lines() {
        for line in lines {
            let is_end = |c: char| !(c.is_ascii_alphanumeric() || "/._-*{}".contains(c));
            for word in line.text.split(is_end).map(|word| word.trim_end_matches('.')) {
                // Patterns, and what a block of a manual's own directory calls by another start.
                if !PLACES.iter().any(|place| word.starts_with(place)) || word.contains(['*', '{']) {
                    continue;
                }
                seen += 1;
                let here = path.parent().expect("a directory").join(word);
                if !Path::new(ROOT).join(word).exists() && !here.exists() {
                    missing.push(format!("{}: {word}", line.at));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
    assert!(seen >= 50, "only {seen} files were named");
}

/// What a command says of itself, by its words without flags.
fn help(words: &[&str]) -> String {
    let (program, rest) = words.split_first().expect("a program");
    let output = Command::new(bin(program)).args(rest).arg("--help").output().expect("it runs");
    assert!(output.status.success(), "{words:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_command_that_the_manuals_show_knows_its_flags() {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (_, lines) in lines() {
        for line in lines.iter().filter(|line| line.is_code) {
            let Some(command) = line.text.trim_start().strip_prefix("$ ") else { continue };
            let Some(at) = command.find("distcomp-") else { continue };
            let command = command[at..].split(" # ").next().unwrap_or_default();
            // What stands in quotes is a value, whatever it looks like.
            let command = command.split('\'').step_by(2).collect::<Vec<_>>().join("QUOTED");
            let words: Vec<&str> = command.split_whitespace().collect();
            if !matches!(words[0], "distcomp-worker" | "distcomp-submit" | "distcomp-status" | "distcomp-ctl") {
                continue;
            }
            seen += 1;
            // Of the two with subcommands, the first word that is neither a flag nor the value of one before it.
            let takes_commands = matches!(words[0], "distcomp-status" | "distcomp-ctl");
            let sub = words.get(1).filter(|word| takes_commands && !word.starts_with('-'));
            // Its commands are those of its providers.
            let provider = words.get(2).filter(|word| sub == Some(&"autoscale") && !word.starts_with('-'));
            let path: Vec<&str> = words.iter().take(1).chain(sub).chain(provider).copied().collect();
            let said = known.entry(path.join(" ")).or_insert_with(|| help(&path));
            // What follows a bare -- is for another program.
            let own = words.iter().take_while(|word| **word != "--");
            for flag in own.filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                if !said.contains(flag) {
                    wrong.push(format!("{}: {} has no {flag}", line.at, path.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 15, "only {seen} commands were shown");
}

#[test]
fn an_anchor_is_made_as_on_the_page() {
    assert_eq!(anchor("What happens when…"), "what-happens-when");
    assert_eq!(anchor("`distcomp-status`: reads, never writes"), "distcomp-status-reads-never-writes");
    assert_eq!(targets("see [a](b.md#c) and ![d](e.png)").collect::<Vec<_>>(), ["b.md#c", "e.png"]);
}
