//! Workers by commands of the user.

use std::time::Duration;

use super::args::CommandArgs;
use super::launch::{Launch, quoted};
use super::provider::{Asked, Caller, Provider, ProviderError, StartRequest, ended};
use crate::policy::allocations::{Listed, Standing};

/// Each command gets its words in variables.
#[derive(Clone, Debug)]
pub(super) struct UserCommands {
    launch: Launch,
    caller: Caller,
    start: String,
    stop: String,
    list: Option<String>,
}

impl UserCommands {
    /// Of the flags.
    pub(super) fn new(launch: Launch, args: &CommandArgs, caller: Caller) -> Self {
        let (start, stop, list) = (args.start.clone(), args.stop.clone(), args.list.clone());
        Self { launch, caller, start, stop, list }
    }

    /// Runs a command with the variables of one worker; what it prints.
    async fn run(&self, name: &str, command: &str, worker: &str, patience: Duration) -> Result<String, ProviderError> {
        let flags: Vec<String> = self.launch.all_flags(patience).iter().map(|flag| quoted(flag)).collect();
        let variables = [
            format!("DISTCOMP_WORKER_NAME={worker}"),
            format!("DISTCOMP_WORKER_PREFIX={}-", self.launch.name),
            format!("DISTCOMP_WORKER_FLAGS={}", flags.join(" ")),
            format!("DISTCOMP_WORKER_PROGRAM={}", self.launch.program),
        ];
        let words: Vec<&str> =
            std::iter::once("env").chain(variables.iter().map(String::as_str)).chain(["sh", "-c", command]).collect();
        let told = |ProviderError(text)| ProviderError(text.replacen("env ", &format!("{name} "), 1));
        self.caller.call(&words, "").await.map_err(told)
    }
}

impl Provider for UserCommands {
    fn start<'a>(&'a self, request: StartRequest<'a>) -> Asked<'a, String> {
        Box::pin(async move {
            self.run("--start", &self.start, &self.launch.worker_of(request.unique), request.patience).await?;
            Ok(request.unique.to_owned())
        })
    }

    fn list(&self) -> Asked<'_, Option<Vec<Listed>>> {
        Box::pin(async move {
            let Some(list) = &self.list else { return Ok(None) };
            parse(&self.run("--list", list, "", Duration::ZERO).await?, &self.launch).map(Some)
        })
    }

    fn is_gone<'a>(&'a self, _id: &'a str) -> Asked<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Asked<'a, ()> {
        Box::pin(
            async move { self.run("--stop", &self.stop, &self.launch.worker_of(id), Duration::ZERO).await.map(drop) },
        )
    }

    fn worker_of(&self, id: &str) -> String {
        self.launch.worker_of(id)
    }

    fn id_of(&self, worker: &str) -> Option<String> {
        self.launch.id_of(worker)
    }

    fn shown(&self) -> String {
        format!("sh -c {}", quoted(&self.start))
    }
}

/// Lines of `NAME STATE`; those of other autoscalers are passed over.
fn parse(text: &str, launch: &Launch) -> Result<Vec<Listed>, ProviderError> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, state) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let standing = match state.trim() {
            "pending" => Standing::Pending,
            "running" => Standing::Running,
            "ended" => ended("--list says so"),
            _ => return Err(ProviderError(format!("--list printed {line:?}; valid: NAME pending, running or ended"))),
        };
        if let Some(id) = launch.id_of(name) {
            found.push(Listed { id, standing });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_the_user_is_read() {
        let launch = Launch {
            name: "aws".parse().expect("a name"),
            program: String::new(),
            flags: Vec::new(),
            time_limit: None,
            idle_timeout: Duration::ZERO,
        };
        let found =
            parse("aws-1a running\n\naws-2b  pending\nother-3 running\naws-4d ended\n", &launch).expect("a list");
        let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["1a", "2b", "4d"]);
        assert!(parse("aws-1a RUNNING", &launch).is_err());
    }
}
