//! What the responders were asked, in order, within a bound: a test looks here whether it was validated, and how.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// How many events of each kind are kept; the oldest make room.
const EVENTS_MAX: usize = 4096;

/// How many octets of what somebody sent are kept of one text.
const TEXT_OCTETS_MAX: usize = 4096;

/// How many protocols of one TLS hello are kept.
const PROTOCOLS_MAX: usize = 16;

/// Which responder was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Http,
    Dns,
    TlsAlpn,
}

impl EventKind {
    /// Reads the name that the management interface has for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "dns" => Some(Self::Dns),
            "tlsalpn" => Some(Self::TlsAlpn),
            _ => None,
        }
    }
}

/// One request, with the members that clients of pebble-challtestsrv read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Event {
    #[serde(rename_all = "PascalCase")]
    Http {
        #[serde(rename = "URL")]
        url: String,
        host: String,
        #[serde(rename = "HTTPS")]
        https: bool,
        server_name: String,
    },
    #[serde(rename_all = "PascalCase")]
    Dns { question: Question },
    #[serde(rename_all = "PascalCase")]
    TlsAlpn {
        server_name: String,
        supported_protos: Vec<String>,
    },
}

/// A question as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) qtype: u16,
    pub(super) qclass: u16,
}

impl Event {
    fn kind(&self) -> EventKind {
        match self {
            Self::Http { .. } => EventKind::Http,
            Self::Dns { .. } => EventKind::Dns,
            Self::TlsAlpn { .. } => EventKind::TlsAlpn,
        }
    }

    /// Returns the host under which it is found again.
    fn host(&self) -> String {
        match self {
            Self::Http { host, .. } => key(without_port(host)),
            Self::Dns { question } => key(&question.name),
            Self::TlsAlpn { server_name, .. } => key(server_name),
        }
    }

    fn shortened(self) -> Self {
        match self {
            Self::Http {
                url,
                host,
                https,
                server_name,
            } => Self::Http {
                url: shorten(url),
                host: shorten(host),
                https,
                server_name,
            },
            Self::TlsAlpn {
                server_name,
                mut supported_protos,
            } => {
                supported_protos.truncate(PROTOCOLS_MAX);
                Self::TlsAlpn {
                    server_name,
                    supported_protos,
                }
            }
            dns @ Self::Dns { .. } => dns,
        }
    }
}

/// The events so far, shared by the responders.
#[derive(Debug, Default)]
pub(super) struct History {
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    http: VecDeque<Event>,
    dns: VecDeque<Event>,
    tls_alpn: VecDeque<Event>,
}

impl Events {
    fn of(&mut self, kind: EventKind) -> &mut VecDeque<Event> {
        match kind {
            EventKind::Http => &mut self.http,
            EventKind::Dns => &mut self.dns,
            EventKind::TlsAlpn => &mut self.tls_alpn,
        }
    }
}

impl History {
    pub(super) fn add(&self, event: Event) {
        let mut events = self.open();
        let kept = events.of(event.kind());
        if kept.len() >= EVENTS_MAX {
            kept.pop_front();
        }
        kept.push_back(event.shortened());
    }

    /// Returns the events of a host, oldest first; hosts are compared as DNS does, without regard to case.
    pub(super) fn of(&self, kind: EventKind, host: &str) -> Vec<Event> {
        let host = key(host);
        let mut events = self.open();
        let of_kind = events.of(kind).iter();
        of_kind.filter(|event| event.host() == host).cloned().collect()
    }

    pub(super) fn clear(&self, kind: EventKind, host: &str) {
        let host = key(host);
        self.open().of(kind).retain(|event| event.host() != host);
    }

    fn open(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Takes the port off a Host header, and the brackets off an address.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

fn shorten(mut text: String) -> String {
    let mut end = TEXT_OCTETS_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, url: &str) -> Event {
        Event::Http {
            url: url.to_owned(),
            host: host.to_owned(),
            https: false,
            server_name: String::new(),
        }
    }

    #[test]
    fn finds_requests_by_host_whatever_the_port() {
        let history = History::default();
        for host in ["a.test:80", "A.test", "[::1]:80", "::1", "b.test"] {
            history.add(request(host, "/"));
        }
        assert_eq!(history.of(EventKind::Http, "a.test").len(), 2);
        assert_eq!(history.of(EventKind::Http, "::1").len(), 2);
        assert!(history.of(EventKind::Dns, "a.test").is_empty());
        history.clear(EventKind::Http, "a.test");
        assert!(history.of(EventKind::Http, "a.test").is_empty());
        assert_eq!(history.of(EventKind::Http, "b.test").len(), 1);
    }

    #[test]
    fn writes_the_members_that_clients_know() {
        let dns = Event::Dns {
            question: Question {
                name: "a.test.".into(),
                qtype: 1,
                qclass: 1,
            },
        };
        let tls = Event::TlsAlpn {
            server_name: "a.test".into(),
            supported_protos: vec!["acme-tls/1".into()],
        };
        for (event, written) in [
            (
                request("a.test", "/x"),
                r#"{"URL":"/x","Host":"a.test","HTTPS":false,"ServerName":""}"#,
            ),
            (dns, r#"{"Question":{"Name":"a.test.","Qtype":1,"Qclass":1}}"#),
            (tls, r#"{"ServerName":"a.test","SupportedProtos":["acme-tls/1"]}"#),
        ] {
            assert_eq!(serde_json::to_string(&event).unwrap(), written);
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let history = History::default();
        for number in 0..=EVENTS_MAX {
            history.add(request("a.test", &number.to_string()));
        }
        let kept = history.of(EventKind::Http, "a.test");
        assert_eq!(kept.len(), EVENTS_MAX);
        assert_eq!(kept[0], request("a.test", "1"));
        history.add(request("a.test", &"ä".repeat(TEXT_OCTETS_MAX)));
        let Some(Event::Http { url, .. }) = history.of(EventKind::Http, "a.test").pop() else {
            panic!("a request");
        };
        assert_eq!(url.len(), TEXT_OCTETS_MAX);
    }
}
