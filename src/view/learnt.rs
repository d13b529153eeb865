//! The table of `distcomp-status learnt`: how much memory the tasks of each family have been seen to need.

use super::safe_text::safe;
use super::table::{number, table, text};
use super::text::count;
use crate::model::Bytes;
use crate::model::learnt::Family;

/// The families, those with most tasks first.
#[must_use]
pub fn learnt(families: &[Family], width: usize) -> String {
    if families.is_empty() {
        return "no task has finished with a measured peak of memory\n".to_owned();
    }
    let columns = [
        text("family"),
        number("tasks"),
        number("declared GB"),
        number("p50"),
        number("p99"),
        number("most"),
        text("suggestion"),
    ];
    let rows = families.iter().map(|family| {
        let peaks = &family.peaks;
        vec![
            safe(&family.name).into_owned(),
            count(peaks.tasks),
            peaks.declared.map_or_else(|| "auto".to_owned(), short),
            short(peaks.percentile(50)),
            short(peaks.percentile(99)),
            short(peaks.most),
            peaks.advice().map_or_else(String::new, |mem| format!("--mem {}", short(mem))),
        ]
    });
    table(&columns, rows.collect(), width)
}

/// With as many digits as tell it well: `0.35`, `1.6`, `12`.
fn short(mem: Bytes) -> String {
    let gib = mem.as_gib();
    let text = if gib < 1.0 {
        format!("{gib:.2}")
    } else if gib < 10.0 {
        format!("{gib:.1}")
    } else {
        format!("{gib:.0}")
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::learnt::Peaks;

    #[test]
    fn table_suggests_what_would_do() {
        let family =
            |name: &str, text: String| Family { name: name.to_owned(), peaks: Peaks::parse(&text).expect("peaks") };
        let families = [
            family("cachesim", format!("1390 {} {} 30:1000,31:390", 1_700_000_000, 8_u64 << 30)),
            family("train", format!("3 {} auto 31:3", 1_500_000_000)),
        ];
        let page = anstream::adapter::strip_str(&learnt(&families, 100)).to_string();
        let lines: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["family", "tasks", "declared", "GB", "p50", "p99", "most", "suggestion"]);
        assert_eq!(lines[1], ["cachesim", "1,390", "8", "1.3", "1.6", "1.6", "--mem", "1.9"]);
        assert_eq!(lines[2], ["train", "3", "auto", "1.4", "1.4", "1.4"]);
        assert!(learnt(&[], 80).starts_with("no task"));
    }
}
