//! The password is for the four programs alone: not for their tasks, not for other users of the machine, not for what they print.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde_json::{Value, json};

use crate::support::{
    Bed, Dashboard, Redis, SOON, ServerOptions, Worker, holds_for, make_secrets, read, result_of, wait_until,
};

/// Told apart from every other test's, whose processes are looked at too.
const SECRET: &str = "Tr3asure-of-leaks.rs";
/// Somebody without rights; tests that run as root become it, since nothing is hidden from root.
const NOBODY: u32 = 65_534;

fn server() -> Redis {
    Redis::start(ServerOptions { tcp: true, password: Some(SECRET), ..Default::default() })
}

/// A bed on that server, its directories open to [`NOBODY`], with no password in its configuration.
fn bed() -> Bed {
    let redis = server();
    let port = redis.port();
    let bed = Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port}));
    for name in ["", "worker-w", "cwd"] {
        let path = bed.path().join(name);
        fs::create_dir_all(&path).expect("a directory");
        if geteuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("another owner");
        }
    }
    bed
}

/// What a worker is started through: somebody without rights, with these variables.
fn through<'a>(variables: &[&'a str]) -> Vec<&'a str> {
    let mut command = match geteuid().is_root() {
        true => vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        false => Vec::new(),
    };
    command.push("env");
    command.extend(variables);
    command
}

/// The four ways to name the password, each with what a worker needs for it.
fn ways(bed: &Bed) -> Vec<(&'static str, Vec<String>, Value, Vec<String>)> {
    let port = bed.redis.port();
    let url = format!("redis://:{SECRET}@127.0.0.1:{port}/0");
    let credentials = bed.path().join("credentials");
    fs::create_dir_all(&credentials).expect("a directory");
    fs::write(credentials.join("redis_pass"), SECRET).expect("written");
    let private = |path: &Path| {
        if geteuid().is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("another owner");
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    };
    private(&credentials.join("redis_pass"));
    let file = bed.file("pass", format!("{SECRET}\n"));
    private(Path::new(&file));
    let none = || (Vec::new(), json!({}), Vec::new());
    let way = |name, (variables, conf, args)| (name, variables, conf, args);
    vec![
        way("the flag", (none().0, none().1, vec!["--redis-url".to_owned(), url.clone()])),
        way(
            "a variable",
            (vec![format!("DISTCOMP_REDIS_PASSWORD={SECRET}"), format!("REDISCLI_AUTH={SECRET}")], none().1, none().2),
        ),
        way("the variable of the URL", (vec![format!("DISTCOMP_REDIS_URL={url}")], none().1, none().2)),
        way(
            "systemd's credential",
            (vec![format!("CREDENTIALS_DIRECTORY={}", credentials.display())], none().1, none().2),
        ),
        way("a file", (Vec::new(), json!({"redis_pass_file": file}), none().2)),
        way("the configuration", (Vec::new(), json!({"redis_pass": SECRET}), none().2)),
    ]
}

fn start(bed: &Bed, way: &(&'static str, Vec<String>, Value, Vec<String>)) -> Worker {
    let variables: Vec<&str> = way.1.iter().map(String::as_str).collect();
    let args: Vec<&str> = way.3.iter().map(String::as_str).collect();
    bed.worker_through(&through(&variables), "w", way.2.clone(), &args)
}

fn submit(bed: &Bed, line: &str) {
    let done =
        bed.cli("distcomp-submit").args(["-"]).env("DISTCOMP_REDIS_PASSWORD", SECRET).stdin(format!("{line}\n")).run();
    done.expect(0);
}

#[test]
fn password_is_in_no_environment_and_no_argument_list() {
    let bed = bed();
    let pattern = bed.file("pattern", SECRET);
    fs::set_permissions(&pattern, fs::Permissions::from_mode(0o644)).expect("chmod");
    for (n, way) in ways(&bed).iter().enumerate() {
        let found = bed.out(&format!("found{n}"));
        // Its own environment, that of every process it may look at (worker and keepers among them), and every argument list.
        let line = format!(
            "shell:0:0:1:(env | grep -cFf {pattern}; grep -slaFf {pattern} /proc/[0-9]*/environ /proc/[0-9]*/cmdline; echo end) > {found}"
        );
        let worker = start(&bed, way);
        submit(&bed, &line);
        wait_until(&format!("the task to have looked, with {}", way.0), SOON, || {
            let seen = read(&found);
            holds_for(seen.ends_with("end\n"), format!("{seen:?}\n{}", worker.log()))
        });
        // Tests of the same name in other runs have the same secret: only what is of this worker counts.
        let ours: Vec<String> =
            worker.survivors().iter().map(|one| one.pid.to_string()).chain([worker.pid().to_string()]).collect();
        let seen = read(&found);
        let leaks: Vec<&str> =
            seen.lines().filter(|line| ours.iter().any(|pid| line.starts_with(&format!("/proc/{pid}/")))).collect();
        assert!(leaks.is_empty() && seen.starts_with("0\n"), "{}: {seen}", way.0);
        assert!(!worker.log().contains(SECRET), "{}: {}", way.0, worker.log());
        let arguments = read(format!("/proc/{}/cmdline", worker.pid()));
        assert!(arguments.contains("distcomp-worker") && !arguments.contains(SECRET), "{}: {arguments:?}", way.0);
    }
}

#[test]
fn the_way_tasks_look_for_it_would_find_it() {
    let bed = bed();
    let ways = ways(&bed);
    let worker = start(&bed, &ways[2]);
    bed_is_alive(&bed, &worker);
    if geteuid().is_root() {
        let environment = fs::read(format!("/proc/{}/environ", worker.pid())).expect("root reads it");
        assert!(String::from_utf8_lossy(&environment).contains(SECRET), "the secret is there to be found, for root");
    } else {
        assert!(fs::read(format!("/proc/{}/environ", worker.pid())).is_err(), "closed to its own user");
    }
}

fn bed_is_alive(bed: &Bed, worker: &Worker) {
    wait_until("the worker to have started", SOON, || holds_for(worker.log().contains("started"), worker.log()));
    assert!(bed.table("worker_status").len() <= 1);
}

#[test]
fn the_worker_leaves_no_core_dump_and_is_closed_to_its_own_user() {
    let bed = bed();
    let ways = ways(&bed);
    let worker = start(&bed, &ways[1]);
    bed_is_alive(&bed, &worker);
    let limits = read(format!("/proc/{}/limits", worker.pid()));
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // What the kernel does not let its user see belongs to root.
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(format!("/proc/{}/environ", worker.pid())).expect("its entry").uid();
    assert_eq!(owner, 0, "it can be dumped and traced by its own user");
}

#[test]
fn tasks_are_contained_if_the_worker_is_not_dumpable() {
    let bed = bed();
    let ways = ways(&bed);
    let mut worker = start(&bed, &ways[1]);
    submit(&bed, "shell:0:0:1:sleep 600 & sleep 600 & exit 3");
    wait_until("the task to fail", SOON, || holds_for(bed.counts() == [0, 0, 0, 1], format!("{:?}", bed.counts())));
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
}

#[test]
fn no_command_prints_the_password_or_keeps_it_in_its_arguments() {
    let bed = bed();
    let url = format!("redis://:{SECRET}@127.0.0.1:{}/0", bed.redis.port());
    let json_and_words: [(&str, &[&str]); 8] = [
        ("distcomp-status", &["--json"]),
        ("distcomp-status", &["workers", "--json"]),
        ("distcomp-status", &["explain"]),
        ("distcomp-submit", &["--json", "-"]),
        ("distcomp-ctl", &["pause", "--yes", "--json"]),
        ("distcomp-ctl", &["resume", "--yes"]),
        ("distcomp-worker", &["--check"]),
        ("distcomp-worker", &["--burst", "--log-format", "json"]),
    ];
    for (name, args) in json_and_words {
        let output = bed
            .cli(name)
            .args(args)
            .args(["--redis-url", &url])
            .env("RUST_LOG", "trace")
            .stdin("shell:0:0:1:true\n")
            .run();
        assert!(!output.all().contains(SECRET), "{output}");
        output.expect(0);
    }
    // While it waits.
    let waiting =
        bed.cli("distcomp-submit").args(["--wait", "-", "--redis-url", &url]).stdin("shell:0:0:1:true # 2\n").start();
    wait_until("the password to be out of its arguments", SOON, || {
        let arguments = read(format!("/proc/{}/cmdline", waiting.pid()));
        holds_for(bed.counts()[0] == 1 && !arguments.is_empty() && !arguments.contains(SECRET), arguments)
    });
    waiting.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(!waiting.finish().all().contains(SECRET));
}

#[test]
fn a_password_that_others_can_read_is_warned_of() {
    let redis = server();
    let port = redis.port();
    let mut bed =
        Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_pass": SECRET}));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    mode(&bed.conf_path(), 0o644);
    bed.status(&[]).expect(0).says(&["others can read it", "644", "chmod 600"]);
    mode(&bed.conf_path(), 0o600);
    assert!(!bed.status(&[]).expect(0).all().contains("others can read"));
    mode(&bed.conf_path(), 0o602);
    bed.status(&[]).expect(0).says(&["every user of this machine can change it", "602"]);
    mode(&bed.conf_path(), 0o600);
    let file = bed.file("pass", SECRET);
    bed.configure(json!({"redis_pass": null, "redis_pass_file": file}));
    mode(Path::new(&file), 0o644);
    bed.status(&[]).expect(0).says(&["redis_pass_file", "644", "chmod 600"]);
    mode(Path::new(&file), 0o600);
    assert!(!bed.status(&[]).expect(0).all().contains("others can read"));
}

#[test]
fn a_key_or_a_token_that_others_can_read_is_warned_of() {
    let secrets = tempfile::Builder::new().prefix("dc-open-").tempdir_in("/tmp").expect("a directory in /tmp");
    make_secrets(&secrets.path().join("made"), &["127.0.0.1"]);
    let file = |name: &str| secrets.path().join("made").join(name);
    let mut bed = Bed::new();
    bed.configure(json!({
        "redis_url": "rediss://127.0.0.1:1/0",
        "redis_tls": {"ca": file("ca.crt"), "cert": file("client.crt"), "key": file("client.key")}
    }));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    assert!(!bed.status(&[]).expect(3).all().contains("others can read"));
    mode(&file("client.key"), 0o644);
    bed.status(&[]).expect(3).says(&["redis_tls.key: others can read", "client.key (mode 644)", "chmod 600"]);
    let bed = Bed::new();
    let token = bed.file("token", "correct-horse-battery-staple");
    for (bits, is_open) in [(0o600, false), (0o644, true)] {
        mode(Path::new(&token), bits);
        let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0", "--token-file", &token], &[]);
        assert_eq!(site.said().contains("--token-file: others can read"), is_open, "{}", site.said());
    }
}

#[test]
fn task_environment_has_no_secret_in_any_encoding() {
    const ODD: &str = "p@ss/of:leaks";
    let redis = Redis::start(ServerOptions { tcp: true, password: Some(ODD), ..Default::default() });
    let url = format!("redis://:p%40ss%2Fof%3Aleaks@127.0.0.1:{}/0", redis.port());
    let bed = Bed::on(redis, json!({"redis_url": url, "redis_pass": null}));
    let variables = [
        format!("QUEUE={url}"),
        "CACHE=redis://cache:p%40ss%2Fof%3Aleaks@elsewhere/1".to_owned(),
        "PARTLY=redis://:p@ss%2fof:leaks@elsewhere/1".to_owned(),
        "OTHERS=amqp://u:p%40ss%2Fof%3Aleaks@elsewhere;redis://elsewhere/2".to_owned(),
        "DATABASE=postgres://u:%70%40%73%73%2F%6F%66%3A%6C%65%61%6B%73@elsewhere".to_owned(),
        format!("PLAIN=host=elsewhere password={ODD}"),
        "DISTCOMP_DASHBOARD_TOKEN=correct-horse-battery-staple".to_owned(),
        "DISTCOMP_DASHBOARD_OPERATOR_TOKEN=another-horse-another-staple".to_owned(),
        "DISTCOMP_REDIS_OTHER=x".to_owned(),
        "KEPT=redis://elsewhere/1".to_owned(),
    ];
    let line = "shell:0:0:1:env";
    bed.add([line]);
    let through: Vec<&str> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let mut worker = bed.worker_through(&through, "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    let said = result_of(&bed.table("finished_tasks"), line).1;
    assert!(said.contains("KEPT=redis://elsewhere/1"), "{said}");
    for gone in [
        "QUEUE",
        "CACHE",
        "PARTLY",
        "OTHERS",
        "DATABASE=",
        "PLAIN",
        "DISTCOMP_DASHBOARD_TOKEN",
        "DISTCOMP_DASHBOARD_OPERATOR_TOKEN",
        "DISTCOMP_REDIS_OTHER",
        "p%40ss",
        ODD,
    ] {
        assert!(!said.contains(gone), "{gone} is in the environment of a task:\n{said}");
    }
}

#[test]
fn a_variable_with_the_password_as_a_part_of_a_word_is_kept() {
    const WORD: &str = "cloudlab";
    let redis = Redis::start(ServerOptions { tcp: true, password: Some(WORD), ..Default::default() });
    let port = redis.port();
    let bed =
        Bed::on(redis, json!({"redis_url": null, "redis_host": "127.0.0.1", "redis_port": port, "redis_pass": WORD}));
    let path = format!("PATH=/opt/{WORD}/bin:/usr/local/bin:/usr/bin:/bin");
    let kept = [
        &*path,
        "HOME=/users/cloudlab",
        "HOSTNAME=cloudlab",
        "LD_LIBRARY_PATH=/proj/cloudlab/lib",
        "SITE=utah.cloudlab.us",
    ];
    let gone =
        ["QUEUE=redis://:cloudlab@elsewhere/0", "OPTIONS=-n 0 --pass=cloudlab", "PGOPTIONS=host=h password=cloudlab"];
    let through: Vec<&str> = ["env"].into_iter().chain(kept).chain(gone).collect();
    let line = "shell:0:0:1:env; ls / > /dev/null";
    bed.add([line]);
    let mut worker = bed.worker_through(&through, "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    let said = result_of(&bed.table("finished_tasks"), line).1;
    for variable in kept {
        assert!(said.lines().any(|line| line == variable), "{variable} is withheld:\n{said}");
    }
    for variable in gone {
        let name = variable.split('=').next().expect("a name");
        assert!(!said.lines().any(|line| line.starts_with(&format!("{name}="))), "{variable} is seen:\n{said}");
        assert!(worker.log().contains(name), "{name} is not named at start:\n{}", worker.log());
    }
    assert!(!worker.log().contains("pass=cloudlab"), "values are secret:\n{}", worker.log());
    let cli = gone
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .fold(bed.cli("distcomp-worker"), |cli, (name, value)| cli.env(name, value));
    let shown = cli.args(["--check"]).run().expect(0);
    let row = shown.stdout.lines().find(|line| line.starts_with("withheld")).unwrap_or_default();
    assert!(row.contains("OPTIONS, PGOPTIONS, QUEUE"), "{shown}");
    assert!(!shown.all().contains("pass=cloudlab"), "{}", shown.all());
}

#[test]
fn a_url_in_the_wrong_place_is_not_repeated() {
    let bed = Bed::new();
    let url = format!("redis://:{SECRET}@127.0.0.1:6379/0");
    for (name, args) in [
        ("distcomp-status", vec![url.clone()]),
        ("distcomp-status", vec!["tasks".to_owned(), url.clone()]),
        ("distcomp-ctl", vec![url.clone()]),
        ("distcomp-worker", vec!["--name".to_owned(), url.clone()]),
        ("distcomp-worker", vec![format!("--metrics-listen={url}")]),
        ("distcomp-submit", vec!["--expires".to_owned(), "1h".to_owned(), "--bogus".to_owned(), url.clone()]),
    ] {
        let output = bed.cli(name).args(&args).run().expect(2);
        assert!(!output.all().contains(SECRET) && !output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn a_program_that_is_killed_as_by_a_fault_leaves_no_core_dump() {
    let bed = bed();
    let files = bed.path().join("cores");
    fs::create_dir_all(&files).expect("a directory");
    for (name, args) in [
        ("distcomp-submit", &["--wait", "-"][..]),
        ("distcomp-status", &["events", "--follow"]),
        ("distcomp-status", &["serve", "--listen", "127.0.0.1:0"]),
        ("distcomp-worker", &["--name", "core"]),
    ] {
        let shown = bed.cli(name).args(args).into_command();
        let mut command = Command::new("prlimit");
        command
            .args(["--core=unlimited:unlimited"])
            .arg(shown.get_program())
            .args(shown.get_args())
            .current_dir(&files);
        command.env("DISTCOMP_REDIS_PASSWORD", SECRET).env("XDG_STATE_HOME", bed.path().join("state-home"));
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("prlimit");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"shell:1000000:0:1:never\n").expect("it reads");
        drop(stdin);
        wait_until(&format!("{name} to have closed itself"), SOON, || {
            let limits = read(format!("/proc/{}/limits", child.id()));
            let core =
                limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default().to_owned();
            let clients: String = ::redis::cmd("CLIENT").arg("LIST").query(&mut bed.redis.con()).expect("CLIENT LIST");
            // Past its start, with the password in its memory.
            holds_for(
                core.split_whitespace().nth(4) == Some("0") && clients.lines().count() > 1,
                format!("{core}\n{clients}"),
            )
        });
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // As if it had raised the limit itself.
        let raised = Command::new("prlimit").args(["--core=unlimited:unlimited", "--pid", &pid.to_string()]).status();
        assert!(raised.expect("prlimit").success() || !geteuid().is_root());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).expect("a signal");
        let status = child.wait().expect("its status");
        assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{name}");
    }
    assert_eq!(fs::read_dir(&files).expect("a directory").count(), 0);
}
