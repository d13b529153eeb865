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

/// Puts those first that are close to a text, the closest of them at the head; the rest keep their order.
pub(crate) fn by_nearness<T>(text: &str, known: &mut [T], name: impl Fn(&T) -> &str) {
    let text = text.to_ascii_lowercase();
    let distance = |name: &str| {
        let alike = strsim::normalized_damerau_levenshtein(&text, &name.to_ascii_lowercase());
        // Stable for those that are not close.
        if alike < ALIKE { u64::MAX } else { ((1.0 - alike) * 1e6) as u64 }
    };
    known.sort_by_cached_key(|one| distance(name(one)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_come_first_and_others_keep_their_order() {
        let mut known = ["exit 3", "worker lost", "exit 13", "timed out"];
        by_nearness("exit 13", &mut known, |name| name);
        assert_eq!(known, ["exit 13", "exit 3", "worker lost", "timed out"]);
    }

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
