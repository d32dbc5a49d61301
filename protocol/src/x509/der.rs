//! What DER allows, checked before any parser reads for meaning.
//!
//! `x509-parser` takes some BER (long lengths, bytes left over inside a structure). A signed
//! structure that can be written in two ways is one that two readers can understand differently,
//! so the outer form is held to X.690 section 10 first.

/// The deepest nesting that a certification request can need is below ten; more only costs time.
pub const DEPTH_MAX: usize = 24;

/// Bytes that are not the one DER encoding of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// The bytes end too early.
    #[error("the DER ends inside an element")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow the end of the DER")]
    Trailing,
    /// A length is indefinite or longer than it need be.
    #[error("a length is not written as DER writes it")]
    Length,
    /// A tag is reserved, too high, or says constructed where DER has primitive or the other way.
    #[error("a tag is not written as DER writes it")]
    Tag,
    /// A value is not in its one form.
    #[error("a value is not written as DER writes it")]
    Value,
    /// The nesting is deeper than anything needs.
    #[error("the DER is nested too deeply")]
    Depth,
}

const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTF8_STRING: u8 = 0x0c;
/// SEQUENCE with its constructed bit.
pub(crate) const SEQUENCE: u8 = 0x30;
/// SET with its constructed bit.
pub(crate) const SET: u8 = 0x31;

const CLASS_MASK: u8 = 0xc0;
const CONSTRUCTED: u8 = 0x20;
const NUMBER_MASK: u8 = 0x1f;

/// One element: its identifier octet and its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

/// Reads one element off the front and returns it with what follows.
pub(crate) fn element(bytes: &[u8]) -> Result<(Element<'_>, &[u8]), DerError> {
    let (&tag, rest) = bytes.split_first().ok_or(DerError::Truncated)?;
    // Nothing in a request, a key or a signature has a tag number above 30.
    if tag & NUMBER_MASK == NUMBER_MASK {
        return Err(DerError::Tag);
    }
    let (length, rest) = length(rest)?;
    if rest.len() < length {
        return Err(DerError::Truncated);
    }
    let (content, rest) = rest.split_at(length);
    Ok((Element { tag, content }, rest))
}

fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = bytes.split_first().ok_or(DerError::Truncated)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    // 0x80 is the indefinite form; four octets reach far beyond every size cap.
    if count == 0 || count > 4 {
        return Err(DerError::Length);
    }
    if rest.len() < count {
        return Err(DerError::Truncated);
    }
    let (octets, rest) = rest.split_at(count);
    let length = octets
        .iter()
        .fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
    if octets[0] == 0 || length < 0x80 {
        return Err(DerError::Length);
    }
    Ok((length, rest))
}

/// Returns the only element in the bytes.
pub(crate) fn only_element(bytes: &[u8]) -> Result<Element<'_>, DerError> {
    match element(bytes)? {
        (element, []) => Ok(element),
        _ => Err(DerError::Trailing),
    }
}

/// Returns the elements that stand one after another.
pub(crate) fn elements(mut bytes: &[u8]) -> Result<Vec<Element<'_>>, DerError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = element(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Ok(found)
}

/// Checks that the bytes are one element in DER, all the way down.
///
/// The order inside a SET OF is left alone: widely used writers of requests with several
/// attributes do not sort them, and each attribute is judged by itself.
///
/// # Errors
/// The first place where the bytes are not what DER writes.
pub fn check(bytes: &[u8]) -> Result<(), DerError> {
    check_element(only_element(bytes)?, 0)
}

fn check_element(element: Element<'_>, depth: usize) -> Result<(), DerError> {
    if depth > DEPTH_MAX {
        return Err(DerError::Depth);
    }
    if element.tag & CLASS_MASK == 0 {
        check_universal(element)?;
    }
    if element.tag & CONSTRUCTED == 0 {
        return Ok(());
    }
    let mut rest = element.content;
    while !rest.is_empty() {
        let (child, behind) = self::element(rest)?;
        check_element(child, depth + 1)?;
        rest = behind;
    }
    Ok(())
}

fn check_universal(element: Element<'_>) -> Result<(), DerError> {
    let number = element.tag & NUMBER_MASK;
    if matches!(element.tag, SEQUENCE | SET) {
        return Ok(());
    }
    // Tag 0 is the end marker of BER; a primitive SEQUENCE or SET and a constructed anything else do
    // not exist; and no structure here holds object descriptors, reals and their like, which
    // `x509-parser` would take for an object identifier in some places.
    let is_used = matches!(number, BOOLEAN..=OBJECT_IDENTIFIER | ENUMERATED | UTF8_STRING | 0x12..=0x1e);
    if !is_used || element.tag & CONSTRUCTED != 0 {
        return Err(DerError::Tag);
    }
    let right = match (number, element.content) {
        (BOOLEAN, content) => matches!(content, [0] | [0xff]),
        (INTEGER | ENUMERATED, content) => is_minimal_integer(content),
        (BIT_STRING, content) => is_bit_string(content),
        (NULL, content) => content.is_empty(),
        (OBJECT_IDENTIFIER, content) => is_object_identifier(content),
        _ => true,
    };
    if right { Ok(()) } else { Err(DerError::Value) }
}

fn is_minimal_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [0, second, ..] => second & 0x80 != 0,
        [0xff, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

fn is_bit_string(content: &[u8]) -> bool {
    match content {
        [] => false,
        [unused] => *unused == 0,
        [unused @ 0..=7, .., last] => last & ((1u16 << unused) - 1) as u8 == 0,
        _ => false,
    }
}

fn is_object_identifier(content: &[u8]) -> bool {
    // Each arc starts without a leading zero group (0x80) and the last octet ends an arc.
    let mut starts = true;
    for octet in content {
        if starts && *octet == 0x80 {
            return false;
        }
        starts = octet & 0x80 == 0;
    }
    !content.is_empty() && starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_der_writes() {
        let cases: [&[u8]; 7] = [
            &[0x30, 0],
            &[0x30, 3, 2, 1, 0],
            &[0x03, 2, 7, 0x80],
            &[0x03, 1, 0],
            &[0x06, 3, 0x55, 0x1d, 0x11],
            &[0x02, 2, 0, 0x80],
            &[0xa0, 2, 5, 0],
        ];
        for case in cases {
            assert_eq!(check(case), Ok(()), "{case:02x?}");
        }
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([0; 0x80]);
        assert_eq!(check(&long), Ok(()));
    }

    #[test]
    fn refuses_what_only_ber_writes() {
        let cases: [(&[u8], DerError); 18] = [
            (&[], DerError::Truncated),
            (&[0x30], DerError::Truncated),
            (&[0x30, 1], DerError::Truncated),
            (&[0x30, 0, 0], DerError::Trailing),
            (&[0x30, 0x80, 0, 0], DerError::Length),
            (&[0x30, 0x81, 1, 0], DerError::Length),
            (&[0x30, 0x82, 0, 0x80], DerError::Length),
            (&[0x30, 0x85, 1, 1, 1, 1, 1], DerError::Length),
            (&[0x24, 2, 4, 0], DerError::Tag),
            (&[0x10, 0], DerError::Tag),
            (&[0x07, 1, 0], DerError::Tag),
            (&[0x1f, 0x81, 0, 0], DerError::Tag),
            (&[0x01, 1, 1], DerError::Value),
            (&[0x02, 2, 0, 1], DerError::Value),
            (&[0x03, 2, 1, 1], DerError::Value),
            (&[0x03, 2, 8, 0], DerError::Value),
            (&[0x05, 1, 0], DerError::Value),
            (&[0x06, 2, 0x80, 1], DerError::Value),
        ];
        for (case, error) in cases {
            assert_eq!(check(case), Err(error), "{case:02x?}");
        }
    }

    #[test]
    fn refuses_bottomless_nesting() {
        let mut bytes = vec![0x30, 0];
        for _ in 0..DEPTH_MAX + 2 {
            let mut outer = vec![0x30, bytes.len() as u8];
            outer.append(&mut bytes);
            bytes = outer;
        }
        assert_eq!(check(&bytes), Err(DerError::Depth));
    }
}
