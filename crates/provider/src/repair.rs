//! Rebuilds slots that the chain offers to this provider, claims them and proves entry.
//!
//! Coding is deterministic: what comes out must have the commitment that stands on the chain, so it does not
//! matter which shards it was rebuilt from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hpips_erasure::manifest::{read_index, read_manifest};
use hpips_erasure::{ELEMENT_BYTES, StripeMap};
use hpips_ledger::rows::{Deal, Slot, SlotState};
use hpips_ledger::{Operation, query};
use hpips_net::bulk::Spec;
use hpips_net::piece;
use hpips_proofs::CommP;
use hpips_types::manifest::{Extent, IndexNode};
use hpips_types::{Cid, Code, DealId, Manifest, SetId, ShardIndex, SlotIndex, StripeIndex};
use tracing::info;

use crate::holders::{Holder, Holders};
use crate::pieces::{Meta, Piece, PieceError, PieceId};
use crate::provider::Shared;
use crate::window;

/// Time for one shard or block from one of several holders. A holder hashes its piece at the first read, a second a GiB.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a slot was not rebuilt.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error("the deal or its slot is not on chain any more")]
    Gone,
    #[error("block {0} cannot be fetched from any holder")]
    Fetch(Cid, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the manifest of the deal cannot be read")]
    Manifest(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("fewer slots answer than restore stripe {0}")]
    TooFew(StripeIndex),
    #[error("the stripe cannot be rebuilt")]
    Rebuild(#[from] hpips_erasure::RebuildError),
    #[error("the piece cannot be written")]
    Piece(#[from] PieceError),
    #[error("the piece cannot be written")]
    Write(#[from] std::io::Error),
    #[error("the rebuilt piece has another commitment than the chain's")]
    Commitment,
    #[error("the ledger did not take it")]
    Wallet(#[from] hpips_chain::WalletError),
    #[error("entry cannot be proven")]
    Entry(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut blocks = shared.parts.chain.subscribe();
    // Slots whose entry was proven or failed in a way that another try would repeat.
    let mut tried: BTreeSet<(DealId, SlotIndex)> = BTreeSet::new();
    loop {
        let state = shared.parts.chain.state();
        let offers = query::offers(&state, &shared.me);
        tried.retain(|offer| offers.contains(offer));
        for (deal, slot) in offers {
            if tried.contains(&(deal, slot)) {
                continue;
            }
            match step(&shared, PieceId { deal, slot }).await {
                Ok(true) => drop(tried.insert((deal, slot))),
                Ok(false) => {}
                Err(error) => shared.trouble("rebuilding a slot", &error),
            }
        }
        if !shared.next_block(&mut blocks).await {
            return;
        }
    }
}

/// Does what the slot's state asks for; `true` when nothing is left to do.
async fn step(shared: &Arc<Shared>, id: PieceId) -> Result<bool, RepairError> {
    let state = shared.parts.chain.state();
    let slot = query::slot(&state, id.deal, id.slot).ok_or(RepairError::Gone)?;
    match slot.state {
        SlotState::Offered { provider, .. } if provider == shared.me => {
            let piece = match shared.pieces.get(id) {
                Some(piece) => piece,
                None => rebuild(shared, id, &slot).await?,
            };
            if piece.meta.comm_p != slot.comm_p {
                return Err(RepairError::Commitment);
            }
            shared
                .parts
                .wallet
                .execute(vec![Operation::ClaimRepair { deal: id.deal, slot: id.slot }])
                .await?;
            info!(deal = %id.deal, slot = %id.slot, "rebuilt slot claimed");
            Ok(false)
        }
        SlotState::Entering { provider, .. } if provider == shared.me => prove_entry(shared, id).await,
        _ => Ok(true),
    }
}

/// Proves that the rebuilt piece is in the set as it was frozen with it; `false` before its beacon is there.
async fn prove_entry(shared: &Arc<Shared>, id: PieceId) -> Result<bool, RepairError> {
    let state = shared.parts.chain.state();
    let set = SetId { provider: shared.me, number: 0 };
    let Some(task) = query::entry(&state, id.deal, id.slot) else { return Ok(false) };
    let proving = Arc::clone(shared);
    let made = tokio::task::spawn_blocking(move || {
        let leaf_commitment = window::commit_terms(&proving, set, task.version, &task.terms)
            .map_err(|error| RepairError::Entry(Box::new(error)))?;
        let proof = window::prove_task(&proving, set, &task, leaf_commitment)
            .map_err(|error| RepairError::Entry(Box::new(error)))?;
        Ok::<_, RepairError>((leaf_commitment, proof))
    });
    let (leaf_commitment, proof) = made.await.expect("proving does not panic")?;
    let operation = Operation::ProveEntry { deal: id.deal, slot: id.slot, leaf_commitment, proof };
    shared.parts.wallet.execute(vec![operation]).await?;
    info!(deal = %id.deal, slot = %id.slot, "rebuilt slot proven");
    Ok(true)
}

/// The other holders of a deal that can be connected with.
async fn holders_of(shared: &Shared, id: PieceId, deal: &Deal) -> Holders {
    let state = shared.parts.chain.state();
    let mut by_slot = BTreeMap::new();
    for (index, slot) in (0..).zip(query::slots(&state, id.deal)) {
        let SlotState::Held { provider, .. } = slot.state else { continue };
        if provider == shared.me {
            continue;
        }
        let addresses = query::pledge(&state, &provider).map(|row| row.terms.addresses).unwrap_or_default();
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        shared.parts.net.address_book(provider, addresses).await;
        if shared.parts.net.connect(provider).await.is_ok() {
            let piece = Spec { hash: slot.blake3, bytes: slot.bytes };
            by_slot.insert(SlotIndex::new(index), Holder::new(provider, piece));
        }
    }
    let protocol = piece::protocol(&shared.parts.chain.params().name);
    Holders::new(&shared.parts.net, protocol, (id.deal, deal.extent), by_slot, PATIENCE)
}

async fn get(holders: &Holders, cid: Cid) -> Result<Bytes, RepairError> {
    holders.get(cid).await.map_err(|error| RepairError::Fetch(cid, Box::new(error)))
}

async fn rebuild(shared: &Arc<Shared>, id: PieceId, slot: &Slot) -> Result<Arc<Piece>, RepairError> {
    let deal = query::deal(&shared.parts.chain.state(), id.deal).ok_or(RepairError::Gone)?;
    let mut holders = holders_of(shared, id, &deal).await;
    let manifest_block = get(&holders, deal.manifest).await?;
    let manifest = read_manifest(&manifest_block).map_err(|error| RepairError::Manifest(Box::new(error)))?;
    let mismatch = || RepairError::Manifest("the deal is about another object".into());
    let code = Code::new(manifest.k, manifest.n).filter(|code| code.n() == deal.n).ok_or_else(mismatch)?;
    let extent = usize::try_from(deal.extent.get()).ok().and_then(|at| manifest.extents.get(at));
    let extent = extent.ok_or_else(mismatch)?;
    let index = fetch_index(&holders, code, extent).await?;
    let nodes: Vec<IndexNode> = index.iter().map(|(_, _, node)| node.clone()).collect();
    let map = StripeMap::new(code, extent, &nodes).map_err(|error| RepairError::Manifest(Box::new(error)))?;

    holders.lay_out(&map);
    let path = shared.pieces.file(id)?;
    let mut file = File::create(&path)?;
    let mut commitment = CommP::new();
    let mut hasher = blake3::Hasher::new();
    for stripe in map.stripes() {
        let want = map.shard_of_slot(stripe, id.slot);
        let bytes = if map.blocks(stripe, want).is_empty() {
            Vec::new()
        } else {
            let sources = holders.sources(&map, stripe).await.ok_or(RepairError::TooFew(stripe))?;
            let given: Vec<(ShardIndex, &[u8])> =
                sources.iter().map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
            map.rebuild(stripe, &given, &[want])?.pop().unwrap_or_default()
        };
        let mut padded = bytes;
        let element = usize::try_from(ELEMENT_BYTES).expect("31");
        padded.resize(padded.len().next_multiple_of(element), 0);
        file.write_all(&padded)?;
        hasher.update(&padded);
        commitment.push(&padded).map_err(|_| RepairError::Commitment)?;
    }
    file.sync_all()?;
    let tree =
        tokio::task::spawn_blocking(move || commitment.finish()).await.expect("hashing does not panic");
    if tree.comm_p() != slot.comm_p
        || tree.bytes() != slot.bytes
        || hasher.finalize().as_bytes() != slot.blake3.as_bytes()
    {
        shared.pieces.remove(id)?;
        return Err(RepairError::Commitment);
    }
    let beside = keep_beside(shared, &holders, &manifest, deal.manifest, manifest_block, index, &map).await?;
    let layout = map.layout(id.slot);
    let meta = Meta {
        client: deal.client,
        bytes: slot.bytes,
        blake3: slot.blake3,
        comm_p: slot.comm_p,
        manifest: deal.manifest,
        beside,
        rows: layout.rows.iter().map(|row| (row.cid, row.offset, row.bytes)).collect(),
    };
    info!(deal = %id.deal, slot = %id.slot, bytes = slot.bytes, "slot rebuilt");
    Ok(shared.pieces.finish(id, meta, tree)?)
}

type Index = Vec<(Cid, Bytes, IndexNode)>;

/// The index nodes: from any holder, or rebuilt from the stripes that carry them.
async fn fetch_index(holders: &Holders, code: Code, extent: &Extent) -> Result<Index, RepairError> {
    let malformed = |error: hpips_erasure::manifest::ReadError| RepairError::Manifest(Box::new(error));
    let mut nodes = Vec::new();
    for cid in &extent.index {
        let bytes = match holders.get(*cid).await {
            Ok(bytes) => bytes,
            Err(_) => rebuild_index(holders, code, extent, *cid).await?,
        };
        let node = read_index(&bytes, code).map_err(malformed)?;
        nodes.push((*cid, bytes, node));
    }
    Ok(nodes)
}

async fn rebuild_index(
    holders: &Holders,
    code: Code,
    extent: &Extent,
    cid: Cid,
) -> Result<Bytes, RepairError> {
    let map = StripeMap::of_index(code, extent);
    let at = map.locate(&cid).ok_or_else(|| RepairError::Manifest("an index node lies nowhere".into()))?;
    let sources = holders.sources(&map, at.stripe).await.ok_or(RepairError::TooFew(at.stripe))?;
    let given: Vec<(ShardIndex, &[u8])> =
        sources.iter().map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
    let shard = map.rebuild(at.stripe, &given, &[at.shard])?.pop().unwrap_or_default();
    let start = usize::try_from(at.offset).expect("a shard fits into memory");
    let end = start + usize::try_from(at.bytes).expect("a block fits into memory");
    Ok(Bytes::from(shard).slice(start..end))
}

/// What every holder keeps beside its piece: manifest, index, root and interior nodes up to a thousandth.
async fn keep_beside(
    shared: &Shared,
    holders: &Holders,
    manifest: &Manifest,
    manifest_cid: Cid,
    manifest_block: Bytes,
    index: Index,
    map: &StripeMap,
) -> Result<Vec<Cid>, RepairError> {
    let mut blocks = vec![(manifest_cid, manifest_block)];
    blocks.extend(index.into_iter().map(|(cid, bytes, _)| (cid, bytes)));
    let mut wanted = vec![manifest.root];
    wanted.extend(map.interior_blocks(manifest.content_bytes / 1_000).into_iter().map(|entry| entry.cid));
    for cid in wanted {
        if blocks.iter().any(|(known, _)| *known == cid) {
            continue;
        }
        // A node that no living holder has beside its piece is restored on demand from its stripe.
        if let Ok(bytes) = holders.get(cid).await {
            blocks.push((cid, bytes));
        }
    }
    let cids = blocks.iter().map(|(cid, _)| *cid).collect();
    shared.parts.store.put(blocks).map_err(|error| RepairError::Write(std::io::Error::other(error)))?;
    Ok(cids)
}
