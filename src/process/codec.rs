//! Messages between worker and keeper as bytes: a length (u32, little endian), then the message in the format of `postcard`.
//!
//! Worker and keeper are always the same program: the zygote is `/proc/self/exe` of its worker, also when the file has been replaced by a newer
//! version, keepers are forks of the zygote, and both end with their worker. So messages carry no version.
//!
//! A task can take over its keeper, so the worker trusts no length: a frame has at most [`MAX_FRAME`] bytes, and a message cannot take more memory than
//! its frame has bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ProcessError;

/// Bytes of the length before each message.
const PREFIX: usize = 4;
/// Bytes of the longest message. The largest legitimate one is an `Ended` with an output of `max_inline_output_bytes`, which is 64 MiB at most.
const MAX_FRAME: usize = 128 << 20;

/// What the beginning of a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<T> {
    /// A message, and the bytes that it takes in the buffer.
    Message(T, usize),
    /// A part of a message: this many bytes in all are needed before it can be decoded.
    Needs(usize),
}

/// Appends a message. On an error nothing is appended.
pub(super) fn encode(out: &mut Vec<u8>, message: &impl Serialize) -> Result<(), ProcessError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    let written = postcard::to_io(message, &mut *out).map(|_| ()).map_err(|cause| cause.to_string());
    let len = out.len() - start - PREFIX;
    let prefix = u32::try_from(len).ok().filter(|_| len <= MAX_FRAME);
    match (written, prefix) {
        (Ok(()), Some(prefix)) => {
            out[start..start + PREFIX].copy_from_slice(&prefix.to_le_bytes());
            Ok(())
        }
        (written, _) => {
            out.truncate(start);
            let too_long = || format!("a message of {len} bytes is too long");
            Err(ProcessError::Protocol(written.err().unwrap_or_else(too_long)))
        }
    }
}

/// Decodes the first message of a buffer.
pub(super) fn decode<T: DeserializeOwned>(buffer: &[u8]) -> Result<Decoded<T>, ProcessError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX>() else {
        return Ok(Decoded::Needs(PREFIX));
    };
    let len = u32::from_le_bytes(*prefix) as usize;
    if len > MAX_FRAME {
        return Err(ProcessError::Protocol(format!("a message of {len} bytes is too long")));
    }
    let Some(frame) = rest.get(..len) else {
        return Ok(Decoded::Needs(PREFIX + len));
    };
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Ok(Decoded::Message(message, PREFIX + len)),
        Ok((_, rest)) => Err(ProcessError::Protocol(format!("{} bytes after the end of a message", rest.len()))),
        Err(cause) => Err(ProcessError::Protocol(cause.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::protocol::{
        CgroupDirs, Ended, ExitStatus, KeeperCommand, KeeperEvent, Output, Part, RunSpec, Stdout, Version,
    };
    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(message: &T) -> T {
        let mut wire = Vec::new();
        encode(&mut wire, message).unwrap();
        let whole = wire.len();
        wire.extend_from_slice(b"next");
        match decode(&wire).unwrap() {
            Decoded::Message(message, len) => {
                assert_eq!(len, whole);
                message
            }
            Decoded::Needs(needed) => panic!("{needed} bytes needed of {whole}"),
        }
    }

    fn ended(stdout: Stdout, stderr_tail: Vec<u8>) -> KeeperEvent {
        KeeperEvent::Ended(Box::new(Ended {
            key: u64::MAX,
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
            stderr_tail,
            stderr_total: 9,
            leftovers_killed: 3,
            unkillable: true,
            forced_kill: true,
            scratch_left: None,
        }))
    }

    fn run(program: PathBuf, args: Vec<OsString>) -> KeeperCommand {
        let spec = RunSpec {
            program,
            args,
            env: vec![("A".to_owned(), "b=c".to_owned()), ("E".to_owned(), String::new())],
            max_inline: 1,
            head_keep: 2,
            tail_keep: 3,
            stderr_tail_keep: 4,
            overflow_path: OsString::from_vec(b"/tmp/\xff".to_vec()).into(),
            result_dir: Some((1, u64::MAX)),
            memory_limit: 1 << 30,
            process_limit: 7,
            start_by_ms: 8,
            ..RunSpec::default()
        };
        KeeperCommand::Run { key: 1, spec: Box::new(spec) }
    }

    #[test]
    fn every_event_survives_the_round_trip() {
        let overflowed = |file| Stdout::Overflowed { head: vec![0, 1], tail: vec![0xff], total_bytes: 1 << 40, file };
        let path = PathBuf::from(OsString::from_vec(b"/tmp/\xff.out".to_vec()));
        for event in [
            KeeperEvent::Started { key: 1, pid: 2, at_ms: 3 },
            KeeperEvent::SpawnFailed { key: 1, error: "no such \"file\"".to_owned(), is_node_fault: true },
            KeeperEvent::Recalled { key: 4 },
            KeeperEvent::SetupFailed { error: "signalfd4 failed".to_owned() },
            KeeperEvent::Output(Box::new(Output {
                key: 5,
                stdout: Part { at: 1 << 40, bytes: vec![0xff, 0], total: (1 << 40) + 2 },
                stderr: Part { at: 7, bytes: Vec::new(), total: 7 },
            })),
            ended(Stdout::Whole(vec![0xfe, 0]), vec![0xff, 0, b'\n']),
            ended(overflowed(Ok(path)), Vec::new()),
            ended(overflowed(Err("no space left on device".to_owned())), vec![0]),
        ] {
            assert_eq!(round_trip(&event), event);
        }
    }

    #[test]
    fn every_command_survives_the_round_trip() {
        let group = |pids, version| KeeperCommand::Group(CgroupDirs { memory: "/sys/m".into(), pids, version });
        for command in [
            group(None, Version::V2),
            group(Some("/sys/p".into()), Version::V1),
            run("/bin/sh".into(), vec!["-c".into(), OsString::from_vec(b"echo \xff\n".to_vec()), "".into()]),
            KeeperCommand::Terminate { key: 2, grace_ms: 5000 },
            KeeperCommand::Kill { key: 3 },
            KeeperCommand::Recall { key: 4 },
            KeeperCommand::Show { key: 5, stdout_from: Some(u64::MAX), stderr_from: None },
        ] {
            assert_eq!(round_trip(&command), command);
        }
    }

    proptest! {
        #[test]
        fn outputs_of_any_bytes_survive(stdout in prop::collection::vec(any::<u8>(), 0..300),
                                        stderr in prop::collection::vec(any::<u8>(), 0..300)) {
            let event = ended(Stdout::Whole(stdout), stderr);
            prop_assert_eq!(round_trip(&event), event);
        }

        #[test]
        fn arguments_of_any_bytes_survive(program in prop::collection::vec(any::<u8>(), 0..20),
                                          args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let args = args.into_iter().map(OsString::from_vec).collect();
            let command = run(OsString::from_vec(program).into(), args);
            prop_assert_eq!(round_trip(&command), command);
        }

        #[test]
        fn cut_message_needs_more_bytes(cut in 0usize..400) {
            let mut wire = Vec::new();
            encode(&mut wire, &ended(Stdout::Whole(b"some output".to_vec()), b"and errors".to_vec())).unwrap();
            let cut = cut.min(wire.len() - 1);
            match decode::<KeeperEvent>(&wire[..cut]).unwrap() {
                Decoded::Needs(needed) => prop_assert!(needed > cut && needed <= wire.len()),
                Decoded::Message(event, _) => prop_assert!(false, "{event:?}"),
            }
        }

        #[test]
        fn any_bytes_are_an_event_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut wire = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
            wire.extend_from_slice(&bytes);
            if let Ok(decoded) = decode::<KeeperEvent>(&wire) {
                prop_assert!(matches!(decoded, Decoded::Message(_, len) if len == wire.len()));
            }
        }
    }

    #[test]
    fn too_long_message_is_refused_before_it_is_read() {
        assert!(decode::<KeeperEvent>(&[0xff; PREFIX]).is_err());
        let longest = u32::try_from(MAX_FRAME).unwrap();
        assert!(matches!(decode::<KeeperEvent>(&longest.to_le_bytes()), Ok(Decoded::Needs(_))));
    }

    #[test]
    fn too_long_message_is_not_sent() {
        let mut wire = b"before".to_vec();
        let event = ended(Stdout::Whole(vec![0; MAX_FRAME]), Vec::new());
        assert!(encode(&mut wire, &event).is_err());
        assert_eq!(wire, b"before");
    }

    #[test]
    fn bytes_after_the_message_are_refused() {
        let mut wire = Vec::new();
        encode(&mut wire, &KeeperCommand::Kill { key: 3 }).unwrap();
        wire[0] += 1;
        wire.push(0);
        assert!(decode::<KeeperCommand>(&wire).is_err());
    }
}
