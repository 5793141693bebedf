//! The hash of a whole content from the hashes of its blocks, in whatever order these become known.
//!
//! BLAKE3 is a tree over pieces of 1 KiB: a block of a power of two of them that begins at a multiple of
//! its length is a subtree of the whole, and its hash a node in it (BLAKE3 paper, section 2.1). So a
//! large file can be hashed by several threads, and a file that comes chunk by chunk need not be read
//! again to know that it is the right one. A block's hash depends on where it stands; it is never the
//! hash that names the same bytes as a chunk.

use crate::id::ContentHash;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The node of one block in the tree of a whole content; of a content that is one block, its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHash(ChainingValue);

impl BlockHash {
    /// Of `bytes` at `offset` in a content of `size` bytes. All blocks of a content but the last have the
    /// same length, a power of two of at least 1 024 bytes, and `offset` is a multiple of it.
    pub fn of(bytes: &[u8], offset: u64, size: u64) -> Self {
        if bytes.len() as u64 == size {
            return Self(ContentHash::of(bytes).0);
        }
        Self(blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root())
    }

    /// The content's hash from those of all its blocks, in order; there is one at least.
    pub fn join(blocks: &[BlockHash]) -> ContentHash {
        let [left, right] = match blocks {
            [only] => return ContentHash(only.0),
            _ => halves(blocks).map(node),
        };
        ContentHash(merge_subtrees_root(&left, &right, Mode::Hash).into())
    }
}

fn node(blocks: &[BlockHash]) -> ChainingValue {
    if let [only] = blocks {
        return only.0;
    }
    let [left, right] = halves(blocks).map(node);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Two blocks at least, parted as BLAKE3 does: the left side has the largest power of two that leaves
/// something for the right.
fn halves(blocks: &[BlockHash]) -> [&[BlockHash]; 2] {
    let (left, right) = blocks.split_at(blocks.len().next_power_of_two() / 2);
    [left, right]
}
