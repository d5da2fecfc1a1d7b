//! Records: sealed sectors and bundles as they stand in a proving set.

use ark_ff::AdditiveGroup;
use hpips_crypto::{Fr, field, merkle, poseidon2};
use hpips_types::{AccountId, Blake3Hash};
use serde::{Deserialize, Serialize};

use crate::element::Element;
use crate::label;
use crate::shape::{DATA_BYTES, LEAF_DEPTH, LEAVES, Shape};

/// Version of the sealing scheme, part of every replica's name.
pub const SEAL_VERSION: u8 = 1;

/// Public randomness that nobody could foresee: the hash of a view's threshold signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Beacon(Blake3Hash);

impl Beacon {
    /// The beacon that a threshold signature gives.
    pub fn from_signature(signature: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/proofs/beacon/v1");
        hasher.update(signature);
        Self(Blake3Hash::new(hasher.finalize().into()))
    }

    /// A beacon by its 32 bytes.
    pub const fn new(hash: Blake3Hash) -> Self {
        Self(hash)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// What names one sealed sector for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectorId {
    /// Who sealed it.
    pub provider: AccountId,
    /// Counted by the provider over all its sectors, never used twice.
    pub number: u64,
    /// A recent beacon when sealing began; the ledger refuses old ones, so nobody seals ahead.
    pub ticket: Beacon,
}

impl SectorId {
    /// `rid`, the element that makes every label of this sector unlike those of all others.
    pub fn replica_id(&self) -> Fr {
        field::from_hash(
            "hpips/proofs/rid/v1",
            &[self.provider.as_bytes(), &self.number.to_le_bytes(), self.ticket.as_bytes(), &[SEAL_VERSION]],
        )
    }
}

/// The two commitments of a sealed sector; what a pre-commitment carries for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSector {
    /// Which sector.
    pub id: SectorId,
    /// Root over the columns. Only needed until the sector is active.
    pub comm_c: Element,
    /// Root over the replica, depth [`Shape::sector_height`].
    pub comm_k: Element,
}

impl SealedSector {
    /// The record this sector becomes.
    pub fn record(&self, shape: &Shape) -> Record {
        Record::Sealed {
            replica_id: self.id.replica_id().into(),
            comm_r: pad_root(self.comm_k.fr(), shape.sector_height()).into(),
        }
    }

    /// Its leaf under a batch root.
    pub fn batch_leaf(&self, shape: &Shape) -> Fr {
        label::batch_leaf(self.record(shape).commitment(shape), self.comm_c.fr())
    }
}

/// One place of a proving set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Nothing; commits to zero.
    #[default]
    Empty,
    /// Sealed space without data.
    Sealed {
        /// `rid`.
        replica_id: Element,
        /// Root over the replica, padded to [`LEAF_DEPTH`].
        comm_r: Element,
    },
    /// Pieces of deals, as they are.
    Bundle {
        /// Root over the pieces, depth [`LEAF_DEPTH`].
        root: Element,
    },
}

/// The four elements that a record commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordParts {
    /// Root of the leaves that windows challenge.
    pub comm_r: Fr,
    /// Root of the data: of nothing for sealed space, the same as `comm_r` for a plain bundle.
    pub comm_d: Fr,
    /// `rid`; zero for a bundle.
    pub rid: Fr,
    /// Kind, height and version, see [`Record::parts`].
    pub meta: Fr,
}

impl RecordParts {
    /// `S = H4(comm_r, comm_d, rid, meta)`.
    pub fn commitment(&self) -> Fr {
        poseidon2::h4(&[self.comm_r, self.comm_d, self.rid, self.meta])
    }
}

impl Record {
    /// What the record commits to; `None` for an empty place.
    ///
    /// `meta = kind + height * 2^8 + version * 2^16`, kind 1 for sealed space, 2 for a bundle.
    pub fn parts(&self, shape: &Shape) -> Option<RecordParts> {
        let meta =
            |kind: u64, height: u8| Fr::from(kind | u64::from(height) << 8 | u64::from(SEAL_VERSION) << 16);
        match *self {
            Self::Empty => None,
            Self::Sealed { replica_id, comm_r } => Some(RecordParts {
                comm_r: comm_r.fr(),
                comm_d: merkle::zero_root(LEAF_DEPTH),
                rid: replica_id.fr(),
                meta: meta(1, shape.sector_height()),
            }),
            Self::Bundle { root } => Some(RecordParts {
                comm_r: root.fr(),
                comm_d: root.fr(),
                rid: Fr::ZERO,
                meta: meta(2, LEAF_DEPTH),
            }),
        }
    }

    /// The leaf of the proving set's tree: `S`, or zero for an empty place.
    pub fn commitment(&self, shape: &Shape) -> Fr {
        self.parts(shape).map_or(Fr::ZERO, |parts| parts.commitment())
    }
}

/// The root of a tree of `height`, as the first of its siblings up to [`LEAF_DEPTH`], the others zero trees.
pub fn pad_root(root: Fr, height: u8) -> Fr {
    (height..LEAF_DEPTH).fold(root, |node, level| {
        let zero = merkle::zero_root(level);
        poseidon2::h8(&[node, zero, zero, zero, zero, zero, zero, zero])
    })
}

/// Where the bytes of a record lie, so that challenges fall on them and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordLayout {
    /// No bytes.
    #[default]
    Empty,
    /// All nodes of a sector.
    Sealed,
    /// The pieces of a bundle, in order of offset.
    Bundle(Vec<DataExtent>),
}

/// The place of one piece in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataExtent {
    /// First leaf.
    pub offset: u32,
    /// Real bytes, 31 in a leaf.
    pub bytes: u64,
}

impl DataExtent {
    /// Whether all its leaves are leaves of a bundle.
    pub fn is_within_bundle(&self) -> bool {
        self.bytes
            .div_ceil(DATA_BYTES)
            .checked_add(u64::from(self.offset))
            .is_some_and(|end| end <= u64::from(LEAVES))
    }
}
