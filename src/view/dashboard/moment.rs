//! Moments on a page: in UTC as they come from here, and in the zone of who looks once the script has run.

/// A moment, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment(pub(super) f64);

/// How the script shows a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MomentStyle {
    /// How long ago it was.
    Ago,
    /// The time of day.
    Clock,
    /// The day and the time.
    Full,
}

impl Moment {
    fn stamp(self, format: &str) -> String {
        match jiff::Timestamp::from_millisecond((self.0 * 1000.0) as i64) {
            Ok(stamp) => stamp.strftime(format).to_string(),
            Err(_) => "?".to_owned(),
        }
    }

    /// An element with nothing in it but numbers: it needs no escaping.
    pub(super) fn html(self, style: MomentStyle) -> String {
        let (name, format) = match style {
            MomentStyle::Ago => ("ago", "%Y-%m-%d %H:%M:%S UTC"),
            MomentStyle::Clock => ("clock", "%H:%M:%S UTC"),
            MomentStyle::Full => ("full", "%Y-%m-%d %H:%M:%S UTC"),
        };
        let exact = self.stamp("%Y-%m-%dT%H:%M:%S.%3fZ");
        format!("<time datetime=\"{exact}\" data-time=\"{name}\">{}</time>", self.stamp(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_names_its_zone() {
        let html = Moment(1_700_000_000.25).html(MomentStyle::Ago);
        assert_eq!(
            html,
            "<time datetime=\"2023-11-14T22:13:20.250Z\" data-time=\"ago\">2023-11-14 22:13:20 UTC</time>"
        );
        assert!(Moment(1.0).html(MomentStyle::Clock).ends_with(">00:00:01 UTC</time>"));
        assert!(Moment(f64::MAX).html(MomentStyle::Full).contains('?'));
    }
}
