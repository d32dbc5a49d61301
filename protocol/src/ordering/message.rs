//! HTTP as plain data: what is sent and what of an answer matters.

use std::time::Duration;

/// The media type of requests (RFC 8555 section 6.2).
pub const JOSE_JSON: &str = "application/jose+json";
/// The media type of certificate chains (RFC 8555 section 9.1).
pub const PEM_CHAIN: &str = "application/pem-certificate-chain";

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For the directory and what extensions allow.
    Get,
    /// For nonces.
    Head,
    /// For everything else.
    Post,
}

impl Method {
    /// Returns the name as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// A request to send over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: String,
    /// The body, a JWS.
    pub body: Option<String>,
    /// The media type of the body.
    pub content_type: Option<&'static str>,
    /// The media type to ask for.
    pub accept: Option<&'static str>,
}

impl Request {
    pub(super) fn head(url: &str) -> Self {
        Self {
            method: Method::Head,
            url: url.to_owned(),
            body: None,
            content_type: None,
            accept: None,
        }
    }

    pub(super) fn post(url: &str, body: String, accept: Option<&'static str>) -> Self {
        Self {
            method: Method::Post,
            url: url.to_owned(),
            body: Some(body),
            content_type: Some(JOSE_JSON),
            accept,
        }
    }
}

/// What matters of a response. The caller bounds the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// `Replay-Nonce`.
    pub nonce: Option<String>,
    /// `Location`, made absolute.
    pub location: Option<String>,
    /// `Retry-After`, counted from now: a date needs a clock, which is the caller's.
    pub retry_after: Option<Duration>,
    /// `Link`, see [`Link::parse_all`].
    pub links: Vec<Link>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Tells whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Tells whether the body is of a media type, whatever its parameters.
    pub(super) fn is_of_type(&self, media_type: &str) -> bool {
        let essence = self.content_type.as_deref().and_then(|value| value.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
    }
}

/// A link of a response (RFC 8288).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its relation, for example `alternate`.
    pub relation: String,
    /// Its target, as it was written.
    pub url: String,
}

impl Link {
    /// Reads the value of one `Link` header field, which may hold several links. What is not of the
    /// right form is passed over; a link with several relations comes several times.
    pub fn parse_all(value: &str) -> Vec<Self> {
        let mut links = Vec::new();
        let mut rest = value;
        while let Some((url, behind)) = rest.split_once('<').and_then(|(_, text)| text.split_once('>')) {
            let (parameters, next) = split_outside_quotes(behind, ',');
            if let Some(relations) = relations(parameters) {
                let link = |relation: &str| Self {
                    relation: relation.to_ascii_lowercase(),
                    url: url.to_owned(),
                };
                links.extend(relations.split_ascii_whitespace().map(link));
            }
            rest = next;
        }
        links
    }
}

/// Returns the value of the first `rel` parameter (RFC 8288 section 3.3).
fn relations(parameters: &str) -> Option<&str> {
    let mut rest = parameters;
    while !rest.is_empty() {
        let (parameter, next) = split_outside_quotes(rest, ';');
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("rel")
        {
            return Some(value.trim().trim_matches('"'));
        }
        rest = next;
    }
    None
}

fn split_outside_quotes(text: &str, separator: char) -> (&str, &str) {
    let mut quoted = false;
    let at = text.find(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    at.map_or((text, ""), |at| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_links() {
        let read = |value| {
            let links = Link::parse_all(value);
            links
                .into_iter()
                .map(|link| format!("{} {}", link.relation, link.url))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("<https://a/1>;rel=\"alternate\""), ["alternate https://a/1"]);
        assert_eq!(
            read("<https://a/d>; rel=index , <https://a/2> ; title=\"a, b; rel=no\"; REL=\"up alternate\""),
            ["index https://a/d", "up https://a/2", "alternate https://a/2"]
        );
        for value in [
            "",
            "nonsense",
            "<https://a/1>",
            "<https://a",
            "<a>; rel",
            "<a>; x=\"rel=b",
        ] {
            assert!(read(value).is_empty(), "{value}");
        }
    }

    #[test]
    fn compares_media_types_without_their_parameters() {
        let response = |text: &str| Response {
            content_type: Some(text.to_owned()),
            ..Response::default()
        };
        assert!(response("Application/PEM-certificate-chain; charset=utf-8").is_of_type(PEM_CHAIN));
        assert!(!response("application/json").is_of_type(PEM_CHAIN));
        assert!(!Response::default().is_of_type(PEM_CHAIN));
    }
}
