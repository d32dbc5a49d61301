//! What HTTP caches are told (RFC 9110, RFC 9111, RFC 9919 section 7.2), and what they ask.

use std::cell::RefCell;

use hyper::header::{
    CACHE_CONTROL, DATE, ETAG, EXPIRES, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use jiff::{
    SignedDuration, Timestamp,
    fmt::rfc2822::{DateTimeParser, DateTimePrinter},
};

/// By what a cache recognises a content again.
pub(super) struct Validators<'a> {
    /// Hexadecimal digits, without quotes.
    pub etag: &'a str,
    /// Since when it is so.
    pub modified: Timestamp,
}

/// How long a cache may keep a content.
pub(super) enum Caching {
    /// Not at all.
    Never,
    /// For a time.
    For(SignedDuration),
    /// Until something fresher is there; `expires` is for old caches that know no max-age.
    Until {
        /// When something fresher is there.
        fresh: Timestamp,
        /// When the content itself ends.
        expires: Timestamp,
    },
}

impl Validators<'_> {
    pub fn write(&self, headers: &mut HeaderMap) {
        insert(headers, ETAG, &format!("\"{}\"", self.etag));
        insert_date(headers, LAST_MODIFIED, self.modified);
    }
}

impl Caching {
    pub fn write(&self, headers: &mut HeaderMap, now: Timestamp) {
        let (fresh, expires) = match *self {
            Self::Never => {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                return;
            }
            Self::For(time) => {
                let end = now.checked_add(time).unwrap_or(Timestamp::MAX);
                (end, end)
            }
            Self::Until { fresh, expires } => (fresh, expires),
        };
        write_max_age(headers, fresh, now);
        write_expiry(headers, expires);
    }
}

/// Writes how long a cache may keep a content that is fresh until then.
pub(super) fn write_max_age(headers: &mut HeaderMap, fresh: Timestamp, now: Timestamp) {
    let max_age = fresh.as_second().saturating_sub(now.as_second()).max(0);
    let text = format!("max-age={max_age}, public, no-transform, must-revalidate");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// Writes when a content ends.
pub(super) fn write_expiry(headers: &mut HeaderMap, expires: Timestamp) {
    insert_date(headers, EXPIRES, expires);
}

thread_local! {
    /// The last second that was written here, and how. Each thread writes its own: what is shared has to be counted.
    static DATE_WRITTEN: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Writes the date of an answer, by the same clock as all that it says.
pub(super) fn stamp(headers: &mut HeaderMap, now: Timestamp) {
    DATE_WRITTEN.with_borrow_mut(|written| {
        if let Some((second, value)) = written
            && *second == now.as_second()
        {
            headers.insert(DATE, value.clone());
            return;
        }
        insert_date(headers, DATE, now);
        *written = headers.get(DATE).map(|value| (now.as_second(), value.clone()));
    });
}

/// Decides whether the requester has the content already (RFC 9110 section 13.2.2).
pub(super) fn is_unchanged(request: &HeaderMap, validators: &Validators<'_>) -> bool {
    let mut tags = request.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        return tags
            .filter_map(|value| value.to_str().ok())
            .any(|value| names_tag(value, validators.etag));
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    since
        .and_then(|since| DateTimeParser::new().parse_timestamp(since).ok())
        .is_some_and(|since| validators.modified.as_second() <= since.as_second())
}

/// Our tags are digits only, so splitting at commas cannot tear one of them.
fn names_tag(value: &str, etag: &str) -> bool {
    value.split(',').map(str::trim).any(|tag| {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(etag)
    })
}

fn insert_date(headers: &mut HeaderMap, name: hyper::header::HeaderName, time: Timestamp) {
    // Only years that no certificate has cannot be written.
    if let Ok(text) = DateTimePrinter::new().timestamp_to_rfc9110_string(&time) {
        insert(headers, name, &text);
    }
}

fn insert(headers: &mut HeaderMap, name: hyper::header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
