//! One piece to one holder: the client's side of `net::piece`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hpips_ledger::{SignedReceipt, SignedRefusal};
use hpips_net::bulk::{self, BulkError, Outboard, Spec};
use hpips_net::piece::{self, NamedBlock, ReceiveError, RefusalCode, Reply, Request, Upload};
use hpips_net::{FrameError, Net, OpenError};
use hpips_types::{AccountId, ChainId, Cid, ExtentIndex, ProposalId, SlotIndex, cbor};
use tokio::time::timeout;

/// Longest wait for the first answer: a provider a few blocks behind waits for the draw itself.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for the receipt after the last byte: the provider checks every block and commits.
const RECEIPT: Duration = Duration::from_secs(600);
/// Longest signed receipt or refusal, bytes.
const SIGNED_BYTES_MAX: usize = 4096;

/// A piece on its way.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) chain: ChainId,
    /// Name of the protocol.
    pub(crate) protocol: String,
    pub(crate) proposal: ProposalId,
    pub(crate) extent: ExtentIndex,
    pub(crate) slot: SlotIndex,
    pub(crate) manifest: Cid,
    /// What every holder keeps beside its piece.
    pub(crate) beside: Arc<Vec<NamedBlock>>,
    pub(crate) path: PathBuf,
    pub(crate) outboard: Arc<Outboard>,
}

impl Order {
    fn spec(&self) -> Spec {
        self.outboard.spec()
    }
}

/// Why a holder has no receipt for us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Not reached.
    #[error("the holder is not reached")]
    Open(#[from] OpenError),
    /// The conversation broke off.
    #[error("the conversation broke off")]
    Send(#[from] FrameError),
    /// As before, or no message.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The bytes did not get through.
    #[error("the piece did not get through")]
    Bulk(#[from] BulkError),
    /// No answer in time.
    #[error("no answer in time")]
    Silent,
    /// The holder refused.
    #[error("the holder refused: {reason}")]
    Refused { code: RefusalCode, reason: String, signed: Option<Box<SignedRefusal>> },
    /// What the holder answered is not for this piece, or not signed by it.
    #[error("the holder's answer is not for this piece")]
    Foreign,
    /// The receipt names another commitment than ours.
    #[error("the holder commits to other bytes")]
    Commitment,
}

impl UploadError {
    /// Whether the same holder may take the piece when asked again.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Open(error) => !matches!(error, OpenError::Closed | OpenError::Name(_)),
            Self::Send(_) | Self::Receive(_) | Self::Silent => true,
            Self::Bulk(error) => error.is_transient(),
            Self::Refused { code, signed, .. } => {
                signed.is_none()
                    && matches!(code, RefusalCode::NotDrawn | RefusalCode::Busy | RefusalCode::Closing)
            }
            Self::Foreign | Self::Commitment => false,
        }
    }

    /// The holder's signed refusal, if it gave one.
    pub(crate) fn into_refusal(self) -> Option<SignedRefusal> {
        match self {
            Self::Refused { signed, .. } => signed.map(|signed| *signed),
            _ => None,
        }
    }
}

/// Brings a piece to a holder. Returns its receipt, of which everything is checked but the commitment. What an
/// earlier attempt brought is not sent again. Dropping the future cuts the transfer.
pub(crate) async fn upload(
    net: &Net,
    holder: AccountId,
    order: &Order,
) -> Result<SignedReceipt, UploadError> {
    let mut stream = net.open(holder, &order.protocol).await?;
    let spec = order.spec();
    let request = Request::Upload(Upload {
        proposal: order.proposal,
        extent: order.extent,
        slot: order.slot,
        bytes: spec.bytes,
        blake3: spec.hash,
        manifest: order.manifest,
        blocks: order.beside.as_ref().clone(),
    });
    piece::send(&mut stream, &request).await?;
    let silent = |_| UploadError::Silent;
    match timeout(ANSWER, piece::receive::<_, Reply>(&mut stream)).await.map_err(silent)?? {
        Reply::Accepted(accepted) if (accepted.bytes, accepted.blake3) == (spec.bytes, spec.hash) => {}
        Reply::Accepted(_) => return Err(UploadError::Foreign),
        Reply::Receipt(receipt) => return check(order, holder, &receipt),
        Reply::Refused(refused) => return Err(refusal(order, holder, refused)),
    }
    bulk::send_piece(&mut stream, &order.path, &order.outboard).await?;
    match timeout(RECEIPT, piece::receive::<_, Reply>(&mut stream)).await.map_err(silent)?? {
        Reply::Receipt(receipt) => check(order, holder, &receipt),
        Reply::Refused(refused) => Err(refusal(order, holder, refused)),
        Reply::Accepted(_) => Err(UploadError::Foreign),
    }
}

fn check(order: &Order, holder: AccountId, bytes: &[u8]) -> Result<SignedReceipt, UploadError> {
    let signed: SignedReceipt = cbor::decode(bytes, SIGNED_BYTES_MAX).map_err(|_| UploadError::Foreign)?;
    let receipt = &signed.receipt;
    let spec = order.spec();
    let is_ours = (receipt.chain, receipt.proposal, receipt.slot)
        == (order.chain, order.proposal, order.slot)
        && receipt.provider == holder
        && (receipt.bytes, receipt.blake3) == (spec.bytes, spec.hash);
    if is_ours && signed.verify().is_ok() { Ok(signed) } else { Err(UploadError::Foreign) }
}

/// A refusal counts as signed only when it is for this very slot: anything else would be paid for as an
/// unsigned one in any case.
fn refusal(order: &Order, holder: AccountId, refused: piece::Refused) -> UploadError {
    let signed = cbor::decode::<SignedRefusal>(&refused.signed, SIGNED_BYTES_MAX).ok().filter(|signed| {
        let refusal = &signed.refusal;
        (refusal.chain, refusal.proposal, refusal.slot) == (order.chain, order.proposal, order.slot)
            && refusal.provider == holder
            && signed.verify().is_ok()
    });
    UploadError::Refused { code: refused.code, reason: refused.reason, signed: signed.map(Box::new) }
}

#[cfg(test)]
mod tests;
