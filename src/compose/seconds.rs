//! Times as flags take them.

/// Whole seconds of `90`, `90m`, `1h30m`: parts of one count as one, since 0 is no limit.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let span: jiff::Span = text.parse().ok()?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    let whole = u64::try_from(duration.as_secs()).ok()?;
    Some(whole + u64::from(duration.subsec_nanos() > 0))
}
