//! Times as ASN.1 writes them, counted from now.

use std::time::{SystemTime, UNIX_EPOCH};

use sigillo_tests::mutant::der::{GENERALIZED_TIME, Tlv};

/// Year, month and day of a day since 1970, by the rule of the civil calendar.
fn civil(day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let mut rest = day;
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while rest >= 365 + u64::from(leap(year)) {
        rest -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

/// A time this many seconds ahead of now, with this tag.
pub fn utc(tag: u8, ahead: u64) -> Tlv {
    at(tag, now() + ahead)
}

/// A time this many seconds ago, with this tag.
pub fn ago(tag: u8, seconds: u64) -> Tlv {
    at(tag, now() - seconds)
}

/// A time this many seconds ahead of now, as JSON has it.
pub fn rfc3339(ahead: u64) -> String {
    let seconds = now() + ahead;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("invariant: it is after 1970").as_secs()
}

fn at(tag: u8, seconds: u64) -> Tlv {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let year = if tag == GENERALIZED_TIME {
        format!("{year:04}")
    } else {
        format!("{:02}", year % 100)
    };
    Tlv::of(tag, format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z"))
}

#[test]
fn writes_dates_of_the_calendar() {
    assert_eq!(at(GENERALIZED_TIME, 951_826_271).content, b"20000229121111Z");
    assert_eq!(at(0x17, 1_767_225_599).content, b"251231235959Z");
}
