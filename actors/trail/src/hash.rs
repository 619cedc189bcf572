//! The hashes of a Merkle tree, as RFC 6962 (section 2.1) defines them.

use ring::digest::{Context, SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Returns the hash of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    prefixed(0, entry, &[])
}

/// Returns the hash of a node from those of its children.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    prefixed(1, left, right)
}

/// Returns the root of a tree without entries.
pub fn empty_root() -> Hash {
    taken(digest(&SHA256, &[]))
}

/// Returns the hash of the concatenation of two texts.
pub fn of_two(first: &[u8], second: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(first);
    context.update(second);
    taken(context.finish())
}

fn prefixed(prefix: u8, first: &[u8], second: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[prefix]);
    context.update(first);
    context.update(second);
    taken(context.finish())
}

fn taken(digest: ring::digest::Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Returns the root of a perfect subtree whose lowest row are these hashes, a power of two in
/// number.
pub fn perfect_root(mut row: Vec<Hash>) -> Option<Hash> {
    if !row.len().is_power_of_two() {
        return None;
    }
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node(&pair[0], &pair[1]))
            .collect();
    }
    row.pop()
}

/// Returns the root of a tree from the roots of its perfect subtrees, the largest first.
pub fn join(subtrees: &[Hash]) -> Hash {
    let Some((last, rest)) = subtrees.split_last() else {
        return empty_root();
    };
    rest.iter()
        .rev()
        .fold(*last, |right, left| node(left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    #[test]
    fn known_answers_of_rfc_6962() {
        let known: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/merkle.json")).unwrap();
        assert_eq!(hex(&empty_root()), known["empty_root"]);
        assert_eq!(hex(&leaf(b"")), known["leaf_of_empty"]);
        let inputs = known["inputs"].as_array().unwrap();
        let leaves = inputs.iter().map(|input| {
            let text = input.as_str().unwrap().as_bytes();
            leaf(&data_encoding::HEXLOWER.decode(text).unwrap())
        });
        let root = perfect_root(leaves.collect()).unwrap();
        assert_eq!(hex(&root), known["root_of_all_inputs"]);
    }

    #[test]
    fn only_powers_of_two_are_perfect() {
        for (n, expected) in [(0, false), (1, true), (2, true), (3, false), (256, true)] {
            assert_eq!(perfect_root(vec![[0; 32]; n]).is_some(), expected, "{n}");
        }
    }
}
