//! What people and programs are shown: the state of the queue at one moment. The field names are those of `--json`.

mod autoscaler;
mod batch;
mod counts;
mod extras;
mod history;
mod limit;
mod progress;
mod queue;
mod recent;
mod runnable;
mod share;
mod task;
mod wait;
mod worker;

pub use autoscaler::AutoscalerView;
pub use batch::{Awaited, AwaitedState, BatchDetail, BatchList, BatchState, BatchView};
pub use counts::Counts;
pub use extras::{Death, ResourceUse, SuspectEvidence, SuspectTask, WorkerExtras};
pub use history::HistoryRow;
pub use limit::LimitView;
pub use progress::ProgressParts;
pub use queue::{BlockedOn, FailureGroup, HoldReasons, Overview, RedisHealth, ReservationView, Totals, WaitingGroup};
pub use recent::{RecentAttempt, RecentAttempts, RecentEnd};
pub use runnable::{Runnable, RunnableGroup};
pub use share::{OwnerUse, ShareView};
pub use task::{AttemptView, Standing, TaskState, TaskView};
pub use wait::WaitReason;
pub use worker::{PYTHON_DEAD_AFTER_SECONDS, RunningTask, WorkerLoad, WorkerProcess, WorkerState, WorkerView};
