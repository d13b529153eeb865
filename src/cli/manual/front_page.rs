//! The page of `distcomp`, and the names under which the pages behind its words are found too.

use super::facts::{sections, see_also};
use super::page::Page;
use super::roff_text::{bold, head, item, plain, section, verbatim};
use crate::cli::front;
use crate::cli::words::{self, Word};

/// Adds `distcomp(1)`; and for each word `distcomp-WORD(1)`, which is the page of the command behind it.
pub(super) fn add(pages: &mut Vec<Page>) {
    for word in words::all() {
        let path = format!("man1/distcomp-{}.1", word.name);
        let behind = format!("man1/{}.1", page_behind(word));
        let has = |path: &str| pages.iter().any(|page| page.path == path);
        // `distcomp-tasks` is the page of the format.
        if word.name != "tasks" && !has(&path) && has(&behind) {
            pages.push(Page { path, text: format!(".so {behind}\n") });
        }
    }
    pages.push(Page { path: "man1/distcomp.1".to_owned(), text: text() });
}

/// The name of the page of a command: `distcomp-status-logs`.
fn page_behind(word: &Word) -> String {
    match word.first.first().filter(|first| !first.starts_with('-')) {
        Some(first) => format!("{}-{first}", word.program.file()),
        None => word.program.file().to_owned(),
    }
}

fn text() -> String {
    let front = front::command();
    let about = |word: &Word| {
        let command = front.find_subcommand(word.name);
        command.and_then(clap::Command::get_about).map(ToString::to_string).unwrap_or_default()
    };
    let mut text = head("distcomp", 1, front::ABOUT);
    text.push_str(&section("SYNOPSIS"));
    text.push_str(
        "\\fBdistcomp\\fR \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n.br\n\\fBdistcomp help\\fR [\\fICOMMAND\\fR]\n",
    );
    text.push_str(&section("DESCRIPTION"));
    text.push_str(&plain(DESCRIPTION));
    text.push('\n');
    text.push_str(&section("COMMANDS"));
    for (title, words) in words::GROUPS {
        text.push_str(&format!(".SS {title}\n"));
        for word in *words {
            let behind = [&[word.program.file()], word.first].concat().join(" ");
            let others =
                if word.aliases.is_empty() { String::new() } else { format!(" Also: {}.", word.aliases.join(", ")) };
            let said = format!("{}. The same as {}.", plain(&about(word)), bold(&behind));
            text.push_str(&item(&bold(word.name), &(said + &plain(&others))));
        }
    }
    text.push_str(&section("OPTIONS"));
    text.push_str(&item(&format!("{}, {}", bold("-h"), bold("--help")), "List all commands"));
    text.push_str(&item(&format!("{}, {}", bold("-V"), bold("--version")), "Print the version"));
    text.push_str(&section("EXAMPLES"));
    text.push_str(&verbatim(front::EXAMPLES));
    text.push_str(&sections("distcomp"));
    text.push_str(&see_also("distcomp", None));
    text
}

const DESCRIPTION: &str = "\
A small program in front of the four others. Each word leads to one of their commands, which takes its own options and arguments.
distcomp run runs commands on this machine and needs no set-up. The other commands use the queue in the Redis server of conf.json.";
