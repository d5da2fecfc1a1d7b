//! Encoding a plan, one stripe at a time.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_CBOR, RAW, cid_v1};
use hpips_types::manifest::{BlockEntry, Extent, Stripe};
use hpips_types::{Code, ExtentIndex, Manifest, ShardIndex, SlotIndex, StripeIndex, cbor};
use rayon::prelude::*;

use crate::coding::Coding;
use crate::plan::{ExtentPlan, Plan, piece_bytes};
use crate::{padded, slot_of};

/// A shard on its way into the piece of its slot. The parts of a slot come in order and without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The extent whose piece this is.
    pub extent: ExtentIndex,
    /// The slot whose piece this is.
    pub slot: SlotIndex,
    /// The stripe that the shard belongs to.
    pub stripe: StripeIndex,
    /// Which shard of the stripe.
    pub shard: ShardIndex,
    /// Where in the piece the shard begins.
    pub offset: u64,
    /// The shard: whole blocks one after another, or one parity block.
    pub bytes: &'a [u8],
    /// Zero bytes that follow in the piece, up to the next element boundary.
    pub padding: usize,
}

/// What an encoded plan leaves behind beside its pieces.
#[derive(Clone, Debug)]
pub struct Built {
    /// The manifest.
    pub manifest: Manifest,
    /// CID of its root block.
    pub cid: Cid,
    /// Its root block, which every holder keeps.
    pub bytes: Bytes,
    /// The index nodes of all extents in order. They lie in the pieces too.
    pub index: Vec<(Cid, Bytes)>,
}

/// Why a plan could not be encoded. `E` is what the caller's own functions return.
#[derive(Debug, thiserror::Error)]
pub enum BuildError<E: std::error::Error + 'static> {
    /// A block could not be read.
    #[error("block {cid} could not be read")]
    Read {
        /// Which.
        cid: Cid,
        /// Why.
        #[source]
        source: E,
    },
    /// A block has another length than when the plan was made.
    #[error("block {cid} has {got} bytes, {planned} were planned")]
    Length {
        /// Which.
        cid: Cid,
        /// Its length now, bytes.
        got: usize,
        /// Its length in the plan, bytes.
        planned: u32,
    },
    /// A part could not be written.
    #[error("a part of a piece could not be written")]
    Write(#[source] E),
}

/// Encodes a plan: reads every block once, in stripe order, and hands out the parts of all pieces.
///
/// Holds one stripe at a time: `n` shards, 51 MiB at 20 of 51. Coding and hashing use the threads of the
/// current pool. Blocks are taken at their word: whoever reads them from outside checks them first.
///
/// # Errors
/// [`BuildError`] by variant; parts given out before are then void.
pub fn build<E: std::error::Error + 'static>(
    plan: &Plan,
    read: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
    write: &mut dyn FnMut(Part<'_>) -> Result<(), E>,
) -> Result<Built, BuildError<E>> {
    let coding = Coding::new(plan.code());
    let mut extents = Vec::with_capacity(plan.extents().len());
    let mut index = Vec::new();
    for (planned, at) in plan.extents().iter().zip(0..) {
        let mut encoder = Encoder::new(&coding, ExtentIndex::new(at));
        extents.push(encoder.extent(planned, read, write, &mut index)?);
    }
    let manifest = plan.manifest(extents);
    let bytes = cbor::encode(&manifest);
    assert_eq!(bytes.len(), plan.manifest_bytes(), "the plan foresaw the manifest's length");
    Ok(Built { manifest, cid: cid_v1(DAG_CBOR, &bytes), bytes: bytes.into(), index })
}

struct Encoder<'a> {
    coding: &'a Coding,
    extent: ExtentIndex,
    stripe: StripeIndex,
    /// End of the piece of every slot so far.
    offsets: Vec<u64>,
    /// Data shards of the current stripe; kept for their memory.
    data: Vec<Vec<u8>>,
}

impl<'a> Encoder<'a> {
    fn new(coding: &'a Coding, extent: ExtentIndex) -> Self {
        let code = coding.code();
        Self {
            coding,
            extent,
            stripe: StripeIndex::ZERO,
            offsets: vec![0; usize::from(code.n())],
            data: vec![Vec::new(); usize::from(code.k())],
        }
    }

    fn extent<E: std::error::Error + 'static>(
        &mut self,
        planned: &ExtentPlan,
        read: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
        write: &mut dyn FnMut(Part<'_>) -> Result<(), E>,
        index: &mut Vec<(Cid, Bytes)>,
    ) -> Result<Extent, BuildError<E>> {
        let code = self.coding.code();
        let mut content = planned.content.clone();
        for stripe in &mut content {
            self.stripe(stripe, read, write)?;
        }
        let nodes: Vec<(Cid, Bytes)> = planned
            .index_nodes(&content)
            .iter()
            .map(|node| {
                let bytes = cbor::encode(node);
                (cid_v1(DAG_CBOR, &bytes), bytes.into())
            })
            .collect();
        let entries: Vec<BlockEntry> = nodes
            .iter()
            .map(|(cid, bytes)| {
                let bytes = u32::try_from(bytes.len()).expect("an index node is one block");
                BlockEntry { cid: *cid, bytes }
            })
            .collect();
        let mut index_stripes = planned.index_stripes(code, &entries);
        let mut read_node = |cid: &Cid| {
            let (_, bytes) = nodes.iter().find(|(node, _)| node == cid).expect("an index node just made");
            Ok(bytes.clone())
        };
        for stripe in &mut index_stripes {
            self.stripe(stripe, &mut read_node, write)?;
        }
        let pieces = piece_bytes(code, content.iter().chain(&index_stripes));
        assert_eq!(pieces, planned.piece_bytes(), "the plan foresaw the pieces' lengths");
        assert_eq!(pieces, self.offsets, "parts fill their pieces");
        let content_stripes = u32::try_from(content.len()).expect("stripes are counted in 32 bits");
        index.extend(nodes);
        let links = entries.iter().map(|entry| entry.cid).collect();
        Ok(Extent { piece_bytes: pieces, content_stripes, index: links, index_stripes })
    }

    /// Reads, encodes and hands out the next stripe, and fills in the CIDs of its parity.
    fn stripe<E: std::error::Error + 'static>(
        &mut self,
        stripe: &mut Stripe,
        read: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
        write: &mut dyn FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), BuildError<E>> {
        for (shard, entries) in self.data.iter_mut().zip(&stripe.data) {
            shard.clear();
            for entry in entries {
                let block = read(&entry.cid).map_err(|source| BuildError::Read { cid: entry.cid, source })?;
                if u32::try_from(block.len()) != Ok(entry.bytes) {
                    let (got, planned) = (block.len(), entry.bytes);
                    return Err(BuildError::Length { cid: entry.cid, got, planned });
                }
                shard.extend_from_slice(&block);
            }
        }
        let data: Vec<&[u8]> = self.data[..stripe.data.len()].iter().map(Vec::as_slice).collect();
        let coded_bytes = usize::try_from(stripe.coded_bytes).expect("a shard fits into memory");
        let parity = self.coding.encode(&data, coded_bytes);
        stripe.parity = parity.par_iter().map(|shard| cid_v1(RAW, shard)).collect();

        let code = self.coding.code();
        let data = data.into_iter().zip(0..);
        let parity = parity.iter().map(Vec::as_slice).zip(code.k()..);
        for (bytes, shard) in data.chain(parity) {
            let part = next_part(code, self.extent, self.stripe, shard, bytes, &mut self.offsets);
            write(part).map_err(BuildError::Write)?;
        }
        self.stripe = self.stripe.next();
        Ok(())
    }
}

fn next_part<'a>(
    code: Code,
    extent: ExtentIndex,
    stripe: StripeIndex,
    shard: u16,
    bytes: &'a [u8],
    offsets: &mut [u64],
) -> Part<'a> {
    let shard = ShardIndex::new(shard);
    let slot = slot_of(code, stripe, shard);
    let end = &mut offsets[usize::from(slot.get())];
    let offset = *end;
    let length = u64::try_from(bytes.len()).expect("a length in memory fits 64 bits");
    *end += padded(length);
    let padding = usize::try_from(padded(length) - length).expect("less than an element");
    Part { extent, slot, stripe, shard, offset, bytes, padding }
}
