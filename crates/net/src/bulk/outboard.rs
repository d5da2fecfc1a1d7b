//! The hash tree of a piece above its 16 KiB groups, a 256th of its size, kept beside the piece.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bao_tree::BaoTree;
use bao_tree::io::outboard::PostOrderMemOutboard;
use bao_tree::io::sync::outboard_post_order;
use hpips_types::Blake3Hash;

use super::Spec;
use super::parcel::GROUP;

/// First bytes of an outboard file.
const MAGIC: &[u8; 16] = b"hpips-outboard-1";
/// Largest piece, bytes: far above an extent's piece, and its outboard still fits into memory.
const PIECE_BYTES_MAX: u64 = 1 << 38;

/// Why an outboard could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum OutboardError {
    /// A file could not be read or written.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
    /// The file is not an outboard of this piece.
    #[error("not the outboard of this piece")]
    Foreign,
    /// The piece is larger than any piece is.
    #[error("a piece of {0} bytes is too large")]
    TooLarge(u64),
}

/// The hash tree of a piece.
#[derive(Clone, Debug)]
pub struct Outboard {
    inner: PostOrderMemOutboard<Vec<u8>>,
}

impl Outboard {
    /// Hashes a file. Blocks; about a second a GiB.
    ///
    /// # Errors
    /// [`OutboardError::Io`], [`OutboardError::TooLarge`].
    pub fn of_file(path: &Path) -> Result<Self, OutboardError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Self::of_reader(BufReader::with_capacity(1 << 20, file), bytes)
    }

    /// Hashes `bytes` bytes of a reader. Blocks.
    ///
    /// # Errors
    /// [`OutboardError::Io`] also when the reader has fewer, [`OutboardError::TooLarge`].
    pub fn of_reader(reader: impl Read, bytes: u64) -> Result<Self, OutboardError> {
        if bytes > PIECE_BYTES_MAX {
            return Err(OutboardError::TooLarge(bytes));
        }
        let tree = BaoTree::new(bytes, GROUP);
        let mut data = Vec::new();
        let root = outboard_post_order(reader, tree, &mut data)?;
        Ok(Self { inner: PostOrderMemOutboard { root, tree, data } })
    }

    /// What it is the outboard of.
    pub fn spec(&self) -> Spec {
        Spec { hash: Blake3Hash::new(*self.inner.root.as_bytes()), bytes: self.inner.tree.size() }
    }

    /// Writes it to a file: magic, hash, length, hash pairs in post-order.
    ///
    /// # Errors
    /// [`OutboardError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), OutboardError> {
        let mut bytes = Vec::with_capacity(56 + self.inner.data.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.inner.root.as_bytes());
        bytes.extend_from_slice(&self.inner.tree.size().to_le_bytes());
        bytes.extend_from_slice(&self.inner.data);
        Ok(std::fs::write(path, bytes)?)
    }

    /// Reads it from a file. A damaged one is found when it is used: the receiver's check fails.
    ///
    /// # Errors
    /// [`OutboardError::Foreign`] when it is not of this piece or cut short.
    pub fn load(path: &Path, spec: &Spec) -> Result<Self, OutboardError> {
        if spec.bytes > PIECE_BYTES_MAX {
            return Err(OutboardError::TooLarge(spec.bytes));
        }
        let tree = BaoTree::new(spec.bytes, GROUP);
        let mut head = Vec::from(MAGIC);
        head.extend_from_slice(spec.hash.as_bytes());
        head.extend_from_slice(&spec.bytes.to_le_bytes());
        let expected = tree.outboard_size().checked_add(head.len() as u64).ok_or(OutboardError::Foreign)?;
        if std::fs::metadata(path)?.len() != expected {
            return Err(OutboardError::Foreign);
        }
        let mut bytes = std::fs::read(path)?;
        if !bytes.starts_with(&head) || bytes.len() as u64 != expected {
            return Err(OutboardError::Foreign);
        }
        let data = bytes.split_off(head.len());
        let root = (*spec.hash.as_bytes()).into();
        Ok(Self { inner: PostOrderMemOutboard { root, tree, data } })
    }

    pub(super) fn tree(&self) -> &PostOrderMemOutboard<Vec<u8>> {
        &self.inner
    }
}
