//! How large a store is.

use std::path::PathBuf;

use crate::error::IndexError;
use crate::store::Store;
use crate::tables::{META_BLOCKS, META_EPOCH};
use crate::version::VERSION;

/// Size and place of a store: what `repo stat` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Different blocks, wherever they lie.
    pub blocks: u64,
    /// Bytes of all packs, alive or not: what [`crate::Config::bytes_max`] limits.
    pub bytes: u64,
    /// Bytes of records that are alive in them.
    pub live_bytes: u64,
    /// Bytes of the index; 0 when its file does not say.
    pub index_bytes: u64,
    /// Bytes the packs may have; `None` without a limit.
    pub bytes_max: Option<u64>,
    /// Folder of the store.
    pub path: PathBuf,
    /// Version of its format.
    pub version: u32,
}

impl Store {
    /// A number that is never the same again after a block went away: collected, deleted or found damaged. While it
    /// stays, whatever was stored once is still here.
    ///
    /// # Errors
    /// When the index fails.
    pub fn epoch(&self) -> Result<u64, IndexError> {
        self.inner.index.number(META_EPOCH)
    }

    /// Size and place of this store. Reads counters, no blocks.
    ///
    /// # Errors
    /// When the index fails.
    pub fn stat(&self) -> Result<Stat, IndexError> {
        let inner = &self.inner;
        let packs = inner.index.packs()?;
        let index = inner.layer.open_read(&inner.dir.join("index.redb")).ok().flatten();
        Ok(Stat {
            blocks: inner.index.number(META_BLOCKS)?,
            bytes: packs.iter().map(|(_, pack)| pack.end).sum(),
            live_bytes: packs.iter().map(|(_, pack)| pack.live_bytes).sum(),
            index_bytes: index.and_then(|file| file.len().ok()).unwrap_or(0),
            bytes_max: (inner.config.bytes_max != u64::MAX).then_some(inner.config.bytes_max),
            path: inner.dir.clone(),
            version: VERSION,
        })
    }
}
