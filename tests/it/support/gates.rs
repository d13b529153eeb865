//! I9, no task starts before its gate is open, and I10, the counters of batches equal their members: judged by what a picture has of batches, and from it alone.
use std::collections::{BTreeMap, BTreeSet};

/// What a picture has of batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    /// Line → flag and names.
    members: BTreeMap<Vec<u8>, (char, Vec<String>)>,
    counters: BTreeMap<String, i64>,
    waived: BTreeSet<String>,
    /// Whether the counters are whole: not while they are counted anew.
    is_whole: bool,
}

/// Every level of every name, each once.
fn levels(names: &[String]) -> BTreeSet<String> {
    let of = |name: &String| {
        let mut ends: Vec<usize> = name.match_indices('/').map(|(at, _)| at).collect();
        ends.push(name.len());
        ends.into_iter().map(|end| name[..end].to_owned()).collect::<Vec<_>>()
    };
    names.iter().flat_map(of).collect()
}

impl Batches {
    /// The hashes that [`Self::new`] takes, in order.
    pub(crate) const KEYS: [&str; 3] = ["distcomp:member", "distcomp:batch:n", "distcomp:batch:waived"];

    pub(crate) fn new(
        members: BTreeMap<Vec<u8>, String>,
        counters: BTreeMap<String, i64>,
        waived: BTreeMap<String, String>,
        counts: Option<String>,
    ) -> Self {
        let read = |(line, value): (Vec<u8>, String)| {
            let mut parts = value.split(' ');
            let flag = parts.next()?.chars().next()?;
            let names = parts.next()?.split(',').map(str::to_owned).collect();
            Some((line, (flag, names)))
        };
        let members = members.into_iter().filter_map(read).collect();
        Self { members, counters, waived: waived.into_keys().collect(), is_whole: counts.as_deref() == Some("1") }
    }

    /// Names whose counters are not those of their members.
    pub(crate) fn miscounted(&self) -> Vec<String> {
        if !self.is_whole {
            return Vec::new();
        }
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        for (flag, names) in self.members.values() {
            for level in levels(names) {
                *counted.entry(format!("{level}!")).or_default() += i64::from(matches!(flag, 'x' | 'g'));
                *counted.entry(format!("{level}~")).or_default() += i64::from(*flag == 'g');
                *counted.entry(level).or_default() += i64::from(*flag == 'o');
            }
        }
        let is_count = |name: &&String| !name.ends_with(['=', '+']);
        let names: BTreeSet<&String> = counted.keys().chain(self.counters.keys()).filter(is_count).collect();
        let of = |counts: &BTreeMap<String, i64>, name: &String| counts.get(name).copied().unwrap_or(0);
        names.into_iter().filter(|name| of(&counted, name) != of(&self.counters, name)).cloned().collect()
    }

    /// Whether a gate keeps this line from starting.
    pub(crate) fn keep(&self, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let needs = text.split_once(':').and_then(|(kind, _)| kind.split_once(',')).map_or("", |(_, needs)| needs);
        needs.split(',').filter_map(|need| need.split_once('=')).any(|(key, name)| match key {
            "after" => !self.is_open(name, false),
            "afterany" => !self.is_open(name, true),
            _ => false,
        })
    }

    fn is_open(&self, name: &str, is_any: bool) -> bool {
        if self.waived.contains(name) {
            return true;
        }
        let of = |name: String| self.counters.get(&name).copied();
        let top = name.split('/').next().unwrap_or(name);
        of(name.to_owned()) == Some(0)
            && of(format!("{top}+")).unwrap_or(0) <= 0
            && (is_any || of(format!("{name}!")).unwrap_or(0) <= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(members: &[(&str, &str)], counters: &[(&str, i64)]) -> Batches {
        let members = members.iter().map(|(line, value)| (line.as_bytes().to_vec(), (*value).to_owned())).collect();
        let counters = counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Batches::new(members, counters, BTreeMap::new(), Some("1".to_owned()))
    }

    #[test]
    fn counters_that_differ_from_their_members_are_named() {
        let members = [("a", "o s1/x t"), ("b", "d s1"), ("c", "x s1/x,s2")];
        let counters = [("s1", 1), ("s1/x", 1), ("s1!", 1), ("s1/x!", 1), ("s2", 0), ("s2!", 1), ("s1=", 3)];
        assert_eq!(picture(&members, &counters).miscounted(), [""; 0]);
        assert_eq!(picture(&members[1..], &counters).miscounted(), ["s1", "s1/x"]);
        assert_eq!(picture(&members, &counters[1..]).miscounted(), ["s1"]);
    }

    #[test]
    fn line_is_kept_while_what_it_waits_for_is_not_over() {
        let line = b"shell,after=s1/x:0:0:1:true";
        for (counters, keeps) in [
            (&[][..], true),
            (&[("s1/x", 1)], true),
            (&[("s1/x", 0)], false),
            (&[("s1/x", 0), ("s1/x!", 1)], true),
            (&[("s1/x", 0), ("s1+", 1)], true),
        ] {
            assert_eq!(picture(&[], counters).keep(line), keeps, "{counters:?}");
        }
        assert!(!picture(&[], &[("s1/x", 0), ("s1/x!", 1)]).keep(b"shell,afterany=s1/x:0:0:1:true"));
        assert!(!picture(&[], &[]).keep(b"shell:0:0:1:after=s1"));
    }
}
