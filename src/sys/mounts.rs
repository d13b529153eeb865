//! Parses the mount table, `/proc/PID/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// The fields of a mount that this program needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the file system that is mounted: `/`, except in containers and for bind mounts.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
    /// The type of the file system; for FUSE with its program: `fuse.sshfs`.
    pub kind: String,
    /// Options of the file system, separated by commas. Those of a cgroup v1 contain its controllers.
    pub options: String,
}

impl Mount {
    /// Whether the file system has this option.
    #[must_use]
    pub fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }
}

/// All mounts in the order of the table: of two on one mount point, the later one hides the other. Invalid lines are skipped.
#[must_use]
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    // Parsed as bytes, because one mount point that is not UTF-8 must not make all others unreadable.
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Parses `36 35 98:0 ROOT POINT rw,noatime master:1 - KIND SOURCE OPTIONS`. The number of fields before the hyphen varies.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = after.next()?;
    let options = after.nth(1).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let path = |bytes| PathBuf::from(OsString::from_vec(unescaped(bytes)));
    Some(Mount { root: path(root), point: path(point), kind: text(unescaped(kind)), options: text(unescaped(options)) })
}

/// A field without its escapes: blanks, tabs, line ends and backslashes are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        match tail.first_chunk().and_then(octal).filter(|_| byte == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    bytes
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    let value = digits
        .iter()
        .try_fold(0, |value, digit| matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0')));
    u8::try_from(value?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn escapes_in_octal_are_undone() {
        for (written, meant) in [
            (r"/mnt/a\040b", "/mnt/a b"),
            (r"/mnt/a\011b\012c\134d", "/mnt/a\tb\nc\\d"),
            // A back-slash and digits that are in the name itself.
            (r"/mnt/a\134040b", r"/mnt/a\040b"),
            (r"\040\040", "  "),
            (r"/mnt/\043", "/mnt/#"),
            // No escapes: the kernel writes none of these.
            (r"/mnt/a\04", r"/mnt/a\04"),
            (r"/mnt/a\08x", r"/mnt/a\08x"),
            (r"/mnt/a\+12", r"/mnt/a\+12"),
            (r"/mnt/a\777", r"/mnt/a\777"),
            (r"/mnt/a\", r"/mnt/a\"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&unescaped(written.as_bytes())), meant, "{written}");
        }
        assert_eq!(unescaped(br"\377\303\274"), b"\xff\xc3\xbc");
    }

    #[test]
    fn fields_are_found_whatever_stands_between_them() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            40 22 0:35 /x\\040y /home/ann/f\\040r rw,nosuid shared:3 master:1 - fuse.sshfs ann@node0:/a\\040-\\040b rw,user_id=0\n\
            41 22 0:36 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu,cpuacct\n\
            nonsense\n\
            42 22 0:37 / /no/type rw -\n\
            43 22 0:38 / /last rw - tmpfs tmpfs\n";
        let mounts = parse(table);
        let shown: Vec<_> = mounts
            .iter()
            .map(|it| (it.root.to_str(), it.point.to_str(), it.kind.as_str(), it.options.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (Some("/"), Some("/"), "ext4", "rw"),
                (Some("/x y"), Some("/home/ann/f r"), "fuse.sshfs", "rw,user_id=0"),
                (Some("/"), Some("/sys/fs/cgroup/cpu"), "cgroup", "rw,cpu,cpuacct"),
                (Some("/"), Some("/last"), "tmpfs", ""),
            ]
        );
        assert!(mounts[2].has_option("cpu") && !mounts[2].has_option("cpua") && !mounts[3].has_option("rw"));
    }

    #[test]
    fn mount_point_in_another_encoding_hides_no_other() {
        let mounts = parse(b"1 0 8:1 / /mnt/\xe4 rw - vfat /dev/sdb rw\n2 0 0:1 / /b rw - cgroup2 none rw\n");
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point.as_os_str().as_bytes(), b"/mnt/\xe4");
        assert!(parse(b"").is_empty());
    }
}
