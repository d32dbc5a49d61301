//! An authoritative name server for the test zone, by script, over UDP and TCP; it records what is asked.
//!
//! With a key it signs for those who ask for signatures (EDNS's DO bit); see [`super::dnssec`].

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use super::dnssec::{self, Fault, ZoneKey};
use super::message::{CNAME, DNSKEY, DS, Edns, Head, NS, NSEC, RRSIG, RrSet, SOA, Sections, read_name, wire_name};
// Scripts need these as much as the server does.
pub(crate) use super::message::{A, AAAA, CAA, NXDOMAIN, SERVFAIL, TXT, address, caa, text};
use super::open;

/// An alias chain longer than this is not followed.
const ALIASES_MAX: usize = 8;

/// Short, so that no cache outlives the case that set a record.
const TTL_SECONDS: u32 = 1;

/// What a zone says of itself does not change during a run.
const APEX_TTL_SECONDS: u32 = 60;

/// One question that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the final dot.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) tcp: bool,
    /// Signatures were asked for.
    pub(crate) dnssec: bool,
}

/// The name server.
#[derive(Debug, Clone)]
pub(crate) struct Dns {
    inner: Arc<Inner>,
}

/// Something by name and type.
type ByQuestion<T> = HashMap<(String, u16), T>;

#[derive(Debug)]
struct Inner {
    zone: String,
    address: IpAddr,
    key: Option<ZoneKey>,
    records: Mutex<ByQuestion<RrSet>>,
    failures: Mutex<ByQuestion<u8>>,
    faults: Mutex<ByQuestion<Fault>>,
    truncated: Mutex<HashSet<String>>,
    shouted: Mutex<HashSet<String>>,
    questions: Mutex<Vec<Question>>,
}

impl Dns {
    /// Answers every name of the zone with `address` unless a script says otherwise.
    pub(crate) fn start(listen: SocketAddr, zone: &str, address: IpAddr, key: Option<ZoneKey>) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("DNS at {listen}: {error}");
        let udp = UdpSocket::bind(listen).map_err(fault)?;
        let tcp = TcpListener::bind(listen).map_err(fault)?;
        let inner = Arc::new(Inner::new(zone, address, key));
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
        self.set_lasting(name, kind, TTL_SECONDS, records);
    }

    /// Sets records that caches may keep for so many seconds.
    pub(crate) fn set_lasting(&self, name: &str, kind: u16, ttl: u32, records: Vec<Vec<u8>>) {
        let set = RrSet::new(&name.to_ascii_lowercase(), kind, ttl, records);
        open(&self.inner.records).insert((set.owner.clone(), kind), set);
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

    /// Whether it can sign, so that a target was told its key.
    pub(crate) fn signs(&self) -> bool {
        self.inner.key.is_some()
    }

    /// Spoils the proof of what it says about this name and type, be it a set of records or that there is none.
    pub(crate) fn spoil(&self, name: &str, kind: u16, fault: Fault) {
        open(&self.inner.faults).insert((name.to_ascii_lowercase(), kind), fault);
    }

    /// Writes this name in upper case in its answers: names are compared without case.
    pub(crate) fn shout(&self, name: &str) {
        open(&self.inner.shouted).insert(name.to_ascii_lowercase());
    }

    /// What was asked for names that end so.
    pub(crate) fn questions_below(&self, name: &str) -> Vec<Question> {
        let end = format!(".{}", name.to_ascii_lowercase());
        open(&self.inner.questions)
            .iter()
            .filter(|question| question.name.ends_with(&end))
            .cloned()
            .collect()
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

impl Inner {
    fn new(zone: &str, address: IpAddr, key: Option<ZoneKey>) -> Self {
        Self {
            zone: zone.to_ascii_lowercase(),
            address,
            key,
            records: Mutex::default(),
            failures: Mutex::default(),
            faults: Mutex::default(),
            truncated: Mutex::default(),
            shouted: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (name, end) = read_name(message, 12)?;
        let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().ok()?);
        let edns = Edns::read(message, end + 4);
        open(&self.questions).push(Question {
            name: name.clone(),
            kind,
            tcp,
            dnssec: edns.is_some_and(|edns| edns.dnssec),
        });
        let head = Head {
            id: message.get(..2)?.try_into().ok()?,
            recursion: message[2] & 1,
            question: message.get(12..end + 4)?,
            edns,
        };
        let key = self.key.as_ref().filter(|_| edns.is_some_and(|edns| edns.dnssec));
        let sections = match key {
            Some(key) => self.signed(&name, kind, key),
            None => self.unsigned(&name, kind),
        };
        let octets_max = if tcp {
            usize::from(u16::MAX)
        } else {
            Edns::octets_max(edns)
        };
        let whole = head.message(&sections, false, |owner| self.written(owner));
        if whole.len() > octets_max || (!tcp && open(&self.truncated).contains(&name)) {
            let none = Sections {
                code: sections.code,
                ..Sections::default()
            };
            return Some(head.message(&none, true, |owner| self.written(owner)));
        }
        Some(whole)
    }

    /// A name as answers have it.
    fn written(&self, owner: &str) -> Vec<u8> {
        if open(&self.shouted).contains(owner) {
            wire_name(&owner.to_ascii_uppercase())
        } else {
            wire_name(owner)
        }
    }

    fn unsigned(&self, name: &str, kind: u16) -> Sections {
        let (code, answers) = self.resolve(name, kind);
        let authority = if answers.iter().all(|set| set.kind != kind) {
            let top = name.rsplit('.').next().unwrap_or_default();
            vec![self.authority(if self.holds(name) { &self.zone } else { top })]
        } else {
            Vec::new()
        };
        Sections {
            code,
            answers,
            authority,
        }
    }

    /// The same with the proofs. An answer that ends with an alias says no more: the asker asks for its target again.
    fn signed(&self, name: &str, kind: u16, key: &ZoneKey) -> Sections {
        let (code, answers) = self.resolve(name, kind);
        let fault = |owner: &str| open(&self.faults).get(&(owner.to_owned(), kind)).copied();
        let with_signature = |set: RrSet| {
            let zone = dnssec::zone_for(&self.zone, self.holds(&set.owner), &set.owner, set.kind);
            let fault = fault(if set.kind == NSEC { name } else { &set.owner });
            let signature = key.sign(&set, zone, fault);
            let signature = signature.map(|data| RrSet::new(&set.owner, RRSIG, set.ttl, vec![data]));
            [Some(set), signature].into_iter().flatten()
        };
        let zone = dnssec::zone_for(&self.zone, self.holds(name), name, kind);
        let authority = if answers.is_empty() && code == 0 && fault(name) != Some(Fault::Stripped) {
            let denial = dnssec::nsec(name, zone, &self.types(name));
            vec![self.authority(zone), RrSet::new(name, NSEC, TTL_SECONDS, vec![denial])]
        } else {
            Vec::new()
        };
        Sections {
            code,
            answers: answers.into_iter().flat_map(with_signature).collect(),
            authority: authority.into_iter().flat_map(with_signature).collect(),
        }
    }

    /// The SOA record of a zone.
    fn authority(&self, zone: &str) -> RrSet {
        let numbers = [1u32, 3600, 600, 86_400, TTL_SECONDS].map(u32::to_be_bytes).concat();
        let host = wire_name(&format!("ns.{}", self.zone));
        RrSet::new(zone, SOA, TTL_SECONDS, vec![[host.clone(), host, numbers].concat()])
    }

    fn holds(&self, name: &str) -> bool {
        name == self.zone || name.strip_suffix(&self.zone).is_some_and(|front| front.ends_with('.'))
    }

    /// The types of records that there are at a name.
    fn types(&self, name: &str) -> Vec<u16> {
        let mut types: Vec<u16> = open(&self.records)
            .values()
            .filter(|set| set.owner == name && !set.data.is_empty())
            .map(|set| set.kind)
            .collect();
        types.extend(
            [A, AAAA]
                .into_iter()
                .filter(|kind| self.built_in(name, *kind).is_some()),
        );
        if name.is_empty() || name == self.zone {
            types.extend(dnssec::APEX);
        }
        types
    }

    /// What there is without a script: addresses, and with a key what a signed zone says of itself.
    fn built_in(&self, name: &str, kind: u16) -> Option<RrSet> {
        let top = name == self.zone || name.is_empty();
        let (ttl, data) = match (kind, self.address, &self.key) {
            (A, IpAddr::V4(address), _) if self.holds(name) => (TTL_SECONDS, address.octets().to_vec()),
            (AAAA, IpAddr::V6(address), _) if self.holds(name) => (TTL_SECONDS, address.octets().to_vec()),
            (DNSKEY, _, Some(key)) if top => (APEX_TTL_SECONDS, key.dnskey()),
            (DS, _, Some(key)) if name == self.zone => (APEX_TTL_SECONDS, key.ds(name)),
            (NS, _, Some(_)) if top => (APEX_TTL_SECONDS, wire_name(&format!("ns.{}", self.zone))),
            (SOA, _, Some(_)) if top => return Some(self.authority(name)),
            _ => return None,
        };
        let scripted = open(&self.records).contains_key(&(name.to_owned(), kind));
        (!scripted).then(|| RrSet::new(name, kind, ttl, vec![data]))
    }

    fn resolve(&self, name: &str, kind: u16) -> (u8, Vec<RrSet>) {
        let mut owner = name.to_owned();
        let mut answers = Vec::new();
        let scripted = |owner: &str, kind: u16| open(&self.records).get(&(owner.to_owned(), kind)).cloned();
        for _ in 0..ALIASES_MAX {
            if let Some(&code) = open(&self.failures).get(&(owner.clone(), kind)) {
                return (code, answers);
            }
            if let Some(alias) = scripted(&owner, CNAME).filter(|alias| !alias.data.is_empty()) {
                owner = read_name(&alias.data[0], 0).map(|(name, _)| name).unwrap_or_default();
                answers.push(alias);
                if kind == CNAME {
                    break;
                }
                continue;
            }
            let found = scripted(&owner, kind).or_else(|| self.built_in(&owner, kind));
            answers.extend(found.filter(|set| !set.data.is_empty()));
            break;
        }
        (0, answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn server(key: Option<ZoneKey>) -> Dns {
        Dns {
            inner: Arc::new(Inner::new("conformance.test", HERE, key)),
        }
    }

    fn signing() -> Dns {
        server(Some(ZoneKey::read(&dnssec::new_key()).expect("a fresh key")))
    }

    /// A question, with an OPT record where it wants signatures.
    fn question(name: &str, kind: u16, dnssec: bool) -> Vec<u8> {
        let mut out = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(dnssec)];
        out.extend(wire_name(name));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        if dnssec {
            out.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        }
        out
    }

    #[test]
    fn answers_names_of_the_zone_and_follows_aliases() {
        let dns = server(None);
        assert_eq!(dns.inner.resolve("a.conformance.test", A).1.len(), 1);
        assert!(dns.inner.resolve("aconformance.test", A).1.is_empty());
        dns.set_alias("b.conformance.test", "a.conformance.test");
        let (code, answers) = dns.inner.resolve("b.conformance.test", A);
        assert_eq!((code, answers.len(), answers[1].kind), (0, 2, A));
    }

    #[test]
    fn ignores_questions_it_cannot_read() {
        let dns = server(None);
        assert_eq!(dns.inner.answer(&[0; 11], false), None);
        assert_eq!(dns.inner.answer(&[&[0; 12][..], &[200, 1]].concat(), false), None);
    }

    #[test]
    fn signs_only_for_those_who_ask_for_it() {
        let dns = signing();
        let plain = dns.inner.answer(&question("a.conformance.test", A, false), false);
        assert_eq!(plain.expect("an answer")[6..12], [0, 1, 0, 0, 0, 0]);
        let signed = dns.inner.answer(&question("a.conformance.test", A, true), false);
        assert_eq!(signed.expect("an answer")[6..12], [0, 2, 0, 0, 0, 1]);
        let denied = dns.inner.answer(&question("a.conformance.test", CAA, true), false);
        assert_eq!(denied.expect("an answer")[6..12], [0, 0, 0, 4, 0, 1]);
        let asked = dns.questions("a.conformance.test");
        assert_eq!(
            asked.iter().map(|one| one.dnssec).collect::<Vec<_>>(),
            [false, true, true]
        );
        dns.spoil("a.conformance.test", CAA, Fault::Stripped);
        let stripped = dns.inner.answer(&question("a.conformance.test", CAA, true), false);
        assert_eq!(stripped.expect("an answer")[6..12], [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn the_parent_speaks_for_the_delegation() {
        let dns = signing();
        let key = dns.inner.key.as_ref().expect("a key");
        for (name, kind, signer) in [
            ("conformance.test", DS, ""),
            ("conformance.test", DNSKEY, "conformance.test"),
            ("", DNSKEY, ""),
            ("test", CAA, ""),
        ] {
            let sections = dns.inner.signed(name, kind, key);
            let sets = sections.answers.iter().chain(&sections.authority);
            for signature in sets.filter(|set| set.kind == RRSIG) {
                let (found, _) = read_name(&signature.data[0], 18).expect("a signer");
                assert_eq!(found, signer, "{name} {kind}");
            }
        }
    }

    #[test]
    fn long_answers_go_over_tcp() {
        let dns = server(None);
        let long = "x".repeat(250);
        dns.set_txt("l.conformance.test", &[&long, &long, &long]);
        let question = question("l.conformance.test", TXT, false);
        let cut = dns.inner.answer(&question, false).expect("an answer");
        assert_eq!((cut[2] & 2, cut.len()), (2, question.len()));
        let whole = dns.inner.answer(&question, true).expect("an answer");
        assert!(whole[2] & 2 == 0 && whole.len() > 750);
    }
}
