//! What the public side of the log gives out: tiles, entries, and proofs under the present head.

use sigillo_protocol::transparency::{
    checkpoint::witness_request,
    merkle::{consistency_ranges, inclusion_ranges},
    proof::{Proof, write_hashes},
    tile::{Content, Tile, WIDTH},
};

use super::{Notary, nodes};
use crate::{model::Serial, store::ReadError};

/// Why there is no such tile or proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log has no such thing.
    #[error("the log has no such thing")]
    NotFound,
    /// It is in the log, and the next head will cover it.
    #[error("the next head will cover it")]
    Soon,
    /// Too many are asking.
    #[error("too many are asking")]
    Busy,
    /// The store cannot be read, or a tile is missing in it.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A tile's octets.
pub struct TileBody {
    /// The octets.
    pub octets: Vec<u8>,
}

impl Notary {
    /// Returns a tile or a bundle of entries, if the present head covers it.
    ///
    /// # Errors
    /// [`ProofError::NotFound`] if it does not.
    pub async fn tile(&self, wanted: Tile) -> Result<TileBody, ProofError> {
        let _permit = self.answers.try_acquire().map_err(|_| ProofError::Busy)?;
        let current = self.current();
        if !wanted.is_in(current.checkpoint.size) {
            return Err(ProofError::NotFound);
        }
        let width = wanted.width as usize;
        let store = &*self.parts.store;
        let octets = match wanted.content {
            Content::Hashes(level) => {
                let hashes = nodes::tile_of(store, &current.state, level, wanted.index).await?;
                hashes
                    .filter(|hashes| hashes.len() >= width)
                    .map(|hashes| hashes[..width].concat())
            }
            Content::Entries => {
                let entries = store.log_entries(wanted.index * WIDTH, width).await?;
                (entries.len() == width).then(|| bundle(&entries))
            }
        };
        let octets = octets.ok_or_else(missing)?;
        Ok(TileBody { octets })
    }

    /// Proves that the log holds a certificate's issuance.
    ///
    /// # Errors
    /// [`ProofError::NotFound`] if it does not, [`ProofError::Soon`] if no head covers it yet.
    pub async fn prove_certificate(&self, serial: Serial) -> Result<String, ProofError> {
        let _permit = self.answers.try_acquire().map_err(|_| ProofError::Busy)?;
        let found = self.parts.store.logged_certificate(serial).await?;
        let (index, blinded) = found.ok_or(ProofError::NotFound)?;
        let current = self.current();
        let size = current.checkpoint.size;
        if index >= size {
            return Err(ProofError::Soon);
        }
        let ranges = inclusion_ranges(index, size);
        let hashes = nodes::roots_of(&*self.parts.store, &current.state, &ranges).await?;
        let proof = Proof {
            extra: Some(blinded.to_vec()),
            index,
            hashes: hashes.ok_or_else(missing)?,
            checkpoint: current.note.to_string(),
        };
        Ok(proof.to_string())
    }

    /// Proves that the tree of an earlier size is the beginning of that of a later one: hashes, one a line.
    ///
    /// # Errors
    /// [`ProofError::NotFound`] if the present head does not cover them.
    pub async fn prove_consistency(&self, old: u64, new: u64) -> Result<String, ProofError> {
        let _permit = self.answers.try_acquire().map_err(|_| ProofError::Busy)?;
        let current = self.current();
        if old > new || new > current.checkpoint.size {
            return Err(ProofError::NotFound);
        }
        let hashes = nodes::roots_of(&*self.parts.store, &current.state, &consistency_ranges(old, new)).await?;
        Ok(write_hashes(&hashes.ok_or_else(missing)?))
    }
}

impl Notary {
    /// Writes what a witness is asked with who has cosigned a head of the size `old` before.
    ///
    /// # Errors
    /// As for [`Notary::prove_consistency`].
    pub async fn witness_request(&self, old: u64) -> Result<String, ProofError> {
        let current = self.current();
        let size = current.checkpoint.size;
        if old > size {
            return Err(ProofError::NotFound);
        }
        let hashes = nodes::roots_of(&*self.parts.store, &current.state, &consistency_ranges(old, size)).await?;
        let note = current.note.to_string();
        Ok(witness_request(old, &hashes.ok_or_else(missing)?, &note))
    }
}

/// Each entry with its length before it.
fn bundle(entries: &[[u8; 32]]) -> Vec<u8> {
    let length = 32_u16.to_be_bytes();
    entries
        .iter()
        .flat_map(|entry| length.iter().chain(entry).copied())
        .collect()
}

fn missing() -> ProofError {
    ProofError::Read(ReadError("a tile of the log is missing".to_owned()))
}
