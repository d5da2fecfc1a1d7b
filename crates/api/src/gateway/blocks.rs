//! Where the gateway's blocks come from.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use hpips_client::blocks::Left;
use hpips_client::{BlockGetter, GetBlockError};
use hpips_store::Store;
use hpips_types::content::IDENTITY;

/// Gives the blocks below a root. Every call may block.
pub trait Source: Send + Sync + 'static {
    /// Blocks that are on this machine, and no others.
    fn local(&self) -> Arc<dyn BlockGetter>;

    /// Blocks of the DAG with this root, from wherever they can be had.
    ///
    /// # Errors
    /// [`GetBlockError`] when it is known beforehand that they cannot.
    fn below(&self, root: &Cid) -> Result<Arc<dyn BlockGetter>, GetBlockError>;
}

/// A store alone.
#[derive(Clone, Debug)]
pub struct Local(Store);

impl Local {
    /// Serves what is in this store.
    pub fn new(store: Store) -> Self {
        Self(store)
    }
}

impl Source for Local {
    fn local(&self) -> Arc<dyn BlockGetter> {
        Arc::new(hpips_client::blocks::Local(self.0.clone()))
    }

    fn below(&self, _root: &Cid) -> Result<Arc<dyn BlockGetter>, GetBlockError> {
        Ok(self.local())
    }
}

/// The blocks of one request: identity CIDs carry theirs, and none is fetched for a client that has left.
#[derive(Clone)]
pub(super) struct Blocks {
    inner: Arc<dyn BlockGetter>,
    left: Left,
}

impl Blocks {
    pub(super) fn new(inner: Arc<dyn BlockGetter>, left: Left) -> Self {
        Self { inner, left }
    }
}

impl BlockGetter for Blocks {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        if cid.hash().code() == IDENTITY {
            return Ok(Bytes::copy_from_slice(cid.hash().digest()));
        }
        self.inner.get_while(cid, &|| !self.left.is_set())
    }

    fn prefetch(&self, cids: &[Cid]) {
        self.inner.prefetch(cids);
    }

    fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        // The get that follows tells why.
        if self.left.is_set() { Vec::new() } else { self.inner.at_hand(cids) }
    }
}
