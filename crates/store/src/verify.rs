//! Checking everything.

use hpips_types::Cid;
use hpips_types::content::verify_block;

use crate::error::{IndexError, ReadError};
use crate::store::Store;

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blocks that are what their CIDs say.
    pub sound_blocks: u64,
    /// Their bytes.
    pub sound_bytes: u64,
    /// Blocks of which no sound copy is left.
    pub damaged: Vec<Cid>,
}

impl Store {
    /// Reads every block and checks it against its CID.
    ///
    /// # Errors
    /// When the index fails; damaged blocks are in the report.
    pub fn verify(&self) -> Result<VerifyReport, IndexError> {
        let mut report = VerifyReport::default();
        let mut failure = None;
        self.for_each_block(|cid, bytes| match self.get(cid) {
            Ok(Some(block)) if verify_block(cid, &block).is_ok() => {
                report.sound_blocks += 1;
                report.sound_bytes += u64::from(bytes);
            }
            Err(ReadError::Index(error)) => failure = Some(error),
            _ => report.damaged.push(*cid),
        })?;
        failure.map_or(Ok(report), Err)
    }
}
