//! All slots of an extent to their holders: retries, replacements, what is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hpips_erasure::StripeMap;
use hpips_erasure::manifest::{ReadError, read_index, read_manifest};
use hpips_ledger::rows::DrawRow;
use hpips_ledger::{Failure, LeftOut, Operation, SignedReceipt, SignedRefusal, query};
use hpips_net::bulk::Outboard;
use hpips_net::piece::{self, NamedBlock};
use hpips_types::{AccountId, Cid, Code, ExtentIndex, ProposalId, SlotIndex};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;
use tracing::{debug, info};

use crate::add::StoreError;
use crate::client::Client;
use crate::commitments::Commitments;
use crate::encode::EncodeError;
use crate::outgoing::Outgoing;
use crate::progress::{Reporter, Stage};
use crate::upload::{Order, UploadError, upload};

/// Uploads at once.
const UPLOADS: usize = 4;
/// Attempts at one holder before it counts as gone.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// Bytes beside a piece in one message; interior nodes that do not fit stay away.
const BESIDE_BYTES_MAX: usize = piece::FRAME_BYTES_MAX - (64 << 10);

/// The slots of one extent.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    pub(crate) client: &'a Client,
    pub(crate) proposal: ProposalId,
    pub(crate) extent: usize,
    pub(crate) code: Code,
}

/// What an activation needs.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// Ascending by slot.
    pub(crate) receipts: Vec<SignedReceipt>,
    /// Ascending by slot.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What to do about a slot whose holder does not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Draw the next provider.
    Replace,
    /// Start without the slot; the network rebuilds it.
    LeaveOut,
    /// Too many are missing.
    GiveUp,
}

/// Signed refusals are free. Everything else counts: at most a quarter of the slots, rounded up, may be
/// skipped unsigned or left out, and `k` have to be held.
fn remedy(code: Code, draw: &DrawRow, left_out: usize, is_signed: bool) -> Remedy {
    let counted = usize::from(draw.skipped) + left_out;
    let has_budget = counted < usize::from(code.n().div_ceil(4));
    let has_spares = !draw.spares.is_empty();
    let may_leave = has_budget && usize::from(code.n()) - left_out > usize::from(code.k());
    match (has_spares, is_signed || has_budget, may_leave) {
        (true, true, _) => Remedy::Replace,
        (_, _, true) => Remedy::LeaveOut,
        _ => Remedy::GiveUp,
    }
}

impl Slots<'_> {
    /// Brings every slot to its holder. Receipts go into the check-point as they come.
    pub(crate) async fn place(
        &self,
        outgoing: &mut Outgoing,
        commitments: &mut Commitments,
        report: &Reporter,
    ) -> Result<Placed, StoreError> {
        let beside = Arc::new(self.beside(outgoing).await?);
        let mut left_out = BTreeSet::new();
        loop {
            let draw = self.draw()?;
            let held = self.held(outgoing, &draw);
            let missing: Vec<usize> = (0..draw.holders.len())
                .filter(|slot| !held.contains_key(slot) && !left_out.contains(slot))
                .collect();
            self.report(outgoing, report);
            if missing.is_empty() {
                return self.placed(outgoing, commitments, held, &left_out).await;
            }
            let failed = self.round(outgoing, commitments, &draw, &missing, &beside, report).await?;
            for (slot, error) in failed {
                self.remedy(slot, error, &mut left_out).await?;
            }
        }
    }

    fn draw(&self) -> Result<DrawRow, StoreError> {
        let row = query::proposal(&self.client.parts.chain.state(), self.proposal);
        row.and_then(|row| row.draw).ok_or(StoreError::Expired)
    }

    /// Receipts that are of the holders drawn now.
    fn held(&self, outgoing: &Outgoing, draw: &DrawRow) -> BTreeMap<usize, SignedReceipt> {
        let receipts =
            outgoing.state.receipts.iter().filter(|signed| signed.receipt.proposal == self.proposal);
        receipts
            .map(|signed| (usize::from(signed.receipt.slot.get()), signed.clone()))
            .filter(|(slot, signed)| {
                draw.holders.get(*slot).is_some_and(|holder| holder.provider == signed.receipt.provider)
            })
            .collect()
    }

    fn report(&self, outgoing: &Outgoing, report: &Reporter) {
        let Some(encoded) = &outgoing.state.encoded else { return };
        let total = encoded.pieces.iter().flatten().map(|mark| mark.bytes).sum();
        let done = outgoing.state.receipts.iter().map(|signed| signed.receipt.bytes).sum::<u64>();
        report.at(Stage::Uploading, done.min(total), total);
    }

    /// Uploads several slots at once. Returns those that failed for good.
    async fn round(
        &self,
        outgoing: &mut Outgoing,
        commitments: &mut Commitments,
        draw: &DrawRow,
        missing: &[usize],
        beside: &Arc<Vec<NamedBlock>>,
        report: &Reporter,
    ) -> Result<Vec<(usize, UploadError)>, StoreError> {
        let mut waiting = Vec::new();
        for slot in missing.iter().rev() {
            waiting.push((*slot, draw.holders[*slot].provider, self.order(outgoing, *slot, beside)?));
        }
        // Tasks of their own: bytes move while commitments are waited for here. Dropping the set stops them.
        let mut uploads = JoinSet::new();
        let mut failed = Vec::new();
        loop {
            while uploads.len() < UPLOADS
                && let Some((slot, holder, order)) = waiting.pop()
            {
                let client = self.client.clone();
                uploads.spawn(async move { (slot, attempt(&client, holder, order).await) });
            }
            let Some(ended) = uploads.join_next().await else { return Ok(failed) };
            let (slot, outcome) = ended.map_err(|_| StoreError::Encode(EncodeError::Stopped))?;
            let outcome = match outcome {
                Ok(signed) if commitments.of(outgoing, self.extent, slot).await? == signed.receipt.comm_p => {
                    Ok(signed)
                }
                Ok(_) => Err(UploadError::Commitment),
                Err(AttemptError::Encode(error)) => return Err(error.into()),
                Err(AttemptError::Upload(error)) => Err(error),
            };
            match outcome {
                Ok(signed) => {
                    let (proposal, index) = (signed.receipt.proposal, signed.receipt.slot);
                    let is_other =
                        |old: &SignedReceipt| (old.receipt.proposal, old.receipt.slot) != (proposal, index);
                    outgoing.state.receipts.retain(is_other);
                    outgoing.state.receipts.push(signed);
                    outgoing.save()?;
                    self.report(outgoing, report);
                }
                Err(error) => failed.push((slot, error)),
            }
        }
    }

    fn order(
        &self,
        outgoing: &Outgoing,
        slot: usize,
        beside: &Arc<Vec<NamedBlock>>,
    ) -> Result<PendingOrder, StoreError> {
        let encoded = outgoing.state.encoded.as_ref().ok_or(StoreError::Encode(EncodeError::Stopped))?;
        let chain = &self.client.parts.chain;
        Ok(PendingOrder {
            chain: chain.id(),
            protocol: piece::protocol(&chain.params().name),
            proposal: self.proposal,
            extent: index(self.extent),
            slot: slot_index(slot),
            manifest: encoded.manifest,
            beside: Arc::clone(beside),
            path: outgoing.piece(self.extent, slot),
        })
    }

    /// Puts another provider into a slot, or leaves it out.
    async fn remedy(
        &self,
        slot: usize,
        error: UploadError,
        left_out: &mut BTreeSet<usize>,
    ) -> Result<(), StoreError> {
        let draw = self.draw()?;
        let holder = draw.holders.get(slot).ok_or(StoreError::Expired)?.provider;
        info!(%holder, slot, reason = %error, "a holder does not take its slot");
        let refusal = error.into_refusal();
        match remedy(self.code, &draw, left_out.len(), refusal.is_some()) {
            Remedy::Replace => {
                if !self.replace(slot, refusal).await? {
                    // The spares have no room any more.
                    let none = DrawRow { spares: Vec::new(), ..draw.clone() };
                    if remedy(self.code, &none, left_out.len(), false) == Remedy::GiveUp {
                        return Err(self.too_few(&draw, left_out.len()));
                    }
                    left_out.insert(slot);
                }
            }
            Remedy::LeaveOut => drop(left_out.insert(slot)),
            Remedy::GiveUp => return Err(self.too_few(&draw, left_out.len())),
        }
        Ok(())
    }

    fn too_few(&self, draw: &DrawRow, left_out: usize) -> StoreError {
        let allowed = self.code.n().div_ceil(4);
        StoreError::TooFewHolders {
            missing: usize::from(draw.skipped) + left_out + 1,
            allowed,
            n: self.code.n(),
            deadline: draw.deadline,
        }
    }

    /// `false` when nobody is left who could take the slot.
    async fn replace(&self, slot: usize, refusal: Option<SignedRefusal>) -> Result<bool, StoreError> {
        let operation = Operation::Replace { proposal: self.proposal, slot: slot_index(slot), refusal };
        match self.client.execute(vec![operation]).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.failure(), Some(Failure::NoCandidate | Failure::LeftOut)) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn placed(
        &self,
        outgoing: &mut Outgoing,
        commitments: &mut Commitments,
        held: BTreeMap<usize, SignedReceipt>,
        missing: &BTreeSet<usize>,
    ) -> Result<Placed, StoreError> {
        let mut placed = Placed { receipts: held.into_values().collect(), left_out: Vec::new() };
        for slot in missing {
            let comm_p = commitments.of(outgoing, self.extent, *slot).await?;
            let encoded = outgoing.state.encoded.as_ref().ok_or(StoreError::Encode(EncodeError::Stopped))?;
            let blake3 = encoded.pieces[self.extent][*slot].blake3;
            placed.left_out.push(LeftOut { slot: slot_index(*slot), comm_p, blake3 });
        }
        Ok(placed)
    }

    /// Manifest, index nodes, root and interior nodes: what every holder keeps beside its piece.
    async fn beside(&self, outgoing: &Outgoing) -> Result<Vec<NamedBlock>, StoreError> {
        let encoded = outgoing.state.encoded.as_ref().ok_or(StoreError::Encode(EncodeError::Stopped))?;
        let (store, manifest, extent) = (self.client.parts.store.clone(), encoded.manifest, self.extent);
        let listed = tokio::task::spawn_blocking(move || list_beside(&store, manifest, extent)).await;
        listed.map_err(|_| StoreError::Encode(EncodeError::Stopped))?
    }
}

fn list_beside(store: &hpips_store::Store, cid: Cid, extent: usize) -> Result<Vec<NamedBlock>, StoreError> {
    let get = |cid: Cid| {
        let block = store.get(&cid).map_err(StoreError::Read)?.ok_or(StoreError::Missing(cid))?;
        Ok::<_, StoreError>(NamedBlock { cid, data: ByteBuf::from(block.to_vec()) })
    };
    let broken = |source: ReadError| StoreError::Manifest { cid, source: Box::new(source) };
    let root = get(cid)?;
    let manifest = read_manifest(&root.data).map_err(broken)?;
    let code = manifest.code().expect("read_manifest checks the code");
    let described = &manifest.extents[extent];
    let mut blocks = vec![root];
    let mut nodes = Vec::new();
    for cid in &described.index {
        let block = get(*cid)?;
        nodes.push(read_index(&block.data, code).map_err(broken)?);
        blocks.push(block);
    }
    let map = StripeMap::new(code, described, &nodes)
        .map_err(|source| StoreError::Manifest { cid, source: Box::new(source) })?;
    let interior = map.interior_blocks(manifest.content_bytes / 1000).into_iter().map(|entry| entry.cid);
    let mut bytes: usize = blocks.iter().map(|block| block.data.len()).sum();
    for cid in [manifest.root].into_iter().chain(interior) {
        if blocks.iter().any(|block| block.cid == cid) || cid.hash().code() == hpips_types::content::IDENTITY
        {
            continue;
        }
        let block = get(cid)?;
        bytes += block.data.len() + 64;
        if bytes > BESIDE_BYTES_MAX {
            break;
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// Tries a holder until it has signed, refused for good, or was silent too often.
async fn attempt(
    client: &Client,
    holder: AccountId,
    order: PendingOrder,
) -> Result<SignedReceipt, AttemptError> {
    let order = order.hashed().await?;
    client.introduce(holder).await;
    let mut wait = BACKOFF;
    for attempt in 1.. {
        let error = match upload(&client.parts.net, holder, &order).await {
            Ok(signed) => return Ok(signed),
            Err(error) => error,
        };
        debug!(%holder, slot = %order.slot, attempt, %error, "upload failed");
        if attempt == ATTEMPTS || !error.is_transient() {
            return Err(AttemptError::Upload(error));
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    unreachable!("attempts are counted")
}

/// An order whose outboard is not computed yet: fifty of them would fill memory.
#[derive(Debug)]
struct PendingOrder {
    chain: hpips_types::ChainId,
    protocol: String,
    proposal: ProposalId,
    extent: ExtentIndex,
    slot: SlotIndex,
    manifest: Cid,
    beside: Arc<Vec<NamedBlock>>,
    path: std::path::PathBuf,
}

enum AttemptError {
    Encode(EncodeError),
    Upload(UploadError),
}

impl PendingOrder {
    async fn hashed(self) -> Result<Order, AttemptError> {
        let path = self.path.clone();
        let outboard = tokio::task::spawn_blocking(move || Outboard::of_file(&path)).await;
        let outboard = outboard.map_err(|_| AttemptError::Encode(EncodeError::Stopped))?;
        let outboard = outboard.map_err(|error| AttemptError::Encode(error.into()))?;
        Ok(Order {
            chain: self.chain,
            protocol: self.protocol,
            proposal: self.proposal,
            extent: self.extent,
            slot: self.slot,
            manifest: self.manifest,
            beside: self.beside,
            path: self.path,
            outboard: Arc::new(outboard),
        })
    }
}

fn index(extent: usize) -> ExtentIndex {
    ExtentIndex::new(u32::try_from(extent).expect("extents are counted in 32 bits"))
}

fn slot_index(slot: usize) -> SlotIndex {
    SlotIndex::new(u16::try_from(slot).expect("at most 256 slots"))
}

#[cfg(test)]
mod tests {
    use hpips_types::Height;

    use super::*;

    #[test]
    fn remedies_keep_to_the_ledgers_limits() {
        let draw = |skipped, spares| DrawRow {
            holders: Vec::new(),
            spares: vec![AccountId::new([0; 32]); spares],
            deadline: Height::new(9),
            skipped,
        };
        // 3 of 6: two may be missing. 1 of 1: the only slot must be held.
        for (code, skipped, spares, left_out, is_signed, expected) in [
            ((3, 6), 0, 2, 0, false, Remedy::Replace),
            ((3, 6), 2, 2, 0, false, Remedy::GiveUp),
            ((3, 6), 2, 2, 0, true, Remedy::Replace),
            ((3, 6), 1, 0, 0, false, Remedy::LeaveOut),
            ((3, 6), 1, 0, 0, true, Remedy::LeaveOut),
            ((3, 6), 1, 0, 1, false, Remedy::GiveUp),
            ((1, 1), 0, 0, 0, false, Remedy::GiveUp),
            ((1, 1), 0, 1, 0, false, Remedy::Replace),
            ((1, 1), 0, 0, 0, true, Remedy::GiveUp),
            ((20, 51), 12, 20, 0, false, Remedy::Replace),
            ((20, 51), 13, 20, 0, false, Remedy::GiveUp),
        ] {
            let code = Code::new(code.0, code.1).unwrap();
            assert_eq!(
                remedy(code, &draw(skipped, spares), left_out, is_signed),
                expected,
                "{code:?} {skipped} {spares}"
            );
        }
    }
}
