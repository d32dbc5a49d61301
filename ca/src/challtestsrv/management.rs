//! The management interface: JSON in POST bodies tells the responders what to answer, and reads what they were asked.

use std::{fmt::Display, sync::Arc};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value as Json, ser::PrettyFormatter};

use super::{
    Offered, Shared,
    book::{Full, Kind, Value},
    dns::canonical,
    history::EventKind,
    tls_alpn01::server_name,
};

/// The longest body of a request.
const BODY_OCTETS_MAX: usize = 1024 * 1024;

/// How answers with events are indented, as clients' expectations of whole texts have it.
const INDENT: &[u8] = b"   ";

/// Serves the commands of the responders that there are; others are not found.
pub(super) fn router(shared: Arc<Shared>, offered: Offered) -> Router {
    Router::new().fallback(move |request: Request| answer(shared.clone(), offered, request))
}

async fn answer(shared: Arc<Shared>, offered: Offered, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let Some(command) = Command::named(&path).filter(|command| command.is_offered(offered)) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    // Any method will do: what counts is the body.
    let Ok(body) = to_bytes(request.into_body(), BODY_OCTETS_MAX).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n").into_response();
    };
    let done = Arguments::read(&body).and_then(|arguments| command.run(&shared, &arguments));
    match done {
        Ok(Done::Quietly) => StatusCode::OK.into_response(),
        Ok(Done::With(events)) => {
            let media_type = "application/json; charset=utf-8";
            ([(header::CONTENT_TYPE, media_type)], events).into_response()
        }
        Err(Refusal(reason)) => {
            tracing::warn!(command = path, reason, "refused");
            (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response()
        }
    }
}

/// What somebody has to do differently.
#[derive(Debug)]
struct Refusal(String);

impl Refusal {
    fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self::new(full)
    }
}

enum Done {
    Quietly,
    With(String),
}

/// The members of the body; their names are compared without regard to case, and unknown ones are let pass, as Go does.
struct Arguments(serde_json::Map<String, Json>);

impl Arguments {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Err(Refusal::new("a JSON body is expected, it was empty"));
        }
        let members: serde_json::Map<String, Json> = serde_json::from_slice(body)
            .map_err(|error| Refusal::new(format!("the body is no JSON object: {error}")))?;
        let lower = members
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value));
        Ok(Self(lower.collect()))
    }

    /// Returns a text, empty if it is not there.
    fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.0.get(&name.to_ascii_lowercase()) {
            None | Some(Json::Null) => Ok(""),
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(Refusal::new(format!("{name} must be a string"))),
        }
    }

    /// Returns a text that must be there.
    fn required(&self, name: &str) -> Result<&str, Refusal> {
        match self.text(name)? {
            "" => Err(Refusal::new(format!("{name} must not be empty"))),
            text => Ok(text),
        }
    }

    /// Returns a list that must have something in it.
    fn list(&self, name: &str) -> Result<&[Json], Refusal> {
        match self.0.get(&name.to_ascii_lowercase()) {
            Some(Json::Array(list)) if !list.is_empty() => Ok(list),
            None | Some(Json::Null | Json::Array(_)) => Err(Refusal::new(format!("{name} must not be empty"))),
            Some(_) => Err(Refusal::new(format!("{name} must be a list"))),
        }
    }

    fn addresses(&self) -> Result<Vec<Value>, Refusal> {
        let texts = self.list("addresses")?.iter().map(|address| match address {
            Json::String(text) => Ok(Value::text(text)),
            _ => Err(Refusal::new("addresses must be strings")),
        });
        texts.collect()
    }

    fn policies(&self) -> Result<Vec<Value>, Refusal> {
        self.list("policies")?.iter().map(policy).collect()
    }
}

/// Reads a CAA property: `tag` and `value`, and `flags` where a test wants a critical one.
fn policy(json: &Json) -> Result<Value, Refusal> {
    let members = json
        .as_object()
        .ok_or_else(|| Refusal::new("policies must be objects"))?;
    let lower: serde_json::Map<String, Json> = members
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    let flags = match lower.get("flags") {
        None | Some(Json::Null) => 0,
        Some(flags) => {
            let read = flags.as_u64().and_then(|flags| u8::try_from(flags).ok());
            read.ok_or_else(|| Refusal::new("flags must be a number from 0 to 255"))?
        }
    };
    let arguments = Arguments(lower);
    let tag = arguments.text("tag")?;
    // RFC 8659 section 4.1.1; one that cannot be sent would make every later answer a failure.
    if tag.is_empty() || tag.len() > usize::from(u8::MAX) || !tag.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
        return Err(Refusal::new("tag must be letters and digits"));
    }
    Ok(Value {
        text: arguments.text("value")?.to_owned(),
        tag: tag.to_owned(),
        flags,
    })
}

/// What can be asked of the management interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    SetDefaultIpv4,
    SetDefaultIpv6,
    Append(Kind),
    Put(Kind),
    Clear(Kind),
    History(EventKind),
    ClearHistory,
}

impl Command {
    fn named(path: &str) -> Option<Self> {
        Some(match path {
            "set-default-ipv4" => Self::SetDefaultIpv4,
            "set-default-ipv6" => Self::SetDefaultIpv6,
            "add-a" => Self::Append(Kind::A),
            "clear-a" => Self::Clear(Kind::A),
            "add-aaaa" => Self::Append(Kind::Aaaa),
            "clear-aaaa" => Self::Clear(Kind::Aaaa),
            "add-caa" => Self::Append(Kind::Caa),
            "clear-caa" => Self::Clear(Kind::Caa),
            "set-cname" => Self::Put(Kind::Cname),
            "clear-cname" => Self::Clear(Kind::Cname),
            "set-servfail" => Self::Put(Kind::ServFail),
            "clear-servfail" => Self::Clear(Kind::ServFail),
            // The name says otherwise, but texts add up: two challenges may have one owner.
            "set-txt" => Self::Append(Kind::Txt),
            "clear-txt" => Self::Clear(Kind::Txt),
            "add-http01" => Self::Put(Kind::Http01),
            "del-http01" => Self::Clear(Kind::Http01),
            "add-redirect" => Self::Put(Kind::Redirect),
            "del-redirect" => Self::Clear(Kind::Redirect),
            "add-tlsalpn01" => Self::Put(Kind::TlsAlpn01),
            "del-tlsalpn01" => Self::Clear(Kind::TlsAlpn01),
            "http-request-history" => Self::History(EventKind::Http),
            "dns-request-history" => Self::History(EventKind::Dns),
            "tlsalpn01-request-history" => Self::History(EventKind::TlsAlpn),
            "clear-request-history" => Self::ClearHistory,
            _ => return None,
        })
    }

    fn is_offered(self, offered: Offered) -> bool {
        match self {
            Self::Append(kind) | Self::Put(kind) | Self::Clear(kind) => match kind {
                Kind::Http01 | Kind::Redirect => offered.http,
                Kind::TlsAlpn01 => offered.tls_alpn,
                _ => offered.dns,
            },
            Self::SetDefaultIpv4 | Self::SetDefaultIpv6 => offered.dns,
            Self::History(_) | Self::ClearHistory => true,
        }
    }

    fn run(self, shared: &Shared, arguments: &Arguments) -> Result<Done, Refusal> {
        match self {
            Self::SetDefaultIpv4 => shared.book.set_default_ipv4(arguments.text("ip")?),
            Self::SetDefaultIpv6 => shared.book.set_default_ipv6(arguments.text("ip")?),
            Self::Append(kind) => {
                let values = match kind {
                    Kind::A | Kind::Aaaa => arguments.addresses()?,
                    Kind::Caa => arguments.policies()?,
                    _ => vec![Value::text(arguments.required("value")?)],
                };
                shared.book.append(kind, &key(kind, arguments)?, values)?;
            }
            Self::Put(kind) => {
                let value = match kind {
                    Kind::Cname => arguments.required("target")?,
                    Kind::Redirect => arguments.required("targetURL")?,
                    Kind::Http01 | Kind::TlsAlpn01 => arguments.required("content")?,
                    _ => "",
                };
                shared.book.put(kind, &key(kind, arguments)?, Value::text(value))?;
            }
            Self::Clear(kind) => shared.book.clear(kind, &key(kind, arguments)?),
            Self::History(kind) => return Ok(Done::With(shown(&shared.history.of(kind, arguments.required("host")?)))),
            Self::ClearHistory => {
                let host = arguments.required("host")?;
                let named = arguments.text("type")?;
                let kind = EventKind::named(named)
                    .ok_or_else(|| Refusal::new(format!("{named:?} is no type of events: http, dns, tlsalpn are")))?;
                shared.history.clear(kind, host);
            }
        }
        tracing::info!(command = ?self, arguments = %Json::Object(arguments.0.clone()), "done");
        Ok(Done::Quietly)
    }
}

/// Returns under what a kind's values are found.
fn key(kind: Kind, arguments: &Arguments) -> Result<String, Refusal> {
    Ok(match kind {
        Kind::Http01 => arguments.required("token")?.to_owned(),
        Kind::Redirect => arguments.required("path")?.to_owned(),
        Kind::TlsAlpn01 => server_name(arguments.required("host")?),
        _ => canonical(arguments.required("host")?),
    })
}

fn shown(events: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(INDENT));
    match events.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        // Texts and numbers into memory: nothing that could fail is among them.
        Err(_) => "[]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offered = Offered {
        http: true,
        dns: true,
        tls_alpn: true,
    };

    async fn post(shared: &Arc<Shared>, offered: Offered, command: &str, body: &str) -> (StatusCode, String) {
        let request = Request::post(format!("/{command}"))
            .body(body.to_owned().into())
            .unwrap();
        let response = answer(shared.clone(), offered, request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), BODY_OCTETS_MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn tells_the_book() {
        let shared = Arc::new(Shared::default());
        for (command, body) in [
            ("add-a", r#"{"host":"A.test.","addresses":["10.0.0.1",""]}"#),
            ("set-txt", r#"{"HOST":"a.test","Value":"v","more":1}"#),
            ("set-txt", r#"{"host":"a.test.","value":"w"}"#),
            (
                "add-caa",
                r#"{"host":"a.test","policies":[{"Tag":"issue","value":"ca.test","flags":128},{"tag":"iodef"}]}"#,
            ),
            ("set-cname", r#"{"host":"c.test","target":"a.test"}"#),
            ("set-servfail", r#"{"host":"s.test"}"#),
            ("add-http01", r#"{"token":"T","content":"T.k"}"#),
            ("add-redirect", r#"{"path":"/X","targetURL":"/y"}"#),
            ("add-tlsalpn01", r#"{"host":"192.0.2.1","content":"T.k"}"#),
            ("set-default-ipv6", r#"{"ip":"::2"}"#),
        ] {
            assert_eq!(
                post(&shared, ALL, command, body).await,
                (StatusCode::OK, String::new()),
                "{command}"
            );
        }
        let book = &shared.book;
        assert_eq!(book.values(Kind::A, "a.test").len(), 2);
        assert_eq!(book.values(Kind::Txt, "a.test"), [Value::text("v"), Value::text("w")]);
        let caa = book.values(Kind::Caa, "a.test");
        assert_eq!(
            (caa[0].flags, caa[0].tag.as_str(), caa[1].text.as_str()),
            (128, "issue", "")
        );
        assert_eq!(book.value(Kind::Http01, "T").as_deref(), Some("T.k"));
        assert_eq!(book.value(Kind::Redirect, "/X").as_deref(), Some("/y"));
        assert!(book.value(Kind::TlsAlpn01, "1.2.0.192.in-addr.arpa").is_some());
        assert_eq!(book.default_ipv6(), "::2");
        for (command, body) in [
            ("clear-a", r#"{"host":"a.TEST"}"#),
            ("clear-servfail", r#"{"host":"s.test"}"#),
            ("del-http01", r#"{"token":"T"}"#),
            ("del-http01", r#"{"token":"T"}"#),
        ] {
            assert_eq!(post(&shared, ALL, command, body).await.0, StatusCode::OK, "{command}");
        }
        assert!(book.values(Kind::A, "a.test").is_empty());
        assert!(book.value(Kind::Http01, "T").is_none());
    }

    #[tokio::test]
    async fn refuses_what_says_too_little() {
        let shared = Arc::new(Shared::default());
        for (command, body) in [
            ("set-txt", ""),
            ("set-txt", "{bad"),
            ("set-txt", "[]"),
            ("set-txt", r#"{"host":5}"#),
            ("set-txt", r#"{"host":"a.test","value":""}"#),
            ("set-txt", r#"{"value":"v"}"#),
            ("add-a", r#"{"host":"a.test","addresses":[]}"#),
            ("add-a", r#"{"host":"a.test","addresses":[5]}"#),
            ("add-caa", r#"{"host":"a.test","policies":[{"tag":"","value":""}]}"#),
            (
                "add-caa",
                r#"{"host":"a.test","policies":[{"tag":"issue","flags":256}]}"#,
            ),
            ("set-cname", r#"{"host":"a.test"}"#),
            ("add-redirect", r#"{"path":"/a","targetURL":""}"#),
            ("http-request-history", "{}"),
            ("clear-request-history", r#"{"host":"a.test","type":"smtp"}"#),
        ] {
            let (status, reason) = post(&shared, ALL, command, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{command} {body}");
            assert!(!reason.is_empty());
        }
        assert_eq!(post(&shared, ALL, "nonsense", "{}").await.0, StatusCode::NOT_FOUND);
        let long = " ".repeat(BODY_OCTETS_MAX + 1);
        assert_eq!(
            post(&shared, ALL, "set-txt", &long).await.0,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let dns_alone = Offered {
            http: false,
            tls_alpn: false,
            ..ALL
        };
        for command in ["add-http01", "del-redirect", "add-tlsalpn01"] {
            assert_eq!(post(&shared, dns_alone, command, "{}").await.0, StatusCode::NOT_FOUND);
        }
    }

    #[tokio::test]
    async fn shows_no_events_as_an_empty_list() {
        let shared = Arc::new(Shared::default());
        let (status, body) = post(&shared, ALL, "dns-request-history", r#"{"host":"a.test"}"#).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "[]"));
    }
}
