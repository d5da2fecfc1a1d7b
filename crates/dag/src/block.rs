//! A block, and what its parent has to know about it.

use bytes::Bytes;
use cid::Cid;

/// A block with the CID that was computed from its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Bytes,
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Block({}, {} bytes)", self.cid, self.bytes.len())
    }
}

/// The root of something that was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub cid: Cid,
    /// Bytes of the node's block and of all blocks below it, counted once a link: `Tsize` of dag-pb.
    pub tsize: u64,
    /// Bytes of the file; 0 for directories and symlinks.
    pub file_bytes: u64,
}
