//! Where blocks come from when somebody asks.

use bytes::Bytes;
use hpips_types::Cid;

/// Why a block could not be read although the source should know.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The medium failed.
    #[error("reading block {cid} failed")]
    Read {
        /// The block asked for.
        cid: Cid,
        /// What the medium said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes found are not the block: damaged on the medium.
    #[error("block {cid} is damaged")]
    Damaged {
        /// The block asked for.
        cid: Cid,
    },
}

/// Read access to blocks, shared by bitswap, gateway, mount and repair.
///
/// Calls block; asynchronous callers run them on a blocking thread. Implementations answer from any thread at
/// once. A block that [`size`](Self::size) knows may be gone when [`get`](Self::get) comes: that is `Ok(None)`.
pub trait BlockSource: Send + Sync + 'static {
    /// Length of a block in bytes, or `None` when it is not here.
    ///
    /// # Errors
    /// [`SourceError`] when the index cannot be read.
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError>;

    /// The block, or `None` when it is not here.
    ///
    /// # Errors
    /// [`SourceError`] when it should be here and cannot be read.
    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError>;
}
