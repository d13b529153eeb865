//! A stream of gzip that is put together from frames compressed apart, so that a frame is compressed once for all who get it: each ends at a
//! byte, and none refers to another.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// The beginning of every stream: no name, no time, no flags.
pub(super) const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block.
const LAST: [u8; 2] = [3, 0];

/// A compressed frame, and what the end of the stream has to know of it.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Bytes,
    crc: Crc,
}

impl Packed {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(text);
        let mut squeeze = Compress::new(Compression::default(), false);
        // Room for what cannot be compressed, so that one call takes all of it.
        let mut bytes = Vec::with_capacity(text.len() + text.len() / 1000 + 64);
        // It fails on wrong use alone; a frame that is not whole would spoil the stream, so that none is sent then.
        if squeeze.compress_vec(text, &mut bytes, FlushCompress::Sync).is_err()
            || squeeze.total_in() < text.len() as u64
        {
            return Self { bytes: Bytes::new(), crc: Crc::new() };
        }
        Self { bytes: bytes.into(), crc }
    }
}

/// What has been sent of one stream.
#[derive(Debug, Default)]
pub(super) struct Gzip {
    crc: Crc,
}

impl Gzip {
    /// Counts a frame that is sent.
    pub(super) fn send(&mut self, frame: &Packed) -> Bytes {
        self.crc.combine(&frame.crc);
        frame.bytes.clone()
    }

    /// The end of the stream.
    pub(super) fn end(&self) -> Bytes {
        [&LAST[..], &self.crc.sum().to_le_bytes(), &self.crc.amount().to_le_bytes()].concat().into()
    }
}

/// Whether who asks takes gzip.
pub(super) fn is_taken(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::http::HeaderValue;
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn frames_compressed_apart_are_one_valid_stream() {
        let random: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let frames = [b"data: one\n\n".to_vec(), Vec::new(), random, b"data: one\n\n".repeat(1000)];
        let packed: Vec<Packed> = frames.iter().map(|frame| Packed::new(frame)).collect();
        // Two that came at different times.
        for from in [0, 2] {
            let mut gzip = Gzip::default();
            let mut stream = HEADER.to_vec();
            for frame in &packed[from..] {
                stream.extend(gzip.send(frame));
            }
            stream.extend(gzip.end());
            let mut text = Vec::new();
            GzDecoder::new(&stream[..]).read_to_end(&mut text).expect("a whole stream");
            assert_eq!(text, frames[from..].concat());
        }
        assert!(packed[3].bytes.len() < 200, "{} bytes", packed[3].bytes.len());
    }

    #[test]
    fn only_who_asks_for_gzip_gets_it() {
        let asks = |value: &'static str| {
            is_taken(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(
            asks("gzip") && asks("br, GZIP;q=0.5") && !asks("gzip;q=0") && !asks("br") && !is_taken(&HeaderMap::new())
        );
    }
}
