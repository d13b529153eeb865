//! Changes that another program asks for, after a question of its own: by the same functions as the commands, with what they say as the answer.

use super::args::ChangeOptions;
use super::context::CtlContext;
use super::{batches, change, switch};
use crate::cli::common::Context;
use crate::cli::exit::CliError;
use crate::cli::find::find_running;
use crate::cli::orders::SelectArgs;
use crate::cli::output::Out;
use crate::model::TaskId;
use crate::queue::Connection;
use crate::queue::control::Change;
use crate::queue::guard::Access;
use crate::view::watch::{Chosen, Order};

/// The question was answered, and nothing but the result is told.
const ANSWERED: ChangeOptions = ChangeOptions { yes: true, dry_run: false, json: false, quiet: true };

/// Does it, on a connection of its own, and answers what was done.
pub(in crate::cli) async fn perform(context: Context, order: &Order) -> Result<String, CliError> {
    let (conn, field_order) = context.connect(Access::Write).await?;
    let order = resolved(order, &conn).await?;
    let told = Some(std::cell::RefCell::default());
    let mut session = CtlContext { context, conn, order: field_order, out: Out::new(), manner: ANSWERED, told };
    match &order {
        Order::Requeue(chosen) => change::apply(&mut session, Change::Requeue, &selection(chosen)).await?,
        Order::Cancel(chosen) => change::apply(&mut session, Change::Cancel, &selection(chosen)).await?,
        Order::Pause(None) => switch::pause(&mut session).await?,
        Order::Pause(Some(name)) => batches::pause(&mut session, std::slice::from_ref(name)).await?,
        Order::Resume(None) => switch::resume(&mut session).await?,
        Order::Resume(Some(name)) => batches::resume(&mut session, std::slice::from_ref(name)).await?,
    }
    Ok(session.told.map(std::cell::RefCell::into_inner).unwrap_or_default().join("; "))
}

/// With the line of a task that runs in place of its id, for which the whole queue would be looked through.
async fn resolved(order: &Order, conn: &Connection) -> Result<Order, CliError> {
    let (Order::Requeue(Chosen::Task(id)) | Order::Cancel(Chosen::Task(id))) = order else { return Ok(order.clone()) };
    if !TaskId::is_prefix_like(id) {
        return Ok(order.clone());
    }
    let Some(line) = find_running(conn, id).await? else { return Ok(order.clone()) };
    Ok(match order {
        Order::Requeue(_) => Order::Requeue(Chosen::Task(line)),
        Order::Cancel(_) => Order::Cancel(Chosen::Task(line)),
        Order::Pause(_) | Order::Resume(_) => order.clone(),
    })
}

/// The flags that select the same.
fn selection(chosen: &Chosen) -> SelectArgs {
    let mut select = SelectArgs::default();
    match chosen {
        Chosen::Task(task) => select.lines = vec![task.clone()],
        Chosen::Kind(kind, _) => select.group.kind = Some(kind.clone()),
        Chosen::Batch(name) => select.group.batch = Some(name.clone()),
    }
    select
}
