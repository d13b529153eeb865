//! Manual pages and completions come from the flags themselves, and an installation has them where they belong.
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bed, Cli, bin};

/// Every long flag that the options of a help text define: in the lines that begin with one, before the words about it.
fn flags_of(help: &str) -> Vec<String> {
    let defined = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = defined.flat_map(|line| line.split("  ").next().unwrap_or_default().split([' ', ',', '=', '[']));
    words.filter(|word| word.len() > 3 && word.starts_with("--")).map(str::to_owned).collect()
}

/// Whether the last of these words is one that completion offers.
fn is_completed(words: &[&str]) -> bool {
    let line: String = words.iter().map(|word| format!("{word}\0")).collect();
    let offered = Cli::new(bin("distcomp-ctl")).args(["__complete"]).stdin(line).run().expect(0).stdout;
    let flag = words.last().copied();
    offered.lines().any(|line| line.split('\t').next() == flag)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_flag_is_in_the_manual_and_is_completed() {
    let bed = Bed::new();
    let dir = bed.out("generated");
    // Redis is not asked.
    Cli::new(bin("distcomp-ctl"))
        .args(["generate", &dir])
        .env("DISTCOMP_REDIS_URL", "redis://127.0.0.1:1")
        .run()
        .expect(0);
    let mut seen = 0;
    for name in ["distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"] {
        let help = |args: &[&str]| Cli::new(bin(name)).args(args).args(["--help"]).run().expect(0).stdout;
        let mut pages = vec![(name.to_owned(), help(&[]))];
        let whole = help(&[]);
        let listed =
            whole.split("Commands:").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default().to_owned();
        for line in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let command = line.split_whitespace().next().expect("a name");
            if command != "help" {
                pages.push((format!("{name}-{command}"), help(&[command])));
            }
        }
        for (page, help) in pages {
            let text = read(Path::new(&dir).join(format!("man/man1/{page}.1"))).replace("\\-", "-");
            let options =
                help.split("Options:").skip(1).collect::<String>() + help.split("options:").nth(1).unwrap_or_default();
            for flag in flags_of(options.split("Examples:").next().unwrap_or_default()) {
                assert!(text.contains(&flag), "{page}.1 lacks {flag}");
                let command = page.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
                let words: Vec<&str> = [name].into_iter().chain(command).chain([flag.as_str()]).collect();
                assert!(is_completed(&words), "{flag} of {page}");
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "only {seen} flags were looked for");
}

/// The files below `man`, by their path there, with their text.
fn pages(bed: &Bed) -> Vec<(String, String)> {
    let dir = bed.out("generated");
    bed.ctl(&["generate", &dir]).expect(0);
    let man = Path::new(&dir).join("man");
    let mut pages = Vec::new();
    for section in ["man1", "man5"] {
        for entry in fs::read_dir(man.join(section)).expect("pages") {
            let path = entry.expect("an entry").path();
            let name = format!("{section}/{}", path.file_name().expect("a name").to_string_lossy());
            pages.push((name, read(path)));
        }
    }
    pages
}

#[test]
fn the_pages_render_without_a_complaint() {
    let bed = Bed::new();
    let pages = pages(&bed);
    let man = Path::new(&bed.out("generated")).join("man");
    assert!(pages.len() >= 30, "{} pages", pages.len());
    for (name, text) in &pages {
        if let Some(target) = text.strip_prefix(".so ") {
            assert!(pages.iter().any(|(name, _)| name == target.trim()), "{name}: {target}");
        } else {
            let sections = if name.ends_with(".1") {
                &["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "SEE ALSO"][..]
            } else {
                &["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"]
            };
            for section in sections {
                assert!(text.contains(&format!(".SH {section}\n")), "{name} lacks {section}");
            }
            assert!(text.contains(".TH "), "{name}");
        }
        // Where there is a formatter, it has the last word.
        for formatter in [&["groff", "-ww", "-k", "-man", "-Tutf8"][..], &["mandoc", "-T", "lint", "-W", "error"]] {
            if let Ok(output) = Command::new(formatter[0]).args(&formatter[1..]).arg(name).current_dir(&man).output() {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{name}: {said}");
            }
        }
    }
}

/// A page as a terminal shows it, without bold and underlined.
fn shown(bed: &Bed, name: &str) -> String {
    let path = Path::new(&bed.out("generated")).join("man").join(name);
    let output = Command::new("man")
        .args(["--warnings", "--no-hyphenation", "--no-justification", "-l"])
        .arg(&path)
        .env("MANWIDTH", "100")
        .env("MAN_KEEP_FORMATTING", "")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("man, which tests/run.sh installs");
    assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn pages_show_values_and_examples_as_they_are_typed() {
    let bed = Bed::new();
    pages(&bed);
    for (page, expected) in [
        (
            "man1/distcomp-submit.1",
            &["-m|--mem GB", "[-- COMMAND ...]", "\n           distcomp-submit -- sleep 10  "][..],
        ),
        (
            "man1/distcomp-status.1",
            &["[--local[=DIR]]", "\n           distcomp-status show 3f9a  ", "DISTCOMP_DASHBOARD_TOKEN"],
        ),
        ("man1/distcomp-ctl-drain.1", &["distcomp-ctl drain [", "[--all]", "[WORKER ...]", "distcomp-ctl(1)"]),
        (
            "man1/distcomp.1",
            &["distcomp COMMAND [ARGUMENTS]", "The same as distcomp-status tasks", "Also: retry, restart, rerun."],
        ),
        (
            "man5/distcomp-tasks.5",
            &["TYPE:MEM:CPU:PRIO:TIMEOUT:CMD", "\n           ./unpack w01\n", "#DC --mem 8 --timeout 2h"],
        ),
        (
            "man5/distcomp-conf.5",
            &["max_task_per_worker", "Default: 32", "redis_host, redis_port, redis_db, redis_pass"],
        ),
    ] {
        let text = shown(&bed, page);
        for part in expected {
            assert!(text.contains(part), "{page} lacks {part:?}: {text}");
        }
    }
}

#[test]
fn packages_have_the_programs_and_every_file_that_is_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bed = Bed::new();
    let from = Path::new(bin("distcomp-ctl")).parent().expect("a directory");
    let out = bed.out("package");
    Cli::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/stage.sh"))
        .args([&from.display().to_string(), &out])
        .run()
        .expect(0);
    let text = read(root.join("Cargo.toml"));
    for package in ["[package.metadata.deb]", "[package.metadata.generate-rpm]"] {
        let (_, metadata) = text.split_once(package).expect(package);
        let assets = metadata.split_once("assets = [").and_then(|(_, rest)| rest.split_once("\n]")).expect("assets").0;
        let sources: Vec<&str> = assets.lines().filter_map(|line| line.split('"').nth(1)).collect();
        for name in ["distcomp", "distcomp-worker", "distcomp-submit", "distcomp-status", "distcomp-ctl"] {
            assert!(sources.contains(&format!("target/release/{name}").as_str()), "{package} lacks {name}");
        }
        for source in sources {
            let path = match source.strip_prefix("target/package/") {
                Some(made) => Path::new(&out).join(made),
                None if source.starts_with("target/release/") => continue,
                None => root.join(source),
            };
            // A pattern is of the names in a directory.
            let name = path.file_name().expect("a name").to_string_lossy().trim_end_matches('*').to_owned();
            let mut there =
                fs::read_dir(path.parent().expect("a directory")).unwrap_or_else(|e| panic!("{source}: {e}"));
            let is_it = |entry: std::io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(&name))
            };
            assert!(there.any(is_it), "{package}: nothing is {source}");
        }
    }
    let unit = read(Path::new(&out).join("systemd/distcomp-worker.service"));
    assert!(!unit.contains("/usr/local") && !unit.contains("/srv/distcomp/conf.json"), "{unit}");
    let conf = root.join("packaging/conf.json");
    let url = bed.redis.url();
    let check = ["--check", "--config", &conf.display().to_string(), "--redis-url", &url].map(str::to_owned);
    let checked = Cli::new(bin("distcomp-worker")).args(check).dir(bed.path()).env("XDG_STATE_HOME", bed.path()).run();
    assert!(!checked.expect(0).all().contains("unknown"));
}

#[test]
fn an_installation_has_programs_pages_and_completions() {
    let bed = Bed::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/install.sh");
    let from = Path::new(bin("distcomp-ctl")).parent().expect("a directory");
    let output =
        Command::new("bash").arg(&script).arg(bed.out("prefix")).env("DISTCOMP_FROM", from).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(cfg!(not(target_env = "gnu")) || said.contains("need glibc 2."), "{said}");
    for file in [
        "bin/distcomp-worker",
        "bin/distcomp-status",
        "share/man/man1/distcomp-submit.1",
        "share/man/man1/distcomp-status-logs.1",
        "share/man/man1/distcomp.1",
        "share/man/man1/distcomp-run.1",
        "share/man/man5/distcomp-tasks.5",
        "share/man/man5/distcomp-conf.5",
        "share/bash-completion/completions/distcomp-ctl",
        "share/bash-completion/completions/distcomp",
        "share/zsh/site-functions/_distcomp-ctl",
        "share/fish/vendor_completions.d/distcomp-ctl.fish",
    ] {
        assert!(Path::new(&bed.out("prefix")).join(file).exists(), "{file} is missing");
    }
}
