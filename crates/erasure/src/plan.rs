//! Which blocks go into which shards and stripes, and how long everything becomes, before a byte is read.

use cid::Cid;
use hpips_types::content::{BLOCK_BYTES_MAX, DAG_CBOR, IDENTITY, RAW, cid_v1};
use hpips_types::manifest::{BlockEntry, Extent, IndexNode, MANIFEST_VERSION, Stripe};
use hpips_types::{Code, Manifest, ShardIndex, StripeIndex, cbor};

use crate::manifest::{INDEX_NODE_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::{CODED_UNIT, PIECE_BYTES_MAX, padded, slot_of};

/// How large the parts of a plan become. [`Limits::default`] is what the network uses; a manifest describes
/// itself, so readers need not know.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes up to which a shard is filled with blocks. More saves index, costs memory: `n` times this.
    pub shard_bytes: u32,
    /// Most bytes of a piece, at most [`PIECE_BYTES_MAX`].
    pub piece_bytes: u64,
    /// Bytes up to which an index node is filled with stripes.
    pub index_node_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { shard_bytes: 1 << 20, piece_bytes: PIECE_BYTES_MAX, index_node_bytes: 256 * 1024 }
    }
}

/// Why a list of blocks has no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No block that needs storing.
    #[error("no blocks to store")]
    Empty,
    /// A block that no peer would accept.
    #[error("block {cid} has {bytes} bytes, more than the {BLOCK_BYTES_MAX} that peers accept")]
    BlockTooLarge {
        /// Which.
        cid: Cid,
        /// Its length, bytes.
        bytes: u32,
    },
    /// One block alone makes a longer piece than the limits allow.
    #[error("a piece would have {got} bytes, more than {max}")]
    PieceTooLarge {
        /// Bytes of the largest piece.
        got: u64,
        /// [`Limits::piece_bytes`].
        max: u64,
    },
    /// More extents than one manifest describes.
    #[error("the manifest would have {0} bytes: store the object in parts")]
    ManifestTooLarge(usize),
}

/// An object cut into extents, stripes and shards.
#[derive(Clone, Debug)]
pub struct Plan {
    code: Code,
    root: Cid,
    bases: Vec<Cid>,
    content_bytes: u64,
    extents: Vec<ExtentPlan>,
    manifest_bytes: usize,
}

/// An extent of a plan.
#[derive(Clone, Debug)]
pub struct ExtentPlan {
    /// Content stripes, their parity not yet known.
    pub(crate) content: Vec<Stripe>,
    /// How many of the content stripes each index node describes, in order.
    pub(crate) nodes: Vec<usize>,
    piece_bytes: Vec<u64>,
    content_bytes: u64,
}

/// Plans an object with the limits of the network.
///
/// `blocks`: CID and length of every block to cover, in depth-first order of the DAG, each CID once. Blocks
/// inlined into their CID are skipped. `bases`: roots of objects whose blocks the caller left out.
///
/// # Errors
/// [`PlanError`] by variant, never `PieceTooLarge`.
pub fn plan(
    code: Code,
    root: Cid,
    bases: &[Cid],
    blocks: impl IntoIterator<Item = (Cid, u32)>,
) -> Result<Plan, PlanError> {
    plan_within(Limits::default(), code, root, bases, blocks)
}

/// As [`plan()`], with other limits.
///
/// # Errors
/// [`PlanError`] by variant.
pub fn plan_within(
    limits: Limits,
    code: Code,
    root: Cid,
    bases: &[Cid],
    blocks: impl IntoIterator<Item = (Cid, u32)>,
) -> Result<Plan, PlanError> {
    // A thirty-second of a piece is kept free for the index of parity, for padding and for the last stripe:
    // enough for the limits of the network, whatever the blocks.
    let extent_bytes = u64::from(code.k()) * (limits.piece_bytes - limits.piece_bytes / 32);
    let mut extents = Vec::new();
    let mut entries: Vec<BlockEntry> = Vec::new();
    let mut filled = 0;
    for (cid, bytes) in blocks {
        if usize::try_from(bytes).is_ok_and(|bytes| bytes > BLOCK_BYTES_MAX) {
            return Err(PlanError::BlockTooLarge { cid, bytes });
        }
        if cid.hash().code() == IDENTITY {
            continue;
        }
        let entry = BlockEntry { cid, bytes };
        let weight = u64::from(bytes) + wide(index_weight(&entry));
        if filled + weight > extent_bytes && !entries.is_empty() {
            plan_extents(limits, code, &entries, &mut extents)?;
            entries.clear();
            filled = 0;
        }
        filled += weight;
        entries.push(entry);
    }
    if !entries.is_empty() {
        plan_extents(limits, code, &entries, &mut extents)?;
    }
    if extents.is_empty() {
        return Err(PlanError::Empty);
    }
    let content_bytes = extents.iter().map(|extent| extent.content_bytes).sum();
    let mut plan = Plan { code, root, bases: bases.to_vec(), content_bytes, extents, manifest_bytes: 0 };
    let described = plan.extents.iter().map(|extent| extent.described(code)).collect();
    plan.manifest_bytes = cbor::encode(&plan.manifest(described)).len();
    if plan.manifest_bytes > MANIFEST_BYTES_MAX {
        return Err(PlanError::ManifestTooLarge(plan.manifest_bytes));
    }
    Ok(plan)
}

/// Plans blocks as one extent, or as two where its pieces would be too long.
fn plan_extents(
    limits: Limits,
    code: Code,
    entries: &[BlockEntry],
    extents: &mut Vec<ExtentPlan>,
) -> Result<(), PlanError> {
    match ExtentPlan::new(limits, code, entries) {
        Ok(extent) => extents.push(extent),
        Err(PlanError::PieceTooLarge { .. }) if entries.len() > 1 => {
            let (first, second) = entries.split_at(entries.len() / 2);
            plan_extents(limits, code, first, extents)?;
            plan_extents(limits, code, second, extents)?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

impl Plan {
    /// The code of every stripe.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Root of the object.
    pub fn root(&self) -> &Cid {
        &self.root
    }

    /// Sum of the lengths of the blocks covered.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The extents, each of which becomes a deal.
    pub fn extents(&self) -> &[ExtentPlan] {
        &self.extents
    }

    /// Exact length of the manifest's root block.
    pub fn manifest_bytes(&self) -> usize {
        self.manifest_bytes
    }

    /// Bytes of all pieces and of the manifest that every holder keeps: what the network stores, exactly.
    pub fn stored_bytes(&self) -> u64 {
        let pieces: u64 = self.extents.iter().flat_map(|extent| &extent.piece_bytes).sum();
        pieces + wide(self.manifest_bytes) * u64::from(self.code.n())
    }

    pub(crate) fn manifest(&self, extents: Vec<Extent>) -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            root: self.root,
            content_bytes: self.content_bytes,
            k: self.code.k(),
            n: self.code.n(),
            bases: self.bases.clone(),
            extents,
        }
    }
}

impl ExtentPlan {
    fn new(limits: Limits, code: Code, entries: &[BlockEntry]) -> Result<Self, PlanError> {
        let content = stripes(limits, code, entries);
        let nodes = group(limits, code, &content);
        let content_bytes = entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        let mut extent = Self { content, nodes, piece_bytes: Vec::new(), content_bytes };
        let index = extent.index_stripes(code, &extent.placeholder_index(code));
        extent.piece_bytes = piece_bytes(code, extent.content.iter().chain(&index));
        let got = extent.piece_bytes.iter().copied().max().unwrap_or(0);
        if got > limits.piece_bytes {
            return Err(PlanError::PieceTooLarge { got, max: limits.piece_bytes });
        }
        Ok(extent)
    }

    /// Exact bytes of the piece of every slot, in slot order.
    pub fn piece_bytes(&self) -> &[u64] {
        &self.piece_bytes
    }

    /// Sum of the lengths of the blocks covered.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Stripes of content; those of the index come after them.
    pub fn content_stripes(&self) -> usize {
        self.content.len()
    }

    /// The stripes that carry index nodes of these CIDs and lengths.
    pub(crate) fn index_stripes(&self, code: Code, nodes: &[BlockEntry]) -> Vec<Stripe> {
        stripes(Limits::default(), code, nodes)
    }

    /// The index nodes over content stripes whose parity is known.
    pub(crate) fn index_nodes(&self, content: &[Stripe]) -> Vec<IndexNode> {
        let mut rest = content;
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for count in &self.nodes {
            let (stripes, after) = rest.split_at(*count);
            nodes.push(IndexNode { stripes: stripes.to_vec() });
            rest = after;
        }
        nodes
    }

    /// Index nodes as they will be, but for their CIDs: every parity CID has the same length.
    fn placeholder_index(&self, code: Code) -> Vec<BlockEntry> {
        let cid = cid_v1(DAG_CBOR, b"");
        let content: Vec<Stripe> =
            self.content.iter().map(|stripe| with_placeholders(code, stripe)).collect();
        let nodes = self.index_nodes(&content);
        nodes.iter().map(|node| BlockEntry { cid, bytes: narrow(cbor::encode(node).len()) }).collect()
    }

    /// What the manifest will say of this extent, but for CIDs.
    fn described(&self, code: Code) -> Extent {
        let nodes = self.placeholder_index(code);
        let index = self.index_stripes(code, &nodes);
        Extent {
            piece_bytes: self.piece_bytes.clone(),
            content_stripes: narrow(self.content.len()),
            index: nodes.iter().map(|node| node.cid).collect(),
            index_stripes: index.iter().map(|stripe| with_placeholders(code, stripe)).collect(),
        }
    }
}

fn with_placeholders(code: Code, stripe: &Stripe) -> Stripe {
    let parity = vec![cid_v1(RAW, b""); usize::from(code.parity())];
    Stripe { parity, ..stripe.clone() }
}

/// Fills shards with consecutive blocks, sorts them by length, longest first, and cuts them into stripes.
///
/// An extent shorter than `k` full shards is spread over `k` shards, since the parity of a stripe is as long
/// as its longest shard.
fn stripes(limits: Limits, code: Code, entries: &[BlockEntry]) -> Vec<Stripe> {
    let total: u64 = entries.iter().map(|entry| u64::from(entry.bytes)).sum();
    let largest = entries.iter().map(|entry| entry.bytes).max().unwrap_or(0);
    let even = total.div_ceil(u64::from(code.k())).min(u64::from(limits.shard_bytes));
    let target = even.max(u64::from(largest));
    // A stripe has to fit into one index node, whatever the number of its blocks.
    let index_bytes_max = (INDEX_NODE_BYTES_MAX - 1024 - usize::from(code.n()) * 48) / usize::from(code.k());

    let mut shards: Vec<(u64, Vec<BlockEntry>)> = Vec::new();
    let mut index_bytes = 0;
    for entry in entries {
        let (bytes, weight) = (u64::from(entry.bytes), index_weight(entry));
        match shards.last_mut() {
            Some((filled, shard)) if *filled + bytes <= target && index_bytes + weight <= index_bytes_max => {
                *filled += bytes;
                index_bytes += weight;
                shard.push(*entry);
            }
            _ => {
                shards.push((bytes, vec![*entry]));
                index_bytes = weight;
            }
        }
    }
    shards.sort_by_key(|(bytes, _)| core::cmp::Reverse(*bytes));
    shards
        .chunks(usize::from(code.k()))
        .map(|shards| Stripe {
            coded_bytes: coded_bytes(shards[0].0),
            data: shards.iter().map(|(_, shard)| shard.clone()).collect(),
            parity: Vec::new(),
        })
        .collect()
}

/// Groups stripes into index nodes of about the wanted size, at least one each.
fn group(limits: Limits, code: Code, stripes: &[Stripe]) -> Vec<usize> {
    let mut nodes: Vec<usize> = Vec::new();
    let mut filled = 0;
    for stripe in stripes {
        let bytes = cbor::encode(&with_placeholders(code, stripe)).len();
        match nodes.last_mut() {
            Some(count) if filled + bytes <= limits.index_node_bytes => {
                *count += 1;
                filled += bytes;
            }
            _ => {
                nodes.push(1);
                filled = bytes;
            }
        }
    }
    nodes
}

/// Length of every shard of a stripe when its longest data shard has so many bytes.
pub(crate) fn coded_bytes(longest: u64) -> u32 {
    let unit = u64::from(CODED_UNIT);
    u32::try_from(longest.next_multiple_of(unit).max(unit)).expect("a shard is a few megabytes at most")
}

/// Stored bytes of a data shard.
pub(crate) fn shard_bytes(shard: &[BlockEntry]) -> u64 {
    shard.iter().map(|entry| u64::from(entry.bytes)).sum()
}

/// Bytes of the piece of every slot, for the stripes of an extent in order.
pub(crate) fn piece_bytes<'a>(code: Code, stripes: impl Iterator<Item = &'a Stripe>) -> Vec<u64> {
    let mut pieces = vec![0; usize::from(code.n())];
    for (stripe, at) in stripes.zip(0..) {
        for shard in 0..code.n() {
            let bytes = if shard < code.k() {
                stripe.data.get(usize::from(shard)).map_or(0, |shard| shard_bytes(shard))
            } else {
                u64::from(stripe.coded_bytes)
            };
            let slot = slot_of(code, StripeIndex::new(at), ShardIndex::new(shard));
            pieces[usize::from(slot.get())] += padded(bytes);
        }
    }
    pieces
}

/// Bytes of a block's entry in an index node, at most.
fn index_weight(entry: &BlockEntry) -> usize {
    entry.cid.encoded_len() + 12
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("counts and lengths of a plan fit 32 bits")
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests;
