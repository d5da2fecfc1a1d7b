//! Checking everything.

use std::path::PathBuf;

use hpips_types::Cid;
use rayon::prelude::*;

use crate::error::IndexError;
use crate::kept::KeptBy;
use crate::read::CopyAt;
use crate::store::Store;
use crate::tables::Kind;

/// Rows that are taken at once, read in the order they lie on disk, and told about together.
const PAGE_ROWS: usize = 4 * 1024;

/// A copy of a block that is not what its CID says, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The block.
    pub cid: Cid,
    /// The file that holds the copy.
    pub path: PathBuf,
    /// Where in it: the record in a pack, the block elsewhere.
    pub offset: u64,
    /// Whether no sound copy is left.
    pub is_lost: bool,
    /// What keeps the block, as far as that can still be told.
    pub kept_by: Option<KeptBy>,
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
        self.verify_with(|_| {})
    }

    /// Reads every copy of every block on all cores and checks it against its CRC and its CID, then finds out what keeps
    /// the damaged ones. Changes nothing; others read and write meanwhile. `progress` is told every few thousand
    /// blocks.
    ///
    /// # Errors
    /// When the index fails; damaged blocks are in the report.
    pub fn verify_with(&self, mut progress: impl FnMut(VerifyProgress)) -> Result<VerifyReport, IndexError> {
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
                let is_lost = copies.iter().all(|(_, is_sound)| !is_sound);
                // A block that was removed meanwhile has no copies.
                if !is_lost {
                    report.sound_blocks += 1;
                    report.sound_bytes += u64::from(row.row.bytes);
                }
                for (CopyAt { path, offset }, _) in copies.into_iter().filter(|(_, is_sound)| !is_sound) {
                    done.damaged += 1;
                    report.damaged.push(Damage { cid: row.cid, path, offset, is_lost, kept_by: None });
                }
            }
            progress(done);
        }
        if !report.damaged.is_empty() {
            let cids: Vec<_> = report.damaged.iter().map(|damage| damage.cid).collect();
            for (damage, kept_by) in report.damaged.iter_mut().zip(self.kept_by(&cids)) {
                damage.kept_by = kept_by;
            }
        }
        Ok(report)
    }
}
