//! Conversations about pieces: takes them from clients (checks the proposal, receives, verifies, signs), and sends ranges
//! of them back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hpips_erasure::manifest::{read_index, read_manifest};
use hpips_erasure::{PieceLayout, StripeMap};
use hpips_ledger::{PieceReceipt, Refusal, query};
use hpips_net::bulk::{self, BulkError, Spec};
use hpips_net::piece::{self, Accepted, RefusalCode, Refused, Reply, Request, Upload};
use hpips_net::{Incoming, Stream};
use hpips_proofs::CommP;
use hpips_types::content::{BLOCK_BYTES_MAX, verify_block};
use hpips_types::{AccountId, Code, DealId, ProposalId, cbor};
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::crowd::Crowd;
use crate::pieces::{Meta, Piece, PieceId};
use crate::provider::Shared;
use crate::read::{self, ReadError, Reads};

/// Uploads at once; more wait.
const UPLOADS: usize = 16;
/// Conversations at once: those that have not shown yet that they may upload must not keep out those that may.
const CONVERSATIONS: usize = 256;
/// Conversations of one peer at once.
const PER_PEER: usize = 16;
/// Time for a request to arrive.
const REQUEST: Duration = Duration::from_secs(20);
/// Longest wait for a block that the client has seen and we have not.
const BEHIND: Duration = Duration::from_secs(10);
/// Part of the free disk that one account may have staged: one twentieth.
const STAGED_PART: u64 = 20;

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>, mut incoming: Incoming) {
    let slots = Arc::new(Semaphore::new(CONVERSATIONS));
    let desk = Arc::new(Desk::default());
    let talking = Crowd::new(PER_PEER);
    let mut stop = shared.stop.subscribe();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (from, stream) = tokio::select! {
            next = incoming.next() => match next {
                Some(next) => next,
                None => return,
            },
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(seat) = talking.seat(from) else {
            debug!(%from, "peer talks too much at once");
            continue;
        };
        let (shared, desk) = (Arc::clone(&shared), Arc::clone(&desk));
        tokio::spawn(async move {
            if let Err(error) = converse(&shared, &desk, from, stream).await {
                debug!(%from, %error, "conversation about a piece ended");
            }
            drop((seat, slot));
        });
    }
}

/// What goes on, and which pieces are on their way.
struct Desk {
    uploads: Semaphore,
    reads: Reads,
    arriving: Mutex<BTreeSet<PieceId>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { uploads: Semaphore::new(UPLOADS), reads: Reads::default(), arriving: Mutex::default() }
    }
}

/// The only upload of a piece; others are turned away until it is dropped.
struct Arriving {
    desk: Arc<Desk>,
    id: PieceId,
}

impl Arriving {
    fn begin(desk: &Arc<Desk>, id: PieceId) -> Option<Self> {
        let mut arriving = desk.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        arriving.insert(id).then(|| Self { desk: Arc::clone(desk), id })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.desk.arriving.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// A refusal on its way to the peer.
#[derive(Debug)]
pub(crate) struct No {
    code: RefusalCode,
    reason: String,
}

impl No {
    /// Without a signature.
    pub(crate) fn into_reply(self) -> Reply {
        Reply::Refused(Refused { code: self.code, reason: self.reason, signed: ByteBuf::new() })
    }
}

pub(crate) fn no(code: RefusalCode, reason: impl Into<String>) -> No {
    No { code, reason: reason.into() }
}

async fn converse(
    shared: &Arc<Shared>,
    desk: &Arc<Desk>,
    from: AccountId,
    mut stream: Stream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let request = timeout(REQUEST, piece::receive::<_, Request>(&mut stream)).await??;
    // Lives until the piece is complete or given up.
    let mut arriving = None;
    let reply = match request {
        Request::Upload(upload) => match admit(shared, desk, from, &upload, &mut arriving).await {
            Ok(Admitted::Held(receipt)) => Reply::Receipt(ByteBuf::from(receipt)),
            Ok(Admitted::New(layout)) => {
                let _upload = desk.uploads.acquire().await?;
                let accepted = Accepted { bytes: upload.bytes, blake3: upload.blake3 };
                piece::send(&mut stream, &Reply::Accepted(accepted)).await?;
                match take(shared, &mut stream, from, &upload, *layout).await {
                    Ok(receipt) => Reply::Receipt(ByteBuf::from(receipt)),
                    Err(error) => {
                        debug!(%from, error = %error.reason, "upload refused");
                        error.into_reply()
                    }
                }
            }
            Err(error) => {
                let signed = refusal(shared, &upload, error.code);
                Reply::Refused(Refused { code: error.code, reason: error.reason, signed })
            }
        },
        Request::Read(asked) => {
            let extent = query::deal(&shared.parts.chain.state(), asked.deal).map(|deal| deal.extent);
            let piece = shared.pieces.get(PieceId { deal: asked.deal, slot: asked.slot });
            let found = read::find(piece, extent, &asked);
            let outcome = read::answer(&desk.reads, from, found, asked.start..asked.end, &mut stream).await;
            if let Err(error @ (ReadError::Piece(_) | ReadError::Bulk(BulkError::File(_)))) = &outcome {
                shared.trouble("reading a piece back", error);
            }
            return Ok(outcome?);
        }
    };
    piece::send(&mut stream, &reply).await?;
    Ok(())
}

/// A signed refusal lets the client go on without this provider, and closes it to draws for a day: given only
/// where there is no room.
fn refusal(shared: &Shared, upload: &Upload, code: RefusalCode) -> ByteBuf {
    if code != RefusalCode::NoSpace {
        return ByteBuf::new();
    }
    let refusal = Refusal {
        chain: shared.parts.chain.id(),
        proposal: upload.proposal,
        slot: upload.slot,
        provider: shared.me,
    };
    ByteBuf::from(cbor::encode(&refusal.sign(shared.parts.wallet.key())))
}

/// What may happen with an upload.
enum Admitted {
    /// The piece lies here already: its receipt.
    Held(Vec<u8>),
    /// It may come, and this is what it must be made of.
    New(Box<PieceLayout>),
}

/// Whether a piece that lies here is the one that a client wants to bring.
///
/// A receipt may be out for what lies here, and the client alone decides which receipt goes on chain: if a
/// second upload could replace the first, the chain would ask for bytes that are gone.
fn held(meta: &Meta, from: AccountId, upload: &Upload) -> Result<(), No> {
    let is_same = (meta.client, meta.bytes, meta.blake3) == (from, upload.bytes, upload.blake3);
    if is_same { Ok(()) } else { Err(no(RefusalCode::Invalid, "another piece lies here for this slot")) }
}

/// Whether a piece may come. Only where there is truly no room is the refusal one that is signed and closes us
/// to draws: a client that stages much could otherwise close whomever it likes.
fn room(free: u64, staged: u64, bytes: u64) -> Result<(), No> {
    if bytes > free {
        return Err(no(RefusalCode::NoSpace, "no room for the piece"));
    }
    if staged.saturating_add(bytes) > free / STAGED_PART {
        return Err(no(RefusalCode::Busy, "too much of this client waits for activation"));
    }
    Ok(())
}

/// Checks everything that can be checked before bytes arrive.
async fn admit(
    shared: &Arc<Shared>,
    desk: &Arc<Desk>,
    from: AccountId,
    upload: &Upload,
    arriving: &mut Option<Arriving>,
) -> Result<Admitted, No> {
    wait_drawn(shared, from, upload).await?;
    let id = PieceId { deal: DealId::new(upload.proposal.get()), slot: upload.slot };
    let only = Arriving::begin(desk, id).ok_or_else(|| no(RefusalCode::Busy, "the piece is arriving"))?;
    *arriving = Some(only);
    if let Some(piece) = shared.pieces.get(id) {
        held(&piece.meta, from, upload)?;
        return Ok(Admitted::Held(receipt(shared, &piece)));
    }
    let disk =
        rustix::fs::statvfs(&shared.dir).map_err(|_| no(RefusalCode::NoSpace, "the disk cannot be read"))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(shared.reserve_bytes);
    let state = shared.parts.chain.state();
    let is_staged = |id: PieceId| query::proposal(&state, ProposalId::new(id.deal.get())).is_some();
    let staged = shared.pieces.bytes_of(&from, is_staged).get();
    room(free, staged, upload.bytes)?;
    let invalid = |reason: &str| no(RefusalCode::Invalid, reason);
    for block in &upload.blocks {
        if block.data.len() > BLOCK_BYTES_MAX || verify_block(&block.cid, &block.data).is_err() {
            return Err(invalid("a block does not match its CID"));
        }
    }
    let block = |cid| upload.blocks.iter().find(|block| block.cid == cid).map(|block| block.data.as_slice());
    let manifest = block(upload.manifest).ok_or_else(|| invalid("the manifest is missing"))?;
    let manifest = read_manifest(manifest).map_err(|_| invalid("the manifest cannot be read"))?;
    let at = usize::try_from(upload.extent.get()).map_err(|_| invalid("no such extent"))?;
    let extent = manifest.extents.get(at).ok_or_else(|| invalid("no such extent"))?;
    let code = Code::new(manifest.k, manifest.n).ok_or_else(|| invalid("not a code"))?;
    let nodes = extent
        .index
        .iter()
        .map(|cid| block(*cid).and_then(|bytes| read_index(bytes, code).ok()))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| invalid("an index node is missing or cannot be read"))?;
    let map = StripeMap::new(code, extent, &nodes)
        .map_err(|_| invalid("manifest and index contradict each other"))?;
    if upload.slot.get() >= code.n() {
        return Err(invalid("no such slot"));
    }
    let layout = map.layout(upload.slot);
    if layout.bytes != upload.bytes {
        return Err(invalid("the piece has another length than its manifest says"));
    }
    Ok(Admitted::New(Box::new(layout)))
}

/// Waits until the chain says that this provider was drawn; the client may be a block ahead of us.
async fn wait_drawn(shared: &Arc<Shared>, from: AccountId, upload: &Upload) -> Result<(), No> {
    let mut blocks = shared.parts.chain.subscribe();
    let wait = async {
        loop {
            let state = shared.parts.chain.state();
            if let Some(row) = query::proposal(&state, upload.proposal)
                && let Some(draw) = &row.draw
            {
                let slot = usize::from(upload.slot.get());
                let is_mine = draw.holders.get(slot).is_some_and(|holder| holder.provider == shared.me);
                let is_right = row.client == from
                    && row.terms.extent == upload.extent
                    && row.terms.piece_bytes.get(slot) == Some(&upload.bytes);
                if is_mine && !is_right {
                    return Err(no(RefusalCode::Invalid, "not what the proposal says"));
                }
                if is_mine {
                    return Ok(());
                }
            }
            if !shared.next_block(&mut blocks).await {
                return Err(no(RefusalCode::Closing, "closing"));
            }
        }
    };
    timeout(BEHIND, wait).await.unwrap_or_else(|_| Err(no(RefusalCode::NotDrawn, "not drawn for this slot")))
}

/// Receives the bytes, computing the commitment while they arrive, and checks every block in them.
async fn take(
    shared: &Arc<Shared>,
    stream: &mut Stream,
    from: AccountId,
    upload: &Upload,
    layout: PieceLayout,
) -> Result<Vec<u8>, No> {
    let id = PieceId { deal: DealId::new(upload.proposal.get()), slot: upload.slot };
    let internal = |error: &dyn std::error::Error| no(RefusalCode::Busy, error.to_string());
    let path = shared.pieces.file(id).map_err(|error| internal(&error))?;
    let spec = Spec { hash: upload.blake3, bytes: upload.bytes };
    let sink = Committing(CommP::new());
    let sink = bulk::receive_piece(stream, &spec, &path, sink).await.map_err(|error| internal(&error))?;
    let keeping = Arc::clone(shared);
    let upload = upload.clone();
    let finished = tokio::task::spawn_blocking(move || {
        check_blocks(&path, &layout)?;
        let tree = sink.0.finish();
        let blocks = upload.blocks.iter().map(|block| (block.cid, block.data.to_vec().into())).collect();
        keeping.parts.store.put(blocks).map_err(|error| no(RefusalCode::Busy, error.to_string()))?;
        let meta = Meta {
            client: from,
            bytes: upload.bytes,
            blake3: upload.blake3,
            comm_p: tree.comm_p(),
            manifest: upload.manifest,
            beside: upload.blocks.iter().map(|block| block.cid).collect(),
            rows: layout.rows.iter().map(|row| (row.cid, row.offset, row.bytes)).collect(),
        };
        keeping.pieces.finish(id, meta, tree).map_err(|error| no(RefusalCode::Busy, error.to_string()))
    });
    let piece = finished.await.map_err(|error| internal(&error))??;
    info!(deal = %id.deal, slot = %id.slot, bytes = piece.meta.bytes, "piece staged");
    Ok(receipt(shared, &piece))
}

/// The signed receipt of a complete piece.
fn receipt(shared: &Shared, piece: &Piece) -> Vec<u8> {
    let receipt = PieceReceipt {
        chain: shared.parts.chain.id(),
        proposal: ProposalId::new(piece.id.deal.get()),
        slot: piece.id.slot,
        provider: shared.me,
        comm_p: piece.meta.comm_p,
        blake3: piece.meta.blake3,
        bytes: piece.meta.bytes,
    };
    cbor::encode(&receipt.sign(shared.parts.wallet.key()))
}

/// Computes the commitment from the bytes as they are verified.
pub(crate) struct Committing(pub(crate) CommP);

impl bulk::PieceSink for Committing {
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.push(bytes).map_err(std::io::Error::other)
    }
}

/// Every block of the piece matches its CID: a client that lies about them would have us serve garbage.
fn check_blocks(path: &std::path::Path, layout: &PieceLayout) -> Result<(), No> {
    use std::os::unix::fs::FileExt;
    let io = |error: std::io::Error| no(RefusalCode::Busy, error.to_string());
    let file = std::fs::File::open(path).map_err(io)?;
    let mut buffer = Vec::new();
    for row in &layout.rows {
        buffer.resize(usize::try_from(row.bytes).expect("a block fits into memory"), 0);
        file.read_exact_at(&mut buffer, row.offset).map_err(io)?;
        verify_block(&row.cid, &buffer).map_err(|error| no(RefusalCode::Invalid, error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{RAW, cid_v1};
    use hpips_types::{Blake3Hash, ExtentIndex, SlotIndex};

    use super::*;

    #[test]
    fn a_second_upload_never_replaces_a_piece() {
        let (client, other) = (AccountId::new([1; 32]), AccountId::new([2; 32]));
        let meta = Meta {
            client,
            bytes: 100,
            blake3: Blake3Hash::new([3; 32]),
            comm_p: hpips_proofs::Element::ZERO,
            manifest: cid_v1(RAW, b"m"),
            beside: Vec::new(),
            rows: Vec::new(),
        };
        let upload = Upload {
            proposal: ProposalId::new(1),
            extent: ExtentIndex::new(0),
            slot: SlotIndex::new(0),
            bytes: 100,
            blake3: meta.blake3,
            manifest: meta.manifest,
            blocks: Vec::new(),
        };
        assert!(held(&meta, client, &upload).is_ok());
        assert!(held(&meta, other, &upload).is_err());
        assert!(held(&meta, client, &Upload { bytes: 99, ..upload.clone() }).is_err());
        assert!(held(&meta, client, &Upload { blake3: Blake3Hash::new([4; 32]), ..upload }).is_err());
    }

    #[test]
    fn only_a_full_disk_closes_a_provider_to_draws() {
        for (free, staged, bytes, expected) in [
            (1_000, 0, 50, None),
            (1_000, 1, 50, Some(RefusalCode::Busy)),
            (1_000, u64::MAX, 50, Some(RefusalCode::Busy)),
            (49, 0, 50, Some(RefusalCode::NoSpace)),
        ] {
            assert_eq!(room(free, staged, bytes).err().map(|no| no.code), expected, "{free} {staged}");
        }
    }

    #[test]
    fn one_upload_a_piece() {
        let desk = Arc::new(Desk::default());
        let id = PieceId { deal: DealId::new(1), slot: SlotIndex::new(0) };
        let first = Arriving::begin(&desk, id).unwrap();
        assert!(Arriving::begin(&desk, id).is_none());
        drop(first);
        assert!(Arriving::begin(&desk, id).is_some());
    }
}
