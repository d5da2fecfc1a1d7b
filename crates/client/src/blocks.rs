//! Where blocks come from, for whoever reads a DAG.

use bytes::Bytes;
use cid::Cid;
use hpips_bitswap::BlockSource;
use rayon::prelude::*;

/// Why a block could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GetBlockError {
    /// Nobody who was asked has it.
    #[error("not found: {cid} ({peers} peers asked)")]
    NotFound {
        /// The block.
        cid: Cid,
        /// How many peers were asked; 0 for a read of the local store alone.
        peers: usize,
    },
    /// Too few holders of a stored object answer to rebuild it.
    #[error("not found: {cid}; {answer} of its {slots} slots answer, {needed} are needed")]
    TooFewSlots {
        /// The block.
        cid: Cid,
        /// Slots whose holders answer.
        answer: usize,
        /// Slots in all.
        slots: u16,
        /// Slots that restore it.
        needed: u16,
    },
    /// The local store failed.
    #[error("cannot read {cid} from the store")]
    Store {
        /// The block.
        cid: Cid,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The network part failed for another reason than absence.
    #[error("cannot fetch {cid}")]
    Fetch {
        /// The block.
        cid: Cid,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Gives blocks by CID, verified, from wherever it knows; may block for long.
pub trait BlockGetter: Send + Sync {
    /// The block of a CID.
    ///
    /// # Errors
    /// [`GetBlockError`] by variant.
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError>;

    /// Says which blocks will be asked for soon. A hint that may be ignored.
    fn prefetch(&self, _cids: &[Cid]) {}

    /// Those of these blocks that can be had without waiting for anybody, verified, read on as many cores as there
    /// are. May leave out any, and does where reading fails: [`BlockGetter::get`] tells why.
    fn at_hand(&self, _cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        Vec::new()
    }
}

/// Reads a local source only.
#[derive(Debug, Clone)]
pub struct Local<S>(pub S);

impl<S: BlockSource> BlockGetter for Local<S> {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        match self.0.get(cid) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(GetBlockError::NotFound { cid: *cid, peers: 0 }),
            Err(source) => Err(GetBlockError::Store { cid: *cid, source: Box::new(source) }),
        }
    }

    fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        let read = |cid: &Cid| Some((*cid, self.0.get(cid).ok()??));
        match cids {
            [] => Vec::new(),
            // Handing one block to another thread costs more than it saves.
            [cid] => read(cid).into_iter().collect(),
            cids => cids.par_iter().filter_map(read).collect(),
        }
    }
}
