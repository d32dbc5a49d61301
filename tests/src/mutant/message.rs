//! Requests and answers as they pass the man in the middle, and what they are about.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

pub use crate::http::Response as Answer;

/// Takes base64url with spare bits and padding: what a fault is about must not hide the rest.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What ACME's problem types begin with.
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of RFC 8555 say it")]
pub enum Resource {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    Orders,
    NewOrder,
    Order,
    Finalize,
    NewAuthorization,
    Authorization,
    Challenge,
    Certificate,
    Revocation,
    KeyChange,
    RenewalInfo,
    Ocsp,
    Crl,
    File,
    Other,
}

/// A kind of object that answers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of RFC 8555 say it")]
pub enum Kind {
    Directory,
    Account,
    Orders,
    Order,
    Authorization,
    Challenge,
    RenewalInfo,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether it came over TLS.
    pub secure: bool,
    /// GET, POST and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The fields in their order.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the first field of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Says what it is about.
    pub fn resource(&self) -> Resource {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut words = path.trim_start_matches('/').splitn(3, '/');
        match (words.next(), words.next(), words.next()) {
            (Some("acme"), Some(word), rest) => acme_resource(word, rest),
            (Some("ocsp"), ..) => Resource::Ocsp,
            (Some("crl"), ..) => Resource::Crl,
            (Some("ca"), ..) => Resource::File,
            _ => Resource::Other,
        }
    }

    /// Says whether it is a POST about this.
    pub fn posts(&self, resource: Resource) -> bool {
        self.method == "POST" && self.resource() == resource
    }

    /// Opens the JWS in it, as far as that can be read.
    pub fn jws(&self) -> Jws {
        let outer: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let part = |name: &str| decode(outer[name].as_str().unwrap_or_default());
        let (header_text, payload_octets) = (part("protected"), part("payload"));
        Jws {
            header: serde_json::from_slice(&header_text).unwrap_or_default(),
            header_text: String::from_utf8_lossy(&header_text).into_owned(),
            payload: serde_json::from_slice(&payload_octets).unwrap_or_default(),
            signature: part("signature"),
            payload_octets,
            outer,
        }
    }
}

fn acme_resource(word: &str, rest: Option<&str>) -> Resource {
    match word {
        "directory" => Resource::Directory,
        "new-nonce" => Resource::NewNonce,
        "new-account" => Resource::NewAccount,
        "account" => Resource::Account,
        "orders" => Resource::Orders,
        "new-order" => Resource::NewOrder,
        "order" if rest.is_some_and(|rest| rest.ends_with("/finalize")) => Resource::Finalize,
        "order" => Resource::Order,
        "new-authz" => Resource::NewAuthorization,
        "authz" => Resource::Authorization,
        "challenge" => Resource::Challenge,
        "cert" => Resource::Certificate,
        "revoke-cert" => Resource::Revocation,
        "key-change" => Resource::KeyChange,
        "renewal-info" => Resource::RenewalInfo,
        _ => Resource::Other,
    }
}

/// A JWS, opened without looking whether it is sound; what cannot be read is null or empty.
#[derive(Debug, Clone)]
pub struct Jws {
    /// The body.
    pub outer: Value,
    /// The protected header.
    pub header: Value,
    /// The same as it was written.
    pub header_text: String,
    /// The payload as JSON.
    pub payload: Value,
    /// The same as it was written.
    pub payload_octets: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Jws {
    /// Says whether the header has a parameter.
    pub fn has(&self, name: &str) -> bool {
        !self.header[name].is_null()
    }

    /// The three parts as they were written.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        ["protected", "payload", "signature"]
            .into_iter()
            .filter_map(|name| self.outer[name].as_str())
    }

    /// The `csr` or `certificate` of the payload.
    pub fn octets(&self, name: &str) -> Vec<u8> {
        decode(self.payload[name].as_str().unwrap_or_default())
    }

    /// The names of an order, as one text.
    pub fn names(&self) -> String {
        let all = self.payload["identifiers"].as_array().into_iter().flatten();
        let names: Vec<&str> = all.filter_map(|one| one["value"].as_str()).collect();
        names.join(" ")
    }
}

/// Decodes base64url, leaving out what does not belong.
pub fn decode(text: &str) -> Vec<u8> {
    let kept: String = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
        .collect();
    LENIENT.decode(kept).unwrap_or_default()
}

impl Answer {
    /// An answer in JSON.
    pub fn of(status: u16, body: &Value) -> Self {
        let mut answer = Self {
            status,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        };
        answer.put("content-type", "application/json");
        answer
    }

    /// A refusal.
    pub fn refusal(status: u16, kind: &str) -> Self {
        let problem = json!({"type": format!("{NAMESPACE}{kind}"), "detail": "mutant", "status": status});
        let mut answer = Self::of(status, &problem);
        answer.put("content-type", "application/problem+json");
        answer
    }

    /// Sets a field, in place of those of its name.
    pub fn put(&mut self, name: &str, value: &str) {
        self.drop(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Leaves a field out.
    pub fn drop(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    /// Puts another object into the body.
    pub fn put_json(&mut self, body: &Value) {
        self.body = body.to_string().into_bytes();
    }

    /// Returns the problem's type without the namespace, empty if it is no problem.
    pub fn problem(&self) -> String {
        let body = self.json();
        let kind = body["type"].as_str().unwrap_or_default();
        kind.strip_prefix(NAMESPACE).unwrap_or_default().to_owned()
    }

    /// Makes it a problem of another type.
    pub fn retype(&mut self, kind: &str) {
        let mut body = self.json();
        body["type"] = format!("{NAMESPACE}{kind}").into();
        self.put_json(&body);
    }

    /// Says whether it is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Says whether it is a refusal.
    pub fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status)
    }

    /// Says what kind of object it shows in answer to a request.
    pub fn shows(&self, request: &Request) -> Option<Kind> {
        if !self.is_success() {
            return None;
        }
        match request.resource() {
            Resource::Directory => Some(Kind::Directory),
            Resource::NewAccount | Resource::Account | Resource::KeyChange => Some(Kind::Account),
            Resource::Orders => Some(Kind::Orders),
            Resource::NewOrder | Resource::Order | Resource::Finalize => Some(Kind::Order),
            Resource::NewAuthorization | Resource::Authorization => Some(Kind::Authorization),
            Resource::Challenge => Some(Kind::Challenge),
            Resource::RenewalInfo => Some(Kind::RenewalInfo),
            _ => None,
        }
    }
}
