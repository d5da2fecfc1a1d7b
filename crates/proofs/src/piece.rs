//! Pieces: data commitments computed while bytes pass by, and openings from the piece's file.
//!
//! A piece's bytes are cut into elements of 31 bytes, little-endian, the last one zero-extended; `comm_p` is the
//! root over them of the least height that holds them, at least [`PIECE_HEIGHT_MIN`]. A piece is therefore an
//! aligned subtree of a bundle. The length is not hashed: it stands beside `comm_p` wherever that stands.

use core::ops::Range;

use hpips_crypto::field::ELEMENT_DATA_BYTES;
use hpips_crypto::lanes::Canonical;
use hpips_crypto::merkle::{self, Builder, Path, Tree};
use hpips_crypto::{Fr, field};
use hpips_types::NetworkParams;

use crate::element::Element;
use crate::shape::{DATA_BYTES, LEAF_DEPTH, LEAVES};

/// Least height of a piece: 512 leaves, the lowest row of a tree that is stored.
pub const PIECE_HEIGHT_MIN: u8 = 3;

/// Most bytes of a piece: a whole bundle.
pub const PIECE_BYTES_MAX: u64 = LEAVES as u64 * DATA_BYTES;

/// Elements collected before they are hashed together: 256 KiB of memory, and rows long enough to fill the
/// lanes.
const BATCH: usize = 16 * 512;

/// The height of the subtree that so many bytes take; `None` above [`PIECE_BYTES_MAX`].
pub fn piece_height(bytes: u64) -> Option<u8> {
    (PIECE_HEIGHT_MIN..=LEAF_DEPTH).find(|height| bytes.div_ceil(DATA_BYTES) <= merkle::capacity(*height))
}

/// The bytes that a piece is paid and counted for.
pub fn billed_bytes(params: &NetworkParams, bytes: u64) -> u64 {
    bytes.max(params.piece_bytes_min)
}

/// More bytes than a bundle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece has at most {PIECE_BYTES_MAX} bytes")]
pub struct PieceTooLong;

/// Computes `comm_p` from bytes as they come, in constant memory but for the stored row: 32 bytes for each
/// 15,872 of the piece.
#[derive(Clone, Debug)]
pub struct CommP {
    builder: Builder,
    elements: Vec<Canonical>,
    /// The start of an element whose end has not come, and its length.
    partial: [u8; ELEMENT_DATA_BYTES],
    partial_bytes: usize,
    bytes: u64,
}

impl Default for CommP {
    fn default() -> Self {
        Self::new()
    }
}

impl CommP {
    /// A hasher that has taken nothing.
    pub fn new() -> Self {
        Self {
            builder: Builder::keeping(PIECE_HEIGHT_MIN),
            elements: Vec::new(),
            partial: [0; ELEMENT_DATA_BYTES],
            partial_bytes: 0,
            bytes: 0,
        }
    }

    /// Takes the next bytes. Long runs are hashed by all threads of the current rayon pool.
    ///
    /// # Errors
    /// [`PieceTooLong`]; nothing was taken then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), PieceTooLong> {
        let total = u64::try_from(bytes.len()).ok().and_then(|more| self.bytes.checked_add(more));
        self.bytes = total.filter(|total| *total <= PIECE_BYTES_MAX).ok_or(PieceTooLong)?;
        let mut rest = bytes;
        if self.partial_bytes > 0 {
            let (head, tail) = rest.split_at(rest.len().min(self.partial.len() - self.partial_bytes));
            self.partial[self.partial_bytes..][..head.len()].copy_from_slice(head);
            self.partial_bytes += head.len();
            rest = tail;
            if self.partial_bytes < self.partial.len() {
                return Ok(());
            }
            self.take(Canonical::from_data(&self.partial));
            self.partial_bytes = 0;
        }
        let whole = rest.chunks_exact(self.partial.len());
        let tail = whole.remainder();
        whole.for_each(|chunk| self.take(Canonical::from_data(chunk)));
        self.partial[..tail.len()].copy_from_slice(tail);
        self.partial_bytes = tail.len();
        Ok(())
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The piece.
    pub fn finish(mut self) -> PieceTree {
        if self.partial_bytes > 0 {
            self.take(Canonical::from_data(&self.partial[..self.partial_bytes]));
        }
        self.builder.extend(&self.elements);
        let height = piece_height(self.bytes).expect("push refuses more bytes than a bundle holds");
        PieceTree { bytes: self.bytes, tree: self.builder.finish_tree(height) }
    }

    fn take(&mut self, element: Canonical) {
        self.elements.push(element);
        if self.elements.len() == BATCH {
            self.builder.extend(&self.elements);
            self.elements.clear();
        }
    }
}

/// A piece's tree without its lowest rows: what a provider keeps beside the piece to open leaves at the cost
/// of 73 hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceTree {
    bytes: u64,
    tree: Tree,
}

impl PieceTree {
    /// Commits to bytes that are all in memory.
    ///
    /// # Errors
    /// [`PieceTooLong`].
    pub fn of(bytes: &[u8]) -> Result<Self, PieceTooLong> {
        let mut hasher = CommP::new();
        hasher.push(bytes)?;
        Ok(hasher.finish())
    }

    /// Bytes of the piece.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `comm_p`.
    pub fn comm_p(&self) -> Element {
        self.tree.root().into()
    }

    /// Height of the subtree.
    pub fn height(&self) -> u8 {
        self.tree.depth()
    }

    /// The bytes of the piece that [`Self::open`] needs for a leaf.
    ///
    /// # Panics
    /// When the piece has no such leaf.
    pub fn group(&self, leaf: u32) -> Range<u64> {
        assert!(u64::from(leaf) < merkle::capacity(self.height()), "leaf of this piece");
        let group_bytes = DATA_BYTES * merkle::capacity(PIECE_HEIGHT_MIN);
        let start = u64::from(leaf) / merkle::capacity(PIECE_HEIGHT_MIN) * group_bytes;
        start.min(self.bytes)..(start + group_bytes).min(self.bytes)
    }

    /// A leaf and its path to `comm_p`, from the bytes of its [`Self::group`]. `None` when they are not the
    /// bytes committed to: the file is damaged.
    ///
    /// # Panics
    /// As [`Self::group`].
    pub fn open(&self, leaf: u32, group: &[u8]) -> Option<(Fr, Path)> {
        let range = self.group(leaf);
        if u64::try_from(group.len()).ok()? != range.end - range.start {
            return None;
        }
        let leaves: Vec<Fr> = field::pack31(group).collect();
        let path = self.tree.open_with(leaf.into(), &leaves)?;
        let own = usize::try_from(u64::from(leaf) % merkle::capacity(PIECE_HEIGHT_MIN)).ok()?;
        Some((leaves.get(own).copied().unwrap_or_default(), path))
    }

    /// The stored rows as bytes: see docs/formats/proofs.md.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.tree.rows_to_bytes()
    }

    /// Reads the stored rows of a piece of known length; `None` when they are not of that form.
    pub fn from_bytes(rows: &[u8], bytes: u64) -> Option<Self> {
        let height = piece_height(bytes)?;
        let tree = Tree::from_row_bytes(rows, bytes.div_ceil(DATA_BYTES), PIECE_HEIGHT_MIN, height)?;
        Some(Self { bytes, tree })
    }
}

/// The leaf of a piece at an index, from its own 31 bytes (fewer at the end): what the fast half of a window
/// reads.
pub fn data_leaf(bytes: &[u8]) -> Fr {
    field::element(bytes)
}

/// The bytes of a piece that lie in one leaf.
pub fn leaf_range(leaf: u32, piece_bytes: u64) -> Range<u64> {
    let start = u64::from(leaf) * DATA_BYTES;
    start.min(piece_bytes)..(start + DATA_BYTES).min(piece_bytes)
}

#[cfg(test)]
mod tests;
