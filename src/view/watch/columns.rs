//! The columns of the lists, and which of them give way where there is little room.

use super::list::{Column, Role, column};
use super::screen::Screen;
use crate::model::ResourceKind;
use crate::view::workers::{self, WorkerColumn};

/// The columns of a screen. Those that are wide and can be done without have the largest numbers.
pub(super) fn columns(screen: Screen) -> Vec<Column> {
    match screen {
        Screen::Overview => Vec::new(),
        Screen::Workers => workers::all_fields(true)
            .iter()
            .map(|field| {
                let (role, spare) = match field.of {
                    WorkerColumn::Name => (Role::Name, 0),
                    WorkerColumn::State => (Role::Words, 0),
                    WorkerColumn::Tasks | WorkerColumn::Failed => (Role::Number, 0),
                    WorkerColumn::InUse(_) => (Role::Words, 1),
                    WorkerColumn::Done => (Role::Number, 2),
                    WorkerColumn::Heartbeat => (Role::Number, 3),
                    WorkerColumn::WaitsFor => (Role::Words, 5),
                    WorkerColumn::Resources => (Role::Words, 6),
                    WorkerColumn::TimedOut | WorkerColumn::Returned => (Role::Number, 7),
                    WorkerColumn::Host => (Role::Words, 9),
                    WorkerColumn::Version => (Role::Words, 10),
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
            column("cancelled", Role::Number, 8),
            column("rate", Role::Number, 6),
            column("to go", Role::Number, 5),
            column("note", Role::Words, 7),
        ],
        Screen::Waiting => {
            let mut all = vec![column("id", Role::Words, 3), column("prio", Role::Number, 1)];
            all.extend(
                ResourceKind::ALL
                    .into_iter()
                    .zip((2..).step_by(2))
                    .map(|(kind, spare)| column(kind.heading(), Role::Number, spare)),
            );
            all.extend([column("failed", Role::Number, 5), column("command", Role::Long, 0)]);
            all
        }
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
