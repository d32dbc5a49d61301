//! DER by hand: writes sound and, where a case wants it, unsound encodings; reads strictly.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag `[number]` with primitive content.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The tag `[number]` with constructed content.
pub(crate) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One element.
pub(crate) fn tlv(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length => {
            let octets = length.to_be_bytes();
            let octets = &octets[octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len() - 1)..];
            out.push(0x80 | octets.len() as u8);
            out.extend_from_slice(octets);
        }
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, parts.concat())
}

pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SET, parts.concat())
}

/// A non-negative INTEGER from its big-endian octets.
pub(crate) fn unsigned(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len());
    let mut content = octets[start..].to_vec();
    if content.first().is_none_or(|&first| first & 0x80 != 0) {
        content.insert(0, 0);
    }
    tlv(INTEGER, content)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    tlv(BOOLEAN, [if value { 0xff } else { 0 }])
}

pub(crate) fn null() -> Vec<u8> {
    tlv(NULL, [])
}

pub(crate) fn octet_string(content: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(OCTET_STRING, content)
}

/// A BIT STRING without unused bits.
pub(crate) fn bit_string(content: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, [&[0], content].concat())
}

/// An OBJECT IDENTIFIER from dotted text, which this crate writes itself.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').filter_map(|arc| arc.parse().ok()).collect();
    let mut content = Vec::new();
    let first = arcs.first().copied().unwrap_or(0) * 40 + arcs.get(1).copied().unwrap_or(0);
    for arc in std::iter::once(first).chain(arcs.iter().skip(2).copied()) {
        let mut octets = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            octets.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(octets.into_iter().rev());
    }
    tlv(OID, content)
}

/// The dotted text of an OBJECT IDENTIFIER's content.
pub(crate) fn dotted(content: &[u8]) -> String {
    let mut arcs = Vec::new();
    let mut arc = 0u64;
    for &octet in content {
        arc = arc << 7 | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let root = (arc / 40).min(2);
                arcs.push(root.to_string());
                arc -= root * 40;
            }
            arcs.push(arc.to_string());
            arc = 0;
        }
    }
    arcs.join(".")
}

/// One element that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag, length and content as they stand.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads what is inside.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader { rest: self.content }
    }
}

/// Reads elements one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element<'a>, String> {
        let (&[tag, first], mut body) = self
            .rest
            .split_first_chunk::<2>()
            .ok_or("the encoding ends too early")?;
        if tag & 0x1f == 0x1f {
            return Err("a tag of several octets".into());
        }
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err("an indefinite or huge length".into());
            }
            let (octets, rest) = body
                .split_at_checked(count)
                .ok_or("the encoding ends inside a length")?;
            length = octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet));
            if length < 0x80 || octets[0] == 0 {
                return Err("a length that is not the shortest".into());
            }
            body = rest;
        }
        let (content, rest) = body
            .split_at_checked(length)
            .ok_or("the encoding ends inside an element")?;
        let whole = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        Ok(Element { tag, content, whole })
    }

    /// The next element, which has to have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, String> {
        match self.any()? {
            element if element.tag == tag => Ok(element),
            element => Err(format!("tag {:02x} where {tag:02x} belongs", element.tag)),
        }
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, String> {
        if self.peek() == Some(tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Every element that is left.
    pub(crate) fn all(mut self) -> Result<Vec<Element<'a>>, String> {
        let mut elements = Vec::new();
        while !self.is_empty() {
            elements.push(self.any()?);
        }
        Ok(elements)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), String> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(format!("{} octets behind the end", self.rest.len()))
        }
    }
}

/// The only element of these bytes.
pub(crate) fn single(bytes: &[u8], tag: u8) -> Result<Element<'_>, String> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag)?;
    reader.end()?;
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let long = sequence(&[octet_string([7; 300]), oid("1.3.6.1.5.5.7.48.1"), unsigned(&[0, 0x80])]);
        let element = single(&long, SEQUENCE).expect("own encoding");
        let parts = element.inside().all().expect("own encoding");
        assert_eq!(parts[0].content, [7; 300]);
        assert_eq!(dotted(parts[1].content), "1.3.6.1.5.5.7.48.1");
        assert_eq!(parts[2].content, [0, 0x80]);
    }

    #[test]
    fn refuses_what_is_not_der() {
        for wrong in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 1, 0],
            &[0x30, 2, 0],
            &[0x1f, 1, 0],
            &[0x30, 0, 0],
        ] {
            assert!(single(wrong, SEQUENCE).is_err(), "{wrong:02x?}");
        }
    }
}
