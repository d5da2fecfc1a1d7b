//! What client and provider say to each other around a piece, as frames of canonical dag-cbor on a stream of
//! [`protocol`].
//!
//! ```text
//! client                                   provider
//! Request::Upload          ->
//!                          <-              Reply::Accepted | Reply::Refused
//! bulk::send_piece         ->              bulk::receive_piece
//!                          <-              Reply::Receipt | Reply::Refused
//!
//! Request::Read            ->
//!                          <-              Reply::Accepted | Reply::Refused
//! bulk::receive_range      <-              bulk::send_range
//! ```
//!
//! Receipts and refusals are signed in `ledger`'s own form; here they are bytes.

use hpips_types::cbor::{self, CborError};
use hpips_types::{Blake3Hash, Cid, DealId, ExtentIndex, ProposalId, SlotIndex};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::wire::{FrameError, read_frame, write_frame};

/// Name of the protocol; the network's name keeps nodes of different chains apart.
pub fn protocol(network: &str) -> String {
    format!("/hpips/{network}/piece/1")
}

/// Longest frame of this protocol, bytes; a manifest and the interior nodes travel in one.
pub const FRAME_BYTES_MAX: usize = 8 << 20;

/// The beginning of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The client has the piece of a slot for this provider.
    Upload(Upload),
    /// Bytes of a stored piece, for repair and audit.
    Read(Read),
}

/// A piece to take in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The open proposal it belongs to.
    pub proposal: ProposalId,
    /// Which extent of the object.
    pub extent: ExtentIndex,
    /// Which slot.
    pub slot: SlotIndex,
    /// Length of the piece, bytes.
    pub bytes: u64,
    /// BLAKE3 of the piece.
    pub blake3: Blake3Hash,
    /// CID of the object's manifest.
    pub manifest: Cid,
    /// Blocks every holder keeps beside its piece: manifest, index nodes, root and interior nodes.
    pub blocks: Vec<NamedBlock>,
}

/// A block with its CID, which the receiver verifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedBlock {
    /// Its CID.
    pub cid: Cid,
    /// Its bytes.
    pub data: ByteBuf,
}

/// A range of a stored piece to send back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The deal.
    pub deal: DealId,
    /// Which extent of the object.
    pub extent: ExtentIndex,
    /// Which slot; one provider may hold several over time.
    pub slot: SlotIndex,
    /// First byte.
    pub start: u64,
    /// Byte behind the last.
    pub end: u64,
}

/// The answer to a request, and after an upload the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Go on with the bulk transfer.
    Accepted(Accepted),
    /// The piece is held; the provider's signed receipt.
    Receipt(ByteBuf),
    /// No, and why.
    Refused(Refused),
}

/// What is about to be transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Length of the piece, bytes.
    pub bytes: u64,
    /// BLAKE3 of the piece.
    pub blake3: Blake3Hash,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub code: RefusalCode,
    /// For people; names no secrets of the provider.
    pub reason: String,
    /// The provider's signed refusal, with which the client may go on without it; empty where none is given.
    pub signed: ByteBuf,
}

/// Why a provider refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// No such open proposal, or this provider was not drawn for the slot. May change with the next block.
    NotDrawn,
    /// No room, or more staged for this client than it may have.
    NoSpace,
    /// The request contradicts the proposal or itself.
    Invalid,
    /// Not held here.
    NotFound,
    /// Too much to do; try again later.
    Busy,
    /// The provider closes.
    Closing,
}

/// Sends a request or a reply.
///
/// # Errors
/// [`FrameError`] as [`write_frame`].
pub async fn send<W: AsyncWrite + Unpin, M: Serialize>(
    stream: &mut W,
    message: &M,
) -> Result<(), FrameError> {
    write_frame(stream, &cbor::encode(message), FRAME_BYTES_MAX).await
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The stream failed or the frame was too long.
    #[error("the conversation broke off")]
    Frame(#[from] FrameError),
    /// The peer ended the stream.
    #[error("the peer ended the conversation")]
    Ended,
    /// Not a message.
    #[error("the peer sent something that is no message")]
    Malformed(#[from] CborError),
}

/// Receives a request or a reply; the caller sets the deadline.
///
/// # Errors
/// [`ReceiveError`] by variant.
pub async fn receive<R: AsyncRead + Unpin, M: Serialize + DeserializeOwned>(
    stream: &mut R,
) -> Result<M, ReceiveError> {
    let frame = read_frame(stream, FRAME_BYTES_MAX).await?.ok_or(ReceiveError::Ended)?;
    Ok(cbor::decode(&frame, FRAME_BYTES_MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpips_types::content::{RAW, cid_v1};

    #[tokio::test]
    async fn messages_round_trip() {
        let (mut a, mut b) = tokio::io::duplex(1 << 16);
        let cid = cid_v1(RAW, b"m");
        let upload = Request::Upload(Upload {
            proposal: ProposalId::new(7),
            extent: ExtentIndex::ZERO,
            slot: SlotIndex::new(3),
            bytes: 1 << 30,
            blake3: Blake3Hash::new([9; 32]),
            manifest: cid,
            blocks: vec![NamedBlock { cid, data: ByteBuf::from(b"m".to_vec()) }],
        });
        let read = Request::Read(Read {
            deal: DealId::new(1),
            extent: ExtentIndex::ZERO,
            slot: SlotIndex::ZERO,
            start: 5,
            end: 6,
        });
        for request in [upload, read] {
            send(&mut a, &request).await.unwrap();
            assert_eq!(receive::<_, Request>(&mut b).await.unwrap(), request);
        }
        let refused = Reply::Refused(Refused {
            code: RefusalCode::NoSpace,
            reason: "full".into(),
            signed: ByteBuf::from(vec![1, 2]),
        });
        for reply in [refused, Reply::Receipt(ByteBuf::from(vec![3]))] {
            send(&mut a, &reply).await.unwrap();
            assert_eq!(receive::<_, Reply>(&mut b).await.unwrap(), reply);
        }
        write_frame(&mut a, b"\xa1\x61x\x01", 100).await.unwrap();
        assert!(matches!(receive::<_, Reply>(&mut b).await, Err(ReceiveError::Malformed(_))));
    }
}
