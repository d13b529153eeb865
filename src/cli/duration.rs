//! Parses durations such as `90s` and `2h`.

use super::exit::CliError;

/// Seconds of a duration such as `90m`, `12h`, `7d` or `1 week`; days are of 24 hours. `flag` is named when it is none.
pub(crate) fn parse_duration(flag: &str, text: &str) -> Result<f64, CliError> {
    let bad = |what: &str| CliError::Usage(format!("{flag} {text:?} is {what}; valid: 90m, 12h, 7d, \"1 week\""));
    let span: jiff::Span = text.parse().map_err(|_: jiff::Error| bad("not a duration"))?;
    let duration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_: jiff::Error| bad("not a duration of fixed length"))?;
    if duration.is_negative() { Err(bad("a negative duration")) } else { Ok(duration.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("90m", 5400.0), ("12h", 43_200.0), ("7d", 604_800.0), ("1 week", 604_800.0), ("0s", 0.0)]
        {
            assert_eq!(parse_duration("--older-than", text).unwrap(), seconds, "{text}");
        }
        for text in ["", "7", "soon", "-1h", "1 month"] {
            assert!(parse_duration("--older-than", text).is_err(), "{text}");
        }
    }
}
