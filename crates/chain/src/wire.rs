//! What travels between nodes besides the engine's frames: transactions and lane items by gossip, finalized
//! blocks by gossip and by height. All canonical dag-cbor, all bounded before they are decoded.

use hpips_ledger::{Commitment, WindowProof};
use hpips_types::{Height, cbor};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::block::BLOCK_BYTES_MAX;
use crate::scheme::CERTIFICATE_BYTES_MAX;

/// Topic of [`Candidate`]s.
pub(crate) const CANDIDATES_TOPIC: &str = "tx";
/// Topic of [`Finality`].
pub(crate) const BLOCKS_TOPIC: &str = "blocks";
/// Bytes of an encoded candidate at most: a transaction of 64 KiB and its frame.
pub(crate) const CANDIDATE_BYTES_MAX: usize = 65 * 1024;
/// Bytes of blocks in one message at most; more only when a single block is longer.
pub(crate) const RUN_BYTES_MAX: usize = 1 << 20;
/// Blocks in one message at most.
pub(crate) const RUN_BLOCKS_MAX: usize = 64;
/// Bytes of an encoded [`Finality`] or [`BlocksResponse`] at most.
pub(crate) const RUN_MESSAGE_BYTES_MAX: usize =
    RUN_BYTES_MAX + BLOCK_BYTES_MAX + RUN_BLOCKS_MAX * (CERTIFICATE_BYTES_MAX + 64) + 1024;
/// Bytes of an encoded [`BlocksRequest`] at most.
pub(crate) const REQUEST_BYTES_MAX: usize = 64;

/// Something that wants into a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Candidate {
    /// A signed transaction, encoded.
    Transaction(ByteBuf),
    /// A commitment to a window's leaves.
    Commitment(Commitment),
    /// A window's proof.
    Proof(Box<WindowProof>),
}

/// Newly finalized blocks, oldest first. The certificate is about the last; the others are its ancestors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finality {
    pub(crate) blocks: Vec<ByteBuf>,
    pub(crate) certificate: ByteBuf,
}

/// Asks for finalized blocks from a height on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlocksRequest {
    pub(crate) from: Height,
}

/// The blocks asked for, up to one with a certificate, and how far the answering node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlocksResponse {
    pub(crate) tip: Height,
    pub(crate) runs: Vec<Finality>,
}

impl Candidate {
    pub(crate) fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        cbor::decode(bytes, CANDIDATE_BYTES_MAX).ok()
    }
}

impl Finality {
    pub(crate) fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let finality: Self = cbor::decode(bytes, RUN_MESSAGE_BYTES_MAX).ok()?;
        (1..=RUN_BLOCKS_MAX).contains(&finality.blocks.len()).then_some(finality)
    }
}
