//! Where blocks come from, for whoever reads a DAG.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use hpips_bitswap::BlockSource;
use rayon::prelude::*;

/// How often whoever waits for others asks whether a block is still wanted: so long a thread stays busy for a reader
/// who has left. Asking costs next to nothing.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(250);

/// Who was asked, for people.
fn asked(peers: Option<usize>) -> String {
    match peers {
        None => String::new(),
        Some(0) => " (no peer to ask)".to_owned(),
        Some(1) => " (1 peer asked)".to_owned(),
        Some(peers) => format!(" ({peers} peers asked)"),
    }
}

/// Why a block could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GetBlockError {
    /// Nobody who was asked has it.
    #[error("not found{}: {cid}{}", if peers.is_none() { " here" } else { "" }, asked(*peers))]
    NotFound {
        /// The block.
        cid: Cid,
        /// How many peers were asked; `None` for a read of the local store alone.
        peers: Option<usize>,
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
    /// Nobody waits for it any more.
    #[error("nobody waits for {cid} any more")]
    Unwanted {
        /// The block.
        cid: Cid,
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

/// Tells whoever reads blocks that nobody waits for them any more. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Left(Arc<AtomicBool>);

impl Left {
    /// From now on nobody waits.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// For whoever waits: when it is dropped, this is set.
    pub fn watch(&self) -> Watch {
        Watch(Some(self.clone()))
    }
}

/// Sets a [`Left`] when it is dropped: a future or a body that keeps it tells by that that nobody waits.
#[derive(Debug)]
#[must_use = "when it is dropped, nobody waits"]
pub struct Watch(Option<Left>);

impl Watch {
    /// The work is done, and nobody needs to be told.
    pub fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(left) = &self.0 {
            left.set();
        }
    }
}

/// Blocks for somebody who may leave.
#[derive(Clone)]
pub struct Attended {
    blocks: Arc<dyn BlockGetter>,
    left: Left,
}

impl std::fmt::Debug for Attended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attended").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Attended {
    /// These blocks, until `left` is set.
    pub fn new(blocks: Arc<dyn BlockGetter>, left: Left) -> Self {
        Self { blocks, left }
    }
}

impl BlockGetter for Attended {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.get_while(cid, &|| true)
    }

    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        self.blocks.get_while(cid, &|| is_wanted() && !self.left.is_set())
    }

    fn prefetch(&self, cids: &[Cid]) {
        self.blocks.prefetch(cids);
    }

    fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        // The get that follows tells why.
        if self.left.is_set() { Vec::new() } else { self.blocks.at_hand(cids) }
    }
}

/// Gives blocks by CID, verified, from wherever it knows; may block for long.
pub trait BlockGetter: Send + Sync {
    /// The block of a CID.
    ///
    /// # Errors
    /// [`GetBlockError`] by variant.
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError>;

    /// The same, for as long as it is wanted: whoever waits for others asks now and then.
    ///
    /// # Errors
    /// [`GetBlockError`] by variant.
    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        if is_wanted() { self.get(cid) } else { Err(GetBlockError::Unwanted { cid: *cid }) }
    }

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
            Ok(None) => Err(GetBlockError::NotFound { cid: *cid, peers: None }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_for_those_who_left() {
        struct Never;
        impl BlockGetter for Never {
            fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
                Err(GetBlockError::NotFound { cid: *cid, peers: Some(7) })
            }
        }
        let left = Left::default();
        let blocks = Attended::new(Arc::new(Never), left.clone());
        let cid = hpips_types::content::cid_v1(hpips_types::content::RAW, b"x");
        assert!(matches!(blocks.get(&cid), Err(GetBlockError::NotFound { peers: Some(7), .. })));
        left.watch().done();
        assert!(matches!(blocks.get(&cid), Err(GetBlockError::NotFound { peers: Some(7), .. })));
        drop(left.watch());
        assert!(matches!(blocks.get(&cid), Err(GetBlockError::Unwanted { .. })));
    }
}
