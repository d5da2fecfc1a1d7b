//! Shards of a deal from its other holders, for whoever rebuilds one.
//!
//! A shard is read as a range of its holder's piece, verified by the hash of the piece on the chain. A holder that
//! refuses is asked for the blocks by bitswap; one that is silent, slow or lies is asked nothing more, and another
//! takes its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hpips_erasure::{ELEMENT_BYTES, StripeMap, slot_of};
use hpips_net::bulk::{self, BulkError, Spec};
use hpips_net::piece::{self, Read, ReceiveError, RefusalCode, Reply, Request};
use hpips_net::{FetchError, FrameError, Net, OpenError, Session};
use hpips_types::content::verify_block;
use hpips_types::{AccountId, Cid, DealId, ExtentIndex, ShardIndex, SlotIndex, StripeIndex};
use tokio::time::timeout;
use tracing::debug;

/// Why a shard did not come as a range.
#[derive(Debug, thiserror::Error)]
enum RangeError {
    #[error("the holder cannot be asked")]
    Open(#[from] OpenError),
    #[error("the request did not go")]
    Send(#[from] FrameError),
    #[error("no answer came")]
    Receive(#[from] ReceiveError),
    #[error("the range did not come")]
    Bulk(#[from] BulkError),
    #[error("the holder refused: {reason}")]
    Refused { code: RefusalCode, reason: String },
    #[error("the holder has other bytes than the chain says")]
    Foreign,
    #[error("the holder is silent or slow")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// How a holder is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ranges,
    Blocks,
    Nothing,
}

/// A holder, as the chain names it, and how it behaved.
#[derive(Debug)]
pub(crate) struct Holder {
    provider: AccountId,
    piece: Spec,
    way: Mutex<Way>,
}

impl Holder {
    /// Of a slot whose piece is this.
    pub(crate) fn new(provider: AccountId, piece: Spec) -> Self {
        Self { provider, piece, way: Mutex::new(Way::Ranges) }
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other holders of a deal, by slot.
#[derive(Debug)]
pub(crate) struct Holders {
    net: Net,
    protocol: String,
    deal: DealId,
    extent: ExtentIndex,
    /// Time for one shard or block.
    patience: Duration,
    session: Session,
    by_slot: BTreeMap<SlotIndex, Holder>,
    /// Where the shard of each stripe begins in the piece of each slot; empty before the stripes are known.
    starts: BTreeMap<SlotIndex, Vec<u64>>,
}

impl Holders {
    /// `protocol`: that of pieces, [`piece::protocol`]. `patience`: time for one shard or block from one holder.
    pub(crate) fn new(
        net: &Net,
        protocol: String,
        (deal, extent): (DealId, ExtentIndex),
        by_slot: BTreeMap<SlotIndex, Holder>,
        patience: Duration,
    ) -> Self {
        let peers = by_slot.values().map(|holder| holder.provider).collect();
        let session = Session::new(net, peers);
        Self { net: net.clone(), protocol, deal, extent, patience, session, by_slot, starts: BTreeMap::new() }
    }

    /// From now on shards are read as ranges: the stripes say where they lie.
    pub(crate) fn lay_out(&mut self, map: &StripeMap) {
        let starts = |slot: SlotIndex| {
            let mut at = 0;
            let start = |stripe| {
                let start = at;
                at +=
                    map.shard_bytes(stripe, map.shard_of_slot(stripe, slot)).next_multiple_of(ELEMENT_BYTES);
                start
            };
            map.stripes().map(start).collect()
        };
        self.starts = self.by_slot.keys().map(|slot| (*slot, starts(*slot))).collect();
    }

    /// A block from any holder.
    ///
    /// # Errors
    /// [`FetchError`] by variant.
    pub(crate) async fn get(&self, cid: Cid) -> Result<Bytes, FetchError> {
        self.session.get_one(cid, self.patience).await
    }

    fn answers(&self, slot: SlotIndex) -> bool {
        self.by_slot.get(&slot).is_some_and(|holder| *holder.way() != Way::Nothing)
    }

    /// Enough shards of a stripe to restore it, from several holders at once; `None` when too few answer.
    pub(crate) async fn sources(
        &self,
        map: &StripeMap,
        stripe: StripeIndex,
    ) -> Option<Vec<(ShardIndex, Vec<u8>)>> {
        let mut had: BTreeMap<ShardIndex, Vec<u8>> = BTreeMap::new();
        loop {
            let is_had = |slot| had.contains_key(&map.shard_of_slot(stripe, slot));
            let mut wanted = map.sources(stripe, |slot| is_had(slot) || self.answers(slot))?;
            if wanted.iter().all(|shard| had.contains_key(shard)) {
                return Some(wanted.iter().filter_map(|shard| had.remove_entry(shard)).collect());
            }
            wanted.retain(|shard| !had.contains_key(shard));
            // Each turn either brings a shard or ends with one holder less.
            let fetches =
                wanted.into_iter().map(|shard| async move { (shard, self.shard(map, stripe, shard).await) });
            for (shard, bytes) in join_all(fetches).await {
                if let Some(bytes) = bytes {
                    had.insert(shard, bytes);
                }
            }
        }
    }

    /// The bytes of a shard from its holder; `None`, and nothing more is asked of it, when it does not give them.
    async fn shard(&self, map: &StripeMap, stripe: StripeIndex, shard: ShardIndex) -> Option<Vec<u8>> {
        let slot = slot_of(map.code(), stripe, shard);
        let holder = self.by_slot.get(&slot)?;
        let at = usize::try_from(stripe.get()).ok();
        let start = self.starts.get(&slot).and_then(|starts| starts.get(at?));
        if let Some(start) = start
            && *holder.way() == Way::Ranges
        {
            let range = *start..*start + map.shard_bytes(stripe, shard);
            let read = timeout(self.patience, self.range(holder, slot, range)).await;
            match read.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                Ok(bytes) if is_right(map, stripe, shard, &bytes) => return Some(bytes),
                // Whoever has too much to do may have less for the next shard.
                Err(RangeError::Refused { code: RefusalCode::Busy, .. }) => {}
                Err(error @ (RangeError::Refused { .. } | RangeError::Open(OpenError::Unsupported(_)))) => {
                    debug!(holder = %holder.provider, %slot, %error, "no ranges from a holder, asking for blocks");
                    *holder.way() = Way::Blocks;
                }
                outcome => {
                    let error = outcome.err().unwrap_or(RangeError::Foreign);
                    debug!(holder = %holder.provider, %slot, %error, "holder given up");
                    *holder.way() = Way::Nothing;
                    return None;
                }
            }
        }
        let bytes = self.blocks(map, stripe, shard).await;
        if let Err(error) = &bytes {
            debug!(holder = %holder.provider, %slot, %error, "holder given up");
            *holder.way() = Way::Nothing;
        }
        bytes.ok()
    }

    /// A shard as its blocks, one after the other.
    async fn blocks(
        &self,
        map: &StripeMap,
        stripe: StripeIndex,
        shard: ShardIndex,
    ) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        for entry in map.blocks(stripe, shard) {
            bytes.extend_from_slice(&self.get(entry.cid).await?);
        }
        Ok(bytes)
    }

    /// Bytes of a holder's piece, verified by the hash that stands on the chain.
    async fn range(
        &self,
        holder: &Holder,
        slot: SlotIndex,
        range: Range<u64>,
    ) -> Result<Vec<u8>, RangeError> {
        let mut stream = self.net.open(holder.provider, &self.protocol).await?;
        let Range { start, end } = range.clone();
        let read = Read { deal: self.deal, extent: self.extent, slot, start, end };
        piece::send(&mut stream, &Request::Read(read)).await?;
        match piece::receive(&mut stream).await? {
            Reply::Accepted(accepted)
                if (accepted.bytes, accepted.blake3) == (holder.piece.bytes, holder.piece.hash) => {}
            Reply::Refused(refused) => {
                return Err(RangeError::Refused { code: refused.code, reason: refused.reason });
            }
            Reply::Accepted(_) | Reply::Receipt(_) => return Err(RangeError::Foreign),
        }
        let mut bytes = Vec::new();
        bulk::receive_range(&mut stream, &holder.piece, range, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }
}

/// Whether these are the blocks of a shard: the hash on the chain is what a client said, the CIDs decide.
fn is_right(map: &StripeMap, stripe: StripeIndex, shard: ShardIndex, mut bytes: &[u8]) -> bool {
    let is_block = |entry: &hpips_types::manifest::BlockEntry| {
        let length = usize::try_from(entry.bytes).expect("a block fits into memory");
        let Some((block, rest)) = bytes.split_at_checked(length) else { return false };
        bytes = rest;
        verify_block(&entry.cid, block).is_ok()
    };
    map.blocks(stripe, shard).iter().all(is_block)
}

#[cfg(test)]
mod tests;
