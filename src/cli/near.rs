//! The known name that somebody may have meant by an unknown one.

/// Names less alike than this are no slips of the finger.
const ALIKE: f64 = 0.5;

/// The known name that is closest by edit distance, unless none is close: what `conf.json` suggests for its keys goes by the same measure.
pub(crate) fn nearest<'a>(text: &str, known: &'a [String]) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&text, &name.to_ascii_lowercase());
    let scored = known.iter().map(|name| (likeness(name), name.as_str())).filter(|(alike, _)| *alike >= ALIKE);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_names_are_suggested() {
        let known = ["gpus", "scratch_gb", "region=eu"].map(str::to_owned);
        for (text, near) in
            [("gpu", Some("gpus")), ("GPUS", Some("gpus")), ("scratch", Some("scratch_gb")), ("fpga", None), ("", None)]
        {
            assert_eq!(nearest(text, &known), near, "{text}");
        }
    }
}
