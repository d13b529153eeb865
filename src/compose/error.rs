//! Why no lines can be made of what a command line says.

use std::io;

use crate::model::units::grouped;

/// What is wrong with a source, a template, or a flag that makes lines.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A file of values cannot be read.
    #[error("cannot read {name}: {error}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A value that cannot be one.
    #[error("{}: {what}", place_of(file, *.number))]
    Value {
        /// The file, or how the source is written on the command line.
        file: String,
        /// The line, from 1.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Linked sources of different length.
    #[error("{link} has {}, the source before it {}", values_of(*.values), grouped(u128::from(*.before)))]
    Linked {
        /// How the later one is written.
        link: String,
        /// How many values it has.
        values: u64,
        /// How many the one before it has.
        before: u64,
    },
    /// More tasks than anybody wants.
    #[error("these sources make {} tasks; at most {}", grouped(*.tasks), grouped(u128::from(*.most)))]
    TooMany {
        /// How many they would make.
        tasks: u128,
        /// How many they may make.
        most: u64,
    },
    /// A placeholder of a column that no row has.
    #[error("{place}: {placeholder}: there {}", columns_of(*.columns))]
    NoColumn {
        /// `COMMAND`, or the flag.
        place: String,
        /// As it was written.
        placeholder: String,
        /// How many columns there are.
        columns: usize,
    },
    /// A placeholder with a name that no column has.
    #[error("{place}: {placeholder}: there is no such column{}", hint_of(near.as_deref(), names))]
    NoSuchColumn {
        /// `COMMAND`, or the flag.
        place: String,
        /// As it was written.
        placeholder: String,
        /// The name that was perhaps meant.
        near: Option<String>,
        /// The names that there are.
        names: Vec<String>,
    },
    /// A flag's value is not what it must be.
    #[error("{flag} is {value:?}; valid: {valid}")]
    Invalid {
        /// The flag.
        flag: &'static str,
        /// Its value, filled in.
        value: String,
        /// What would be right.
        valid: &'static str,
    },
    /// Flags of shell tasks with a task of another type.
    #[error("--cwd, --env, --stdin, --output and --error require --type shell")]
    NotShell,
}

impl ComposeError {
    pub(super) fn read(name: &str, error: io::Error) -> Self {
        Self::Read { name: name.to_owned(), error }
    }
}

/// A line of a file, or a value of those on the command line.
fn place_of(file: &str, number: u64) -> String {
    if file == ":::" { format!(":::, value {number}") } else { format!("{file}:{number}") }
}

fn hint_of(near: Option<&str>, names: &[String]) -> String {
    const NAMED: usize = 10;
    match near {
        Some(near) => format!(" (did you mean {{{near}}}?)"),
        None => {
            let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("{{{name}}}")).collect();
            let more = if names.len() > NAMED { ", …" } else { "" };
            format!("; there {}: {}{more}", if names.len() == 1 { "is" } else { "are" }, shown.join(", "))
        }
    }
}

fn values_of(count: u64) -> String {
    format!("{} {}", grouped(u128::from(count)), if count == 1 { "value" } else { "values" })
}

fn columns_of(count: usize) -> String {
    if count == 1 { "is 1 column".to_owned() } else { format!("are {count} columns") }
}
