//! What is published of revocations: a list, and its octets in pieces.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::IssuerId;

/// Which of an issuer's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrlKind {
    /// All that is revoked.
    Complete,
    /// What has changed since a complete one (RFC 5280 section 5.2.4).
    Delta,
}

impl CrlKind {
    /// Returns the word that the store keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Delta => "delta",
        }
    }
}

/// A published CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlRecord {
    /// Whose.
    pub issuer: IssuerId,
    /// Which of the issuer's lists it is.
    pub kind: CrlKind,
    /// CRL number: rises with each one. Lists of both kinds share one sequence, and have the same number exactly when
    /// they are published together (RFC 5280 section 5.2.3).
    pub number: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is there at the latest.
    pub next_update: Timestamp,
    /// How many certificates it lists.
    pub entries: u64,
    /// The store feed's position that it reflects.
    pub position: u64,
    /// The whole CRL.
    pub der: Pieces,
}

/// Octets in pieces, shared by all who hold them: a list of a million entries is nowhere in one block, and two lists that
/// differ in one entry share nearly all.
#[derive(Clone, Default)]
pub struct Pieces {
    pieces: Arc<[Bytes]>,
    length: usize,
}

impl Pieces {
    /// Returns how many octets there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Returns all octets in one block.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self {
            length: pieces.iter().map(Bytes::len).sum(),
            pieces: pieces.into(),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(octets: Bytes) -> Self {
        vec![octets].into()
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(octets: Vec<u8>) -> Self {
        Bytes::from(octets).into()
    }
}

/// Where the pieces end makes no difference.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        let octets = |all: &Self| -> Vec<u8> { all.to_vec() };
        self.length == other.length && octets(self) == octets(other)
    }
}

impl Eq for Pieces {}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets in {} pieces", self.length, self.pieces.len())
    }
}
