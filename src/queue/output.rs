//! The messages between a worker and those who follow the output of a task: a request, and answers with bytes of both streams.

use serde::{Deserialize, Serialize};

use super::error::QueueError;
use crate::model::TaskId;

/// A request is shorter than this.
const LONGEST: usize = 1024;

/// What a follower asks of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRequest {
    /// The task.
    pub id: TaskId,
    /// Where to answer, below [`Key::Output`](super::keys::Key::Output): 16 hex digits.
    pub channel: String,
    /// Position in stdout; `None`: near its end.
    pub stdout_from: Option<u64>,
    /// Position in stderr; `None`: near its end.
    pub stderr_from: Option<u64>,
}

impl OutputRequest {
    /// Reads a request; one that names another kind of channel is none.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        let request: Self = serde_json::from_slice(json.get(..LONGEST).is_none().then_some(json)?).ok()?;
        let is_token = request.channel.len() == 16 && request.channel.bytes().all(|b| b.is_ascii_hexdigit());
        is_token.then_some(request)
    }
}

/// A part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputChunk {
    /// Position of its first byte.
    pub at: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Length of the stream so far.
    pub total: u64,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputMessage {
    /// Of stdout.
    pub stdout: OutputChunk,
    /// Of stderr.
    pub stderr: OutputChunk,
    /// The attempt has ended, and this is the last.
    pub is_over: bool,
}

#[derive(Serialize, Deserialize)]
struct OutputHeader {
    /// Position, number of bytes here, length of the stream.
    stdout: (u64, usize, u64),
    stderr: (u64, usize, u64),
    over: bool,
}

impl OutputMessage {
    /// A line of JSON, then the bytes of both streams.
    pub(super) fn encode(&self) -> Result<Vec<u8>, QueueError> {
        let part = |chunk: &OutputChunk| (chunk.at, chunk.bytes.len(), chunk.total);
        let head = OutputHeader { stdout: part(&self.stdout), stderr: part(&self.stderr), over: self.is_over };
        let mut out = serde_json::to_vec(&head).map_err(|error| QueueError::Protocol(error.to_string()))?;
        out.push(b'\n');
        out.extend_from_slice(&self.stdout.bytes);
        out.extend_from_slice(&self.stderr.bytes);
        Ok(out)
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let end = payload.iter().position(|byte| *byte == b'\n')?;
        let head: OutputHeader = serde_json::from_slice(&payload[..end]).ok()?;
        let (stdout, stderr) = payload[end + 1..].split_at_checked(head.stdout.1)?;
        // Whoever may publish may write anything: a part lies within its stream, and so no position runs over.
        let is_sound =
            |(at, length, total): (u64, usize, u64)| at.checked_add(length as u64).is_some_and(|end| end <= total);
        if stderr.len() != head.stderr.1 || !is_sound(head.stdout) || !is_sound(head.stderr) {
            return None;
        }
        let chunk = |(at, _, total), bytes: &[u8]| OutputChunk { at, bytes: bytes.to_vec(), total };
        Some(Self { stdout: chunk(head.stdout, stdout), stderr: chunk(head.stderr, stderr), is_over: head.over })
    }
}

/// Feeds bytes to both ends of a conversation, as anybody who may publish could send them.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Some(request) = OutputRequest::parse(bytes) {
        assert!(request.channel.len() == 16, "an answer goes nowhere else");
    }
    if let Some(message) = OutputMessage::parse(bytes) {
        let Ok(again) = message.encode() else { unreachable!("what was read can be written") };
        assert_eq!(OutputMessage::parse(&again), Some(message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_went() {
        let chunk = |at, bytes: &[u8]| OutputChunk { at, bytes: bytes.to_vec(), total: at + 100 };
        for is_over in [false, true] {
            let message = OutputMessage { stdout: chunk(1 << 40, b"\n\xff\0"), stderr: chunk(0, b""), is_over };
            assert_eq!(OutputMessage::parse(&message.encode().unwrap()), Some(message));
        }
        let placed =
            |at: u64, total: u64| format!("{{\"stdout\":[{at},3,{total}],\"stderr\":[0,0,0],\"over\":false}}\nabc");
        assert!(OutputMessage::parse(placed(4, 7).as_bytes()).is_some());
        let outside = [placed(5, 7), placed(u64::MAX, u64::MAX), placed(u64::MAX - 1, 0)];
        let broken = ["", "\n", "{}\n", "{\"stdout\":[0,9,9],\"stderr\":[0,0,0],\"over\":false}\nabc"];
        for text in broken.into_iter().chain(outside.iter().map(String::as_str)) {
            assert_eq!(OutputMessage::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_request_may_name_no_channel_but_one_of_its_own_kind() {
        let request = |channel: &str| {
            let id = TaskId::of("x");
            OutputRequest { id, channel: channel.to_owned(), stdout_from: Some(0), stderr_from: None }
        };
        let through = |channel: &str| OutputRequest::parse(&serde_json::to_vec(&request(channel)).unwrap());
        assert_eq!(through("0123456789abcdef"), Some(request("0123456789abcdef")));
        for channel in ["", "wake", "0123456789abcdeX", "../../wake"] {
            assert_eq!(through(channel), None, "{channel:?}");
        }
    }
}
