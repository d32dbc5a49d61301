//! The Merkle tree of RFC 6962 section 2: hashes, the growing edge, and which subtrees a proof is made of.

use std::ops::Range;

use aws_lc_rs::digest;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The most hashes that a proof can have: trees have fewer than 2^63 leaves.
pub const PROOF_HASHES_MAX: usize = 63;

/// Returns the hash of a leaf.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// Returns the hash of a node above two others.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Returns the root of the tree without leaves.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Returns the SHA-256 of some parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let finished = context.finish();
    finished
        .as_ref()
        .try_into()
        .expect("invariant: SHA-256 gives 32 octets")
}

/// A complete subtree: the leaves from `index << level` on, `1 << level` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// How many levels above the leaves its root is.
    pub level: u8,
    /// Its place among those of its level.
    pub index: u64,
}

/// The edge at which a tree grows: the roots of its complete subtrees, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Returns how many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let complete = self.size.trailing_ones() as usize;
        let rest = self.roots.len() - complete;
        let hash = self.roots[rest..]
            .iter()
            .rev()
            .fold(leaf, |right, left| node_hash(left, &right));
        self.roots.truncate(rest);
        self.roots.push(hash);
        self.size += 1;
    }

    /// Returns the tree's root.
    pub fn root(&self) -> Hash {
        fold(self.roots.iter().copied()).unwrap_or_else(empty_root)
    }
}

/// Puts neighbouring subtrees, the largest first, under one root.
fn fold(roots: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    roots.rev().reduce(|right, left| node_hash(&left, &right))
}

/// Returns the root over a range of leaves, as a tree or a proof divides them.
///
/// # Errors
/// What `hash` gives when it cannot tell a complete subtree's hash.
pub fn range_root<E>(range: Range<u64>, mut hash: impl FnMut(Subtree) -> Result<Hash, E>) -> Result<Hash, E> {
    let roots: Result<Vec<Hash>, E> = subtrees(range).into_iter().map(&mut hash).collect();
    Ok(fold(roots?.into_iter()).unwrap_or_else(empty_root))
}

/// Divides a range into complete subtrees, the largest first.
///
/// The range has to begin where a subtree of at least its length does, as all ranges of this module do.
pub fn subtrees(range: Range<u64>) -> Vec<Subtree> {
    let mut found = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let level = (range.end - start).ilog2();
        found.push(Subtree {
            level: level as u8,
            index: start >> level,
        });
        start += 1 << level;
    }
    found
}

/// The largest power of two below a number that is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Returns the ranges whose roots prove that a leaf is in a tree, from the leaf's neighbour up (RFC 6962 section 2.1.1).
pub fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    if index >= size {
        return ranges;
    }
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// Returns the ranges whose roots prove that a tree is the beginning of a larger one (RFC 6962 section 2.1.2).
pub fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if old == 0 || old >= new {
        return ranges;
    }
    let (mut start, mut end, mut whole) = (0, new, true);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        ranges.push(start..end);
    }
    ranges.reverse();
    ranges
}

/// Tells whether a proof shows that a leaf is in a tree (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            skip_to_a_right_child(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Tells whether a proof shows that the tree of `old` is the beginning of that of `new`, each a size and a root
/// (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut steps = proof.iter();
    let first = if old.is_power_of_two() {
        Some(old_root)
    } else {
        steps.next()
    };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    let whole = node.trailing_ones();
    node >>= whole;
    last >>= whole;
    let (mut small, mut large) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            small = node_hash(step, &small);
            large = node_hash(step, &large);
            skip_to_a_right_child(&mut node, &mut last);
        } else {
            large = node_hash(&large, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && small == *old_root && large == *new_root
}

/// Where a node is the last of its level without a neighbour, it stands for itself some levels up.
fn skip_to_a_right_child(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// The definition itself: MTH of RFC 6962 section 2.1.
    fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn prove(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Vec<Hash> {
        let root = |part: Subtree| -> Result<Hash, ()> {
            let start = (part.index << part.level) as usize;
            Ok(root_by_definition(&leaves[start..start + (1 << part.level)]))
        };
        ranges
            .into_iter()
            .map(|range| range_root(range, root).unwrap())
            .collect()
    }

    /// The known answers that implementations of Certificate Transparency share.
    #[test]
    fn roots_are_those_of_the_known_answers() {
        let entries = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        assert_eq!(
            tree.root().to_vec(),
            hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        for (entry, root) in entries.into_iter().zip(roots) {
            tree.push(leaf_hash(&hex(entry)));
            assert_eq!(tree.root().to_vec(), hex(root), "with {} leaves", tree.size());
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_no_other() {
        for size in 1..40 {
            let leaves = leaves(size);
            let root = root_by_definition(&leaves);
            for index in 0..size {
                let proof = prove(&leaves, inclusion_ranges(index, size));
                let leaf = &leaves[index as usize];
                assert!(verify_inclusion(leaf, index, size, &proof, &root), "{index} of {size}");
                assert!(!verify_inclusion(&[7; 32], index, size, &proof, &root));
                assert!(!verify_inclusion(leaf, index, size, &proof, &[7; 32]));
                let elsewhere = (index + 1) % size;
                assert!(size == 1 || !verify_inclusion(leaf, elsewhere, size, &proof, &root));
                let mut longer = proof.clone();
                longer.push([7; 32]);
                assert!(!verify_inclusion(leaf, index, size, &longer, &root));
                assert!(proof.is_empty() || !verify_inclusion(leaf, index, size, &proof[1..], &root));
            }
            assert!(!verify_inclusion(&leaves[0], size, size, &[], &root));
        }
    }

    #[test]
    fn every_small_tree_is_the_beginning_of_every_larger_one() {
        for new in 0..40 {
            let leaves = leaves(new);
            let new_root = root_by_definition(&leaves);
            for old in 0..=new {
                let old_root = root_by_definition(&leaves[..old as usize]);
                let proof = prove(&leaves, consistency_ranges(old, new));
                assert!(
                    verify_consistency((old, &old_root), (new, &new_root), &proof),
                    "{old} of {new}"
                );
                assert!(!verify_consistency((old, &[7; 32]), (new, &new_root), &proof));
                assert!(old == 0 || !verify_consistency((old, &old_root), (new, &[7; 32]), &proof));
                let mut longer = proof.clone();
                longer.push([7; 32]);
                assert!(!verify_consistency((old, &old_root), (new, &new_root), &longer));
                assert!(old == new || !verify_consistency((new, &new_root), (old, &old_root), &proof));
            }
        }
    }

    #[test]
    fn a_frontier_has_the_root_of_its_leaves_at_every_size() {
        let leaves = leaves(300);
        let mut tree = Frontier::default();
        for (count, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), root_by_definition(&leaves[..count]));
            tree.push(*leaf);
        }
    }
}
