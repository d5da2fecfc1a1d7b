//! Pieces on disk, staged or held; which of the two is the chain's to say.
//!
//! ```text
//! pieces/<deal>-<slot>/piece   the bytes
//!                      rows    the commitment's tree from level 3 up
//!                      outboard  BLAKE3 hashes for ranges, made when the first is read; a 256th of the piece
//!                      meta    dag-cbor: see Meta; its presence says the piece is complete
//! ```
//!
//! A deal has the number of its proposal, so nothing moves when a proposal becomes a deal.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hpips_net::bulk::{Outboard, OutboardError, Spec};
use hpips_proofs::piece::data_leaf;
use hpips_proofs::{Element, PieceTree};
use hpips_types::{AccountId, Blake3Hash, ByteCount, Cid, DealId, SlotIndex, cbor};
use serde::{Deserialize, Serialize};

use crate::sectors::write_whole;

/// Longest metadata file: a piece of 496 MiB of small blocks has some hundred thousand rows.
const META_BYTES_MAX: usize = 256 << 20;

/// Why a piece cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// The disk.
    #[error("piece file {} failed", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of a piece is not what it should be.
    #[error("{} is damaged", .0.display())]
    Malformed(PathBuf),
    /// The bytes are not those committed to.
    #[error("the piece of slot {slot} of deal {deal} is damaged at leaf {leaf}")]
    Damaged {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Where.
        leaf: u32,
    },
    /// No such piece here.
    #[error("the piece is not on this disk")]
    Missing,
}

/// Names a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceId {
    /// The deal, or the proposal it may become.
    pub deal: DealId,
    /// The slot.
    pub slot: SlotIndex,
}

/// What a complete piece is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Who staged it.
    pub client: AccountId,
    /// Length in bytes.
    pub bytes: u64,
    /// Its hash.
    pub blake3: Blake3Hash,
    /// Its commitment.
    pub comm_p: Element,
    /// The manifest of its object.
    pub manifest: Cid,
    /// Blocks kept in the store beside it.
    pub beside: Vec<Cid>,
    /// The blocks in it: CID, offset, length.
    pub rows: Vec<(Cid, u64, u32)>,
}

/// A complete piece.
#[derive(Debug)]
pub struct Piece {
    /// Its name.
    pub id: PieceId,
    /// What it is.
    pub meta: Meta,
    tree: PieceTree,
    path: PathBuf,
    /// Held while the outboard is made, so that it is made once.
    hashing: Mutex<()>,
}

/// All complete pieces of a provider. Clones share them.
#[derive(Clone, Debug)]
pub struct Pieces {
    dir: Arc<PathBuf>,
    complete: Arc<Mutex<BTreeMap<PieceId, Arc<Piece>>>>,
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> PieceError {
    let path = path.to_path_buf();
    move |source| PieceError::Io { path, source }
}

impl Pieces {
    /// Opens the folder. Pieces that were cut short stay, so that their upload can go on.
    ///
    /// # Errors
    /// [`PieceError`] when the folder cannot be read or a complete piece is damaged.
    pub fn open(dir: PathBuf) -> Result<Self, PieceError> {
        fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        let mut complete = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(io_at(&dir))? {
            let path = entry.map_err(io_at(&dir))?.path();
            let Some(id) = path.file_name().and_then(|name| name.to_str()).and_then(parse_name) else {
                continue;
            };
            if path.join("meta").exists() {
                complete.insert(id, Arc::new(Piece::load(id, &path)?));
            }
        }
        Ok(Self { dir: Arc::new(dir), complete: Arc::new(Mutex::new(complete)) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PieceId, Arc<Piece>>> {
        self.complete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the bytes of a piece go; makes its folder.
    ///
    /// # Errors
    /// [`PieceError::Io`].
    pub fn file(&self, id: PieceId) -> Result<PathBuf, PieceError> {
        let dir = self.folder(id);
        fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        Ok(dir.join("piece"))
    }

    fn folder(&self, id: PieceId) -> PathBuf {
        self.dir.join(format!("{}-{}", id.deal, id.slot))
    }

    /// Declares a piece complete; its file is written and synced. Durable when it returns.
    ///
    /// # Errors
    /// [`PieceError::Io`].
    pub fn finish(&self, id: PieceId, meta: Meta, tree: PieceTree) -> Result<Arc<Piece>, PieceError> {
        let dir = self.folder(id);
        for (name, bytes) in [("rows", tree.to_bytes()), ("meta", cbor::encode(&meta))] {
            let path = dir.join(name);
            write_whole(&path, &bytes).map_err(io_at(&path))?;
        }
        let piece = Arc::new(Piece { id, meta, tree, path: dir.join("piece"), hashing: Mutex::default() });
        self.lock().insert(id, Arc::clone(&piece));
        Ok(piece)
    }

    /// A complete piece.
    pub fn get(&self, id: PieceId) -> Option<Arc<Piece>> {
        self.lock().get(&id).cloned()
    }

    /// All complete pieces.
    pub fn all(&self) -> Vec<Arc<Piece>> {
        self.lock().values().cloned().collect()
    }

    /// Bytes of a client's complete pieces that are `wanted`.
    pub fn bytes_of(&self, client: &AccountId, wanted: impl Fn(PieceId) -> bool) -> ByteCount {
        let is_counted = |piece: &&Arc<Piece>| piece.meta.client == *client && wanted(piece.id);
        let bytes = |piece: &Arc<Piece>| Some(piece).filter(is_counted).map(|piece| piece.meta.bytes);
        ByteCount::new(self.lock().values().filter_map(bytes).sum())
    }

    /// Deletes a piece, complete or not.
    ///
    /// # Errors
    /// [`PieceError::Io`].
    pub fn remove(&self, id: PieceId) -> Result<(), PieceError> {
        self.lock().remove(&id);
        let dir = self.folder(id);
        // The metadata first: what is left without it is no piece.
        for (path, result) in
            [(dir.join("meta"), fs::remove_file(dir.join("meta"))), (dir.clone(), fs::remove_dir_all(&dir))]
        {
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn load(id: PieceId, dir: &Path) -> Result<Self, PieceError> {
        let path = dir.join("meta");
        let bytes = fs::read(&path).map_err(io_at(&path))?;
        let meta: Meta = cbor::decode(&bytes, META_BYTES_MAX).map_err(|_| PieceError::Malformed(path))?;
        let path = dir.join("rows");
        let rows = fs::read(&path).map_err(io_at(&path))?;
        let tree = PieceTree::from_bytes(&rows, meta.bytes).filter(|tree| tree.comm_p() == meta.comm_p);
        let tree = tree.ok_or(PieceError::Malformed(path))?;
        Ok(Self { id, meta, tree, path: dir.join("piece"), hashing: Mutex::default() })
    }

    /// The file with its bytes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its hash and length.
    pub fn spec(&self) -> Spec {
        Spec { hash: self.meta.blake3, bytes: self.meta.bytes }
    }

    /// Hashes that prove ranges of it: from their file, or made from the bytes and kept. Blocks, for about a second a
    /// GiB the first time.
    ///
    /// # Errors
    /// [`PieceError::Malformed`] when the bytes are not those of the piece, [`PieceError::Io`].
    pub fn outboard(&self) -> Result<Outboard, PieceError> {
        let _once = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.outboard_path();
        if let Ok(outboard) = Outboard::load(&kept, &self.spec()) {
            return Ok(outboard);
        }
        let outboard = Outboard::of_file(&self.path).map_err(|error| match error {
            OutboardError::Io(error) => io_at(&self.path)(error),
            _ => PieceError::Malformed(self.path.clone()),
        })?;
        if outboard.spec() != self.spec() {
            return Err(PieceError::Malformed(self.path.clone()));
        }
        // Where there is no room to keep it, it is made again next time.
        if let Err(error) = self.keep(&outboard, &kept) {
            tracing::debug!(path = %kept.display(), %error, "hashes of a piece not kept");
        }
        Ok(outboard)
    }

    fn keep(&self, outboard: &Outboard, path: &Path) -> Result<(), OutboardError> {
        let partial = path.with_extension("partial");
        outboard.save(&partial)?;
        File::open(&partial)?.sync_all()?;
        Ok(fs::rename(&partial, path)?)
    }

    /// Removes the kept hashes, so that they are made from the bytes again.
    pub fn forget_outboard(&self) {
        // Where that fails the next reader is refused as this one was.
        let _ = fs::remove_file(self.outboard_path());
    }

    fn outboard_path(&self) -> PathBuf {
        self.path.with_file_name("outboard")
    }

    /// The leaf, from the bytes alone: what a commitment needs.
    ///
    /// # Errors
    /// [`PieceError::Io`].
    pub fn leaf(&self, leaf: u32) -> Result<hpips_crypto::Fr, PieceError> {
        Ok(data_leaf(&self.read(hpips_proofs::piece::leaf_range(leaf, self.meta.bytes))?))
    }

    /// A leaf and its path inside the piece.
    ///
    /// # Errors
    /// [`PieceError::Damaged`] when the bytes are not those committed to.
    pub fn open(&self, leaf: u32) -> Result<(hpips_crypto::Fr, hpips_crypto::merkle::Path), PieceError> {
        let group = self.read(self.tree.group(leaf))?;
        let PieceId { deal, slot } = self.id;
        self.tree.open(leaf, &group).ok_or(PieceError::Damaged { deal, slot, leaf })
    }

    fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<u8>, PieceError> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a group is at most 16 KiB")];
        let file = File::open(&self.path).map_err(io_at(&self.path))?;
        file.read_exact_at(&mut bytes, range.start).map_err(io_at(&self.path))?;
        Ok(bytes)
    }
}

fn parse_name(name: &str) -> Option<PieceId> {
    let (deal, slot) = name.split_once('-')?;
    Some(PieceId { deal: DealId::new(deal.parse().ok()?), slot: SlotIndex::new(slot.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};

    use super::*;

    #[test]
    fn a_piece_survives_a_restart_and_shows_damage() {
        let folder = tempfile::tempdir().unwrap();
        let id = PieceId { deal: DealId::new(3), slot: SlotIndex::new(1) };
        let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let tree = PieceTree::of(&bytes).unwrap();
        let meta = Meta {
            client: AccountId::new([1; 32]),
            bytes: bytes.len() as u64,
            blake3: Blake3Hash::new([2; 32]),
            comm_p: tree.comm_p(),
            manifest: cid_v1(RAW, b"m"),
            beside: vec![cid_v1(RAW, b"m")],
            rows: vec![(cid_v1(RAW, b"r"), 0, 7)],
        };
        let pieces = Pieces::open(folder.path().to_path_buf()).unwrap();
        fs::write(pieces.file(id).unwrap(), &bytes).unwrap();
        assert!(pieces.get(id).is_none());
        pieces.finish(id, meta.clone(), tree).unwrap();

        let pieces = Pieces::open(folder.path().to_path_buf()).unwrap();
        let piece = pieces.get(id).unwrap();
        assert_eq!(piece.meta, meta);
        assert_eq!(pieces.bytes_of(&meta.client, |_| true).get(), meta.bytes);
        assert_eq!(pieces.bytes_of(&meta.client, |other| other != id).get(), 0);
        let (leaf, _) = piece.open(1_234).unwrap();
        assert_eq!(piece.leaf(1_234).unwrap(), leaf);

        let mut damaged = bytes;
        damaged[1_234 * 31] ^= 1;
        fs::write(piece.path(), damaged).unwrap();
        assert!(matches!(piece.open(1_234), Err(PieceError::Damaged { leaf: 1_234, .. })));
        pieces.remove(id).unwrap();
        pieces.remove(id).unwrap();
        assert!(pieces.get(id).is_none());
    }
}
