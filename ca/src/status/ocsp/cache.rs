//! Ready-made answers, found by the request's bytes: a hit is one look into memory.

use std::sync::{Arc, OnceLock};

use hyper::{HeaderMap, body::Bytes};
use jiff::Timestamp;
use quick_cache::{Weighter, sync::Cache};

use crate::status::view::Revision;

/// How much memory the cache takes unless told otherwise: about thirty thousand answers.
pub const CACHE_OCTETS_DEFAULT: u64 = 64 * 1024 * 1024;

/// The longest request whose answer is kept. A plain request with a SHA-512 CertID takes about 180 octets.
pub(super) const CACHED_REQUEST_OCTETS_MAX: usize = 256;

/// What an entry takes besides its request and its answer, its headers above all.
const ENTRY_OVERHEAD_OCTETS: usize = 1_024;

/// A signed answer with what the front says about it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The whole response.
    pub der: Bytes,
    /// SHA-256 of it, in hexadecimal digits; `None` for one with a nonce, which nobody can use again.
    pub etag: Option<String>,
    /// When the status was known.
    pub this_update: Timestamp,
    /// Until when the answer may be used.
    pub next_update: Timestamp,
    /// From when a fresher answer is given here.
    pub refresh_at: Timestamp,
    /// What the front says about it that does not change with the time: written once, by the front alone.
    pub headers: OnceLock<HeaderMap>,
    /// Whether it says `good` of any certificate.
    pub(super) says_good: bool,
}

impl Answer {
    pub(super) fn new(
        der: Vec<u8>,
        this_update: Timestamp,
        next_update: Timestamp,
        refresh_at: Timestamp,
        says_good: bool,
        again: bool,
    ) -> Self {
        let etag = again.then(|| crate::status::entity_tag(&der));
        Self {
            headers: OnceLock::new(),
            der: der.into(),
            etag,
            this_update,
            next_update,
            refresh_at,
            says_good,
        }
    }

    /// Returns whether it may be given out at a time. Not before it was made: a clock that went back must not
    /// bring answers from what is now the future.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.this_update <= now && now < self.refresh_at
    }
}

/// An answer with the state of knowledge that it was made from.
#[derive(Clone)]
pub(super) struct Cached {
    pub answer: Arc<Answer>,
    pub revision: Revision,
}

#[derive(Clone)]
struct Octets;

impl Weighter<Box<[u8]>, Cached> for Octets {
    fn weight(&self, request: &Box<[u8]>, cached: &Cached) -> u64 {
        (request.len() + cached.answer.der.len() + ENTRY_OVERHEAD_OCTETS) as u64
    }
}

/// The answers to plain requests, bounded by their size in memory.
pub(super) struct AnswerCache {
    answers: Cache<Box<[u8]>, Cached, Octets>,
}

impl AnswerCache {
    /// Makes an empty cache of at most this many octets.
    pub fn new(octets_max: u64) -> Self {
        /// What an answer by an ECDSA responder takes, roughly: it only sizes the tables.
        const TYPICAL_OCTETS: u64 = 2 * 1024;
        let entries = usize::try_from(octets_max / TYPICAL_OCTETS)
            .unwrap_or(usize::MAX)
            .max(1);
        Self {
            answers: Cache::with_weighter(entries, octets_max, Octets),
        }
    }

    pub fn get(&self, request: &[u8]) -> Option<Cached> {
        if request.len() > CACHED_REQUEST_OCTETS_MAX {
            return None;
        }
        self.answers.get(request)
    }

    pub fn insert(&self, request: &[u8], cached: Cached) {
        if request.len() <= CACHED_REQUEST_OCTETS_MAX {
            self.answers.insert(request.into(), cached);
        }
    }
}
