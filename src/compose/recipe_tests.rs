use super::*;
use crate::model::TaskLine;
use proptest::prelude::*;
use std::process::Command;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn row(values: &[&str]) -> Row {
    Row::of(1, values.iter().map(|value| some(value)).collect())
}

fn compose(command: &str, settings: &Settings, values: &[&str]) -> Result<String, String> {
    let recipe = Recipe::new(Template::parse(command, &[]), settings, &[], values.len())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let mut out = Composed::default();
    recipe.compose(&row(values), FieldOrder::MemCpuPrio, &mut out).map_err(|error| error.to_string())?;
    Ok(out.line)
}

#[test]
fn fields_come_from_flags_and_their_placeholders() {
    let settings = Settings {
        mem: some("{2}"),
        cpus: some("2"),
        priority: some("5"),
        timeout: some("1h30m"),
        ..Settings::default()
    };
    assert_eq!(compose("./sim {1}", &settings, &["a b", "0.5"]).unwrap(), "shell:0.5:2:5:5400:./sim 'a b'");
    assert_eq!(compose("./sim", &Settings::default(), &[]).unwrap(), "shell:0:1:0:./sim");
    let learns = |mem: &str| Settings { mem: some(mem), ..Settings::default() };
    assert_eq!(compose("./sim x", &learns("auto"), &[]).unwrap(), "shell,learn=sim:0:1:0:./sim x");
    assert_eq!(compose("./sim {1}", &learns("auto:f-{1}"), &["7"]).unwrap(), "shell,learn=f-7:0:1:0:./sim 7");
    let named = Settings { name: some("s1/prep"), ..learns("auto") };
    assert_eq!(compose("./sim", &named, &[]).unwrap(), "shell,learn=s1.prep:0:1:0:./sim");
    let python = Settings { kind: some("python"), timeout: some("0"), ..Settings::default() };
    assert_eq!(compose("print(1)", &python, &[]).unwrap(), "python:0:1:0:0:print(1)");
}

#[test]
fn bad_values_are_named_with_what_is_valid() {
    for (settings, expected) in [
        (Settings { mem: some("4G"), ..Settings::default() }, "--mem is \"4G\"; valid: a decimal number of GB"),
        (
            Settings { mem: some("auto:a b"), ..Settings::default() },
            "--mem is \"auto:a b\"; valid: a decimal number of GB",
        ),
        (Settings { cpus: some("{1}"), ..Settings::default() }, "--cpus is \"v\"; valid: a decimal number of cores"),
        (
            Settings { priority: some("70000"), ..Settings::default() },
            "--priority is \"70000\"; valid: an integer from 0 to 65535",
        ),
        (Settings { priority: some("+1"), ..Settings::default() }, "--priority is \"+1\""),
        (Settings { timeout: some("-1h"), ..Settings::default() }, "--timeout is \"-1h\""),
        (Settings { kind: some("bash"), ..Settings::default() }, "--type is \"bash\"; valid: shell, python, demo"),
        (Settings { env: vec!["1A=x".to_owned()], ..Settings::default() }, "--env is \"1A=x\""),
        (Settings { cwd: some(""), ..Settings::default() }, "--cwd is \"\"; valid: a path"),
        (
            Settings { kind: some("demo"), stdin: some("f"), ..Settings::default() },
            "--cwd, --env, --stdin, --output and --error require --type shell",
        ),
        (
            Settings { mem: some("{3}"), output: some("{4}"), ..Settings::default() },
            "--mem: {3}: there is 1 column; --output: {4}: there is 1 column",
        ),
    ] {
        let error = compose("x", &settings, &["v"]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_command_that_begins_as_a_limit_stays_a_command() {
    for (settings, cmd) in
        [(Settings::default(), " 8080:x"), (Settings { timeout: some("5"), ..Settings::default() }, "8080:x")]
    {
        let line = compose("8080:x", &settings, &[]).unwrap();
        let task = TaskLine::parse(&line, FieldOrder::MemCpuPrio).unwrap();
        assert_eq!((task.cmd(), task.timeout()), (cmd, settings.timeout.map(|_| 5)), "{line}");
    }
}

/// Runs the command of a line as a worker does.
fn run(line: &str, shell: &str, dir: &std::path::Path) -> (i32, String, String) {
    let task = TaskLine::parse(line, FieldOrder::MemCpuPrio).unwrap();
    let output = Command::new(shell).arg("-c").arg(task.cmd()).current_dir(dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn directory_variables_and_files_reach_the_command_in_any_shell() {
    for shell in ["sh", "bash"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a b")).unwrap();
        std::fs::write(dir.path().join("a b/-in"), "from 'in'\n").unwrap();
        let settings = Settings {
            cwd: some("a b"),
            env: vec!["A=it's $HOME \"x\" {1}".to_owned(), "B=".to_owned()],
            stdin: some("-in"),
            output: some("lo gs/{1}.out"),
            error: some("lo gs/{1}.err"),
            ..Settings::default()
        };
        let line = compose("cat; echo \"$A|$B|{1}\"; echo oops >&2", &settings, &["v"]).unwrap();
        assert_eq!(run(&line, shell, dir.path()), (0, String::new(), String::new()), "{shell}: {line}");
        let read = |name: &str| std::fs::read_to_string(dir.path().join("a b/lo gs").join(name)).unwrap();
        assert_eq!(read("v.out"), "from 'in'\nit's $HOME \"x\" v||v\n", "{shell}");
        assert_eq!(read("v.err"), "oops\n", "{shell}");
        let both = Settings { output: some("both"), error: some("both"), ..Settings::default() };
        let line = compose("echo 1; echo 2 >&2", &both, &[]).unwrap();
        assert_eq!(run(&line, shell, dir.path()).0, 0);
        assert_eq!(std::fs::read_to_string(dir.path().join("both")).unwrap(), "1\n2\n");
    }
}

#[test]
fn what_is_missing_ends_the_task_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain"), "").unwrap();
    for shell in ["sh", "bash"] {
        for settings in [
            Settings { cwd: some("no such"), ..Settings::default() },
            Settings { stdin: some("no such"), ..Settings::default() },
            Settings { output: some("plain/no such/x"), ..Settings::default() },
            Settings { error: some("./"), ..Settings::default() },
        ] {
            let line = compose("echo ran; echo ran", &settings, &[]).unwrap();
            let (code, stdout, stderr) = run(&line, shell, dir.path());
            assert_eq!((code, stdout.as_str()), (125, ""), "{shell}: {line}");
            assert!(["no such", "plain", "./"].iter().any(|name| stderr.contains(name)), "{shell}: {stderr}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_composed_parses_to_what_was_said(
        command in "[^\0{]{1,30}", value in "[^\0]{0,10}", mem in 0..100_u32, timeout in prop::option::of(0..100_u32), cwd in prop::option::of("[^\0]{1,10}"),
    ) {
        let settings = Settings {
            mem: Some(mem.to_string()), timeout: timeout.map(|seconds| seconds.to_string()), cwd: cwd.clone(), ..Settings::default()
        };
        let Ok(line) = compose(&command, &settings, &[&value]) else { return Ok(()) };
        let task = TaskLine::parse(&line, FieldOrder::MemCpuPrio).unwrap();
        prop_assert_eq!(task.demand().mem(), Bytes(u64::from(mem) << 30));
        prop_assert_eq!(task.timeout(), timeout.map(u64::from));
        prop_assert!(task.cmd().contains(&command), "{}", line);
    }
}
