//! The manual pages: of every command, made from the definitions of its flags; of `distcomp`; of task lines and of `conf.json`.

mod command_page;
mod conf_page;
mod facts;
mod front_page;
mod page;
mod roff_text;

use std::io;

use clap::Command;

use page::Page;

/// A formatter would guess the encoding of other characters from the locale.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\[u{:04X}]", u32::from(c)));
        }
    }
    out
}

/// Written by hand: what no flag can say.
const TASKS: &str = include_str!("distcomp-tasks.5");

/// All pages of these programs.
pub(super) fn pages(programs: &[Command]) -> io::Result<Vec<Page>> {
    let mut pages = Vec::new();
    for program in programs {
        command_page::add(program.clone(), &mut pages)?;
    }
    front_page::add(&mut pages);
    pages.push(Page { path: "man5/distcomp-conf.5".to_owned(), text: conf_page::text() });
    let tasks = TASKS.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    pages.push(Page { path: "man5/distcomp-tasks.5".to_owned(), text: tasks });
    for page in &mut pages {
        page.text = ascii(&page.text);
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::submit::FieldFlags;
    use clap::Args as _;

    #[test]
    fn page_of_tasks_names_every_field_of_directives_and_json_lines() {
        let text = TASKS.replace("\\-", "-");
        let (directives, json) = (text.split(".SH DIRECTIVES").nth(1), text.split(".SH JSON LINES").nth(1));
        let within = |text: Option<&str>| text.and_then(|text| text.split(".SH").next()).unwrap_or_default().to_owned();
        let (directives, json) = (within(directives), within(json));
        let flags = FieldFlags::augment_args(Command::new("x"));
        let names: Vec<_> = flags.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            assert!(directives.contains(&format!("--{name}")), "--{name}");
            assert!(json.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == name), "{name}");
        }
    }
}
