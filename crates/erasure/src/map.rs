//! What a manifest means: where every block lies and what to fetch for those that are lost.

use std::collections::HashMap;

use cid::Cid;
use hpips_types::content::{RAW, verify_block};
use hpips_types::manifest::{BlockEntry, Extent, IndexNode, Stripe};
use hpips_types::{Code, ShardIndex, SlotIndex, StripeIndex};

use crate::coding::{Coding, RebuildError};
use crate::plan::{piece_bytes, shard_bytes};
use crate::{padded, shard_in, slot_of};

/// All stripes of an extent, or those of its index only.
///
/// A reader who finds a holder dead asks [`Self::locate`] for the block's stripe, [`Self::sources`] for the
/// shards to fetch instead, [`Self::blocks`] for their CIDs, and [`Self::rebuild`] for the shard itself. A
/// repairer does the same for [`Self::shard_of_slot`] of every stripe, and has the piece.
#[derive(Clone, Debug)]
pub struct StripeMap {
    coding: Coding,
    /// Index of the first stripe held: 0, or the first index stripe.
    first: u32,
    stripes: Vec<Stripe>,
    content_stripes: u32,
    blocks: HashMap<Cid, (u32, u16, u32)>,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Its stripe.
    pub stripe: StripeIndex,
    /// Its shard of the stripe.
    pub shard: ShardIndex,
    /// The slot that holds it.
    pub slot: SlotIndex,
    /// Where in the shard it begins.
    pub offset: u32,
    /// Its length.
    pub bytes: u32,
}

/// What the piece of a slot is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceLayout {
    /// Its blocks, parity shards included, in order.
    pub rows: Vec<PieceRow>,
    /// Its length.
    pub bytes: u64,
}

/// A block of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRow {
    /// Its CID.
    pub cid: Cid,
    /// Where in the piece it begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u32,
}

/// Why index nodes do not make a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Other stripes than the manifest announces: a node is missing or of another extent.
    #[error("the index nodes describe {got} stripes, the manifest {announced}")]
    StripeCount {
        /// Stripes described.
        got: usize,
        /// Stripes announced.
        announced: u32,
    },
    /// The lengths of pieces do not follow from the stripes.
    #[error("the lengths of pieces do not follow from the stripes")]
    PieceBytes,
}

impl StripeMap {
    /// The map of an extent from all of its index nodes in order, as [`crate::manifest`] read them.
    ///
    /// # Errors
    /// [`MapError`] by variant.
    pub fn new(code: Code, extent: &Extent, nodes: &[IndexNode]) -> Result<Self, MapError> {
        let mut stripes: Vec<Stripe> = nodes.iter().flat_map(|node| node.stripes.iter().cloned()).collect();
        if u32::try_from(stripes.len()) != Ok(extent.content_stripes) {
            let (got, announced) = (stripes.len(), extent.content_stripes);
            return Err(MapError::StripeCount { got, announced });
        }
        stripes.extend(extent.index_stripes.iter().cloned());
        if piece_bytes(code, stripes.iter()) != extent.piece_bytes {
            return Err(MapError::PieceBytes);
        }
        Ok(Self::over(code, 0, stripes, extent.content_stripes))
    }

    /// The map of the stripes that carry the index, which the manifest's root block describes. It restores
    /// index nodes whose holder is gone; it knows no piece layouts.
    pub fn of_index(code: Code, extent: &Extent) -> Self {
        Self::over(code, extent.content_stripes, extent.index_stripes.clone(), extent.content_stripes)
    }

    fn over(code: Code, first: u32, stripes: Vec<Stripe>, content_stripes: u32) -> Self {
        let mut blocks = HashMap::new();
        for (stripe, at) in stripes.iter().zip(first..) {
            for (shard, index) in stripe.data.iter().zip(0..) {
                let mut offset = 0;
                for entry in shard {
                    blocks.entry(entry.cid).or_insert((at, index, offset));
                    offset += entry.bytes;
                }
            }
            for (cid, index) in stripe.parity.iter().zip(code.k()..) {
                blocks.entry(*cid).or_insert((at, index, 0));
            }
        }
        Self { coding: Coding::new(code), first, stripes, content_stripes, blocks }
    }

    /// The code of every stripe.
    pub fn code(&self) -> Code {
        self.coding.code()
    }

    /// The stripes in order.
    pub fn stripes(&self) -> impl ExactSizeIterator<Item = StripeIndex> + use<> {
        let count = u32::try_from(self.stripes.len()).expect("stripes are counted in 32 bits");
        (self.first..self.first + count).map(StripeIndex::new)
    }

    /// One stripe.
    ///
    /// # Panics
    /// When the map does not hold it.
    pub fn stripe(&self, index: StripeIndex) -> &Stripe {
        let at = index.get().checked_sub(self.first).expect("a stripe of this map");
        &self.stripes[usize::try_from(at).expect("an index in memory")]
    }

    /// Where a block or a parity shard lies; the first place when it has several.
    pub fn locate(&self, cid: &Cid) -> Option<Location> {
        let (stripe, shard, offset) = *self.blocks.get(cid)?;
        let (stripe, shard) = (StripeIndex::new(stripe), ShardIndex::new(shard));
        let entries = self.blocks(stripe, shard);
        let bytes = entries.iter().find(|entry| entry.cid == *cid).expect("the block was placed here").bytes;
        Some(Location { stripe, shard, slot: slot_of(self.code(), stripe, shard), offset, bytes })
    }

    /// The shard of a stripe that a slot holds.
    ///
    /// # Panics
    /// When the slot is outside the code.
    pub fn shard_of_slot(&self, stripe: StripeIndex, slot: SlotIndex) -> ShardIndex {
        shard_in(self.code(), stripe, slot)
    }

    /// The blocks of a shard in order: parity is one block, an absent data shard none.
    ///
    /// # Panics
    /// When the map does not hold the stripe or the shard is outside the code.
    pub fn blocks(&self, stripe: StripeIndex, shard: ShardIndex) -> Vec<BlockEntry> {
        let (stripe, k) = (self.stripe(stripe), self.code().k());
        if shard.get() < k {
            stripe.data.get(usize::from(shard.get())).cloned().unwrap_or_default()
        } else {
            let cid = stripe.parity[usize::from(shard.get() - k)];
            vec![BlockEntry { cid, bytes: stripe.coded_bytes }]
        }
    }

    /// The stored length of a shard.
    ///
    /// # Panics
    /// As [`Self::blocks`].
    pub fn shard_bytes(&self, stripe: StripeIndex, shard: ShardIndex) -> u64 {
        shard_bytes(&self.blocks(stripe, shard))
    }

    /// Shards that together restore a stripe when only some slots answer: data first, since it needs no
    /// coding. Absent data shards count as had and are not listed. `None` when too few slots answer.
    ///
    /// # Panics
    /// When the map does not hold the stripe.
    pub fn sources(
        &self,
        stripe: StripeIndex,
        mut answers: impl FnMut(SlotIndex) -> bool,
    ) -> Option<Vec<ShardIndex>> {
        let (code, present) = (self.code(), self.stripe(stripe).data.len());
        let needed = present;
        let stored = (0..code.n()).filter(|shard| usize::from(*shard) < present || *shard >= code.k());
        let sources: Vec<ShardIndex> = stored
            .map(ShardIndex::new)
            .filter(|shard| answers(slot_of(code, stripe, *shard)))
            .take(needed)
            .collect();
        (sources.len() == needed).then_some(sources)
    }

    /// Rebuilds shards of a stripe from others, at their stored length, checked against their CIDs.
    ///
    /// `shards`: as many as [`Self::sources`] lists; absent data shards need not be given.
    ///
    /// # Errors
    /// [`RebuildError`] by variant.
    ///
    /// # Panics
    /// When the map does not hold the stripe.
    pub fn rebuild(
        &self,
        stripe: StripeIndex,
        shards: &[(ShardIndex, &[u8])],
        want: &[ShardIndex],
    ) -> Result<Vec<Vec<u8>>, RebuildError> {
        let (code, held) = (self.code(), self.stripe(stripe));
        let present = u16::try_from(held.data.len()).expect("at most k");
        let absent = (present..code.k()).map(|shard| (ShardIndex::new(shard), &[][..]));
        let all: Vec<(ShardIndex, &[u8])> = absent.chain(shards.iter().copied()).collect();
        let coded_bytes = usize::try_from(held.coded_bytes).expect("a shard fits into memory");
        let mut rebuilt = self.coding.reconstruct(&all, want, coded_bytes)?;
        for (bytes, shard) in rebuilt.iter_mut().zip(want) {
            let mut end = 0;
            for entry in self.blocks(stripe, *shard) {
                let start = end;
                end += usize::try_from(entry.bytes).expect("a block fits into memory");
                verify_block(&entry.cid, &bytes[start..end])
                    .map_err(|_| RebuildError::Mismatch { cid: entry.cid })?;
            }
            bytes.truncate(end);
        }
        Ok(rebuilt)
    }

    /// What the piece of a slot is made of, so that a holder can serve its blocks straight from it.
    ///
    /// # Panics
    /// For a map of the index only, and when the slot is outside the code.
    pub fn layout(&self, slot: SlotIndex) -> PieceLayout {
        assert_eq!(self.first, 0, "a map of the index only knows no pieces");
        let mut layout = PieceLayout { rows: Vec::new(), bytes: 0 };
        for stripe in self.stripes() {
            let mut offset = layout.bytes;
            for entry in self.blocks(stripe, self.shard_of_slot(stripe, slot)) {
                layout.rows.push(PieceRow { cid: entry.cid, offset, bytes: entry.bytes });
                offset += u64::from(entry.bytes);
            }
            layout.bytes += padded(offset - layout.bytes);
        }
        layout
    }

    /// Interior nodes (blocks that are not raw) of the content, up to so many bytes in all. Every holder
    /// keeps these beside its piece, so that one holder alone can show the shape of the object.
    pub fn interior_blocks(&self, bytes_max: u64) -> Vec<BlockEntry> {
        let content = usize::try_from(self.content_stripes).expect("an index in memory");
        let stripes = self.stripes.iter().take(if self.first == 0 { content } else { 0 });
        let mut rest = bytes_max;
        stripes
            .flat_map(|stripe| stripe.data.iter().flatten())
            .filter(|entry| entry.cid.codec() != RAW)
            .filter(|entry| match rest.checked_sub(u64::from(entry.bytes)) {
                Some(left) => {
                    rest = left;
                    true
                }
                None => false,
            })
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests;
