//! Shows an exchange in a report: bounded, with its JWS taken apart, and without what is secret.

use serde_json::{Value, json};

use crate::base64;
use crate::evidence::Exchange;

/// Of a longer body only so many characters are shown.
const BODY_SHOWN_MAX: usize = 6_000;
/// Of a longer string inside a body only so many.
const STRING_SHOWN_MAX: usize = 1_500;

/// With more octets that are no text it is no text.
const ODD_OCTETS_MAX: usize = 8;

/// Members of keys that are private, and so are not shown even where a case sent them on purpose.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Headers that let their bearer in.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// One exchange as a reader sees it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The request's method.
    pub method: String,
    /// Where it went.
    pub url: String,
    /// The headers the case set.
    pub request_headers: Vec<(String, String)>,
    /// What was sent; a JWS is shown with its header and payload decoded.
    pub request_body: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers.
    pub answer_headers: Vec<(String, String)>,
    /// What came back.
    pub answer_body: String,
}

impl Shown {
    pub(crate) fn of(exchange: &Exchange) -> Self {
        let (request, answer) = (&exchange.request, &exchange.answer);
        Self {
            method: request.method.clone(),
            url: bounded(&request.url, STRING_SHOWN_MAX),
            request_headers: headers(&request.headers),
            request_body: body(request.body.as_deref().unwrap_or_default()),
            status: answer.status,
            answer_headers: headers(&answer.headers),
            answer_body: body(&answer.body),
        }
    }

    /// The exchange as JSON reports have it.
    pub(crate) fn json(&self) -> Value {
        let pairs = |headers: &[(String, String)]| -> Value {
            headers.iter().map(|(name, value)| json!([name, value])).collect()
        };
        json!({
            "request": {
                "method": self.method,
                "url": self.url,
                "headers": pairs(&self.request_headers),
                "body": self.request_body,
            },
            "answer": {
                "status": self.status,
                "headers": pairs(&self.answer_headers),
                "body": self.answer_body,
            },
        })
    }
}

fn bounded(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} octets in all)", &text[..end], text.len()),
    }
}

fn headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let shown = |(name, value): &(String, String)| {
        let secret = SECRET_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known));
        let value = if secret {
            "(left out)".into()
        } else {
            bounded(value, STRING_SHOWN_MAX)
        };
        (name.clone(), value)
    };
    headers.iter().map(shown).collect()
}

fn body(octets: &[u8]) -> String {
    let text = match (std::str::from_utf8(octets), serde_json::from_slice::<Value>(octets)) {
        (_, Ok(value @ (Value::Object(_) | Value::Array(_)))) => format!("{:#}", readable(value)),
        (Ok(text), _) if !text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) => text.to_owned(),
        _ => nearly_text(octets).unwrap_or_else(|| format!("({} octets) {}", octets.len(), hex(octets))),
    };
    bounded(&text, BODY_SHOWN_MAX)
}

/// Text in which a few octets are no characters, with those written out.
fn nearly_text(octets: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut odd = 0;
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        odd += chunk.invalid().len()
            + chunk
                .valid()
                .chars()
                .filter(|c| c.is_control() && !c.is_ascii_whitespace())
                .count();
        chunk
            .invalid()
            .iter()
            .for_each(|octet| text.push_str(&format!("\\x{octet:02x}")));
    }
    (odd <= ODD_OCTETS_MAX).then_some(text)
}

fn hex(octets: &[u8]) -> String {
    let shown = &octets[..octets.len().min(BODY_SHOWN_MAX)];
    shown.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The value with JWS inside taken apart, private key members left out and long strings cut.
fn readable(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_key = members.contains_key("kty");
            let is_jws = members.contains_key("protected") || members.contains_key("signature");
            members
                .into_iter()
                .map(|(name, member)| {
                    let shown = match &member {
                        _ if is_key && PRIVATE_MEMBERS.contains(&name.as_str()) => json!("(left out)"),
                        Value::String(text) if is_jws && (name == "protected" || name == "payload") => decoded(text),
                        _ => readable(member),
                    };
                    (name, shown)
                })
                .collect()
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        Value::String(text) => Value::String(bounded(&text, STRING_SHOWN_MAX)),
        other => other,
    }
}

/// A part of a JWS: as JSON where it is JSON, as text where it is text, as it stands otherwise.
fn decoded(part: &str) -> Value {
    let as_it_stands = || json!(bounded(part, STRING_SHOWN_MAX));
    let Some(octets) = base64::from_url(part) else {
        return as_it_stands();
    };
    let value = serde_json::from_slice(&octets).ok();
    match (value, nearly_text(&octets)) {
        // Text that JSON would not give back the same is what such cases are about.
        (Some(value), Some(text)) if !is_odd(&value, &text) => readable(value),
        (_, Some(text)) => json!(bounded(&text, STRING_SHOWN_MAX)),
        _ => as_it_stands(),
    }
}

/// Whether reading the text as JSON loses something: repeated names, escapes, spacing.
fn is_odd(value: &Value, text: &str) -> bool {
    value.to_string().len() != text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_jws_apart_and_leaves_private_members_out() {
        let protected = base64::url(r#"{"alg":"ES256","jwk":{"d":"secret","kty":"EC"}}"#);
        let text = body(
            json!({"protected": protected, "payload": "", "signature": "AAAA"})
                .to_string()
                .as_bytes(),
        );
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(shown["protected"]["alg"], "ES256");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn shows_odd_header_text_as_it_was_sent() {
        let odd = r#"{"alg":"ES256","alg":"none"}"#;
        let text = body(
            json!({"protected": base64::url(odd), "payload": "", "signature": ""})
                .to_string()
                .as_bytes(),
        );
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(shown["protected"], odd);
    }

    #[test]
    fn cuts_what_is_long_and_writes_octets_in_hex() {
        assert!(body("a".repeat(BODY_SHOWN_MAX + 1).as_bytes()).ends_with("(6001 octets in all)"));
        assert_eq!(body(&[0x80; 9]), "(9 octets) 808080808080808080");
        assert_eq!(body(b"na\xefve"), "na\\xefve");
    }
}
