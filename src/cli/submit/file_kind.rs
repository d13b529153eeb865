//! Recognises files that are not task files by their first bytes, to give one message instead of thousands about lines.

/// Bytes that are looked at.
pub(super) const LOOKED_AT: usize = 512;

/// How some kinds of file begin, what they are, and what makes lines of them.
const KINDS: [(&[u8], &str, &str); 12] = [
    (b"\x1f\x8b", "compressed (gzip)", "pass it through zcat, and give - as FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "pass it through zstdcat, and give - as FILE"),
    (b"BZh", "compressed (bzip2)", "pass it through bzcat, and give - as FILE"),
    (b"\xfd7zXZ\0", "compressed (xz)", "pass it through xzcat, and give - as FILE"),
    (b"\x04\x22\x4d\x18", "compressed (lz4)", "pass it through lz4cat, and give - as FILE"),
    (b"PK\x03\x04", "a zip archive, or a file of an office program", "unpack it, or export its lines as text"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"\x7fELF", "a program", "give a file with one task a line"),
    (b"%PDF", "a PDF document", "give a file with one task a line"),
    (b"SQLite format 3\0", "an SQLite database", "give a file with one task a line"),
    (b"\xff\xfe", "UTF-16 or UTF-32 text", "pass it through `iconv -f UTF-16 -t UTF-8`, and give - as FILE"),
    (b"\xfe\xff", "UTF-16 text", "pass it through `iconv -f UTF-16 -t UTF-8`, and give - as FILE"),
];

/// What is wrong with a file that begins so, as words after its name, and what to do; `None` for one that may be text.
pub(super) fn not_text(head: &[u8]) -> Option<String> {
    if let Some((_, what, then)) = KINDS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Some(format!("is {what}, not a task file: {then}"));
    }
    // Without its mark UTF-16 shows by the half of its bytes that is zero; no task line holds one.
    let zeros = head.iter().filter(|byte| **byte == 0).count();
    (zeros * 4 > head.len()).then(|| {
        "holds many zero bytes: it is UTF-16 text (iconv -f UTF-16LE -t UTF-8 makes UTF-8 of it) or no text at all"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_named() {
        for (head, word) in [
            (&b"\x1f\x8b\x08"[..], "zcat"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"BZh91AY", "bzip2"),
            (b"\xfd7zXZ\0\0", "xz"),
            (b"PK\x03\x04", "zip"),
            (b"\x7fELF\x02", "program"),
            (b"\xff\xfes\0h\0", "iconv"),
            (b"s\0h\0e\0l\0l\0:\0", "UTF-16"),
        ] {
            assert!(not_text(head).is_some_and(|text| text.contains(word)), "{word}");
        }
    }

    #[test]
    fn text_is_left_alone() {
        for head in
            [&b""[..], b"shell:1:1:1:a\n", b"\xef\xbb\xbfshell:1:1:1:a", b"# PK", b"\xe4\xf6", b"B", b"a\0bcdefgh"]
        {
            assert_eq!(not_text(head), None);
        }
    }
}
