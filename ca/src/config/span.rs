//! Lengths of time as operators write them: `90d`, `3y`, `1y6mo`, `12h`, in calendar units of UTC.

use jiff::{Span, SpanRelativeTo, Timestamp, Unit, tz::TimeZone};

/// A positive length of time in calendar units: three years from a day end on the same day.
#[derive(Debug, Clone, Copy)]
pub struct CalendarSpan(Span);

impl std::fmt::Display for CalendarSpan {
    /// Writes it as it is read: `90d`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // jiff's friendly form separates units by blanks; it reads both.
        write!(f, "{}", format!("{:#}", self.0).replace(' ', ""))
    }
}

impl CalendarSpan {
    /// Reads `90d`, `3y`, `1y6mo2d`, `250ms`.
    ///
    /// # Errors
    /// When the text is no length of time, or is nothing or less.
    pub fn parse(text: &str) -> Result<Self, String> {
        let span: Span = text
            .parse()
            .map_err(|error| format!("{text:?} is no length of time such as 90d, 3y or 12h: {error}"))?;
        if span.is_positive() {
            Ok(Self(span))
        } else {
            Err(format!("{text:?} has to be longer than nothing"))
        }
    }

    /// Returns the moment that is this much later; the end of time if that is beyond it.
    pub fn after(self, moment: Timestamp) -> Timestamp {
        let later = moment.to_zoned(TimeZone::UTC).checked_add(self.0);
        later.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// Returns the moment that is this much earlier; the beginning of time if that is beyond it.
    pub fn before(self, moment: Timestamp) -> Timestamp {
        let earlier = moment.to_zoned(TimeZone::UTC).checked_sub(self.0);
        earlier.map_or(Timestamp::MIN, |zoned| zoned.timestamp())
    }

    /// Returns it as a plain duration: a year counts 365 days, a month 30.
    pub fn as_duration(self) -> std::time::Duration {
        let marker = SpanRelativeTo::days_are_24_hours();
        let fixed = Span::new()
            .try_days(i64::from(self.0.get_years()) * 365 + i64::from(self.0.get_months()) * 30)
            .and_then(|days| days.checked_add((self.0.years(0).months(0), marker)));
        let seconds = fixed
            .and_then(|span| span.total((Unit::Millisecond, marker)))
            .unwrap_or(0.0)
            / 1000.0;
        std::time::Duration::try_from_secs_f64(seconds).unwrap_or(std::time::Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_calendar_units() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (span, from, to) in [
            ("3y", "2024-02-29T10:11:12Z", "2027-02-28T10:11:12Z"),
            ("1y", "2025-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("90d", "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            ("1mo", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ] {
            assert_eq!(CalendarSpan::parse(span).unwrap().after(at(from)), at(to), "{span}");
        }
        assert_eq!(
            CalendarSpan::parse("1d").unwrap().before(at("2026-03-01T00:00:00Z")),
            at("2026-02-28T00:00:00Z")
        );
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["90d", "1y6mo2d", "12h", "250ms"] {
            let written = CalendarSpan::parse(text).unwrap().to_string();
            assert_eq!(written, text);
            assert!(CalendarSpan::parse(&written).is_ok());
        }
    }

    #[test]
    fn gives_plain_durations() {
        for (span, seconds) in [
            ("250ms", 0.25),
            ("1h30m", 5400.0),
            ("2d", 172_800.0),
            ("1y", 31_536_000.0),
        ] {
            assert_eq!(
                CalendarSpan::parse(span).unwrap().as_duration().as_secs_f64(),
                seconds,
                "{span}"
            );
        }
    }

    #[test]
    fn refuses_nothing_less_and_nonsense() {
        for text in ["", "0s", "-1d", "ninety", "90"] {
            assert!(CalendarSpan::parse(text).is_err(), "{text}");
        }
    }
}
