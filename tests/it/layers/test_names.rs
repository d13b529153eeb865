//! The names of tests: subject, verb, condition, at most 60 characters.
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::source_files;

/// The most characters that the name of a test has: as many as a line of a report shows beside its module.
const LONGEST: usize = 60;

/// The attributes that make a function a test.
const MARKS: [&str; 3] = ["#[test]", "#[tokio::test", "#[rstest"];

/// The names of the functions that are marked as tests.
fn tests(code: &str) -> Vec<&str> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in code.lines().map(str::trim) {
        if MARKS.iter().any(|mark| line.starts_with(mark)) {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            found.push(rest.split(['(', '<']).next().unwrap_or_default());
            is_test = false;
        }
    }
    found
}

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        source_files(&root.join(folder), &mut files);
    }
    let (mut wrong, mut seen) = (String::new(), 0);
    for path in files {
        let code = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for name in tests(&code) {
            seen += 1;
            if name.len() > LONGEST {
                let file = path.strip_prefix(root).unwrap_or(&path).display();
                let _ = writeln!(
                    wrong,
                    "{file}: {name} has {} characters; valid: subject, verb, condition in at most {LONGEST}, such as \
                     stale_token_cannot_settle. Change the name in docs/failures.md and tests/README.md too, if it is there.",
                    name.len()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen > 500, "only {seen} tests were found");
}

#[test]
fn the_check_of_test_names_finds_them() {
    let code = "#[test]\nfn a() {}\n#[tokio::test(start_paused = true)]\n#[ignore]\nasync fn b<T>() {}\nfn c() {}\n// #[test]\n#[rstest]\n#[case(1)]\nfn d(#[case] n: u8) {}\n";
    assert_eq!(tests(code), ["a", "b", "d"]);
}
