//! Blocks of a root whose holders are looked up at the first block that is not here: reading what is here dials nobody.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hpips_types::Cid;
use tokio::runtime::Handle;

use crate::blocks::{BlockGetter, GetBlockError, LOOK_UP, Local};
use crate::client::Client;
use crate::fetch::NetBlocks;
use crate::object::ObjectError;

/// A [`BlockGetter`] as that of [`Client::blocks`], which is made when it is needed. It blocks: never call it on an
/// async thread.
pub struct LazyBlocks {
    client: Client,
    root: Cid,
    runtime: Handle,
    /// Held while holders are dialed: who comes meanwhile waits for the same.
    opened: Mutex<Option<NetBlocks>>,
}

impl fmt::Debug for LazyBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyBlocks").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Client {
    /// As [`Client::blocks`], but nobody is asked before the first block that is not here.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn blocks_lazily(&self, root: Cid) -> LazyBlocks {
        LazyBlocks { client: self.clone(), root, runtime: Handle::current(), opened: Mutex::default() }
    }
}

impl LazyBlocks {
    fn local(&self) -> Local<hpips_store::Store> {
        Local(self.client.local().clone())
    }

    fn failed(&self, cid: &Cid, error: ObjectError) -> GetBlockError {
        match error {
            // Nobody who holds it answers: for a reader it is not there.
            ObjectError::Missing { .. } => {
                GetBlockError::NotFound { cid: *cid, peers: Some(self.client.parts.net.connected().len()) }
            }
            error => GetBlockError::Fetch { cid: *cid, source: Box::new(error) },
        }
    }

    fn open(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<NetBlocks, GetBlockError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blocks) = &*opened {
            return Ok(blocks.clone());
        }
        // `is_wanted` is a plain closure that wakes nobody: all there is to do is to ask it now and then.
        let left = async {
            while is_wanted() {
                tokio::time::sleep(LOOK_UP).await;
            }
        };
        let blocks = self.runtime.block_on(async {
            tokio::select! {
                blocks = self.client.blocks(self.root) => blocks.map_err(|error| self.failed(cid, error)),
                () = left => Err(GetBlockError::Unwanted { cid: *cid }),
            }
        })?;
        *opened = Some(blocks.clone());
        Ok(blocks)
    }
}

impl BlockGetter for LazyBlocks {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.get_while(cid, &|| true)
    }

    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        match self.local().get_while(cid, is_wanted) {
            Err(GetBlockError::NotFound { .. }) => self.open(cid, is_wanted)?.get_while(cid, is_wanted),
            found => found,
        }
    }

    fn prefetch(&self, cids: &[Cid]) {
        // A hint dials nobody; the get that follows does.
        let opened = self.opened.try_lock().ok().and_then(|opened| opened.clone());
        if let Some(blocks) = opened {
            blocks.prefetch(cids);
        }
    }

    fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
        self.local().at_hand(cids)
    }
}
