//! What is known of a stored object: its deals, who holds which slot, and which block lies where.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use hpips_erasure::manifest::{ReadError, read_index, read_manifest};
use hpips_erasure::{MapError, StripeMap};
use hpips_ledger::rows::SlotState;
use hpips_ledger::{StateView, query};
use hpips_net::Session;
use hpips_store::Store;
use hpips_types::manifest::Extent;
use hpips_types::{AccountId, Cid, Code, DealId, SlotIndex};
use tracing::debug;

use crate::client::Client;
use crate::fetch::{FetchOptions, NetBlocks, rebuild_once};

/// Longest wait for the blocks that describe an object.
const DESCRIPTION: Duration = Duration::from_secs(20);

/// One deal of an object, as far as reading needs it.
#[derive(Clone, Debug)]
pub struct ObjectPart {
    /// The deal.
    pub deal: DealId,
    /// Which block lies where.
    pub map: StripeMap,
    /// The holder of every slot; `None` for one that is lost.
    pub holders: Vec<Option<AccountId>>,
}

/// Why a stored object cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Manifest or index nodes cannot be had: fewer holders answer than restore them.
    #[error("no holder of deal {deal} that answers has manifest {cid}")]
    Missing {
        /// The deal.
        deal: DealId,
        /// The manifest.
        cid: Cid,
    },
    /// The manifest is not one.
    #[error("manifest {cid} cannot be read")]
    Manifest {
        /// The manifest.
        cid: Cid,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Manifest and index contradict each other.
    #[error("manifest {cid} contradicts its index")]
    Map {
        /// The manifest.
        cid: Cid,
        /// Why.
        #[source]
        source: MapError,
    },
}

/// The holders of a deal's slots.
pub(crate) fn holders(view: &dyn StateView, deal: DealId) -> Vec<Option<AccountId>> {
    let slots = query::slots(view, deal).into_iter();
    slots
        .map(|slot| match slot.state {
            SlotState::Held { provider, .. } | SlotState::Entering { provider, .. } => Some(provider),
            // Whoever is to rebuild a slot does not have it yet.
            SlotState::Offered { .. } | SlotState::Lost {} | SlotState::Closed {} => None,
        })
        .collect()
}

impl Client {
    /// Blocks of a root from everywhere: the local store, the holders of its deals, parity where holders are
    /// dead; connected peers for a root without deals. Connects with the holders.
    ///
    /// # Errors
    /// [`ObjectError`] when a root has deals and none of them can be described.
    pub async fn blocks(&self, root: Cid) -> Result<NetBlocks, ObjectError> {
        self.blocks_with(root, FetchOptions::of(&self.parts.net)).await
    }

    /// As [`Self::blocks`], with other options.
    ///
    /// # Errors
    /// As [`Self::blocks`].
    pub async fn blocks_with(&self, root: Cid, options: FetchOptions) -> Result<NetBlocks, ObjectError> {
        let parts = self.describe(root).await?;
        let parts_of = &self.parts;
        let chain = parts_of.chain.clone();
        let refresh = move |deal| holders(&chain.state(), deal);
        Ok(NetBlocks::new(&parts_of.net, &parts_of.store, parts, options).refreshed_by(refresh))
    }

    /// The parts of a stored object; empty for a root without deals.
    ///
    /// # Errors
    /// [`ObjectError`] when there are deals and none can be described.
    pub async fn describe(&self, root: Cid) -> Result<Vec<ObjectPart>, ObjectError> {
        let (mut parts, mut failed) = (Vec::new(), None);
        for deal in query::deals_of_root(&self.parts.chain.state(), &root) {
            match self.part(deal).await {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => {}
                Err(error) => {
                    debug!(%deal, %error, "deal cannot be described");
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if parts.is_empty() => Err(error),
            _ => Ok(parts),
        }
    }

    async fn part(&self, id: DealId) -> Result<Option<ObjectPart>, ObjectError> {
        let view = self.parts.chain.state();
        let Some(deal) = query::deal(&view, id) else { return Ok(None) };
        let holders = holders(&view, id);
        self.connect(&holders).await;
        let source =
            Description { store: &self.parts.store, net: &self.parts.net, deal: id, holders: &holders };
        let cid = deal.manifest;
        let block = source.get(cid).await.ok_or(ObjectError::Missing { deal: id, cid })?;
        let manifest = read_manifest(&block).map_err(|source| ObjectError::Manifest { cid, source })?;
        let code = manifest.code().expect("read_manifest checks the code");
        let at = usize::try_from(deal.extent.get()).expect("an index in memory");
        let Some(extent) = manifest.extents.get(at) else { return Ok(None) };
        let map = source.map(cid, code, extent).await?;
        Ok(Some(ObjectPart { deal: id, map, holders }))
    }

    /// Connects with holders, all at once; those that do not answer are dead for now.
    async fn connect(&self, holders: &[Option<AccountId>]) {
        let connecting = holders.iter().flatten().copied().map(|holder| async move {
            self.introduce(holder).await;
            if let Err(error) = self.parts.net.connect(holder).await {
                debug!(%holder, %error, "holder does not answer");
            }
        });
        join_all(connecting).await;
    }
}

/// Fetches what describes a deal.
struct Description<'a> {
    store: &'a Store,
    net: &'a hpips_net::Net,
    deal: DealId,
    holders: &'a [Option<AccountId>],
}

impl Description<'_> {
    /// Every holder keeps these blocks beside its piece.
    async fn get(&self, cid: Cid) -> Option<Bytes> {
        if let Ok(Some(block)) = self.store.get(&cid) {
            return Some(block);
        }
        let session = Session::new(self.net, self.answering());
        session.get_one(cid, DESCRIPTION).await.ok()
    }

    fn answering(&self) -> Vec<AccountId> {
        self.holders.iter().flatten().copied().filter(|holder| self.net.is_connected(holder)).collect()
    }

    async fn map(&self, cid: Cid, code: Code, extent: &Extent) -> Result<StripeMap, ObjectError> {
        let index = StripeMap::of_index(code, extent);
        let mut nodes = Vec::new();
        for node in &extent.index {
            let block = match self.get(*node).await {
                Some(block) => block,
                None => {
                    self.rebuilt(&index, *node).await.ok_or(ObjectError::Missing { deal: self.deal, cid })?
                }
            };
            nodes.push(read_index(&block, code).map_err(|source| ObjectError::Manifest { cid, source })?);
        }
        StripeMap::new(code, extent, &nodes).map_err(|source| ObjectError::Map { cid, source })
    }

    /// Index nodes are coded like content: any `k` slots restore one that nobody keeps any more.
    async fn rebuilt(&self, index: &StripeMap, node: Cid) -> Option<Bytes> {
        let at = index.locate(&node)?;
        let holder = |slot: SlotIndex| self.holders.get(usize::from(slot.get())).copied().flatten();
        let session = Session::new(self.net, self.answering());
        let answers = |slot| holder(slot).is_some_and(|holder| self.net.is_connected(&holder));
        let sources = index.sources(at.stripe, answers)?;
        let mut shards = Vec::new();
        for shard in sources {
            let mut bytes = Vec::new();
            for entry in index.blocks(at.stripe, shard) {
                bytes.extend_from_slice(&session.get_one(entry.cid, DESCRIPTION).await.ok()?);
            }
            shards.push((shard, bytes));
        }
        let blocks = rebuild_once(index, at.stripe, &shards, &[at.shard]).ok()?;
        blocks.into_iter().find(|(cid, _)| *cid == node).map(|(_, block)| block)
    }
}

/// Fetches all blocks of a stream that come in time.
pub(crate) async fn collect(
    session: &Session,
    cids: Vec<(Cid, Vec<AccountId>)>,
    silence: Duration,
) -> Vec<(Cid, Bytes)> {
    let count = cids.len();
    let mut stream = session.get_from(cids);
    let mut blocks = Vec::with_capacity(count);
    while let Ok(Some(item)) = tokio::time::timeout(silence, stream.next()).await {
        blocks.extend(item.ok());
    }
    blocks
}
