//! The users of `example/redis/users.acl`: each command runs as its own, and whatever else one of them tries is refused, by itself and from inside
//! a script.
mod commands;
mod logins;
mod refused;

use crate::support::{Redis, ServerOptions};

const USERS: [&str; 4] = ["worker", "submitter", "operator", "viewer"];

fn guarded() -> Redis {
    Redis::start(ServerOptions { acl: true, ..Default::default() })
}

fn run(con: &mut ::redis::Connection, words: &[&str]) -> Result<::redis::Value, String> {
    let mut command = ::redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(con).map_err(|error| error.to_string())
}
