//! An authoritative DNS server on loopback whose records change while it runs.
//!
//! Its wire code is written out here: it must not share a library, and so a misreading, with the
//! resolver under test. It answers over UDP and TCP.
//!
//! TXT records can also be put as files, one value per line, named after the owner: that is how
//! the hooks of other people's clients, which are programs of their own, reach it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::ports;

/// Every name under this one has the address 127.0.0.1 unless a test says otherwise.
pub const ZONE: &str = "test";
/// How long one TCP client may stay.
const TCP_WITHIN: Duration = Duration::from_secs(5);
/// How often the UDP side looks whether it should end.
const WAKE: Duration = Duration::from_millis(200);
/// How many CNAMEs are followed in one answer.
const CNAME_CHAIN_MAX: usize = 8;
/// The largest UDP answer; a longer one is truncated and asked again over TCP.
const UDP_BYTES_MAX: usize = 1232;
/// Answers must not be kept: the records of a test change.
const TTL_SECONDS: u32 = 0;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_CAA: u16 = 257;

const RCODE_NO_ERROR: u16 = 0;
const RCODE_FORMAT: u16 = 1;
const RCODE_NAME: u16 = 3;

/// What the server knows, and what it was asked.
#[derive(Debug, Default)]
struct Zone {
    records: BTreeMap<(String, u16), Vec<Vec<u8>>>,
    failing: BTreeMap<String, u16>,
    absent: Vec<String>,
    asked: Vec<(String, u16)>,
    texts: PathBuf,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct DnsServer {
    port: u16,
    zone: Arc<Mutex<Zone>>,
    ended: Arc<AtomicBool>,
    texts: TempDir,
}

impl DnsServer {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If the port is gone again.
    pub fn start() -> Self {
        let texts = tempfile::tempdir().expect("a directory for TXT files");
        let port = ports::free();
        let zone = Arc::new(Mutex::new(Zone {
            texts: texts.path().to_owned(),
            ..Zone::default()
        }));
        let ended = Arc::new(AtomicBool::new(false));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a UDP port");
        udp.set_read_timeout(Some(WAKE)).expect("a read timeout");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a TCP port");
        let (known, stop) = (Arc::clone(&zone), Arc::clone(&ended));
        std::thread::spawn(move || serve_udp(&udp, &known, &stop));
        let (known, stop) = (Arc::clone(&zone), Arc::clone(&ended));
        std::thread::spawn(move || serve_tcp(&tcp, &known, &stop));
        Self {
            port,
            zone,
            ended,
            texts,
        }
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the folder in which a file named after its owner holds TXT values, one a line.
    pub fn texts(&self) -> &Path {
        self.texts.path()
    }

    /// Gives a name an IPv4 address besides those it has.
    pub fn add_a(&self, name: &str, address: Ipv4Addr) {
        self.add(name, TYPE_A, address.octets().to_vec());
    }

    /// Gives a name an IPv6 address besides those it has.
    pub fn add_aaaa(&self, name: &str, address: Ipv6Addr) {
        self.add(name, TYPE_AAAA, address.octets().to_vec());
    }

    /// Gives a name a text besides those it has.
    pub fn add_txt(&self, name: &str, text: &str) {
        self.add(name, TYPE_TXT, character_strings(text));
    }

    /// Gives a name a CAA record besides those it has.
    pub fn add_caa(&self, name: &str, flags: u8, tag: &str, value: &str) {
        let mut data = vec![flags, u8::try_from(tag.len()).expect("a short tag")];
        data.extend_from_slice(tag.as_bytes());
        data.extend_from_slice(value.as_bytes());
        self.add(name, TYPE_CAA, data);
    }

    /// Makes a name an alias.
    pub fn add_cname(&self, name: &str, target: &str) {
        self.add(name, TYPE_CNAME, encode_name(target));
    }

    /// Takes all records of a name away that a test has given it.
    pub fn clear(&self, name: &str) {
        let name = canonical(name);
        let mut zone = self.zone();
        zone.records.retain(|(owner, _), _| *owner != name);
        zone.failing.remove(&name);
        zone.absent.retain(|owner| *owner != name);
    }

    /// Makes every question about a name fail with a response code (2 is SERVFAIL).
    pub fn fail(&self, name: &str, code: u16) {
        self.zone().failing.insert(canonical(name), code);
    }

    /// Makes a name not exist.
    pub fn remove(&self, name: &str) {
        self.zone().absent.push(canonical(name));
    }

    /// Returns how often a name was asked for a type.
    pub fn times_asked(&self, name: &str, kind: u16) -> usize {
        let asked = (canonical(name), kind);
        self.zone().asked.iter().filter(|entry| **entry == asked).count()
    }

    fn add(&self, name: &str, kind: u16, data: Vec<u8>) {
        self.zone()
            .records
            .entry((canonical(name), kind))
            .or_default()
            .push(data);
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve_udp(socket: &UdpSocket, zone: &Mutex<Zone>, ended: &AtomicBool) {
    let mut buffer = [0_u8; 4096];
    while !ended.load(Ordering::Acquire) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(answer) = respond(&buffer[..length], zone, UDP_BYTES_MAX) {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Mutex<Zone>>, ended: &AtomicBool) {
    for stream in listener.incoming() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let zone = Arc::clone(zone);
        if let Ok(stream) = stream {
            std::thread::spawn(move || talk(stream, &zone));
        }
    }
}

fn talk(mut stream: TcpStream, zone: &Mutex<Zone>) {
    let _ = stream.set_read_timeout(Some(TCP_WITHIN));
    let mut length = [0_u8; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0_u8; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = respond(&query, zone, usize::from(u16::MAX)) else {
            return;
        };
        let size = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        let sent = stream
            .write_all(&size.to_be_bytes())
            .and_then(|()| stream.write_all(&answer));
        if sent.is_err() {
            return;
        }
    }
}

/// Makes the answer to one message; `None` if it is not even a header.
fn respond(query: &[u8], zone: &Mutex<Zone>, bytes_max: usize) -> Option<Vec<u8>> {
    let header = query.get(..12)?;
    let Some((name, kind, end)) = read_question(query) else {
        return Some(message(header, RCODE_FORMAT, &[], &[], false));
    };
    let question = &query[12..end];
    let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
    zone.asked.push((name.clone(), kind));
    let (code, records) = zone.resolve(&name, kind);
    drop(zone);
    let extended = asks_extended(query);
    let whole = message(header, code, question, &records, extended);
    if whole.len() <= bytes_max {
        return Some(whole);
    }
    let mut cut = message(header, code, question, &[], extended);
    cut[2] |= 0x02;
    Some(cut)
}

/// A record of an answer: owner, type, data.
type Answer = (String, u16, Vec<u8>);

impl Zone {
    fn resolve(&self, name: &str, kind: u16) -> (u16, Vec<Answer>) {
        let mut answers = Vec::new();
        let mut owner = name.to_owned();
        for _ in 0..CNAME_CHAIN_MAX {
            if let Some(code) = self.failing.get(&owner) {
                return (*code, Vec::new());
            }
            if self.absent.contains(&owner) || !in_zone(&owner) {
                return (RCODE_NAME, answers);
            }
            let alias = self
                .records
                .get(&(owner.clone(), TYPE_CNAME))
                .and_then(|all| all.first());
            if let Some(target) = alias.filter(|_| kind != TYPE_CNAME) {
                answers.push((owner, TYPE_CNAME, target.clone()));
                owner = decode_name(target, 0).map(|(name, _)| name).unwrap_or_default();
                continue;
            }
            answers.extend(
                self.data(&owner, kind)
                    .into_iter()
                    .map(|data| (owner.clone(), kind, data)),
            );
            break;
        }
        (RCODE_NO_ERROR, answers)
    }

    fn data(&self, owner: &str, kind: u16) -> Vec<Vec<u8>> {
        let mut found = self.records.get(&(owner.to_owned(), kind)).cloned().unwrap_or_default();
        if kind == TYPE_TXT {
            let file = std::fs::read_to_string(self.texts.join(owner)).unwrap_or_default();
            found.extend(file.lines().filter(|line| !line.is_empty()).map(character_strings));
        }
        let given = [TYPE_A, TYPE_AAAA]
            .iter()
            .any(|kind| self.records.contains_key(&(owner.to_owned(), *kind)));
        if kind == TYPE_A && !given && owner.ends_with(&format!(".{ZONE}")) {
            found.push(Ipv4Addr::LOCALHOST.octets().to_vec());
        }
        if kind == TYPE_SOA && owner == ZONE {
            found.push(start_of_authority());
        }
        found
    }
}

fn in_zone(name: &str) -> bool {
    name == ZONE || name.ends_with(&format!(".{ZONE}"))
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn character_strings(text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in text.as_bytes().chunks(255) {
        data.push(u8::try_from(piece.len()).expect("invariant: at most 255"));
        data.extend_from_slice(piece);
    }
    data
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).expect("a label of at most 63"));
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    data
}

/// Reads an uncompressed name; returns it in lower case and where it ends.
fn decode_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at));
        }
        if length > 63 {
            return None;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}

fn read_question(query: &[u8]) -> Option<(String, u16, usize)> {
    if u16::from_be_bytes([query[4], query[5]]) != 1 {
        return None;
    }
    let (name, at) = decode_name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    query.get(at + 2..at + 4)?;
    Some((name, kind, at + 4))
}

/// Says whether the query brings an OPT record: then the answer must too (RFC 6891).
fn asks_extended(query: &[u8]) -> bool {
    u16::from_be_bytes([query[10], query[11]]) > 0
}

fn start_of_authority() -> Vec<u8> {
    let mut data = encode_name("ns.test");
    data.extend(encode_name("hostmaster.test"));
    for number in [1_u32, 60, 60, 60, TTL_SECONDS] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data
}

fn message(head: &[u8], code: u16, question: &[u8], answers: &[Answer], extended: bool) -> Vec<u8> {
    let negative = answers.is_empty() && matches!(code, RCODE_NO_ERROR | RCODE_NAME);
    let mut out = head[..2].to_vec();
    // A response, authoritative; recursion as asked, and said to be there: we answer for resolvers.
    let flags = 0x8000 | 0x0400 | 0x0080 | (u16::from(head[2] & 1) << 8) | code;
    out.extend_from_slice(&flags.to_be_bytes());
    let counts = [
        u16::from(!question.is_empty()),
        u16::try_from(answers.len()).unwrap_or(u16::MAX),
        u16::from(negative),
        u16::from(extended),
    ];
    for count in counts {
        out.extend_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(question);
    for (owner, kind, data) in answers {
        record(&mut out, owner, *kind, 1, TTL_SECONDS, data);
    }
    if negative {
        record(&mut out, ZONE, TYPE_SOA, 1, TTL_SECONDS, &start_of_authority());
    }
    if extended {
        let size = u16::try_from(UDP_BYTES_MAX).expect("invariant: a small bound");
        record(&mut out, "", TYPE_OPT, size, 0, &[]);
    }
    out
}

fn record(out: &mut Vec<u8>, owner: &str, kind: u16, class: u16, ttl: u32, data: &[u8]) {
    out.extend(encode_name(owner));
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &DnsServer, name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(encode_name(name));
        query.extend_from_slice(&kind.to_be_bytes());
        query.extend_from_slice(&[0, 1]);
        respond(&query, &server.zone, UDP_BYTES_MAX).expect("an answer")
    }

    fn counts(answer: &[u8]) -> (u8, u16) {
        (answer[3] & 0x0f, u16::from_be_bytes([answer[6], answer[7]]))
    }

    #[test]
    fn every_name_of_the_zone_is_on_loopback() {
        let server = DnsServer::start();
        let answer = ask(&server, "any.test", TYPE_A);
        assert_eq!(counts(&answer), (0, 1));
        assert!(answer.ends_with(&[127, 0, 0, 1]));
        assert_eq!(counts(&ask(&server, "any.test", TYPE_AAAA)), (0, 0));
        assert_eq!(counts(&ask(&server, "any.example", TYPE_A)), (3, 0));
    }

    #[test]
    fn records_come_and_go() {
        let server = DnsServer::start();
        server.add_caa("caa.test", 0, "issue", ";");
        assert!(
            ask(&server, "CAA.test", TYPE_CAA)
                .windows(7)
                .any(|w| w == b"\x05issue;")
        );
        server.clear("caa.test");
        assert_eq!(counts(&ask(&server, "caa.test", TYPE_CAA)), (0, 0));
        server.fail("broken.test", 2);
        assert_eq!(counts(&ask(&server, "broken.test", TYPE_A)), (2, 0));
        assert_eq!(server.times_asked("caa.test", TYPE_CAA), 2);
    }

    #[test]
    fn follows_an_alias_and_reads_texts_from_files() {
        let server = DnsServer::start();
        server.add_cname("alias.test", "real.test");
        std::fs::write(server.texts().join("real.test"), "one\ntwo\n").unwrap();
        assert_eq!(counts(&ask(&server, "alias.test", TYPE_TXT)), (0, 3));
    }

    #[test]
    fn cuts_what_is_too_long_for_udp() {
        let server = DnsServer::start();
        for number in 0..20 {
            server.add_txt("long.test", &format!("{number}").repeat(100));
        }
        let answer = ask(&server, "long.test", TYPE_TXT);
        assert_ne!(answer[2] & 0x02, 0, "the truncation bit");
        assert_eq!(counts(&answer), (0, 0));
    }
}
