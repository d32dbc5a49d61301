//! DER as a tree that can be altered and written again, with whatever lengths that takes.

/// The tag of BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// The tag of INTEGER.
pub const INTEGER: u8 = 0x02;
/// The tag of BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// The tag of OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of OID.
pub const OID: u8 = 0x06;
/// The tag of ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// The tag of UTC TIME.
pub const UTC_TIME: u8 = 0x17;
/// The tag of GENERALIZED TIME.
pub const GENERALIZED_TIME: u8 = 0x18;
/// The tag of SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// The tag of SET.
pub const SET: u8 = 0x31;

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlv {
    /// Its tag.
    pub tag: u8,
    /// What it holds, if it is primitive.
    pub content: Vec<u8>,
    /// What it holds, if it is constructed.
    pub parts: Vec<Tlv>,
}

impl Tlv {
    /// A primitive element.
    pub fn of(tag: u8, content: impl AsRef<[u8]>) -> Self {
        Self {
            tag,
            content: content.as_ref().to_vec(),
            parts: Vec::new(),
        }
    }

    /// A constructed element.
    pub fn with(tag: u8, parts: Vec<Self>) -> Self {
        Self {
            tag,
            content: Vec::new(),
            parts,
        }
    }

    /// Reads one element that fills the octets.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let mut all = Self::read_all(octets)?;
        (all.len() == 1).then(|| all.remove(0))
    }

    fn read_all(mut octets: &[u8]) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        while !octets.is_empty() {
            let (&tag, rest) = octets.split_first()?;
            let (length, rest) = length(rest)?;
            let (content, rest) = rest.split_at_checked(length)?;
            all.push(if tag & 0x20 == 0 {
                Self::of(tag, content)
            } else {
                Self::with(tag, Self::read_all(content)?)
            });
            octets = rest;
        }
        Some(all)
    }

    /// Writes it.
    pub fn der(&self) -> Vec<u8> {
        let content = if self.tag & 0x20 == 0 {
            self.content.clone()
        } else {
            self.parts.iter().flat_map(Self::der).collect()
        };
        let length = content.len().to_be_bytes();
        let significant: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
        let mut out = vec![self.tag];
        match significant.as_slice() {
            [] => out.push(0),
            [short] if *short < 0x80 => out.push(*short),
            long => {
                out.push(0x80 | u8::try_from(long.len()).expect("invariant: eight octets at most"));
                out.extend_from_slice(long);
            }
        }
        out.extend(content);
        out
    }

    /// The value inside an OCTET STRING, altered by `change`.
    pub fn inside(&mut self, change: impl FnOnce(&mut Self)) {
        if let Some(mut value) = Self::read(&self.content) {
            change(&mut value);
            self.content = value.der();
        }
    }
}

fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = octets.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (long, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = long.iter().fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
    Some((length, rest))
}

/// A SEQUENCE.
pub fn sequence(parts: Vec<Tlv>) -> Tlv {
    Tlv::with(SEQUENCE, parts)
}

/// NULL.
pub fn null() -> Tlv {
    Tlv::of(0x05, [])
}

/// An OBJECT IDENTIFIER in dotted form.
///
/// # Panics
///
/// If it is none.
pub fn oid(dotted: &str) -> Tlv {
    let mut numbers = dotted.split('.').map(|part| part.parse::<u64>().expect("a number"));
    let (first, second) = (numbers.next().expect("two arcs"), numbers.next().expect("two arcs"));
    let mut content = Vec::new();
    for number in std::iter::once(first * 40 + second).chain(numbers) {
        let mut octets = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            octets.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        octets.reverse();
        content.extend(octets);
    }
    Tlv::of(OID, content)
}

/// An Extension.
pub fn extension(dotted: &str, critical: bool, value: &Tlv) -> Tlv {
    let mut parts = vec![oid(dotted)];
    if critical {
        parts.push(Tlv::of(BOOLEAN, [0xff]));
    }
    parts.push(Tlv::of(OCTET_STRING, value.der()));
    sequence(parts)
}

/// A list of Extensions, wherever it stands.
#[derive(Debug)]
pub struct Extensions<'a>(pub &'a mut Vec<Tlv>);

impl Extensions<'_> {
    fn at(&mut self, dotted: &str) -> Option<&mut Tlv> {
        let wanted = oid(dotted);
        self.0.iter_mut().find(|one| one.parts.first() == Some(&wanted))
    }

    /// Adds one.
    pub fn push(&mut self, dotted: &str, critical: bool, value: &Tlv) {
        self.0.push(extension(dotted, critical, value));
    }

    /// Takes one out.
    pub fn remove(&mut self, dotted: &str) {
        let unwanted = oid(dotted);
        self.0.retain(|one| one.parts.first() != Some(&unwanted));
    }

    /// Sets whether one is critical.
    pub fn critical(&mut self, dotted: &str, critical: bool) {
        if let Some(one) = self.at(dotted) {
            one.parts.retain(|part| part.tag != BOOLEAN);
            if critical {
                one.parts.insert(1, Tlv::of(BOOLEAN, [0xff]));
            }
        }
    }

    /// Puts another value into one, or adds it as not critical.
    pub fn put(&mut self, dotted: &str, value: &Tlv) {
        match self.at(dotted).and_then(|one| one.parts.last_mut()) {
            Some(octets) => octets.content = value.der(),
            None => self.push(dotted, false, value),
        }
    }

    /// Alters the value of one.
    pub fn alter(&mut self, dotted: &str, change: impl FnOnce(&mut Tlv)) {
        if let Some(octets) = self.at(dotted).and_then(|one| one.parts.last_mut()) {
            octets.inside(change);
        }
    }

    /// Has one twice.
    pub fn twice(&mut self, dotted: &str) {
        if let Some(one) = self.at(dotted).cloned() {
            self.0.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_read_and_what_was_altered() {
        let long = Tlv::of(OCTET_STRING, [7; 300]);
        let tree = sequence(vec![oid("2.5.29.19"), long, sequence(vec![null()])]);
        let der = tree.der();
        assert_eq!(&der[..9], [0x30, 0x82, 0x01, 0x39, 6, 3, 0x55, 0x1d, 0x13]);
        assert_eq!(Tlv::read(&der).as_ref(), Some(&tree));
        assert_eq!(Tlv::read(&der[1..]), None);
        assert_eq!(oid("1.3.6.1.4.1.55555.1").content, [0x2b, 6, 1, 4, 1, 0x83, 0xb2, 3, 1]);
    }

    #[test]
    fn alters_extensions_by_their_identifier() {
        let mut list = vec![extension("2.5.29.19", true, &sequence(vec![]))];
        let mut extensions = Extensions(&mut list);
        extensions.critical("2.5.29.19", false);
        extensions.put("2.5.29.14", &null());
        extensions.twice("2.5.29.14");
        let expected = extension("2.5.29.14", false, &null());
        assert_eq!(
            list,
            [
                extension("2.5.29.19", false, &sequence(vec![])),
                expected.clone(),
                expected
            ]
        );
    }
}
