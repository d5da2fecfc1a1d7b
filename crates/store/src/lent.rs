//! Blocks that users' own files hold: what there is, and whether it is still so.

use std::path::PathBuf;

use hpips_types::Cid;
use hpips_types::content::verify_block;
use rayon::prelude::*;

use crate::error::{IndexError, WriteError};
use crate::index::{Durable, PageRow, Place};
use crate::store::Store;
use crate::tables::Kind;
use crate::transaction::Tx;
use crate::write::FREEING_RESERVE_BYTES;

/// Rows that are checked together.
const PAGE_ROWS: usize = 4 * 1024;

/// A block that a user's file holds (`add --nocopy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentBlock {
    /// The block.
    pub cid: Cid,
    /// The file.
    pub path: PathBuf,
    /// Of the block's first byte.
    pub offset: u64,
    /// Length of the block.
    pub bytes: u32,
}

/// Whether a file still holds its block.
#[derive(Debug)]
pub enum LentStatus {
    /// It does.
    Sound,
    /// Other bytes are there, or fewer.
    Changed,
    /// There is no such file.
    NoFile,
    /// The file cannot be read.
    Failed(std::io::Error),
}

impl Store {
    /// Calls `visit` with every block that a user's file holds, ordered by multihash: `filestore ls`.
    ///
    /// # Errors
    /// When the index fails; and what `visit` answers, to stop early.
    pub fn for_each_lent<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(LentBlock) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lent_pages(|blocks| blocks.into_iter().try_for_each(&mut visit))
    }

    /// The files that hold a block; empty when none does.
    ///
    /// # Errors
    /// When the index fails.
    pub fn lent(&self, cid: &Cid) -> Result<Vec<LentBlock>, IndexError> {
        let places = self.inner.index.lookup(cid)?.into_iter();
        let lent = places.filter(|place| place.kind == Kind::UserFile).filter_map(|place| {
            let (path, offset, bytes) = (place.path?, place.row.offset, place.row.bytes);
            Some(LentBlock { cid: *cid, path, offset, bytes })
        });
        Ok(lent.collect())
    }

    /// Reads what users' files hold and calls `visit` with each block and whether it is still there: `filestore
    /// verify`. Reads on all cores.
    ///
    /// # Errors
    /// When the index fails; and what `visit` answers, to stop early.
    pub fn verify_lent<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(LentBlock, LentStatus) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lent_pages(|blocks| {
            let found: Vec<_> = blocks.into_par_iter().map(|lent| (self.status(&lent), lent)).collect();
            found.into_iter().try_for_each(|(status, lent)| visit(lent, status))
        })
    }

    /// The same for the copies of one block.
    ///
    /// # Errors
    /// When the index fails.
    pub fn verify_lent_block(&self, cid: &Cid) -> Result<Vec<(LentBlock, LentStatus)>, IndexError> {
        let lent = self.lent(cid)?;
        Ok(lent.into_iter().map(|lent| (lent.clone(), self.status(&lent))).collect())
    }

    /// Forgets that a user's file holds a block, which is gone if nothing else holds it; returns whether it was known.
    ///
    /// # Errors
    /// [`WriteError::NoSpace`], [`WriteError::Poisoned`], and when the index fails.
    pub fn forget_lent(&self, lent: &LentBlock) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
        let is_it = |place: &Place| {
            let path = place.path.as_ref();
            place.kind == Kind::UserFile && path == Some(&lent.path) && place.row.offset == lent.offset
        };
        let Some(place) = self.inner.index.lookup(&lent.cid)?.into_iter().find(is_it) else {
            return Ok(false);
        };
        let forget = |tx: &Tx| tx.remove_lent(&lent.cid, Kind::UserFile, place.container, lent.offset);
        let was_there = self.inner.index.write(Durable::Now, forget)?;
        writer.committed();
        Ok(was_there)
    }

    /// Calls `visit` with every block that lies in a pack although a user's file holds it: `filestore dups`.
    ///
    /// # Errors
    /// When the index fails; and what `visit` answers, to stop early.
    pub fn for_each_duplicate<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(&Cid) -> Result<(), E>,
    ) -> Result<(), E> {
        // The rows of a block stand together, packs first.
        let mut packed: Option<Cid> = None;
        let mut told: Option<Cid> = None;
        let is = |one: &Option<Cid>, row: &PageRow| one.is_some_and(|cid| cid.hash() == row.cid.hash());
        self.inner.index.scan(|row| match row.kind {
            Kind::Pack => {
                packed = Some(row.cid);
                Ok(())
            }
            Kind::UserFile if is(&packed, row) && !is(&told, row) => {
                told = Some(row.cid);
                visit(&row.cid)
            }
            Kind::Piece | Kind::UserFile => Ok(()),
        })
    }

    fn status(&self, lent: &LentBlock) -> LentStatus {
        let file = match self.inner.layer.open_read(&lent.path) {
            Ok(Some(file)) => file,
            Ok(None) => return LentStatus::NoFile,
            Err(error) => return LentStatus::Failed(error),
        };
        let len = usize::try_from(lent.bytes).expect("rows are bounded when they are added");
        match file.read_vec_at(len, lent.offset) {
            Ok(bytes) if verify_block(&lent.cid, &bytes).is_ok() => LentStatus::Sound,
            Ok(_) => LentStatus::Changed,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => LentStatus::Changed,
            Err(error) => LentStatus::Failed(error),
        }
    }

    fn lent_pages<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(Vec<LentBlock>) -> Result<(), E>,
    ) -> Result<(), E> {
        let index = &self.inner.index;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (rows, last) = index.page(after.as_deref(), PAGE_ROWS)?;
            let rows: Vec<_> = rows.into_iter().filter(|row| row.kind == Kind::UserFile).collect();
            let paths = index.paths(rows.iter().map(|row| row.container))?;
            let lent = rows.into_iter().zip(paths).filter_map(|(row, path)| {
                Some(LentBlock { cid: row.cid, path: path?, offset: row.row.offset, bytes: row.row.bytes })
            });
            visit(lent.collect())?;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }
}
