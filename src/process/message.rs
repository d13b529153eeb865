//! Commands and answers as frames: which field goes into the JSON header, and which into the raw parts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Ended, ExitStatus, KeeperCommand, KeeperEvent, Output, Part, Stdout, is_zero};
use super::frame::{self, Frame};
use super::{ProcessError, frame::encode};

/// The header of an event. Of an `Ended`, stdout is the first part (head and tail joined when it overflowed), the tail of stderr the second.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventHeader {
    Started {
        seq: u64,
        pid: i32,
        at_ms: u64,
    },
    SpawnFailed {
        seq: u64,
        error: String,
        is_transient: bool,
    },
    Ended(EndedHeader),
    Withdrawn {
        seq: u64,
    },
    SetupFailed {
        error: String,
    },
    /// Stdout is the first part, stderr the second.
    Output {
        seq: u64,
        stdout_at: u64,
        stdout_total: u64,
        stderr_at: u64,
        stderr_total: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct EndedHeader {
    seq: u64,
    status: ExitStatus,
    start_ms: u64,
    end_ms: u64,
    duration_us: u64,
    peak_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group_peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    oom_kills: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_oom_likely: bool,
    user_us: u64,
    system_us: u64,
    stderr_total: u64,
    leftovers_killed: u32,
    unkillable: bool,
    forced_kill: bool,
    overflow: Option<OverflowHeader>,
    /// The path as bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout_file: Option<Result<Vec<u8>, String>>,
}

#[derive(Serialize, Deserialize)]
struct OverflowHeader {
    head_len: usize,
    total_bytes: u64,
    /// The path as bytes: it need not be UTF-8.
    file: Result<Vec<u8>, String>,
}

/// Appends a command to what is to be sent. The strings of a `Run` travel packed: program, overflow path and arguments in the first part,
/// `NAME=value` in the second; of a `Group`, its directories in the first.
pub(super) fn encode_command(out: &mut Vec<u8>, command: &KeeperCommand) -> Result<(), ProcessError> {
    let (mut strings, mut env) = (Vec::new(), Vec::new());
    match command {
        KeeperCommand::Run { spec, .. } => {
            frame::pack(&mut strings, &[spec.program.as_os_str().as_bytes()]);
            frame::pack(&mut strings, &[spec.overflow_path.as_os_str().as_bytes()]);
            for arg in &spec.args {
                frame::pack(&mut strings, &[arg.as_bytes()]);
            }
            for (name, value) in &spec.env {
                frame::pack(&mut env, &[name.as_bytes(), b"=", value.as_bytes()]);
            }
        }
        KeeperCommand::Group(dirs) => {
            frame::pack(&mut strings, &[dirs.memory.as_os_str().as_bytes()]);
            if let Some(pids) = &dirs.pids {
                frame::pack(&mut strings, &[pids.as_os_str().as_bytes()]);
            }
        }
        KeeperCommand::Terminate { .. }
        | KeeperCommand::Kill { .. }
        | KeeperCommand::Withdraw { .. }
        | KeeperCommand::Show { .. } => {}
    }
    encode(out, command, &[&strings], &env)
}

/// Reads a command.
pub(super) fn decode_command(frame: &Frame<'_>) -> Result<KeeperCommand, ProcessError> {
    let mut command: KeeperCommand = header(frame)?;
    let mut strings = frame::unpack(frame.first)?.into_iter().map(OsStr::from_bytes);
    let mut path =
        |what: &str| strings.next().map(PathBuf::from).ok_or_else(|| ProcessError::Protocol(format!("a {what}")));
    match &mut command {
        KeeperCommand::Run { spec, .. } => {
            spec.program = path("run without a program")?;
            spec.overflow_path = path("run without an overflow path")?;
            spec.args = strings.map(OsStr::to_owned).collect();
            spec.env = frame::unpack(frame.second)?.into_iter().map(split_variable).collect::<Result<_, _>>()?;
        }
        KeeperCommand::Group(dirs) => {
            dirs.memory = path("group without a place")?;
            dirs.pids = strings.next().map(PathBuf::from);
        }
        KeeperCommand::Terminate { .. }
        | KeeperCommand::Kill { .. }
        | KeeperCommand::Withdraw { .. }
        | KeeperCommand::Show { .. } => {}
    }
    Ok(command)
}

fn split_variable(entry: &[u8]) -> Result<(String, String), ProcessError> {
    let entry = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('='));
    let (name, value) = entry.ok_or_else(|| ProcessError::Protocol("a variable that is none".to_owned()))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Appends an event to what is to be sent.
pub(super) fn encode_event(out: &mut Vec<u8>, event: &KeeperEvent) -> Result<(), ProcessError> {
    match event {
        KeeperEvent::Started { seq, pid, at_ms } => {
            encode(out, &EventHeader::Started { seq: *seq, pid: *pid, at_ms: *at_ms }, &[], &[])
        }
        KeeperEvent::SpawnFailed { seq, error, is_transient } => {
            let header = EventHeader::SpawnFailed { seq: *seq, error: error.clone(), is_transient: *is_transient };
            encode(out, &header, &[], &[])
        }
        KeeperEvent::Withdrawn { seq } => encode(out, &EventHeader::Withdrawn { seq: *seq }, &[], &[]),
        KeeperEvent::SetupFailed { error } => encode(out, &EventHeader::SetupFailed { error: error.clone() }, &[], &[]),
        KeeperEvent::Output(output) => {
            let header = EventHeader::Output {
                seq: output.seq,
                stdout_at: output.stdout.at,
                stdout_total: output.stdout.total,
                stderr_at: output.stderr.at,
                stderr_total: output.stderr.total,
            };
            encode(out, &header, &[&output.stdout.bytes], &output.stderr.bytes)
        }
        KeeperEvent::Ended(ended) => {
            let (overflow, stdout): (_, [&[u8]; 2]) = match &ended.stdout {
                Stdout::Whole(bytes) => (None, [bytes, &[]]),
                Stdout::Overflowed { head, tail, total_bytes, file } => {
                    let file = to_bytes(file);
                    (Some(OverflowHeader { head_len: head.len(), total_bytes: *total_bytes, file }), [head, tail])
                }
            };
            let header = EventHeader::Ended(EndedHeader {
                seq: ended.seq,
                status: ended.status,
                start_ms: ended.start_ms,
                end_ms: ended.end_ms,
                duration_us: micros(ended.duration),
                peak_bytes: ended.peak_bytes,
                group_peak_bytes: ended.group_peak_bytes,
                oom_kills: ended.oom_kills,
                is_oom_likely: ended.is_oom_likely,
                user_us: micros(ended.cpu_user),
                system_us: micros(ended.cpu_system),
                stderr_total: ended.stderr_total,
                leftovers_killed: ended.leftovers_killed,
                unkillable: ended.unkillable,
                forced_kill: ended.forced_kill,
                overflow,
                stdout_file: ended.stdout_file.as_ref().map(to_bytes),
            });
            encode(out, &header, &stdout, &ended.stderr_tail)
        }
    }
}

/// Reads an event.
pub(super) fn decode_event(frame: &Frame<'_>) -> Result<KeeperEvent, ProcessError> {
    Ok(match header(frame)? {
        EventHeader::Started { seq, pid, at_ms } => KeeperEvent::Started { seq, pid, at_ms },
        EventHeader::SpawnFailed { seq, error, is_transient } => KeeperEvent::SpawnFailed { seq, error, is_transient },
        EventHeader::Withdrawn { seq } => KeeperEvent::Withdrawn { seq },
        EventHeader::SetupFailed { error } => KeeperEvent::SetupFailed { error },
        EventHeader::Output { seq, stdout_at, stdout_total, stderr_at, stderr_total } => {
            let part = |at, bytes: &[u8], total| Part { at, bytes: bytes.to_vec(), total };
            KeeperEvent::Output(Box::new(Output {
                seq,
                stdout: part(stdout_at, frame.first, stdout_total),
                stderr: part(stderr_at, frame.second, stderr_total),
            }))
        }
        EventHeader::Ended(header) => {
            let stdout = match header.overflow {
                None => Stdout::Whole(frame.first.to_vec()),
                Some(OverflowHeader { head_len, total_bytes, file }) => {
                    let (head, tail) = frame
                        .first
                        .split_at_checked(head_len)
                        .ok_or_else(|| ProcessError::Protocol("a head longer than what was kept".to_owned()))?;
                    let file = to_path(file);
                    Stdout::Overflowed { head: head.to_vec(), tail: tail.to_vec(), total_bytes, file }
                }
            };
            KeeperEvent::Ended(Box::new(Ended {
                seq: header.seq,
                status: header.status,
                start_ms: header.start_ms,
                end_ms: header.end_ms,
                duration: Duration::from_micros(header.duration_us),
                peak_bytes: header.peak_bytes,
                group_peak_bytes: header.group_peak_bytes,
                oom_kills: header.oom_kills,
                is_oom_likely: header.is_oom_likely,
                cpu_user: Duration::from_micros(header.user_us),
                cpu_system: Duration::from_micros(header.system_us),
                stdout,
                stdout_file: header.stdout_file.map(to_path),
                stderr_tail: frame.second.to_vec(),
                stderr_total: header.stderr_total,
                leftovers_killed: header.leftovers_killed,
                unkillable: header.unkillable,
                forced_kill: header.forced_kill,
            }))
        }
    })
}

/// A path need not be UTF-8.
fn to_bytes(file: &Result<PathBuf, String>) -> Result<Vec<u8>, String> {
    file.as_ref().map(|path| path.as_os_str().as_bytes().to_vec()).map_err(Clone::clone)
}

fn to_path(file: Result<Vec<u8>, String>) -> Result<PathBuf, String> {
    file.map(|path| PathBuf::from(OsString::from_vec(path)))
}

fn header<'a, T: Deserialize<'a>>(frame: &Frame<'a>) -> Result<T, ProcessError> {
    serde_json::from_slice(frame.header).map_err(|cause| ProcessError::Protocol(cause.to_string()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::command::RunSpec;
    use super::super::slot_cgroups::{CgroupDirs, Version};
    use super::*;

    fn through_the_wire(event: &KeeperEvent) -> KeeperEvent {
        let mut wire = Vec::new();
        encode_event(&mut wire, event).unwrap();
        decode_event(&frame::decode(&wire).unwrap().unwrap()).unwrap()
    }

    fn ended(stdout: Stdout) -> KeeperEvent {
        KeeperEvent::Ended(Box::new(Ended {
            seq: u64::MAX,
            status: ExitStatus::Signaled(9),
            start_ms: 1,
            end_ms: 2,
            duration: Duration::from_micros(1500),
            peak_bytes: 4096,
            group_peak_bytes: Some(8192),
            oom_kills: 2,
            is_oom_likely: true,
            cpu_user: Duration::from_micros(7),
            cpu_system: Duration::from_micros(8),
            stdout,
            stdout_file: Some(Ok("/tmp/y".into())),
            stderr_tail: vec![0xff, 0, b'\n'],
            stderr_total: 9,
            leftovers_killed: 3,
            unkillable: true,
            forced_kill: true,
        }))
    }

    #[test]
    fn every_event_comes_back_as_it_went() {
        let overflowed = |file| Stdout::Overflowed { head: vec![0, 1], tail: vec![0xff], total_bytes: 1 << 40, file };
        let path = PathBuf::from(OsString::from_vec(b"/tmp/\xff.out".to_vec()));
        for event in [
            KeeperEvent::Started { seq: 1, pid: 2, at_ms: 3 },
            KeeperEvent::SpawnFailed { seq: 1, error: "no such \"file\"".to_owned(), is_transient: true },
            KeeperEvent::Withdrawn { seq: 4 },
            KeeperEvent::SetupFailed { error: "signalfd4 failed".to_owned() },
            KeeperEvent::Output(Box::new(Output {
                seq: 5,
                stdout: Part { at: 1 << 40, bytes: vec![0xff, 0], total: (1 << 40) + 2 },
                stderr: Part { at: 7, bytes: Vec::new(), total: 7 },
            })),
            ended(Stdout::Whole(vec![0xfe, 0])),
            ended(overflowed(Ok(path))),
            ended(overflowed(Err("no space left on device".to_owned()))),
        ] {
            assert_eq!(through_the_wire(&event), event);
        }
    }

    #[test]
    fn every_command_comes_back_as_it_went() {
        let spec = RunSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), OsString::from_vec(b"echo \xff\n".to_vec()), "".into()],
            env: vec![("A".to_owned(), "b=c".to_owned()), ("E".to_owned(), String::new())],
            max_inline: 1,
            head_keep: 2,
            tail_keep: 3,
            stderr_tail_keep: 4,
            overflow_path: "/tmp/x".into(),
            result_dir: Some((1, u64::MAX)),
            memory_limit: 1 << 30,
            process_limit: 7,
            start_by_ms: 8,
        };
        let group = |pids, version| KeeperCommand::Group(CgroupDirs { memory: "/sys/m".into(), pids, version });
        for command in [
            group(None, Version::V2),
            group(Some("/sys/p".into()), Version::V1),
            KeeperCommand::Run { seq: 1, spec: Box::new(spec) },
            KeeperCommand::Terminate { seq: 2, grace_ms: 5000 },
            KeeperCommand::Kill { seq: 3 },
            KeeperCommand::Withdraw { seq: 4 },
            KeeperCommand::Show { seq: 5, stdout_from: Some(u64::MAX), stderr_from: None },
        ] {
            let mut wire = Vec::new();
            encode_command(&mut wire, &command).unwrap();
            assert_eq!(decode_command(&frame::decode(&wire).unwrap().unwrap()).unwrap(), command);
        }
    }
}
