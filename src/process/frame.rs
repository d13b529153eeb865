//! Frames on the socket between worker and keeper: three lengths (u32, little endian), a JSON header and two runs of raw bytes.
//!
//! Output is bytes of any kind and may be a mebibyte, so it does not go through JSON.

use serde::Serialize;

use super::ProcessError;

/// Bytes of the three lengths.
const PREFIX: usize = 12;
/// A longer header cannot be ours: it holds numbers and two paths at most.
const MAX_HEADER: usize = 1 << 20;

/// One frame, borrowed from the buffer it arrived in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) header: &'a [u8],
    pub(super) first: &'a [u8],
    pub(super) second: &'a [u8],
    /// Length of the whole frame: what to drop from the buffer afterwards.
    pub(super) len: usize,
}

/// Appends one frame. `first` is given in pieces that are joined.
pub(super) fn encode(
    out: &mut Vec<u8>,
    header: &impl Serialize,
    first: &[&[u8]],
    second: &[u8],
) -> Result<(), ProcessError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    if let Err(cause) = serde_json::to_writer(&mut *out, header) {
        out.truncate(start);
        return Err(ProcessError::Protocol(cause.to_string()));
    }
    let header_len = out.len() - start - PREFIX;
    let first_len: usize = first.iter().map(|piece| piece.len()).sum();
    for (index, len) in [header_len, first_len, second.len()].into_iter().enumerate() {
        let Ok(len) = u32::try_from(len) else {
            out.truncate(start);
            return Err(ProcessError::Protocol(format!("a part of {len} bytes is too long")));
        };
        out[start + 4 * index..][..4].copy_from_slice(&len.to_le_bytes());
    }
    for piece in first {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(second);
    Ok(())
}

/// The first frame of `buffer`, or `Err(n)` in the inner result when at least `n` bytes in all are needed before there is one.
pub(super) fn decode(buffer: &[u8]) -> Result<Result<Frame<'_>, usize>, ProcessError> {
    let Some((prefix, _)) = buffer.split_at_checked(PREFIX) else {
        return Ok(Err(PREFIX));
    };
    let length = |index: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&prefix[4 * index..][..4]);
        u32::from_le_bytes(bytes) as usize
    };
    let (header_len, first_len, second_len) = (length(0), length(1), length(2));
    if header_len > MAX_HEADER {
        return Err(ProcessError::Protocol(format!("a header of {header_len} bytes")));
    }
    let len = PREFIX + header_len + first_len + second_len;
    let Some(body) = buffer.get(PREFIX..len) else {
        return Ok(Err(len));
    };
    let (header, rest) = body.split_at(header_len);
    let (first, second) = rest.split_at(first_len);
    Ok(Ok(Frame { header, first, second, len }))
}

/// Appends `item` with its length before it: byte strings of any content, in a row.
pub(super) fn pack(out: &mut Vec<u8>, item: &[&[u8]]) {
    let len: usize = item.iter().map(|piece| piece.len()).sum();
    // A longer one cannot be an argument of a process either; `encode` refuses the frame.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    for piece in item {
        out.extend_from_slice(piece);
    }
}

/// Takes apart what [`pack`] put in a row.
pub(super) fn unpack(mut bytes: &[u8]) -> Result<Vec<&[u8]>, ProcessError> {
    let mut items = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let Some((item, rest)) = rest.split_at_checked(len) else { break };
        items.push(item);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(items) } else { Err(ProcessError::Protocol("a list that ends in the middle".to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_comes_back_as_it_went(header in ".{0,60}", first in prop::collection::vec(any::<u8>(), 0..300),
                                         second in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut wire = Vec::new();
            encode(&mut wire, &header, &[&first[..first.len() / 2], &first[first.len() / 2..]], &second).unwrap();
            let whole = wire.len();
            wire.extend_from_slice(b"next");
            let frame = decode(&wire).unwrap().unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(frame.header).unwrap(), header);
            prop_assert_eq!(frame.first, first);
            prop_assert_eq!(frame.second, second);
            prop_assert_eq!(frame.len, whole);
        }

        #[test]
        fn a_cut_frame_asks_for_more(cut in 0usize..40) {
            let mut wire = Vec::new();
            encode(&mut wire, &"header", &[b"some output"], b"and errors").unwrap();
            let cut = cut.min(wire.len() - 1);
            let needed = decode(&wire[..cut]).unwrap().unwrap_err();
            prop_assert!(needed > cut && needed <= wire.len());
        }

        #[test]
        fn a_list_comes_back_as_it_went(items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let mut packed = Vec::new();
            for item in &items {
                pack(&mut packed, &[item]);
            }
            prop_assert_eq!(unpack(&packed).unwrap(), items);
        }
    }

    #[test]
    fn an_absurd_header_is_refused_before_memory_is_taken_for_it() {
        assert!(decode(&[0xff; 12]).is_err());
    }

    #[test]
    fn a_list_cut_in_the_middle_is_refused() {
        assert!(unpack(&[3, 0, 0, 0, b'a']).is_err());
    }
}
