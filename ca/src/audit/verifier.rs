//! Verifies a log from its beginning, record by record: the chain, the entries, and the heads that were signed.

use sigillo_protocol::transparency::{
    checkpoint::Checkpoint,
    merkle::Frontier,
    note::{KeyKind, Note, VerifierKey},
};

use super::{Break, Chain, canonical, leaf_of, verify};
use crate::model::AuditRecord;

/// Where and how a log is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] Break),
    /// A record's salt or entry was altered.
    #[error("the salt or the leaf of record {sequence} was altered")]
    Leaf {
        /// The record's place.
        sequence: u64,
    },
    /// A head is no checkpoint.
    #[error("the checkpoint after record {size} cannot be read: {why}")]
    Head {
        /// How many records came before it.
        size: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A head is not signed by the log's key.
    #[error("the checkpoint of size {size} is not signed by the log's key")]
    Signature {
        /// The size that it tells.
        size: u64,
    },
    /// A head is about more records than there are.
    #[error("a checkpoint covers {size} records, and there are {found}: the end was cut off")]
    Short {
        /// The size that it tells.
        size: u64,
        /// How many records there are.
        found: u64,
    },
    /// What was signed is not what is there.
    #[error("records {} to {size} are not those that were signed: one of them was altered, with all hashes after it", .after + 1)]
    Forked {
        /// The last size at which a head was right.
        after: u64,
        /// The size of the head that is not.
        size: u64,
    },
}

/// Whom to believe about heads.
#[derive(Debug, Clone)]
pub enum HeadKeys {
    /// Nobody: the heads are held against the records, and their signatures are not looked at.
    Unknown,
    /// This key, under whatever name the log had.
    Key(VerifierKey),
}

/// Verifies a log in the order of its records.
#[derive(Debug)]
pub struct Verifier {
    chain: Chain,
    tree: Frontier,
    keys: HeadKeys,
    /// The size of the last head that was right.
    anchored: u64,
    heads: u64,
}

impl Verifier {
    /// Begins before the first record.
    pub fn new(keys: HeadKeys) -> Self {
        Self {
            chain: Chain::START,
            tree: Frontier::default(),
            keys,
            anchored: 0,
            heads: 0,
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// When it is not the one that belongs there.
    pub fn record(&mut self, record: &AuditRecord) -> Result<(), Fault> {
        self.chain = verify(self.chain, [record])?;
        if leaf_of(&record.salt, &canonical(&record.event)) != record.leaf {
            return Err(Fault::Leaf {
                sequence: record.sequence,
            });
        }
        self.tree.push(record.leaf);
        Ok(())
    }

    /// Holds a head of the present size against the records so far.
    ///
    /// # Errors
    /// When it is none, not signed, or about other records.
    pub fn head(&mut self, note: &str) -> Result<Checkpoint, Fault> {
        let checkpoint = self.read_head(note)?;
        let found = self.tree.size();
        if checkpoint.size > found {
            return Err(Fault::Short {
                size: checkpoint.size,
                found,
            });
        }
        if checkpoint.size < found {
            return Err(Fault::Head {
                size: found,
                why: format!("it is about {} records and stands after {found}", checkpoint.size),
            });
        }
        if checkpoint.root != self.tree.root() {
            return Err(Fault::Forked {
                after: self.anchored,
                size: checkpoint.size,
            });
        }
        self.anchored = checkpoint.size;
        self.heads += 1;
        Ok(checkpoint)
    }

    /// Reads a head and verifies its signature, wherever it belongs.
    ///
    /// # Errors
    /// When it is none, or not signed.
    pub fn read_head(&self, note: &str) -> Result<Checkpoint, Fault> {
        let unreadable = |why: &dyn std::fmt::Display| Fault::Head {
            size: self.tree.size(),
            why: why.to_string(),
        };
        let note = Note::parse(note).map_err(|error| unreadable(&error))?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(|error| unreadable(&error))?;
        if let HeadKeys::Key(key) = &self.keys {
            let key = key
                .renamed(&checkpoint.origin, KeyKind::Ed25519)
                .map_err(|error| unreadable(&error))?;
            if !note.is_signed_by(&key) {
                return Err(Fault::Signature { size: checkpoint.size });
            }
        }
        Ok(checkpoint)
    }

    /// Returns where the chain stands.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Returns the tree.
    pub fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Returns how many heads were right, and the size of the last of them.
    pub fn heads(&self) -> (u64, u64) {
        (self.heads, self.anchored)
    }
}
