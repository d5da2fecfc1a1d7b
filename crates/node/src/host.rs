//! What only the process can do for the API: mount, unmount, end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cid::Cid;
use hpips_api::{Host, chain_text};
use hpips_client::{BlockGetter, Client, FetchOptions, GetBlockError, NetBlocks};
use hpips_fuse::{BlockFetcher, FetchError, Mounted};
use hpips_net::Net;
use hpips_store::Store;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Roots whose holders stay known. Each has a cache of its own, 128 MB at most while it is read.
const ROOTS_OPEN_MAX: usize = 4;

/// The process.
pub(crate) struct Process {
    fetcher: Arc<Fetcher>,
    mounted: Mutex<Option<Mounted>>,
    stop: watch::Sender<Option<String>>,
}

impl Process {
    pub(crate) fn new(fetcher: Fetcher, stop: watch::Sender<Option<String>>) -> Self {
        Self { fetcher: Arc::new(fetcher), mounted: Mutex::new(None), stop }
    }
}

impl Host for Process {
    fn mount(&self, path: &Path) -> Result<(), String> {
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mounted) = &*mounted {
            return Err(format!("mounted at {} already", mounted.path().display()));
        }
        *mounted = Some(hpips_fuse::mount(path, self.fetcher.clone()).map_err(|error| chain_text(&error))?);
        Ok(())
    }

    fn unmount(&self) -> Result<(), String> {
        let mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner).take();
        mounted.map_or(Ok(()), |mounted| mounted.close().map_err(|error| format!("cannot unmount: {error}")))
    }

    fn shut_down(&self) {
        self.stop.send_replace(Some(crate::daemon::ASKED.into()));
    }
}

/// The client's way to blocks, as the mount asks for them: by root, because holders are known by root.
pub(crate) struct Fetcher {
    net: Net,
    store: Store,
    client: Option<Client>,
    runtime: Handle,
    /// The roots read last, newest first.
    open: Mutex<VecDeque<(Cid, NetBlocks)>>,
}

impl Fetcher {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(net: &Net, store: &Store, client: Option<Client>) -> Self {
        Self {
            net: net.clone(),
            store: store.clone(),
            client,
            runtime: Handle::current(),
            open: Mutex::default(),
        }
    }

    fn blocks(&self, root: &Cid) -> Result<NetBlocks, FetchError> {
        let known = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let at = open.iter().position(|(known, _)| known == root);
            let found = at.and_then(|at| open.remove(at));
            if let Some(found) = &found {
                open.push_front(found.clone());
            }
            found
        };
        if let Some((_, blocks)) = known {
            return Ok(blocks);
        }
        let blocks = match &self.client {
            Some(client) => self.runtime.block_on(client.blocks(*root)).map_err(|error| {
                tracing::debug!(%root, error = chain_text(&error), "the mount cannot open an object");
                FetchError::NotFound
            })?,
            None => {
                let _runtime = self.runtime.enter();
                NetBlocks::new(&self.net, &self.store, Vec::new(), FetchOptions::of(&self.net))
            }
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front((*root, blocks.clone()));
        open.truncate(ROOTS_OPEN_MAX);
        Ok(blocks)
    }
}

impl BlockFetcher for Fetcher {
    fn fetch(&self, root: &Cid, cid: &Cid) -> Result<Bytes, FetchError> {
        // What is here needs no holders.
        if let Ok(Some(block)) = self.store.get(cid) {
            return Ok(block);
        }
        self.blocks(root)?.get(cid).map_err(|error| match error {
            GetBlockError::NotFound { .. } => FetchError::NotFound,
            error => {
                tracing::debug!(error = chain_text(&error), "the mount cannot read a block");
                FetchError::Failed
            }
        })
    }
}
