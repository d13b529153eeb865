//! `--begin`: the time before which a task does not start.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::seconds::seconds;

/// What is understood.
pub(super) const VALID: &str =
    "a time of day like 22:00, a time from now on like +2h, or a date like 2030-01-31 or 2030-01-31T22:00";

/// Seconds since the epoch of `22:00` (the next one), `+2h`, `2030-01-31`, `2030-01-31T22:00` or `@1900000000`, rounded up to the minute: the same command
/// given twice within it makes the same lines. Times without a zone are of the zone of this machine.
pub(super) fn begin(text: &str, now: i64) -> Option<i64> {
    let moment = match text.strip_prefix('+') {
        Some(span) => now.checked_add(i64::try_from(seconds(span)?).ok()?)?,
        None => at(text, now)?,
    };
    let minutes = moment.checked_add(59)?.div_euclid(60);
    (minutes >= 0).then(|| minutes.checked_mul(60)).flatten()
}

fn at(text: &str, now: i64) -> Option<i64> {
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.bytes().all(|byte| byte.is_ascii_digit()).then(|| seconds.parse().ok()).flatten();
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    if let Ok(moment) = text.parse::<Zoned>() {
        return Some(moment.timestamp().as_second());
    }
    let zone = TimeZone::system();
    // A time of day has a colon, and no date before it.
    if text.split('-').count() == 1 && text.contains(':') {
        let time: Time = text.parse().ok()?;
        let today = Timestamp::from_second(now).ok()?.to_zoned(zone.clone()).date();
        let on =
            |date: jiff::civil::Date| Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp().as_second());
        let next = on(today)?;
        return if next >= now { Some(next) } else { on(today.tomorrow().ok()?) };
    }
    let moment: DateTime = text.parse().ok()?;
    Some(moment.to_zoned(zone).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_the_minute() {
        for (text, expected) in [
            ("+2h", Some(10_000_080 + 7200)),
            ("+90", Some(10_000_140)),
            ("+0", Some(10_000_080)),
            ("@60", Some(60)),
            ("@61", Some(120)),
            ("1970-01-02T00:00:01Z", Some(86_460)),
            ("", None),
            ("soon", None),
            ("25:00", None),
            ("+", None),
            ("@x", None),
            ("2h", None),
        ] {
            assert_eq!(begin(text, 10_000_021), expected, "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let now = Timestamp::from_second(1_700_000_000).unwrap().to_zoned(TimeZone::system());
        let at = |minutes: i64| {
            let time = now.checked_add(jiff::Span::new().minutes(minutes)).unwrap();
            time.strftime("%H:%M").to_string()
        };
        let next = begin(&at(30), 1_700_000_000).unwrap() - 1_700_000_000;
        assert!((0..=1800).contains(&next), "{next}");
        let tomorrow = begin(&at(-30), 1_700_000_000).unwrap() - 1_700_000_000;
        assert!((23 * 3600 - 1800 - 60..=25 * 3600).contains(&tomorrow), "{tomorrow}");
        let date = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        assert_eq!(begin(&date, 0), Some(1_700_000_040));
    }
}
