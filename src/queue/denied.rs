//! A command that the server refuses because of its key or its user (`NOPERM`, `WRONGTYPE`): who was refused what, in words that say what to do.

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

/// Whether the server said that the user lacks a right. Inside a script the error has another code in each version of Redis.
pub(super) fn is_denied(error: &RedisError) -> bool {
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
        return true;
    }
    let text = error.to_string();
    text.contains("The user executing the script") || text.contains("ACL failure in script") || text.contains("NOPERM")
}

/// Whether a key holds another type of value than the command is for. Inside a script the code is part of the text.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.to_string().contains("WRONGTYPE")
}

/// The command and its key, for a message: never a value.
pub(super) fn shown(cmd: &Cmd) -> String {
    let mut words = cmd.args_iter().filter_map(|arg| match arg {
        redis::Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        redis::Arg::Cursor | _ => None,
    });
    let name = words.next().unwrap_or_default();
    match name.as_str() {
        "EVALSHA" | "SCRIPT" | "PING" | "TIME" | "INFO" => format!("run {name}"),
        _ => words.next().map_or_else(|| format!("run {name}"), |key| format!("run {name} on {key}")),
    }
}

/// What the server said, without the place in our script.
pub(super) fn reason(error: &RedisError) -> String {
    let first = error.clone().into_server_errors().and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    let text = first.and_then(|error| error.details().map(str::to_owned)).unwrap_or_else(|| error.to_string());
    text.split(" script: ").next().unwrap_or_default().trim().to_owned()
}

/// Which command of a pipeline was refused first.
pub(super) fn place(error: &RedisError) -> usize {
    error.clone().into_server_errors().and_then(|errors| errors.first().map(|(index, _)| *index)).unwrap_or(0)
}
