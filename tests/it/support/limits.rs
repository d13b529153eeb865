//! I11, no picture shows more of a limit in progress than it allows: judged by the lines in progress and what the limits are, not by what counts against them.
use std::collections::BTreeMap;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the limits are: name → `MAX` or `MAX/PER_NODE`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits(BTreeMap<String, String>);

/// The limits that a line names.
fn named(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    let needs = text.split_once(':').and_then(|(kind, _)| kind.split_once(',')).map_or("", |(_, needs)| needs);
    needs.split(',').filter_map(|need| need.strip_prefix("limit=")).map(str::to_owned).collect()
}

impl Limits {
    pub(crate) const KEY: &str = "distcomp:limits";

    pub(crate) fn new(limits: BTreeMap<String, String>) -> Self {
        Self(limits)
    }

    /// Lines that have started since `before`, although with them more of a limit are in progress than it allows. A limit that was changed in between is not
    /// judged: what started under the old one goes on.
    pub(crate) fn exceeded(&self, in_progress: &Rows, before: &Self, was_in_progress: &Rows) -> Vec<Vec<u8>> {
        let mut by_name: BTreeMap<String, Vec<&Vec<u8>>> = BTreeMap::new();
        for line in in_progress.keys() {
            for name in named(line) {
                by_name.entry(name).or_default().push(line);
            }
        }
        let mut wrong = Vec::new();
        for (name, lines) in by_name {
            let (Some(now), Some(then)) = (self.0.get(&name), before.0.get(&name)) else { continue };
            let most: usize = now.split('/').next().and_then(|most| most.parse().ok()).unwrap_or(0);
            if now == then && lines.len() > most {
                wrong.extend(lines.into_iter().filter(|line| !was_in_progress.contains_key(*line)).cloned());
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lines: &[&str]) -> Rows {
        lines.iter().map(|line| (line.as_bytes().to_vec(), b"w".to_vec())).collect()
    }

    fn limits(disk: &str) -> Limits {
        Limits::new(BTreeMap::from([("disk".to_owned(), disk.to_owned())]))
    }

    #[test]
    fn what_starts_beyond_a_limit_is_named() {
        let [a, b, c] = ["shell,limit=disk:0:0:1:a", "shell,gpus=1,limit=disk:0:0:1:b", "shell:0:0:1:limit=disk"];
        let exceeded = |most: &str, now: &[&str], then: &str, was: &[&str]| {
            limits(most).exceeded(&rows(now), &limits(then), &rows(was))
        };
        assert_eq!(exceeded("2", &[a, b, c], "2", &[a, c]), [b""; 0], "two of two");
        assert_eq!(exceeded("1", &[a, b, c], "1", &[a, c]), [b.as_bytes()]);
        assert_eq!(exceeded("1/1", &[a, b], "1/1", &[]), [b.as_bytes(), a.as_bytes()]);
        assert_eq!(exceeded("1", &[a, b], "2", &[a]), [b""; 0], "the limit was lowered a moment ago");
        assert_eq!(exceeded("1", &[a, b], "1", &[a, b]), [b""; 0], "they run since it was higher");
    }
}
