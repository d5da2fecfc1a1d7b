//! The manifest of an object: how its blocks became shards, stripes, slots and pieces (DESIGN 5).

use cid::Cid;
use serde::{Deserialize, Serialize};

/// Version written into every manifest.
pub const MANIFEST_VERSION: u8 = 1;

/// How many shards a stripe has, and so how many slots an object: any `k` of the `n` restore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    k: u16,
    n: u16,
}

impl Code {
    /// Most shards of a stripe: the number of elements of GF(2^8).
    pub const SHARDS_MAX: u16 = 256;

    /// `k` of `n`; `None` unless `1 <= k <= n <= 256`.
    pub const fn new(k: u16, n: u16) -> Option<Self> {
        if k >= 1 && k <= n && n <= Self::SHARDS_MAX { Some(Self { k, n }) } else { None }
    }

    /// Data shards of a stripe.
    pub const fn k(self) -> u16 {
        self.k
    }

    /// All shards of a stripe, and slots of the object.
    pub const fn n(self) -> u16 {
        self.n
    }

    /// Parity shards of a stripe: slots that may be lost.
    pub const fn parity(self) -> u16 {
        self.n - self.k
    }
}

/// The root node of a manifest, one dag-cbor block that every holder keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u8,
    /// Root of the object's DAG.
    pub root: Cid,
    /// Sum of the lengths of the blocks covered, each CID once.
    pub content_bytes: u64,
    /// Data shards of a stripe.
    pub k: u16,
    /// All shards of a stripe, and slots of the object.
    pub n: u16,
    /// Roots of the owner's live objects whose blocks are not covered again.
    pub bases: Vec<Cid>,
    /// Parts with pieces of their own, in order.
    pub extents: Vec<Extent>,
}

impl Manifest {
    /// Its `k` of `n`; `None` when they make no code.
    pub const fn code(&self) -> Option<Code> {
        Code::new(self.k, self.n)
    }
}

/// A part of an object with pieces of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Bytes of the piece of every slot, in slot order.
    pub piece_bytes: Vec<u64>,
    /// Number of stripes that carry content; the stripes of `index_stripes` follow them.
    pub content_stripes: u32,
    /// Index nodes: dag-cbor blocks, each an [`IndexNode`], that describe the content stripes in order.
    pub index: Vec<Cid>,
    /// The stripes that carry the index nodes themselves.
    pub index_stripes: Vec<Stripe>,
}

/// A node of an extent's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexNode {
    /// Consecutive stripes.
    pub stripes: Vec<Stripe>,
}

/// One stripe: what its shards are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stripe {
    /// Coding length: the longest data shard rounded up to 64 bytes. Every parity shard has it.
    pub coded_bytes: u32,
    /// Data shards, at most `k`; the missing ones are zeros. A shard is its blocks in order.
    pub data: Vec<Vec<BlockEntry>>,
    /// Parity shards, `n - k`, each one raw block of `coded_bytes`.
    pub parity: Vec<Cid>,
}

/// A block of a shard. Encoded as the pair (CID, length), because an index is mostly these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Cid, u32)", into = "(Cid, u32)")]
pub struct BlockEntry {
    /// Its CID.
    pub cid: Cid,
    /// Its length in bytes.
    pub bytes: u32,
}

impl From<(Cid, u32)> for BlockEntry {
    fn from((cid, bytes): (Cid, u32)) -> Self {
        Self { cid, bytes }
    }
}

impl From<BlockEntry> for (Cid, u32) {
    fn from(entry: BlockEntry) -> Self {
        (entry.cid, entry.bytes)
    }
}
