//! Times: of ASN.1, RFC 3339 and HTTP.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::der::{Element, GENERALIZED_TIME, UTC_TIME};

/// A UTCTime or GeneralizedTime in the one form RFC 5280 allows: Zulu, with seconds, no fraction, and the tag that fits the year.
pub(crate) fn x509(element: &Element<'_>) -> Result<Timestamp, String> {
    let time = asn1(element)?;
    let year = time.to_zoned(TimeZone::UTC).year();
    let expected = if (1950..2050).contains(&year) {
        UTC_TIME
    } else {
        GENERALIZED_TIME
    };
    if element.tag != expected {
        return Err(format!("year {year} is written with tag {:02x}", element.tag));
    }
    Ok(time)
}

/// A time as OCSP writes it: GeneralizedTime, Zulu, with seconds, no fraction.
pub(crate) fn generalized(element: &Element<'_>) -> Result<Timestamp, String> {
    if element.tag != GENERALIZED_TIME {
        return Err(format!("tag {:02x} where GeneralizedTime belongs", element.tag));
    }
    asn1(element)
}

fn asn1(element: &Element<'_>) -> Result<Timestamp, String> {
    let text = std::str::from_utf8(element.content).map_err(|_| "a time that is not text")?;
    let wrong = || format!("{text:?} is not a Zulu time with seconds");
    let digits = text
        .strip_suffix('Z')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(wrong)?;
    let full = match (element.tag, digits.len()) {
        (UTC_TIME, 12) if digits < "5" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return Err(wrong()),
    };
    let part = |from: usize, to: usize| full[from..to].parse::<i16>().unwrap_or(-1);
    let small = |from: usize| part(from, from + 2) as i8;
    DateTime::new(part(0, 4), small(4), small(6), small(8), small(10), small(12), 0)
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map(|time| time.timestamp())
        .map_err(|error| format!("{text:?}: {error}"))
}

/// An RFC 3339 time: with date, time, seconds and offset.
pub(crate) fn rfc3339(text: &str) -> Result<Timestamp, String> {
    let shape = text.len() >= 20
        && text.as_bytes()[10].eq_ignore_ascii_case(&b'T')
        && text.as_bytes().get(16) == Some(&b':')
        && (text.ends_with(['Z', 'z']) || text.as_bytes()[text.len() - 3] == b':');
    if !shape {
        return Err(format!("{text:?} is not an RFC 3339 time"));
    }
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// An HTTP-date in its preferred form.
pub(crate) fn http_date(text: &str) -> Result<Timestamp, String> {
    if !text.ends_with(" GMT") || text.len() != 29 {
        return Err(format!("{text:?} is not an HTTP-date"));
    }
    DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text)
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map(|time| time.timestamp())
        .map_err(|error| format!("{text:?}: {error}"))
}

/// Seconds or an HTTP-date, as Retry-After is written; the answer is seconds from `now`.
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Result<i64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("{text:?} is too large"));
    }
    http_date(text).map(|time| time.as_second() - now.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der;

    fn read(tag: u8, text: &str) -> Result<Timestamp, String> {
        x509(&der::single(&der::tlv(tag, text), tag).expect("own encoding"))
    }

    #[test]
    fn wants_the_tag_that_fits_the_year() {
        assert!(read(UTC_TIME, "260101000000Z").is_ok());
        assert!(read(GENERALIZED_TIME, "20500101000000Z").is_ok());
        assert!(read(GENERALIZED_TIME, "20260101000000Z").is_err());
        for wrong in ["2601010000Z", "260101000000+0100", "261301000000Z", "260101000000.5Z"] {
            assert!(read(UTC_TIME, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_http_dates_and_rfc_3339() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT").map(|time| time.as_second()),
            Ok(784_111_777)
        );
        assert!(http_date("Sunday, 06-Nov-94 08:49:37 GMT").is_err());
        assert!(rfc3339("2026-01-01T00:00:00Z").is_ok() && rfc3339("2026-01-01T00:00:00.5+02:00").is_ok());
        assert!(rfc3339("2026-01-01 00:00:00Z").is_err() && rfc3339("2026-01-01T00:00:00").is_err());
    }
}
