//! The hashes inside the tree: worked out from full tiles, and from the edge that a state has.

use std::{collections::HashMap, ops::Range};

use sigillo_protocol::transparency::{
    merkle::{Frontier, Hash, Subtree, range_root, subtrees},
    tile::{self, WIDTH},
};

use crate::{
    model::LogState,
    store::{ReadError, Store},
};

/// Tiles by level and place.
type Tiles = HashMap<(u8, u64), Vec<Hash>>;

/// A tile that should be there and is not.
struct Missing;

/// Returns the root of everything in a state.
pub(super) fn edge_root(state: &LogState) -> Hash {
    let at_edge = |subtree: Subtree| -> Result<Hash, Missing> {
        let (level, _, range) = tile::of_subtree(subtree);
        let edge = state.edges.get(usize::from(level)).ok_or(Missing)?;
        edge.get(range).map(root_of).ok_or(Missing)
    };
    // A state without its edge has the root of nothing, which no head has.
    range_root(0..state.size, at_edge).unwrap_or([0; 32])
}

/// Returns the root that the tree had at an earlier size; `None` if a tile is missing.
pub(super) async fn root_at(store: &dyn Store, state: &LogState, size: u64) -> Result<Option<Hash>, ReadError> {
    if size > state.size {
        return Ok(None);
    }
    let roots = roots_of(store, state, std::slice::from_ref(&(0..size))).await?;
    Ok(roots.and_then(|roots| roots.first().copied()))
}

/// Returns the roots over some ranges, as proofs have them; `None` if a tile is missing.
pub(super) async fn roots_of(
    store: &dyn Store,
    state: &LogState,
    ranges: &[Range<u64>],
) -> Result<Option<Vec<Hash>>, ReadError> {
    let mut tiles = Tiles::new();
    for subtree in ranges.iter().cloned().flat_map(subtrees) {
        let (level, index, _) = tile::of_subtree(subtree);
        if let std::collections::hash_map::Entry::Vacant(place) = tiles.entry((level, index))
            && let Some(hashes) = tile_of(store, state, level, index).await?
        {
            place.insert(hashes);
        }
    }
    let hash = |subtree: Subtree| {
        let (level, index, range) = tile::of_subtree(subtree);
        let hashes = tiles.get(&(level, index)).ok_or(Missing)?;
        hashes.get(range).map(root_of).ok_or(Missing)
    };
    let roots: Result<Vec<Hash>, Missing> = ranges.iter().map(|range| range_root(range.clone(), hash)).collect();
    Ok(roots.ok())
}

/// Returns a tile as it is in a state; the last of a level is not full.
pub(super) async fn tile_of(
    store: &dyn Store,
    state: &LogState,
    level: u8,
    index: u64,
) -> Result<Option<Vec<Hash>>, ReadError> {
    if index == tile::hashes_at(level, state.size) / WIDTH {
        return Ok(state.edges.get(usize::from(level)).cloned());
    }
    let octets = store.log_tile(level, index).await?;
    Ok(octets.map(|octets| octets.as_chunks::<32>().0.to_vec()))
}

/// Returns the root over the hashes of a complete subtree.
fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    hashes.iter().for_each(|hash| tree.push(*hash));
    tree.root()
}
