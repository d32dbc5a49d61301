//! DNS messages: names, records, questions read and answers written (RFC 1035, 6891).

use std::net::IpAddr;

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
const OPT: u16 = 41;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const CAA: u16 = 257;

pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// An answer over UDP is no longer than this for those who do not say what they take (RFC 1035 section 4.2.1).
const UDP_OCTETS_MAX: usize = 512;

/// What this server takes over UDP itself.
const EDNS_OCTETS: u16 = 1232;

/// All records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RrSet {
    /// In lower case, without the final dot.
    pub(crate) owner: String,
    pub(crate) kind: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Vec<u8>>,
}

impl RrSet {
    pub(crate) fn new(owner: &str, kind: u16, ttl: u32, data: Vec<Vec<u8>>) -> Self {
        Self {
            owner: owner.to_owned(),
            kind,
            ttl,
            data,
        }
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

pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

pub(super) fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
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

/// What a question says about itself beyond RFC 1035 (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edns {
    octets_max: u16,
    pub(super) dnssec: bool,
}

impl Edns {
    /// Looks for the OPT record behind the question, which ends at `at`.
    pub(super) fn read(message: &[u8], mut at: usize) -> Option<Self> {
        let additional = u16::from_be_bytes(message.get(10..12)?.try_into().ok()?);
        for _ in 0..additional {
            let (_, end) = read_name(message, at)?;
            let field = |from: usize| Some(u16::from_be_bytes(message.get(from..from + 2)?.try_into().ok()?));
            if field(end)? == OPT {
                return Some(Self {
                    octets_max: field(end + 2)?,
                    dnssec: field(end + 6)? & 0x8000 != 0,
                });
            }
            at = end + 10 + usize::from(field(end + 8)?);
        }
        None
    }

    /// How long an answer over UDP may be.
    pub(super) fn octets_max(edns: Option<Self>) -> usize {
        edns.map_or(UDP_OCTETS_MAX, |edns| usize::from(edns.octets_max).max(UDP_OCTETS_MAX))
    }

    /// The OPT record of the answer.
    fn echo(self) -> Vec<u8> {
        let mut out = vec![0];
        out.extend(OPT.to_be_bytes());
        out.extend(EDNS_OCTETS.to_be_bytes());
        out.extend([0, 0, if self.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
        out
    }
}

/// The records of an answer, section by section.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) code: u8,
    pub(super) answers: Vec<RrSet>,
    pub(super) authority: Vec<RrSet>,
}

/// What an answer repeats of its question.
pub(super) struct Head<'a> {
    pub(super) id: [u8; 2],
    pub(super) recursion: u8,
    pub(super) question: &'a [u8],
    pub(super) edns: Option<Edns>,
}

impl Head<'_> {
    pub(super) fn message(&self, sections: &Sections, truncated: bool, written: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
        let mut out = self.id.to_vec();
        // Response, authoritative; recursion is claimed so that forwarders take the answer.
        let first = 0x84 | self.recursion | if truncated { 2 } else { 0 };
        out.extend([first, 0x80 | sections.code, 0, 1]);
        for sets in [&sections.answers, &sections.authority] {
            let count: usize = sets.iter().map(|set| set.data.len()).sum();
            out.extend((count as u16).to_be_bytes());
        }
        out.extend([0, u8::from(self.edns.is_some())]);
        out.extend_from_slice(self.question);
        for set in sections.answers.iter().chain(&sections.authority) {
            for data in &set.data {
                out.extend(written(&set.owner));
                out.extend(set.kind.to_be_bytes());
                out.extend(1u16.to_be_bytes());
                out.extend(set.ttl.to_be_bytes());
                out.extend((data.len() as u16).to_be_bytes());
                out.extend_from_slice(data);
            }
        }
        out.extend(self.edns.map(Edns::echo).unwrap_or_default());
        out
    }
}
