//! The columns of the lists, and which of them give way where there is little room.

use super::list::{Column, Role, column};
use super::screen::Screen;
use crate::view::workers;

/// The columns of a screen. Those that are wide and can be done without have the largest numbers.
pub(super) fn columns(screen: Screen) -> Vec<Column> {
    match screen {
        Screen::Overview => Vec::new(),
        Screen::Workers => workers::all_fields(true)
            .iter()
            .map(|field| {
                let (role, spare) = match field.column.head {
                    "worker" => (Role::Name, 0),
                    "state" => (Role::Words, 0),
                    "tasks" | "fail" => (Role::Number, 0),
                    "cores" | "mem GB" => (Role::Words, 1),
                    "done" => (Role::Number, 2),
                    "beat" => (Role::Number, 3),
                    "waits for" => (Role::Words, 5),
                    "resources" => (Role::Words, 6),
                    "host" => (Role::Words, 9),
                    "version" => (Role::Words, 10),
                    _ if field.column.is_number => (Role::Number, 7),
                    _ => (Role::Words, 8),
                };
                column(field.column.head, role, spare)
            })
            .collect(),
        Screen::Running => vec![
            column("id", Role::Words, 3),
            column("worker", Role::Name, 1),
            column("try", Role::Number, 5),
            column("age", Role::Number, 0),
            column("left", Role::Number, 2),
            column("memory", Role::Number, 4),
            column("command", Role::Long, 0),
        ],
        Screen::Failures => vec![
            column("tasks", Role::Number, 0),
            column("kind", Role::Words, 0),
            column("reason", Role::Long, 0),
            column("sample", Role::Long, 1),
        ],
        Screen::Batches => vec![
            column("batch", Role::Name, 0),
            column("state", Role::Words, 0),
            column("tasks", Role::Number, 2),
            column("done", Role::Number, 0),
            column("running", Role::Number, 4),
            column("waiting", Role::Number, 3),
            column("blocked", Role::Number, 1),
            column("failed", Role::Number, 0),
            column("rate", Role::Number, 6),
            column("to go", Role::Number, 5),
            column("note", Role::Words, 7),
        ],
        Screen::Waiting => vec![
            column("id", Role::Words, 3),
            column("prio", Role::Number, 1),
            column("mem GB", Role::Number, 2),
            column("cores", Role::Number, 4),
            column("failed", Role::Number, 5),
            column("command", Role::Long, 0),
        ],
        Screen::Finished => vec![
            column("ended", Role::Number, 0),
            column("took", Role::Number, 1),
            column("worker", Role::Name, 2),
            column("memory", Role::Number, 4),
            column("id", Role::Words, 3),
            column("command", Role::Long, 0),
        ],
    }
}
