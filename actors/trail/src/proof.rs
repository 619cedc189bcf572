//! Proofs of inclusion and consistency: RFC 6962, section 2.1, and their verification as
//! RFC 9162, section 2.1 describes it.

use crate::hash::{Hash, node};

/// Reads hashes of perfect subtrees.
pub trait HashReader {
    /// The error of a read.
    type Error;

    /// Returns the hash of the subtree of `2^height` entries at `index` among those of its
    /// height.
    ///
    /// # Errors
    /// The hash cannot be read.
    fn read_hash(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Returns the root of the tree of the first `size` entries; `None` for an empty one.
///
/// # Errors
/// A hash cannot be read.
pub fn root<R: HashReader>(reader: &R, size: u64) -> Result<Option<Hash>, R::Error> {
    match size {
        0 => Ok(None),
        size => range(reader, 0, size).map(Some),
    }
}

/// Returns the proof that the entry at `index` is in the tree of `size` entries, from the
/// sibling of the leaf to the child of the root. Empty if there is no such entry.
///
/// # Errors
/// A hash cannot be read.
pub fn inclusion<R: HashReader>(reader: &R, index: u64, size: u64) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if index >= size {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(range(reader, middle, to)?);
            to = middle;
        } else {
            proof.push(range(reader, from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the proof that the tree of the first `old` entries is the beginning of that of
/// `size` entries. Empty if `old` is 0, `size` or beyond.
///
/// # Errors
/// A hash cannot be read.
pub fn consistency<R: HashReader>(reader: &R, old: u64, size: u64) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= size {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, size);
    // True while the old tree begins with this subtree, so that its verifier has the hash.
    let mut is_known = true;
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range(reader, middle, to)?);
            to = middle;
        } else {
            proof.push(range(reader, from, middle)?);
            from = middle;
            is_known = false;
        }
    }
    if !is_known {
        proof.push(range(reader, from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the root that follows from an entry's hash and its proof of inclusion; `None` if
/// the proof does not have the length of one for that entry.
pub fn root_of_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut root = leaf;
    for hash in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = node(hash, &root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, hash);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// The head of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// Returns whether the proof shows that the tree of `old` is the beginning of that of `new`.
pub fn is_consistent(old: Head, new: Head, proof: &[Hash]) -> bool {
    if old.size == 0 || old.size == new.size {
        return proof.is_empty() && (old.size == 0 || old.root == new.root);
    }
    if old.size > new.size {
        return false;
    }
    let (mut at, mut last) = (old.size - 1, new.size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // If the old tree is perfect, its root is the first hash.
    let mut rest = proof.iter();
    let first = match old.size.is_power_of_two() {
        true => Some(&old.root),
        false => rest.next(),
    };
    let Some(first) = first else { return false };
    let (mut of_old, mut of_new) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            of_old = node(hash, &of_old);
            of_new = node(hash, &of_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node(&of_new, hash);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == old.root && of_new == new.root
}

/// Returns the root of the subtree over the entries from `from` to before `to`, which are one
/// at least. The beginning is that of a perfect subtree at least as large.
fn range<R: HashReader>(reader: &R, from: u64, to: u64) -> Result<Hash, R::Error> {
    let n = to - from;
    if n.is_power_of_two() {
        let height = n.ilog2();
        return reader.read_hash(height, from >> height);
    }
    let middle = from + split(n);
    let left = range(reader, from, middle)?;
    Ok(node(&left, &range(reader, middle, to)?))
}

/// Returns the largest power of two below `n`, which is 2 at least.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{edge::Edge, hash::leaf};

    /// A tree whose leaves are in memory.
    struct Leaves(Vec<Hash>);

    impl HashReader for Leaves {
        type Error = Infallible;

        fn read_hash(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
            let width = 1_usize << height;
            let from = usize::try_from(index).unwrap() * width;
            let row = self.0[from..from + width].to_vec();
            Ok(crate::hash::perfect_root(row).unwrap())
        }
    }

    fn tree(n: u64) -> (Leaves, Vec<Head>) {
        let (mut edge, mut leaves) = (Edge::default(), Vec::new());
        let mut heads = vec![Head {
            size: 0,
            root: edge.root(),
        }];
        for i in 0..n {
            let hash = leaf(&i.to_be_bytes());
            leaves.push(hash);
            edge.push(hash, &mut Vec::new());
            heads.push(Head {
                size: edge.size(),
                root: edge.root(),
            });
        }
        (Leaves(leaves), heads)
    }

    #[test]
    fn every_entry_of_every_small_tree_is_proved() {
        let (leaves, heads) = tree(70);
        for head in &heads[1..] {
            let size = head.size;
            assert_eq!(root(&leaves, size), Ok(Some(head.root)));
            for index in 0..size {
                let leaf = leaves.0[usize::try_from(index).unwrap()];
                let Ok(proof) = inclusion(&leaves, index, size);
                let proved = |index, proof: &[Hash]| root_of_inclusion(leaf, index, size, proof);
                assert_eq!(proved(index, &proof), Some(head.root), "{index} of {size}");
                for i in 0..proof.len() {
                    let mut altered = proof.clone();
                    altered[i][0] ^= 1;
                    assert_ne!(proved(index, &altered), Some(head.root));
                    assert_eq!(proved(index, &proof[1..]), None);
                }
                let longer = [&proof[..], &[leaf]].concat();
                assert_eq!(proved(index, &longer), None);
                assert_eq!(proved(size, &proof), None);
            }
        }
    }

    #[test]
    fn every_pair_of_small_trees_is_proved_consistent() {
        let (leaves, heads) = tree(40);
        for new in &heads {
            for old in &heads[..=usize::try_from(new.size).unwrap()] {
                let Ok(proof) = consistency(&leaves, old.size, new.size);
                assert!(is_consistent(*old, *new, &proof), "{old:?} {new:?}");
                let forged = Head {
                    root: [7; 32],
                    ..*old
                };
                assert_eq!(is_consistent(forged, *new, &proof), old.size == 0);
                for i in 0..proof.len() {
                    let mut altered = proof.clone();
                    altered[i][0] ^= 1;
                    assert!(!is_consistent(*old, *new, &altered));
                    assert!(!is_consistent(*old, *new, &proof[1..]));
                }
                if old.size < new.size {
                    assert!(!is_consistent(*new, *old, &proof));
                }
            }
        }
    }
}
