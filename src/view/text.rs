//! Numbers, times and amounts in words; shortening and bars.

/// `20,124`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 task`, `1,204 tasks`.
#[must_use]
pub fn tasks(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "task" } else { "tasks" })
}

/// The two largest units: `45 s`, `2 m 05 s`, `3 h 10 m`, `2 d 04 h`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} m {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes:02} m"),
        _ => format!("{} d {hours:02} h", count(days)),
    }
}

/// Time that may be short: `0.35 s`, then as [`duration`].
#[must_use]
pub fn precise_duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{:.2} s", seconds.max(0.0)) } else { duration(seconds as u64) }
}

/// `512 B`, `1.5 KiB`, `3.0 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    let mut amount = number as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    for next in units {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{number} B") } else { format!("{amount:.1} {unit}") }
}

/// A rate per second in the unit that reads best: `1,250/s`, `2.5/s`, `6.0/min`, `1.2/h`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 100.0 => format!("{}/s", count(r.round() as u64)),
        r if r >= 1.0 => format!("{r:.1}/s"),
        r if r * 60.0 >= 1.0 => format!("{:.1}/min", r * 60.0),
        r => format!("{:.1}/h", r * 3600.0),
    }
}

/// At most `width` characters; what is cut ends in `…`.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A bar of `width` characters, `fraction` of it filled.
#[must_use]
pub fn bar(fraction: f64, width: usize) -> String {
    let filled = ((fraction.clamp(0.0, 1.0) * width as f64) as usize).min(width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}

/// A moment as `2026-01-31 12:00:05` of the local time zone.
#[must_use]
pub fn moment(seconds: f64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64) else { return "?".to_owned() };
    timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let texts = [0, 999, 1000, 20_124, 1_000_000].map(count);
        assert_eq!(texts, ["0", "999", "1,000", "20,124", "1,000,000"]);
    }

    #[test]
    fn durations_show_two_units() {
        let texts = [0, 59, 60, 125, 3600, 11_400, 187_200].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 m 00 s", "2 m 05 s", "1 h 00 m", "3 h 10 m", "2 d 04 h"]);
        assert_eq!(precise_duration(0.351), "0.35 s");
    }

    #[test]
    fn amounts_have_units() {
        let texts = [0, 1023, 1536, 3 << 30].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        let texts = [1250.0, 2.5, 0.1, 0.001].map(rate);
        assert_eq!(texts, ["1,250/s", "2.5/s", "6.0/min", "3.6/h"]);
    }

    #[test]
    fn shortening_counts_characters_and_not_bytes() {
        assert_eq!(shorten("käse", 4), "käse");
        assert_eq!(shorten("käsebrot", 5), "käse…");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0.999, 4), "███░");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(f64::NAN, 2), "░░");
    }
}
