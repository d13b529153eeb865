//! Tests that each script can use what it names, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::model::{Bytes, Class, Demand, MilliCores, Needs, Outcome};
use crate::queue::cells::{QUARTERS, cell_of, lane_of};

/// A piece of Lua at the top level: a function, or a line that runs at once.
struct Chunk {
    defines: Vec<String>,
    uses: BTreeSet<String>,
    is_function: bool,
}

/// The words of code that name a variable: no strings, and fields only with what they are of, as "gates.turn".
fn words(code: &str) -> BTreeSet<String> {
    let (mut found, mut word, mut quote, mut before, mut is_field) = (BTreeSet::new(), String::new(), None, ' ', false);
    let mut owner = String::new();
    for c in code.chars().chain([' ']) {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| *open != c || before == '\\');
        } else if c.is_ascii_alphanumeric() || c == '_' {
            if word.is_empty() {
                is_field = before == '.';
            }
            word.push(c);
        } else {
            if !word.is_empty() {
                found.insert(if is_field { format!("{owner}.{word}") } else { word.clone() });
                owner.clone_from(&word);
            }
            word.clear();
            quote = Some(c).filter(|c| matches!(c, '\'' | '"'));
        }
        before = c;
    }
    found
}

fn chunks(text: &str) -> Vec<Chunk> {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("--") { "" } else { line });
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut is_inside = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let uses = words(line);
        if is_inside {
            is_inside = line != "end";
            if let Some(last) = chunks.last_mut() {
                last.uses.extend(uses);
            }
            continue;
        }
        let local = line.strip_prefix("local ");
        let function = local.unwrap_or(line).strip_prefix("function ");
        is_inside = function.is_some() && !line.ends_with(" end");
        let defines = match (function, local) {
            (Some(rest), _) => BTreeSet::from([rest.split('(').next().unwrap_or_default().to_owned()]),
            (None, Some(rest)) => words(rest.split('=').next().unwrap_or_default()),
            (None, None) => BTreeSet::new(),
        };
        chunks.push(Chunk { defines: defines.into_iter().collect(), uses, is_function: function.is_some() });
    }
    chunks
}

/// The names that a script reaches when it runs: of each where it is defined, and where it is first used.
fn reached(chunks: &[Chunk]) -> BTreeMap<String, usize> {
    let defined: BTreeMap<&str, usize> = chunks
        .iter()
        .enumerate()
        .flat_map(|(at, chunk)| chunk.defines.iter().map(move |name| (name.as_str(), at)))
        .rev()
        .collect();
    let mut first_use = BTreeMap::new();
    let mut to_visit: Vec<usize> = (0..chunks.len()).filter(|at| !chunks[*at].is_function).collect();
    let mut seen: BTreeSet<usize> = to_visit.iter().copied().collect();
    while let Some(at) = to_visit.pop() {
        for name in &chunks[at].uses {
            let first = first_use.entry(name.clone()).or_insert(at);
            *first = (*first).min(at);
            if let Some(to) = defined.get(name.as_str()).filter(|to| seen.insert(**to)) {
                to_visit.push(*to);
            }
        }
    }
    first_use
}

/// What a script reaches and does not name, or names too late.
fn faults(text: &str) -> Vec<String> {
    let keys: BTreeSet<&str> = all().iter().flat_map(|(_, def)| def.keys.iter().map(|key| key.lua())).collect();
    let shared: BTreeSet<String> =
        parts().iter().flat_map(|part| chunks(part.1)).flat_map(|chunk| chunk.defines).collect();
    let chunks = chunks(text);
    let fault_of =
        |word: &str, first_use| match chunks.iter().position(|chunk| chunk.defines.iter().any(|name| name == word)) {
            None => Some(format!("{word} is not named")),
            Some(at) if at > first_use => Some(format!("{word} is named after its first use")),
            Some(_) => None,
        };
    reached(&chunks)
        .iter()
        .filter(|(word, _)| keys.contains(word.as_str()) || shared.contains(*word))
        .filter_map(|(word, first_use)| fault_of(word, *first_use))
        .collect()
}

#[test]
fn every_script_names_what_it_reaches() {
    let wrong: Vec<String> = all()
        .iter()
        .flat_map(|(name, def)| faults(&def.text).into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_of_names_finds_what_is_missing_or_late() {
    let named = |parts: &[&str], keys: &'static [Key]| {
        let parts: Vec<Part> = parts.iter().map(|name| part(name)).collect();
        faults(&ScriptDef::new("test.lua", &parts, keys, "if ARGV[1] then index_put('1:1:::', 'a', 7) end").text)
    };
    let keys = &[Key::Ready, Key::Cells];
    assert_eq!(named(&["basics", "lanes"], keys), [] as [&str; 0]);
    assert_eq!(named(&["basics"], keys), ["index_put is not named"]);
    assert_eq!(named(&["basics", "lanes"], &[Key::Ready]), [format!("{} is not named", Key::Cells.lua())]);
    assert_eq!(
        faults("local function index_flush() int(1) end\nlocal function int() end\nindex_flush()"),
        ["int is named after its first use"]
    );
}

#[test]
fn scripts_name_the_fields_of_their_records() {
    let roles = ["ARG.", "EACH.", "REPLY.", "ROW."];
    for (name, def) in all() {
        for line in def.text.lines().filter(|line| !line.trim_start().starts_with("--")) {
            let unknown = roles.iter().find(|role| line.contains(*role));
            assert!(unknown.is_none(), "{name} names a field that is in no record of records.rs: {line}");
        }
        for line in source_of(name).lines().filter(|line| !line.trim_start().starts_with("--")) {
            let counts = |index: &str| index.starts_with(|c: char| c.is_ascii_digit()) || index.starts_with("i + 1");
            let is_counted = line.split("ARGV[").skip(1).any(counts);
            assert!(
                !is_counted,
                "{name} counts arguments; valid: ARGV[ARG.field], with the field in records.rs: {line}"
            );
        }
    }
}

/// The text of a script's own file.
fn source_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue/lua").join(name);
    std::fs::read_to_string(&path).expect("the source of a script")
}

#[test]
fn only_the_transitions_write_what_is_in_progress() {
    let is_write = |line: &&str| {
        ["'HSET', ", "'HDEL', ", "'HSETNX', ", "'DEL', "].iter().any(|command| {
            let key = line.split_once(command).map_or("", |(_, rest)| rest);
            [Key::InProgress, Key::Claims].iter().any(|written| key.starts_with(written.lua()))
        })
    };
    let writes = |text: &str| text.lines().filter(is_write).count();
    assert!(writes(part("transition").1) > 0, "{}", part("transition").1);
    let others = parts().into_iter().filter(|part| part.0 != "transition").map(|part| (part.0, part.1.to_owned()));
    for (name, text) in others.chain(all().into_iter().map(|(name, _)| (name, source_of(name)))) {
        assert_eq!(writes(&text), 0, "{name} writes in_progress_tasks or claims past transition.lua");
    }
}

#[test]
fn scripts_name_groups_and_codes_as_the_model_does() {
    let mut named = BTreeSet::new();
    for (_, def) in all() {
        let literals = def.text.lines().filter_map(|line| line.trim().strip_prefix("group_put(line, '"));
        named.extend(literals.map(|rest| rest.split('\'').next().unwrap_or_default().to_owned()));
        for constants in ["GROUP.", "HOLD.", "STEPS."] {
            assert!(!def.text.contains(constants), "a script names one of {constants} that constants.rs lacks");
        }
    }
    assert_eq!(named, BTreeSet::from([Outcome::Lost.group(), Outcome::Cancelled.group()]));
    let counts = format!("if ARGV[i + 9] == '{}' then", Outcome::TimedOut(1).code());
    assert!(SETTLE.text.contains(&counts), "{counts}");
}

fn part(name: &str) -> Part {
    parts().into_iter().find(|part| part.0 == name).expect("a shared file")
}

/// A server of our own, gone with its value.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::var_os("DISTCOMP_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--unixsocket", "s"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("a server");
        Self { child, folder }
    }

    fn connection(&self) -> redis::Connection {
        let client =
            redis::Client::open(format!("unix://{}", self.folder.path().join("s").display())).expect("an address");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_function_or_key_that_a_script_does_not_name_fails() {
    let server = Server::start();
    let mut connection = server.connection();
    let mut run = |parts: &[&str], keys: &'static [Key], body: &str| -> redis::RedisResult<i64> {
        let parts: Vec<Part> = parts.iter().map(|name| part(name)).collect();
        let def = ScriptDef::new("test.lua", &parts, keys, body);
        let mut call = def.script.prepare_invoke();
        for key in def.keys {
            call.key(key.lua());
        }
        call.invoke(&mut connection)
    };
    let body = "index_put('1:1:::', 'a', 7)\nreturn redis.call('ZCARD', READY .. 'c:1:1:::')";
    let keys = &[Key::Ready, Key::Cells, Key::Count];
    assert_eq!(run(&["basics", "lanes"], keys, body), Ok(1));
    let body = body.replace("1:1:::", "2:1:::");
    for (parts, keys, unknown) in
        [(&["basics"][..], &keys[..], "index_put"), (&["basics", "lanes"], &[Key::Ready, Key::Count], Key::Cells.lua())]
    {
        let error = run(parts, keys, &body).expect_err("unknown").to_string();
        assert!(error.contains("nonexistent global variable") && error.contains(unknown), "{error}");
    }
}

#[test]
fn server_compiles_every_script() {
    let server = Server::start();
    let mut connection = server.connection();
    for (name, def) in all() {
        let loaded: redis::RedisResult<String> = redis::cmd("SCRIPT").arg("LOAD").arg(&def.text).query(&mut connection);
        // Lua takes at most 200 local variables at the top: functions of one subject go into one table.
        assert!(loaded.is_ok(), "{name}: {loaded:?}");
    }
}

#[test]
fn cells_of_lanes_are_the_same_in_rust_and_in_scripts() {
    let server = Server::start();
    let mut connection = server.connection();
    let parts: Vec<Part> = ["basics", "lanes"].map(part).to_vec();
    let body = "local cells = {}\nfor i, lane in ipairs(ARGV) do cells[i] = cell_of(lane) end\nreturn cells";
    let def = ScriptDef::new("test.lua", &parts, &[Key::Ready, Key::Cells, Key::Count], body);
    let edges = (0..53).flat_map(|doubling| {
        let of = |begin: f64| (begin * 2_f64.powi(doubling)) as u64;
        QUARTERS.map(of)
    });
    let amounts: Vec<u64> = edges.flat_map(|at| [at.saturating_sub(1), at, at + 1]).collect();
    let classes: Vec<Class> = amounts
        .iter()
        .zip(amounts.iter().rev())
        .map(|(mem, cpu)| Class {
            demand: Demand::NONE.with_mem(Bytes(*mem)).with_cpu(MilliCores(*cpu)),
            needs: Needs::parse("gpus=1").expect("needs"),
        })
        .collect();
    let mut call = def.script.prepare_invoke();
    for key in def.keys {
        call.key(key.lua());
    }
    for class in &classes {
        call.arg(lane_of(class));
    }
    let cells: Vec<String> = call.invoke(&mut connection).expect("cells");
    assert_eq!(cells, classes.iter().map(cell_of).collect::<Vec<_>>());
}
