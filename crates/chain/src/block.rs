//! The chain block: canonical dag-cbor whose SHA-256 is the digest that consensus agrees on, so that a
//! certificate names a CID. Diagram: docs/formats/chain-block.md.

use bytes::{BufMut, Bytes};
use commonware_codec::{Buf, EncodeSize, Error as CodecError, RangeCfg, Read, Write};
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::{Round, View as EngineView};
use commonware_consensus::{BoundedBlock, CertifiableBlock, Heightable};
use commonware_cryptography::Digestible;
use hpips_ledger::Body;
use hpips_types::content::{DAG_CBOR, cid_v1_of_digest, sha256};
use hpips_types::{AccountId, ChainId, Cid, Height, Sha256Digest, View, cbor};
use serde::{Deserialize, Serialize};

use crate::scheme::{Digest, EPOCH, PublicKey, account_of, from_digest, public_key, to_digest};

/// Bytes of an encoded block at most (DESIGN 7).
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Version written into every block.
const BLOCK_VERSION: u8 = 1;

/// A chain block with its bytes and digest. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Block {
    content: std::sync::Arc<Content>,
    leader: PublicKey,
    bytes: Bytes,
    digest: Sha256Digest,
}

/// What is encoded. Field names are part of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    v: u8,
    chain: ChainId,
    context: Proposed,
    /// Link to the parent: the history is one DAG down to the genesis document.
    parent: Cid,
    height: Height,
    state_root: Sha256Digest,
    body: Body,
}

/// Under which circumstances a block was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposed {
    pub(crate) epoch: u64,
    pub(crate) view: View,
    pub(crate) leader: AccountId,
    pub(crate) parent_view: View,
    pub(crate) parent: Sha256Digest,
}

impl Proposed {
    pub(crate) fn from_context(context: &Context<Digest, PublicKey>) -> Self {
        Self {
            epoch: context.round.epoch().get(),
            view: View::new(context.round.view().get()),
            leader: account_of(&context.leader),
            parent_view: View::new(context.parent.0.get()),
            parent: from_digest(&context.parent.1),
        }
    }
}

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Not canonical dag-cbor of a block, or too long.
    #[error("not the canonical form of a chain block")]
    Form(#[source] cbor::CborError),
    /// A version this program does not know.
    #[error("block version {0} is unknown")]
    Version(u8),
    /// The leader is not an ed25519 key.
    #[error("the leader {0} is not an ed25519 key")]
    Leader(AccountId),
    /// The link to the parent names another block than the context.
    #[error("the parent link {0} is not the parent of the context")]
    Parent(Box<Cid>),
    /// An epoch that does not exist.
    #[error("epoch {0} does not exist")]
    Epoch(u64),
}

fn link(digest: Sha256Digest) -> Cid {
    cid_v1_of_digest(DAG_CBOR, digest)
}

impl Block {
    /// The block before the first: its parent is the genesis document, its state the genesis rows. It is
    /// computed by every node and never sent.
    ///
    /// # Panics
    /// When `validator` is not an ed25519 key, which genesis checks.
    pub(crate) fn genesis(chain: ChainId, validator: AccountId, state_root: Sha256Digest) -> Self {
        let parent = Sha256Digest::new(chain.to_bytes());
        let context = Proposed {
            epoch: EPOCH.get(),
            view: View::ZERO,
            leader: validator,
            parent_view: View::ZERO,
            parent,
        };
        Self::new(chain, context, Height::ZERO, state_root, Body::default())
            .expect("genesis names a validator's key and is small")
    }

    /// Encodes a block; `None` when it is longer than [`BLOCK_BYTES_MAX`] or its leader is not a key.
    pub(crate) fn new(
        chain: ChainId,
        context: Proposed,
        height: Height,
        state_root: Sha256Digest,
        body: Body,
    ) -> Option<Self> {
        let leader = public_key(&context.leader)?;
        let content = Content {
            v: BLOCK_VERSION,
            chain,
            context,
            parent: link(context.parent),
            height,
            state_root,
            body,
        };
        let bytes = Bytes::from(cbor::encode(&content));
        let digest = sha256(&bytes);
        (bytes.len() <= BLOCK_BYTES_MAX).then(|| Self { content: content.into(), leader, bytes, digest })
    }

    /// Reads a block and refuses every form but the canonical one.
    ///
    /// # Errors
    /// [`BlockError`] by variant.
    pub fn decode(bytes: Bytes) -> Result<Self, BlockError> {
        let content: Content = cbor::decode(&bytes, BLOCK_BYTES_MAX).map_err(BlockError::Form)?;
        if content.v != BLOCK_VERSION {
            return Err(BlockError::Version(content.v));
        }
        if content.context.epoch != EPOCH.get() {
            return Err(BlockError::Epoch(content.context.epoch));
        }
        if content.parent != link(content.context.parent) {
            return Err(BlockError::Parent(Box::new(content.parent)));
        }
        let leader = public_key(&content.context.leader).ok_or(BlockError::Leader(content.context.leader))?;
        let digest = sha256(&bytes);
        Ok(Self { content: content.into(), leader, bytes, digest })
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The block's name on the content network.
    pub fn cid(&self) -> Cid {
        link(self.digest)
    }

    /// The chain it belongs to.
    pub fn chain(&self) -> ChainId {
        self.content.chain
    }

    /// Its position.
    pub fn height(&self) -> Height {
        self.content.height
    }

    /// The view in which it was proposed.
    pub fn view(&self) -> View {
        self.content.context.view
    }

    /// Who proposed it.
    pub fn proposer(&self) -> AccountId {
        self.content.context.leader
    }

    /// Digest of the parent.
    pub fn parent(&self) -> Sha256Digest {
        self.content.context.parent
    }

    /// Root of the state after this block.
    pub fn state_root(&self) -> Sha256Digest {
        self.content.state_root
    }

    /// Beacons, transactions, commitments and proofs.
    pub fn body(&self) -> &Body {
        &self.content.body
    }

    pub(crate) fn context(&self) -> Proposed {
        self.content.context
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Block {}

/// On the engine's channels a block is a length and its dag-cbor.
impl Write for Block {
    fn write(&self, out: &mut impl BufMut) {
        self.bytes.write(out);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        self.bytes.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(input: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let bytes = Bytes::read_cfg(input, &RangeCfg::from(0..=BLOCK_BYTES_MAX))?;
        Self::decode(bytes).map_err(|error| CodecError::Wrapped("chain block", Box::new(error)))
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        to_digest(self.digest)
    }
}

impl Heightable for Block {
    fn height(&self) -> commonware_consensus::types::Height {
        commonware_consensus::types::Height::new(self.content.height.get())
    }
}

impl commonware_consensus::Block for Block {
    fn parent(&self) -> Digest {
        to_digest(self.content.context.parent)
    }
}

impl CertifiableBlock for Block {
    type Context = Context<Digest, PublicKey>;

    fn context(&self) -> Self::Context {
        let context = &self.content.context;
        Context {
            round: Round::new(EPOCH, EngineView::new(context.view.get())),
            leader: self.leader.clone(),
            parent: (EngineView::new(context.parent_view.get()), to_digest(context.parent)),
        }
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        /// The widest length prefix.
        const PREFIX_BYTES: usize = 5;
        BLOCK_BYTES_MAX + PREFIX_BYTES
    }
}
