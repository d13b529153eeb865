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

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_flag_is_in_the_manual_and_in_the_completions() {
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
        let [bash, zsh, fish] = [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")]
            .map(|file| read(Path::new(&dir).join("completions").join(file)));
        for (page, help) in pages {
            let text = read(Path::new(&dir).join(format!("man/man1/{page}.1"))).replace("\\-", "-");
            let options =
                help.split("Options:").skip(1).collect::<String>() + help.split("options:").nth(1).unwrap_or_default();
            for flag in flags_of(options.split("Examples:").next().unwrap_or_default()) {
                assert!(text.contains(&flag), "{page}.1 lacks {flag}");
                let bare = &flag[2..];
                assert!(
                    bash.contains(&flag) && zsh.contains(&flag) && fish.contains(&format!("-l {bare}")),
                    "{flag} of {page}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "only {seen} flags were looked for");
}

#[test]
fn the_pages_render_without_a_complaint() {
    let bed = Bed::new();
    let dir = bed.out("generated");
    bed.ctl(&["generate", &dir]).expect(0);
    let mut pages = 0;
    for entry in fs::read_dir(Path::new(&dir).join("man/man1")).expect("pages") {
        let path = entry.expect("an entry").path();
        let text = read(&path);
        assert!(
            text.contains(".TH ") && text.contains(".SH NAME") && text.contains(".SH OPTIONS"),
            "{}",
            path.display()
        );
        pages += 1;
        // Where there is a formatter, it has the last word.
        for formatter in [&["groff", "-k", "-man", "-Tutf8"][..], &["mandoc", "-T", "lint", "-W", "error"]] {
            if let Ok(output) = Command::new(formatter[0]).args(&formatter[1..]).arg(&path).output() {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
            }
        }
    }
    assert!(pages >= 20, "{pages} pages");
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
        "share/bash-completion/completions/distcomp-ctl",
        "share/zsh/site-functions/_distcomp-ctl",
        "share/fish/vendor_completions.d/distcomp-ctl.fish",
    ] {
        assert!(Path::new(&bed.out("prefix")).join(file).exists(), "{file} is missing");
    }
}
