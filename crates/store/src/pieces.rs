//! Blocks that lie in files the store does not own: pieces of deals, users' own files.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hpips_types::{Cid, DealId, SlotIndex};

use crate::error::{IndexError, WriteError};
use crate::index::Durable;
use crate::store::{BLOCK_BYTES_MAX, Store};
use crate::tables::{Kind, META_NEXT_FILE, PIECE_KEYS, Row, USER_FILES};
use crate::write::{FREEING_RESERVE_BYTES, RESERVE_BYTES};

/// A block in a file: its CID, where it begins and its length, bytes.
pub type FileRow = (Cid, u64, u32);

/// Names a piece: the slot of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceKey {
    /// The deal.
    pub deal: DealId,
    /// Its slot.
    pub slot: SlotIndex,
}

impl PieceKey {
    fn key(self) -> (u64, u16) {
        (self.deal.get(), self.slot.get())
    }
}

/// Bytes by which the index may grow with so many rows: each is written to two tables, into pages half full.
fn rows_bytes(count: usize) -> u64 {
    u64::try_from(count).expect("64 bits").saturating_mul(512)
}

impl Store {
    /// Serves blocks out of a piece file, which stays its provider's: offset and length of every block. A piece with the
    /// same key is replaced; doing it twice is doing it once. Rows are checked against their CIDs on every read.
    ///
    /// # Errors
    /// [`WriteError::Io`] when the path is not absolute, the file cannot be opened or is too short for a row.
    pub fn add_piece(&self, key: PieceKey, path: &Path, rows: &[FileRow]) -> Result<(), WriteError> {
        let rows = self.check_rows(path, rows)?;
        let mut writer = self.inner.writer()?;
        self.inner.check_free(rows_bytes(rows.len()), RESERVE_BYTES)?;
        let old = self.inner.index.write(Durable::Now, |tx| {
            let old = tx.0.open_table(PIECE_KEYS)?.remove(key.key())?.map(|container| container.value());
            if let Some(container) = old {
                tx.remove_file(Kind::Piece, container)?;
            }
            let container = tx.take_number(META_NEXT_FILE)?;
            tx.0.open_table(PIECE_KEYS)?.insert(key.key(), container)?;
            tx.add_file(Kind::Piece, container, path, &rows)?;
            Ok(old)
        })?;
        writer.committed();
        self.close(old);
        Ok(())
    }

    /// Forgets a piece's rows and closes its file; the file itself is its provider's to delete, afterwards. Returns
    /// whether it was known.
    ///
    /// # Errors
    /// When the index fails.
    pub fn remove_piece(&self, key: PieceKey) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
        let container = self.inner.index.write(Durable::Now, |tx| {
            let container =
                tx.0.open_table(PIECE_KEYS)?.remove(key.key())?.map(|container| container.value());
            if let Some(container) = container {
                tx.remove_file(Kind::Piece, container)?;
            }
            Ok(container)
        })?;
        writer.committed();
        self.close(container);
        Ok(container.is_some())
    }

    /// All pieces whose blocks are served. After an index was lost this is empty: providers add theirs again.
    ///
    /// # Errors
    /// When the index fails.
    pub fn pieces(&self) -> Result<Vec<PieceKey>, IndexError> {
        let keys = self.inner.index.piece_keys()?;
        let key = |(deal, slot)| PieceKey { deal: DealId::new(deal), slot: SlotIndex::new(slot) };
        Ok(keys.into_iter().map(key).collect())
    }

    /// Serves blocks out of a user's own file (`--nocopy`). The rows of a file that was added before are replaced.
    /// Every read checks the CID, and a file that changed simply no longer has the block.
    ///
    /// # Errors
    /// As [`Store::add_piece`].
    pub fn add_user_file(&self, path: &Path, rows: &[FileRow]) -> Result<(), WriteError> {
        self.add_user_files(&[(path.to_owned(), rows.to_vec())])
    }

    /// As [`Store::add_user_file`] for many files at once: all of them are served when this returns, or none. One
    /// durable commit, so batches of some thousand files are much faster than one by one; rows are held in memory.
    ///
    /// # Errors
    /// As [`Store::add_piece`], for the first file that is not as it should be.
    pub fn add_user_files(&self, files: &[(PathBuf, Vec<FileRow>)]) -> Result<(), WriteError> {
        let checked: Vec<_> = files
            .iter()
            .map(|(path, rows)| Ok((path, self.check_rows(path, rows)?)))
            .collect::<Result<_, WriteError>>()?;
        let count = checked.iter().map(|(_, rows)| rows.len()).sum();
        let mut writer = self.inner.writer()?;
        self.inner.check_free(rows_bytes(count), RESERVE_BYTES)?;
        let replaced = self.inner.index.write(Durable::Now, |tx| {
            let mut replaced = Vec::new();
            for (path, rows) in &checked {
                let name = path.as_os_str().as_bytes();
                let old = tx.0.open_table(USER_FILES)?.remove(name)?.map(|container| container.value());
                if let Some(container) = old {
                    tx.remove_file(Kind::UserFile, container)?;
                    replaced.push(container);
                }
                let container = tx.take_number(META_NEXT_FILE)?;
                tx.0.open_table(USER_FILES)?.insert(name, container)?;
                tx.add_file(Kind::UserFile, container, path, rows)?;
            }
            Ok(replaced)
        })?;
        writer.committed();
        self.close(replaced);
        Ok(())
    }

    /// Forgets the rows of a user's file. Returns whether it was known.
    ///
    /// # Errors
    /// When the index fails.
    pub fn remove_user_file(&self, path: &Path) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
        let container = self.inner.index.write(Durable::Now, |tx| {
            let name = path.as_os_str().as_bytes();
            let container = tx.0.open_table(USER_FILES)?.remove(name)?.map(|container| container.value());
            if let Some(container) = container {
                tx.remove_file(Kind::UserFile, container)?;
            }
            Ok(container)
        })?;
        writer.committed();
        self.close(container);
        Ok(container.is_some())
    }

    /// Closes files that are no longer served.
    fn close(&self, containers: impl IntoIterator<Item = u64>) {
        // Piece and user files are kept open under one sequence of numbers.
        containers.into_iter().for_each(|container| self.inner.open_files().forget(Kind::Piece, container));
    }

    fn check_rows(&self, path: &Path, rows: &[FileRow]) -> Result<Vec<(Vec<u8>, Row)>, WriteError> {
        let failed = |source| WriteError::Io { path: path.to_owned(), source };
        if !path.is_absolute() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute")));
        }
        let file = self.inner.layer.open_read(path).map_err(failed)?;
        let file = file.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let len = file.len().map_err(failed)?;
        let mut checked = Vec::with_capacity(rows.len());
        for (cid, offset, bytes) in rows {
            let got = usize::try_from(*bytes).unwrap_or(usize::MAX);
            if got > BLOCK_BYTES_MAX {
                return Err(WriteError::TooLarge { cid: *cid, got, max: BLOCK_BYTES_MAX });
            }
            if offset.checked_add(u64::from(*bytes)).is_none_or(|end| end > len) {
                return Err(failed(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a row is outside the file",
                )));
            }
            checked.push((cid.hash().to_bytes(), Row::new(cid, *offset, *bytes)));
        }
        Ok(checked)
    }
}
