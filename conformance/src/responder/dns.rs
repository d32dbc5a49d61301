//! An authoritative name server for the test zone, by script, over UDP and TCP; it records what is asked.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use super::open;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const CAA: u16 = 257;

pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// An alias chain longer than this is not followed.
const ALIASES_MAX: usize = 8;

/// Short, so that no cache outlives the case that set a record.
const TTL_SECONDS: u32 = 1;

/// One question that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the final dot.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
}

/// The name server.
#[derive(Debug, Clone)]
pub(crate) struct Dns {
    inner: Arc<Inner>,
}

/// Record data by name and type.
type Records = HashMap<(String, u16), Vec<Vec<u8>>>;

#[derive(Debug)]
struct Inner {
    zone: String,
    address: IpAddr,
    records: Mutex<Records>,
    failures: Mutex<HashMap<(String, u16), u8>>,
    truncated: Mutex<HashSet<String>>,
    questions: Mutex<Vec<Question>>,
}

impl Dns {
    /// Answers every name of the zone with `address` unless a script says otherwise.
    pub(crate) fn start(listen: SocketAddr, zone: &str, address: IpAddr) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("DNS at {listen}: {error}");
        let udp = UdpSocket::bind(listen).map_err(fault)?;
        let tcp = TcpListener::bind(listen).map_err(fault)?;
        let inner = Arc::new(Inner {
            zone: zone.to_ascii_lowercase(),
            address,
            records: Mutex::default(),
            failures: Mutex::default(),
            truncated: Mutex::default(),
            questions: Mutex::default(),
        });
        let served = inner.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
                if let Some(answer) = served.answer(&buffer[..length], false) {
                    let _ = udp.send_to(&answer, peer);
                }
            }
        });
        let served = inner.clone();
        super::accept(tcp, move |mut stream| {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut message).is_err() {
                    return;
                }
                let Some(answer) = served.answer(&message, true) else {
                    return;
                };
                let head = (answer.len() as u16).to_be_bytes();
                if stream.write_all(&[&head[..], &answer].concat()).is_err() {
                    return;
                }
            }
        })
        .map_err(fault)?;
        Ok(Self { inner })
    }

    /// Whether any question has come.
    pub(crate) fn is_asked(&self) -> bool {
        !open(&self.inner.questions).is_empty()
    }

    /// Sets the records of a name and type; an empty set is an empty answer.
    pub(crate) fn set(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        open(&self.inner.records).insert((name.to_ascii_lowercase(), kind), records);
    }

    pub(crate) fn set_txt(&self, name: &str, values: &[&str]) {
        self.set(name, TXT, values.iter().map(|value| text(&[value])).collect());
    }

    pub(crate) fn set_caa(&self, name: &str, records: &[(u8, &str, &str)]) {
        self.set(
            name,
            CAA,
            records
                .iter()
                .map(|(flags, tag, value)| caa(*flags, tag, value))
                .collect(),
        );
    }

    pub(crate) fn set_alias(&self, name: &str, target: &str) {
        self.set(name, CNAME, vec![wire_name(target)]);
    }

    /// Answers this name and type with an error.
    pub(crate) fn fail(&self, name: &str, kind: u16, code: u8) {
        open(&self.inner.failures).insert((name.to_ascii_lowercase(), kind), code);
    }

    /// Truncates what it says about this name over UDP.
    pub(crate) fn truncate(&self, name: &str) {
        open(&self.inner.truncated).insert(name.to_ascii_lowercase());
    }

    /// What was asked for this name.
    pub(crate) fn questions(&self, name: &str) -> Vec<Question> {
        let name = name.to_ascii_lowercase();
        open(&self.inner.questions)
            .iter()
            .filter(|question| question.name == name)
            .cloned()
            .collect()
    }
}

/// A TXT record of these strings.
pub(crate) fn text(strings: &[&str]) -> Vec<u8> {
    strings
        .iter()
        .flat_map(|string| [&[string.len() as u8][..], string.as_bytes()].concat())
        .collect()
}

/// A CAA record.
pub(crate) fn caa(flags: u8, tag: &str, value: &str) -> Vec<u8> {
    [&[flags, tag.len() as u8][..], tag.as_bytes(), value.as_bytes()].concat()
}

/// An address record's data.
pub(crate) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at + 1));
        }
        // A question has no compressed names.
        if length > 63 {
            return None;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).into_owned());
        at += 1 + length;
    }
}

impl Inner {
    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (name, end) = read_name(message, 12)?;
        let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().ok()?);
        open(&self.questions).push(Question {
            name: name.clone(),
            kind,
            tcp,
        });
        let question = message.get(12..end + 4)?;
        let (code, records) = self.resolve(&name, kind);
        let truncated = !tcp && open(&self.truncated).contains(&name);
        let records = if truncated { Vec::new() } else { records };
        let authority = records.iter().all(|(_, found, _)| *found != kind);
        let mut out = message.get(..2)?.to_vec();
        let asked_recursion = message[2] & 1;
        // Response, authoritative; recursion is claimed so that forwarders take the answer.
        out.extend([0x84 | asked_recursion | if truncated { 2 } else { 0 }, 0x80 | code]);
        out.extend([0, 1]);
        out.extend((records.len() as u16).to_be_bytes());
        out.extend([0, u8::from(authority && !truncated), 0, 0]);
        out.extend_from_slice(question);
        for (owner, kind, data) in &records {
            push_record(&mut out, owner, *kind, data);
        }
        if authority && !truncated {
            let numbers = [1u32, 3600, 600, 86_400, TTL_SECONDS].map(u32::to_be_bytes).concat();
            let host = wire_name(&format!("ns.{}", self.zone));
            push_record(
                &mut out,
                &self.zone_of(&name),
                SOA,
                &[host.clone(), host, numbers].concat(),
            );
        }
        Some(out)
    }

    fn zone_of(&self, name: &str) -> String {
        if self.holds(name) {
            self.zone.clone()
        } else {
            name.rsplit('.').next().unwrap_or_default().to_owned()
        }
    }

    fn holds(&self, name: &str) -> bool {
        name == self.zone || name.strip_suffix(&self.zone).is_some_and(|front| front.ends_with('.'))
    }

    fn resolve(&self, name: &str, kind: u16) -> (u8, Vec<(String, u16, Vec<u8>)>) {
        let mut owner = name.to_owned();
        let mut answers = Vec::new();
        let records = open(&self.records);
        let failures = open(&self.failures);
        for _ in 0..ALIASES_MAX {
            if let Some(&code) = failures.get(&(owner.clone(), kind)) {
                return (code, answers);
            }
            let key = (owner.clone(), kind);
            if let Some(alias) = records.get(&(owner.clone(), CNAME)).and_then(|set| set.first()) {
                answers.push((owner.clone(), CNAME, alias.clone()));
                if kind == CNAME {
                    break;
                }
                owner = read_name(alias, 0).map(|(name, _)| name).unwrap_or_default();
                continue;
            }
            match (records.get(&key), kind, self.address) {
                (Some(set), ..) => answers.extend(set.iter().map(|data| (owner.clone(), kind, data.clone()))),
                (None, A, IpAddr::V4(default)) if self.holds(&owner) => {
                    answers.push((owner.clone(), A, default.octets().to_vec()));
                }
                (None, AAAA, IpAddr::V6(default)) if self.holds(&owner) => {
                    answers.push((owner.clone(), AAAA, default.octets().to_vec()));
                }
                _ => {}
            }
            break;
        }
        (0, answers)
    }
}

fn push_record(out: &mut Vec<u8>, owner: &str, kind: u16, data: &[u8]) {
    out.extend(wire_name(owner));
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(TTL_SECONDS.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Inner {
        Inner {
            zone: "conformance.test".into(),
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            records: Mutex::default(),
            failures: Mutex::default(),
            truncated: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    #[test]
    fn answers_names_of_the_zone_and_follows_aliases() {
        let dns = server();
        assert_eq!(dns.resolve("a.conformance.test", A).1.len(), 1);
        assert!(dns.resolve("aconformance.test", A).1.is_empty());
        dns.records.lock().expect("one thread").insert(
            ("b.conformance.test".into(), CNAME),
            vec![wire_name("a.conformance.test")],
        );
        let (code, answers) = dns.resolve("b.conformance.test", A);
        assert_eq!((code, answers.len(), answers[1].1), (0, 2, A));
    }

    #[test]
    fn ignores_questions_it_cannot_read() {
        let dns = server();
        assert_eq!(dns.answer(&[0; 11], false), None);
        assert_eq!(dns.answer(&[&[0; 12][..], &[200, 1]].concat(), false), None);
    }
}
