//! A walk over the DER of a request: slices of what is there, without copying.
//!
//! It takes lengths in their shortest form only, so that what it finds whole is DER as far as it looked.

use crate::status::encode::tag;

/// The octets that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a>(&'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// With tag and length.
    pub whole: &'a [u8],
    /// Without them.
    pub content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Starts a walk over what is inside.
    pub fn inside(self) -> Walk<'a> {
        Walk(self.content)
    }
}

impl<'a> Walk<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// Returns whether nothing is left.
    pub fn is_over(self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the next element has this tag.
    pub fn is_at(self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// Takes the next element if it has this tag.
    pub fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        if !self.is_at(tag) {
            return None;
        }
        let (head, length) = match *self.0.get(1)? {
            short @ 0..=0x7f => (2, usize::from(short)),
            0x81 => (3, usize::from(*self.0.get(2).filter(|length| **length >= 0x80)?)),
            0x82 => {
                let high = *self.0.get(2).filter(|high| **high != 0)?;
                (4, usize::from(u16::from_be_bytes([high, *self.0.get(3)?])))
            }
            // No request that is read is longer.
            _ => return None,
        };
        let (whole, rest) = self.0.split_at_checked(head + length)?;
        self.0 = rest;
        let content = &whole[head..];
        Some(Element { whole, content })
    }

    /// Takes a SEQUENCE.
    pub fn sequence(&mut self) -> Option<Element<'a>> {
        self.take(tag::SEQUENCE)
    }

    /// Takes these very octets if they are next.
    pub fn literally(&mut self, octets: &[u8]) -> bool {
        match self.0.strip_prefix(octets) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_the_shortest_form_of_a_length() {
        let long = |head: &[u8], length: usize| [head, &vec![0; length]].concat();
        let cases = [
            (vec![0x30, 0], true),
            (long(&[0x30, 0x7f], 127), true),
            (long(&[0x30, 0x81, 0x80], 128), true),
            (long(&[0x30, 0x82, 1, 0], 256), true),
            (long(&[0x30, 0x81, 0x7f], 127), false),
            (long(&[0x30, 0x82, 0, 0x80], 128), false),
            (long(&[0x30, 0x80], 128), false),
            (long(&[0x30, 0x84, 0, 0, 0, 1], 1), false),
            (vec![0x30, 1], false),
            (vec![0x30], false),
            (vec![], false),
            (vec![0x31, 0], false),
        ];
        for (octets, taken) in cases {
            let mut walk = Walk::new(&octets);
            let element = walk.take(0x30);
            assert_eq!(element.is_some(), taken, "{octets:?}");
            assert_eq!(walk.is_over(), taken || octets.is_empty(), "{octets:?}");
        }
    }
}
