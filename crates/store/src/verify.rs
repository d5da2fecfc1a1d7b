//! Checking everything.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use hpips_types::Cid;
use rayon::prelude::*;

use crate::error::{IndexError, WriteError};
use crate::index::{Durable, Place};
use crate::kept::KeptBy;
use crate::marks::{Found, Reach};
use crate::pins::PinKind;
use crate::read::Checked;
use crate::store::Store;
use crate::tables::{Kind, Row};
use crate::write::FREEING_RESERVE_BYTES;

/// Rows that are taken at once, read in the order they lie on disk, and told about together.
const PAGE_ROWS: usize = 4 * 1024;

/// What is the matter with a copy of a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Other bytes are there, or fewer.
    #[error("other bytes are there")]
    Mismatch,
    /// The file is gone. It may lie on a disk that is not there now.
    #[error("the file is gone")]
    NoFile,
    /// The file cannot be read: what is in it is not known.
    #[error("the file cannot be read: {message}")]
    Io {
        /// What kind of failure.
        kind: io::ErrorKind,
        /// What the system said.
        message: String,
    },
}

/// A copy of a block that is not what its CID says, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The block.
    pub cid: Cid,
    /// What kind of file holds the copy.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
    /// Where in it: the record in a pack, the block elsewhere.
    pub offset: u64,
    /// What is the matter.
    pub fault: Fault,
    /// Whether no sound copy could be read.
    pub is_lost: bool,
    /// What keeps the block, as far as that can still be told.
    pub kept_by: Option<KeptBy>,
    container: u64,
}

/// A block that is not here although a pin needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The block.
    pub cid: Cid,
    /// The first pin that needs it.
    pub pin: Cid,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blocks of which there is a copy that is what the CID says.
    pub sound_blocks: u64,
    /// Their bytes.
    pub sound_bytes: u64,
    /// Copies that are not.
    pub damaged: Vec<Damage>,
    /// Blocks that pins need and that are not here.
    pub missing: Vec<Missing>,
}

/// How far [`Store::verify_with`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Blocks looked at.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged copies so far.
    pub damaged: u64,
    /// Blocks there are.
    pub blocks_total: u64,
}

impl Store {
    /// As [`Store::verify_with`], without progress.
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self) -> Result<VerifyReport, IndexError> {
        self.verify_with(|_| Ok(()))
    }

    /// Reads every copy of every block on all cores and checks it against its CRC and its CID, then finds out what keeps
    /// the damaged ones, and whether pins lack blocks. Changes nothing; others read and write meanwhile. `progress` is
    /// told every few thousand blocks.
    ///
    /// # Errors
    /// When the index fails, damaged blocks are in the report; and what `progress` answers, to stop early.
    pub fn verify_with<E: From<IndexError>>(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> Result<(), E>,
    ) -> Result<VerifyReport, E> {
        let mut report = VerifyReport::default();
        let blocks_total = self.block_count()?;
        let mut done = VerifyProgress { blocks: 0, bytes: 0, damaged: 0, blocks_total };
        let mut after: Option<Vec<u8>> = None;
        let mut last_block: Option<Cid> = None;
        loop {
            let (mut rows, last) = self.inner.index.page(after.as_deref(), PAGE_ROWS)?;
            let Some(last) = last else { break };
            after = Some(last);
            rows.retain(|row| {
                let is_next = last_block.is_none_or(|cid| cid.hash() != row.cid.hash());
                last_block = Some(row.cid);
                is_next
            });
            rows.sort_unstable_by_key(|row| (row.kind != Kind::Pack, row.container, row.row.offset));
            let checked: Vec<_> = rows.par_iter().map(|row| self.inner.check_copies(&row.cid)).collect();
            for (row, checked) in rows.iter().zip(checked) {
                let copies = checked?;
                done.blocks += 1;
                done.bytes += u64::from(row.row.bytes);
                let is_lost = copies.iter().all(|copy| copy.fault.is_some());
                // A block that was removed meanwhile has no copies.
                if !is_lost {
                    report.sound_blocks += 1;
                    report.sound_bytes += u64::from(row.row.bytes);
                }
                for Checked { place, path, fault } in copies {
                    let Some(fault) = fault else { continue };
                    done.damaged += 1;
                    let Place { kind, container, row: Row { offset, .. }, .. } = place;
                    let kept_by = None;
                    let cid = row.cid;
                    report.damaged.push(Damage {
                        cid,
                        kind,
                        path,
                        offset,
                        fault,
                        is_lost,
                        kept_by,
                        container,
                    });
                }
            }
            progress(done)?;
        }
        if !report.damaged.is_empty() {
            let cids: Vec<_> = report.damaged.iter().map(|damage| damage.cid).collect();
            for (damage, kept_by) in report.damaged.iter_mut().zip(self.kept_by(&cids)) {
                damage.kept_by = kept_by;
            }
        }
        report.missing = self.missing(|| progress(done))?;
        Ok(report)
    }

    /// What pins lack; `pause` is called now and then, and stops the search.
    fn missing<E: From<IndexError>>(
        &self,
        mut pause: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<Missing>, E> {
        let mut missing = Vec::new();
        let mut told = HashSet::new();
        let mut reach = Reach::default();
        let mut count = 0;
        for pin in self.pins() {
            let mut visit = |cid: &Cid, found: &Found| {
                let is_missing = match found {
                    Found::Leaf => !self.has(cid)?,
                    Found::Missing => true,
                    Found::Inner | Found::Failed(_) | Found::Undecoded(_) => false,
                };
                if is_missing && told.insert(*cid) {
                    missing.push(Missing { cid: *cid, pin: pin.cid });
                }
                count += 1;
                if count % PAGE_ROWS == 0 { pause() } else { Ok(()) }
            };
            match pin.kind {
                PinKind::Direct => visit(&pin.cid, &Found::Leaf)?,
                PinKind::Recursive => {
                    reach.push(pin.cid);
                    reach.run(self, |cid, found| visit(cid, &found))?;
                }
            }
        }
        Ok(missing)
    }

    /// Forgets a damaged copy, so that the block can be stored or fetched again; returns whether it did. Other copies of
    /// the block stay. Looks again first: what is sound by now stays, and so does what cannot be read, as nobody
    /// knows what is in it.
    ///
    /// # Errors
    /// [`WriteError::NoSpace`], [`WriteError::Poisoned`], and when the index fails.
    pub fn drop_damaged(&self, damage: &Damage) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        let Damage { cid, kind, container, offset, .. } = damage;
        let is_it = |copy: &Checked| {
            let place = &copy.place;
            (place.kind, place.container, place.row.offset) == (*kind, *container, *offset)
                && copy.fault == Some(Fault::Mismatch)
        };
        if !self.inner.check_copies(cid)?.iter().any(is_it) {
            return Ok(false);
        }
        self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
        let is_removed = self.inner.index.write(Durable::Now, |tx| match kind {
            Kind::Pack => Ok(tx.remove_records(&[(*container, *offset, *cid)])? > 0),
            Kind::Piece | Kind::UserFile => tx.remove_lent(cid, *kind, *container, *offset),
        })?;
        writer.committed();
        Ok(is_removed)
    }
}
