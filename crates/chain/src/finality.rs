//! Finalized blocks as they travel to those who do not vote: announced by gossip, served by height, checked
//! with the group key.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hpips_net::Publisher;
use hpips_types::{Height, Sha256Digest, cbor};
use serde_bytes::ByteBuf;
use tracing::debug;

use crate::block::{Block, BlockError};
use crate::machine::Machine;
use crate::scheme::{Certificate, CertificateError, CertificateVerifier};
use crate::state::{StoreError, StoredBlock};
use crate::wire::{
    BlocksRequest, BlocksResponse, Finality, REQUEST_BYTES_MAX, RUN_BLOCKS_MAX, RUN_BYTES_MAX,
};

/// Longest time an announcement may take; the engine waits for it.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// Tells followers about new blocks.
pub(crate) struct Announcer {
    publisher: Publisher,
    /// Final blocks without a certificate of their own, oldest first: they go with the next that has one.
    waiting: VecDeque<Block>,
}

impl Announcer {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self { publisher, waiting: VecDeque::new() }
    }

    /// Publishes the block when its certificate is known. Losing a message is no harm: followers fetch
    /// what they miss.
    pub(crate) async fn announce(&mut self, block: Block, certificate: Option<Certificate>) {
        self.waiting.push_back(block);
        let bytes: usize = self.waiting.iter().map(|block| block.bytes().len()).sum();
        if self.waiting.len() > RUN_BLOCKS_MAX || (self.waiting.len() > 1 && bytes > RUN_BYTES_MAX) {
            self.waiting.clear();
            return;
        }
        let Some(certificate) = certificate else { return };
        let blocks = self.waiting.drain(..).map(|block| ByteBuf::from(block.bytes().to_vec())).collect();
        let finality = Finality { blocks, certificate: ByteBuf::from(certificate.encode()) };
        let published = self.publisher.publish(Bytes::from(finality.encode()));
        match tokio::time::timeout(ANNOUNCE, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "finalized block not announced"),
            Err(_) => debug!("finalized block not announced in time"),
        }
    }
}

/// Why finalized blocks from a peer are worth nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("a block is malformed")]
    Block(#[from] BlockError),
    #[error("the certificate is worth nothing")]
    Certificate(#[from] CertificateError),
    #[error("block at {0} does not follow the one before")]
    Order(Height),
    #[error("no block")]
    Empty,
}

/// Blocks that the committee made final, in order.
pub(crate) struct Run {
    pub(crate) blocks: Vec<Block>,
    pub(crate) certificate: Certificate,
}

impl Run {
    /// Reads blocks and certificate; nothing is verified yet but form, and that each block follows the one
    /// before.
    pub(crate) fn decode(finality: Finality) -> Result<Self, RunError> {
        let certificate = Certificate::decode(&finality.certificate)?;
        let mut blocks: Vec<Block> = Vec::with_capacity(finality.blocks.len());
        for bytes in finality.blocks {
            let block = Block::decode(Bytes::from(bytes.into_vec()))?;
            if let Some(before) = blocks.last()
                && (block.height() != before.height().next() || block.parent() != before.digest())
            {
                return Err(RunError::Order(block.height()));
            }
            blocks.push(block);
        }
        let last = blocks.last().ok_or(RunError::Empty)?;
        if certificate.digest() != last.digest() {
            return Err(RunError::Certificate(CertificateError::OtherBlock));
        }
        Ok(Self { blocks, certificate })
    }

    pub(crate) fn first_height(&self) -> Height {
        self.blocks.first().map_or(Height::ZERO, Block::height)
    }

    /// Checks that the blocks go on from the head and that the certificate is the committee's.
    pub(crate) fn verify(
        &self,
        head: (Height, Sha256Digest),
        certificates: &CertificateVerifier,
    ) -> Result<(), RunError> {
        let first = self.blocks.first().ok_or(RunError::Empty)?;
        if first.height() != head.0.next() || first.parent() != head.1 {
            return Err(RunError::Order(first.height()));
        }
        Ok(certificates.verify(&self.certificate)?)
    }
}

/// Answers a request for blocks; `None` for a malformed one.
pub(crate) async fn answer(machine: Weak<Machine>, question: Vec<u8>) -> Option<Vec<u8>> {
    let request: BlocksRequest = cbor::decode(&question, REQUEST_BYTES_MAX).ok()?;
    let machine = machine.upgrade()?;
    let response = tokio::task::spawn_blocking(move || collect(&machine, request.from)).await.ok()?;
    match response {
        Ok(response) => Some(cbor::encode(&response)),
        Err(error) => {
            tracing::error!(error = ?error, "cannot read finalized blocks");
            None
        }
    }
}

fn collect(machine: &Arc<Machine>, from: Height) -> Result<BlocksResponse, StoreError> {
    let tip = machine.height();
    let mut runs = Vec::new();
    let mut blocks: Vec<ByteBuf> = Vec::new();
    let (mut bytes, mut count) = (0, 0);
    let mut height = Height::new(from.get().max(1));
    while height <= tip && count < RUN_BLOCKS_MAX {
        let Some(StoredBlock { block, certificate }) = machine.store().block(height)? else { break };
        if bytes + block.len() > RUN_BYTES_MAX && count > 0 {
            break;
        }
        bytes += block.len();
        count += 1;
        blocks.push(ByteBuf::from(block));
        if let Some(certificate) = certificate {
            let blocks = std::mem::take(&mut blocks);
            runs.push(Finality { blocks, certificate: ByteBuf::from(certificate) });
        }
        height = height.next();
    }
    Ok(BlocksResponse { tip, runs })
}
