//! The sections that all pages share: environment, files, exit status, and the other pages.

use super::roff_text::{bold, from_markdown, item, plain, section};
use crate::cli::exit::Exit;

/// A variable, or a file.
struct Fact {
    name: &'static str,
    /// What the name of a program ends with to have it; empty for all.
    programs: &'static [&'static str],
    text: &'static str,
}

const fn fact(name: &'static str, programs: &'static [&'static str], text: &'static str) -> Fact {
    Fact { name, programs, text }
}

const VARIABLES: &[Fact] = &[
    fact("DISTCOMP_CONFIG", &[], "The configuration file, if `--config` is not given"),
    fact(
        "DISTCOMP_REDIS_URL",
        &[],
        "The Redis server, if `--redis-url` is not given. It outranks the configuration file",
    ),
    fact("DISTCOMP_REDIS_PASSWORD", &[], "The password of Redis, if `redis_pass_file` is not set"),
    fact("DISTCOMP_REDIS_SERVER", &[], "The server program that `--local` starts; otherwise one is found in PATH"),
    fact(
        "DISTCOMP_DASHBOARD_TOKEN",
        &["status"],
        "The token that viewers of `serve` need, if `--token-file` is not given",
    ),
    fact(
        "DISTCOMP_DASHBOARD_OPERATOR_TOKEN",
        &["status"],
        "The token that operators of `serve --allow-actions` need, if `--operator-token-file` is not given",
    ),
    fact("RUST_LOG", &["worker", "status"], "The level of the log: `error`, `warn`, `info`, `debug` or `trace`"),
    fact("NO_COLOR", &[], "If set, no output is coloured"),
    fact("STATE_DIRECTORY, XDG_STATE_HOME", &[], "Where the default of `state_dir` is, see *distcomp-conf*(5)"),
];

const FILES: &[Fact] = &[
    fact("./conf.json", &[], "The configuration, if no other file is named. See *distcomp-conf*(5)"),
    fact(
        "~/.local/state/distcomp",
        &[],
        "The default of `state_dir`: outcomes that Redis has not accepted yet, and the queues of `--local`",
    ),
    fact("./distcomp-results", &[], "The default of `result_dir`: outputs that Redis does not hold completely"),
];

/// `ENVIRONMENT`, `FILES` and `EXIT STATUS` of a program, `distcomp-status` for example.
pub(super) fn sections(program: &str) -> String {
    let has = |fact: &&Fact| fact.programs.is_empty() || fact.programs.iter().any(|end| program.ends_with(end));
    let mut text = section("ENVIRONMENT");
    for fact in VARIABLES.iter().filter(has) {
        text.push_str(&item(&bold(fact.name), &marked(fact.text)));
    }
    text.push_str(&section("FILES"));
    for fact in FILES.iter().filter(has) {
        text.push_str(&item(&format!("\\fI{}\\fR", plain(fact.name)), &marked(fact.text)));
    }
    text.push_str(&section("EXIT STATUS"));
    for exit in Exit::ALL {
        text.push_str(&item(&bold(&exit.code().to_string()), &plain(exit.meaning())));
    }
    text
}

/// The pages of programs and formats but this one, and `parent`, the page of the program of a command.
pub(super) fn see_also(own: &str, parent: Option<&str>) -> String {
    const PAGES: [(&str, u8); 7] = [
        ("distcomp", 1),
        ("distcomp-worker", 1),
        ("distcomp-submit", 1),
        ("distcomp-status", 1),
        ("distcomp-ctl", 1),
        ("distcomp-tasks", 5),
        ("distcomp-conf", 5),
    ];
    let first = parent.map(|name| (name, 1)).into_iter();
    let others = PAGES.into_iter().filter(|(name, _)| *name != own && Some(*name) != parent);
    let named: Vec<String> = first.chain(others).map(|(name, number)| format!("{}({number})", bold(name))).collect();
    format!("{}{}\n", section("SEE ALSO"), named.join(",\n"))
}

/// Markdown, and `*page*(5)` as the name of a page.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('*').enumerate() {
        out.push_str(&if index % 2 == 1 { bold(part) } else { from_markdown(part) });
    }
    out
}
