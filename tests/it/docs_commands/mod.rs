//! Every command in the documents runs as it is shown, and prints what is shown. A block that cannot run in a test has a comment above it,
//! `<!-- not run: REASON -->`; see [`blocks`].
mod blocks;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use self::blocks::{Shown, commands, missing};
use crate::support::{Bed, Cli, bin, free_port, kill_all, with_mark};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What must have happened before the commands of a document, for the shell; `worker` starts one that runs until the end.
const SCENES: &[(&str, &str)] = &[
    ("README.md", "worker node1"),
    (
        "TIMEOUT_GUIDE.md",
        // Both are there, and only the first can take it.
        r#"worker node1; worker node2; kill -STOP $(tail -n 1 pids)
distcomp submit --quiet - <<'END'
shell:0.1:0.5:9:1:echo "starting a long simulation"; sleep 600
END
until distcomp status | grep -q '1 in_progress'; do sleep 0.1; done
kill -CONT $(tail -n 1 pids); settled"#,
    ),
    ("docs/autoscale.md", "printf '#!/bin/sh\\n' >start-node; cp start-node stop-node; chmod +x start-node stop-node"),
    ("docs/batches.md", ""),
    ("docs/cluster.md", r"printf 'node1\nnode2\n' >hosts; printf 'node1\nnode2\nnode9\n' >more-hosts"),
    ("docs/policy.md", ""),
    (
        "docs/commands.md",
        r#"distcomp submit --quiet -- 'echo simulated; echo "ValueError: block 17 of trace w2 is cut short"; exit 3'
worker node1; settled
distcomp submit --quiet -m 0.1 -c 0.25 -- 'sleep 60 # {}' ::: $(seq 20)
distcomp submit --quiet -m 96 -c 2 -p 5 -- ./bigsim --run ::: 1 2 3
until distcomp status | grep -q '8 in_progress'; do sleep 0.1; done
until distcomp events | grep -c '"started"' | grep -q '[89]'; do sleep 0.1; done
distcomp submit --quiet -c 0 -p 9 -- echo done; until distcomp events --limit 1 | grep -q finished; do sleep 0.1; done"#,
    ),
    ("docs/containment.md", ""),
    ("docs/dashboard.md", "openssl rand -hex 24 > dashboard-token; chmod 600 dashboard-token"),
    ("docs/local.md", ""),
    ("docs/operate.md", "openssl rand -hex 24 > operator-token; chmod 600 operator-token"),
    ("docs/production.md", SERVERS),
    ("docs/redis.md", ""),
    ("docs/resources.md", "touch net.onnx"),
    ("docs/security.md", ""),
    ("docs/tasks.md", ""),
];

/// Two servers, `node0` and `node1` for `redis-cli`, and a name that leads to one of them.
const SERVERS: &str = r##"
mkdir tools node0 node1
server=${DISTCOMP_REDIS_SERVER:-redis-server}
free() { while :; do p=$((20000 + RANDOM % 9000)); (exec 3<>/dev/tcp/127.0.0.1/$p) 2>/dev/null || { echo $p; return; }; done; }
a=$(free); b=$(free)
printf '#!/bin/bash\nfirst= args=()\nfor word; do case $word in node0) word=127.0.0.1 port=%s ;; node1) word=127.0.0.1 port=%s ;; 6379) word=$port ;; esac\nfirst=${first:-$port} args+=("$word"); done\nexec %s -p $first "${args[@]}"\n' \
    $a $b $(command -v redis-cli) >tools/redis-cli
printf '#!/bin/sh\nln -sfn "$1/sock" redis.sock\n' >point-redis-to
chmod +x tools/redis-cli point-redis-to
for node in node0:$a node1:$b; do
    name=${node%:*}
    $server --port ${node#*:} --bind 127.0.0.1 --dir $name --unixsocket "$PWD/$name/sock" --save '' --appendonly yes >$name/log 2>&1 &
    echo $! >>servers
    until tools/redis-cli -h $name PING | grep -q PONG; do sleep 0.1; done
done 2>/dev/null
./point-redis-to node0
sed -i 's#"redis_url": "[^"]*"#"redis_url": "redis+unix://'$PWD'/redis.sock"#' conf.json
echo node7 >rack1
worker node7
distcomp submit --quiet -m 0 -c 0 -- 'sleep 1 # {}' ::: $(seq 2000)
"##;

/// For the shell: what the scenes call.
const WORDS: &str = r#"
worker() { distcomp worker --name "$1" --cores 2 >"$1.log" 2>&1 & echo $! >>pids; until distcomp workers | grep -q "$1"; do sleep 0.1; done; }
settled() { until distcomp status | grep -q '^0 todo tasks, 0 in_progress'; do sleep 0.1; done; }
"#;

/// Commands that run until Ctrl-C.
const ENDLESS: &[&str] = &["distcomp watch", "distcomp-status serve"];

/// Commands that ask on a terminal.
const ASKING: &[&str] = &[
    "distcomp requeue",
    "distcomp cancel",
    "distcomp-ctl requeue",
    "distcomp-ctl up",
    "distcomp-ctl down",
    "distcomp-ctl reclaim",
];

/// In place of `ssh`: two hosts that are this machine, and one that is not there.
const SSH: &str = r#"#!/bin/sh
case "$*" in
*node9*) echo "ssh: connect to host node9 port 22: No route to host" >&2; exit 255 ;;
esac
exec sh
"#;

fn program(bed: &Bed, name: &str, text: &str) {
    fs::set_permissions(bed.file(name, text), fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// A directory with what the documents name: the programs of their reader, his traces, his files of tasks.
fn stage() -> Bed {
    let bed = Bed::with(
        json!({"max_task_per_worker": 32, "task_field_order": null, "result_dir": null, "max_retry_per_task": null}),
    );
    for name in ["simulate", "sim", "train"] {
        program(&bed, name, "#!/bin/sh\necho \"simulated $*\"\n");
    }
    program(&bed, "fake-ssh", SSH);
    for name in ["w01.trace", "w02.trace"] {
        bed.file(name, "");
    }
    bed.file("commands.txt", "./sim 1\n./sim 2\n");
    bed.file("tasks.txt", "shell:0.1:1:5:./sim 3\n");
    bed.file("tasks.jsonl", "{\"cmd\": \"./sim 1\", \"mem\": 0.1, \"env\": {\"A\": \"x\"}}\n");
    std::os::unix::fs::symlink(Path::new(ROOT).join("example"), bed.path().join("example")).expect("a link");
    bed
}

fn shell(bed: &Bed, script: &str) -> Cli {
    let dir = Path::new(bin("distcomp")).parent().expect("a directory").display().to_string();
    let tools = bed.path().join("tools").display().to_string();
    let path = format!("{dir}:{tools}:{}", std::env::var("PATH").expect("PATH"));
    let cli = Cli::new("bash").dir(bed.path()).env("HOME", bed.path()).env("PATH", path);
    let cli = cli.env("DISTCOMP_SSH", bed.path().join("fake-ssh")).env("IT_MARK", mark(bed));
    cli.env("XDG_STATE_HOME", bed.path().join("state-home")).env("TERM", "xterm").args(["-c", script])
}

/// In the environment of all that a document starts.
fn mark(bed: &Bed) -> String {
    format!("docs.{}", bed.path().display())
}

/// A command with what its reader puts in: the id of a task of his, another port, Ctrl-C, an answer to a question.
fn as_typed(shown: &Shown) -> String {
    let mut typed = shown.command.clone();
    let is_local = if typed.contains("--local") { "--local" } else { "" };
    let words: Vec<&str> = shown.command.split_whitespace().collect();
    let is_id = |word: &&&str| **word == "ID" || (word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit()));
    if let Some(id) = words.iter().find(is_id) {
        // One that is spelt out is of a failure.
        let which = if *id == "ID" { is_local } else { "--state failed" };
        let first = format!("distcomp tasks {which} --json | sed 's/.*\"id\":\"\\([0-9a-f]*\\).*/\\1/;q'");
        typed = format!("id=$({first}); {}", typed.replace(id, "$id"));
    }
    if ASKING.iter().any(|command| shown.command.starts_with(command)) {
        let (command, comment) = typed.split_once(" #").unwrap_or((&typed, ""));
        // These tell of hosts on standard error before the result.
        let joined = if command.contains("ctl up") || command.contains("ctl down") { "2>&1" } else { "" };
        typed = format!("{command} --yes {joined} #{comment}");
    }
    if shown.command.starts_with("distcomp-status serve") {
        let port = free_port();
        typed = typed.replace(":8080", &format!(":{port}"));
        if !typed.contains("--listen") {
            typed.push_str(&format!(" --listen 127.0.0.1:{port}"));
        }
    }
    if ENDLESS.iter().any(|command| shown.command.starts_with(command)) {
        let command = typed.split(" #").next().unwrap_or_default();
        // On a terminal, which a live view needs; Ctrl-C of a user is a signal to the whole group.
        typed = format!("timeout --foreground -s INT 2 script -qec 'exec {command}' /dev/null");
    }
    typed
}

/// Runs what a document shows, in its order and one directory.
fn play(name: &str, scene: &str) -> Result<usize, String> {
    let shown = commands(Path::new(ROOT), name);
    let bed = stage();
    let end = || {
        // A server wipes the variables by which it would be found.
        shell(&bed, "test -e pids || exit 0; for signal in 1 2; do kill $(cat pids); sleep 0.3; done; while kill -0 $(cat pids); do sleep 0.1; done; test ! -e servers || kill $(cat servers)").run();
        kill_all(&with_mark(&mark(&bed)));
    };
    if !shown.is_empty() && !scene.is_empty() {
        shell(&bed, &format!("set -e; {WORDS}\n{scene}")).limit(Duration::from_secs(60)).run().expect(0);
    }
    for one in &shown {
        let output = shell(&bed, &as_typed(one)).limit(Duration::from_secs(60)).run();
        let is_endless = ENDLESS.iter().any(|command| one.command.starts_with(command));
        if !(output.is(one.code) || is_endless && (output.is(124) || output.is(130))) {
            end();
            return Err(format!("{}: exit code {} was expected\n{output}", one.at, one.code));
        }
        let printed = output.all().replace(&bed.path().display().to_string(), "/home/ann");
        if one.is_compared
            && let Some(line) = missing(&one.output, &printed)
        {
            end();
            return Err(format!("{}: nothing like this line is printed: {line}\n{output}", one.at));
        }
    }
    end();
    Ok(shown.len())
}

#[test]
fn every_command_of_the_documents_runs_as_it_is_shown() {
    let results = thread::scope(|scope| {
        let started: Vec<_> = SCENES.iter().map(|(name, scene)| scope.spawn(|| play(name, scene))).collect();
        started
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err("a scene failed".to_owned())))
            .collect::<Vec<_>>()
    });
    let wrong: Vec<&str> = results.iter().filter_map(|one| one.as_ref().err().map(String::as_str)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let run: usize = results.into_iter().flatten().sum();
    assert!(run >= 30, "only {run} commands were run");
}

#[test]
fn no_document_with_commands_is_left_out() {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs").flatten();
    let names = docs.map(|entry| format!("docs/{}", entry.file_name().display())).filter(|name| name.ends_with(".md"));
    let known: BTreeSet<&str> = SCENES.iter().map(|(name, _)| *name).collect();
    let forgotten: Vec<String> =
        names.filter(|name| !known.contains(name.as_str()) && !commands(Path::new(ROOT), name).is_empty()).collect();
    assert!(forgotten.is_empty(), "these need a scene: {forgotten:?}");
}

/// The pages that SUMMARY.md lists are those that are there, so that the site has all.
#[test]
fn summary_lists_every_page_once() {
    let summary = fs::read_to_string(Path::new(ROOT).join("docs/SUMMARY.md")).expect("the summary");
    let mut listed: Vec<&str> = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    listed.sort_unstable();
    let pages = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs").flatten();
    let mut pages: Vec<String> = pages.map(|page| page.file_name().display().to_string()).collect();
    pages.retain(|name| name.ends_with(".md") && name != "SUMMARY.md");
    pages.sort_unstable();
    assert_eq!(listed, pages);
}
