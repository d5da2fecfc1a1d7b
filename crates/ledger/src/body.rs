//! The body of a chain block: beacons, the lane of commitments and proofs, transactions.

use hpips_crypto::sign::SecretKey;
use hpips_proofs::{Element, ProofBytes};
use hpips_types::{
    AccountId, ChainId, Height, SetId, SignatureBytes, ThresholdSignature, View, WindowIndex, cbor,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::error::Malformed;
use crate::statement::Statement;

/// Bytes of an encoded body at most; the header around it stays below the difference to 1 MiB.
pub const BODY_BYTES_MAX: usize = (1 << 20) - 4_096;
/// Native Poseidon2 permutations that a block may cost.
pub const PERMUTATIONS_MAX: u64 = 8_192;
/// Beacons a block carries at most.
pub const BEACONS_MAX: usize = 32;
/// Domain of commitments. Frozen.
pub const COMMITMENT_DOMAIN: &str = "hpips/commitment/v1";

/// What a block does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Beacons, ascending by opening.
    pub beacons: Vec<Beacon>,
    /// Commitments, ascending by set.
    pub commitments: Vec<Commitment>,
    /// Proofs, ascending by set, then window.
    pub proofs: Vec<WindowProof>,
    /// Signed transactions, encoded, in order of execution.
    pub transactions: Vec<ByteBuf>,
}

impl Body {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a body from outside.
    ///
    /// # Errors
    /// [`Malformed::Encoding`] for anything but the canonical form of at most [`BODY_BYTES_MAX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        cbor::decode(bytes, BODY_BYTES_MAX).map_err(Malformed::Encoding)
    }
}

/// Where a block stands; comes from the consensus engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// Its height, from 1.
    pub height: Height,
    /// The view it was proposed in.
    pub view: View,
    /// Who proposed it and gets the tips.
    pub proposer: AccountId,
}

/// The randomness of one opening height: the threshold signature of the view fixed when it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The opening it belongs to.
    pub opening: Height,
    /// `view(opening) + lag_views`.
    pub view: View,
    /// The threshold signature of that view.
    pub signature: ThresholdSignature,
}

/// A provider's commitment to the leaves a window challenges. Free; one for each set and window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The chain it is for.
    pub chain: ChainId,
    /// The set.
    pub set: SetId,
    /// The window.
    pub window: WindowIndex,
    /// Commitment to the challenged leaves.
    pub leaf_commitment: Element,
    /// The provider's signature over the fields above, domain [`COMMITMENT_DOMAIN`].
    pub signature: SignatureBytes,
}

#[derive(Serialize)]
struct CommitmentMessage {
    chain: ChainId,
    set: SetId,
    window: WindowIndex,
    leaf_commitment: Element,
}

impl Commitment {
    /// Signs as the provider of the set.
    pub fn sign(
        chain: ChainId,
        set: SetId,
        window: WindowIndex,
        leaf_commitment: Element,
        key: &SecretKey,
    ) -> Self {
        let message = cbor::encode(&CommitmentMessage { chain, set, window, leaf_commitment });
        Self { chain, set, window, leaf_commitment, signature: key.sign(COMMITMENT_DOMAIN, &message) }
    }

    /// The statement that the provider signed.
    pub fn statement(&self) -> Statement {
        let Self { chain, set, window, leaf_commitment, signature } = *self;
        let message = cbor::encode(&CommitmentMessage { chain, set, window, leaf_commitment });
        Statement::Signature { domain: COMMITMENT_DOMAIN, account: set.provider, message, signature }
    }
}

/// The proof of a window. Free; one for each set and window. Needs no signature: the statement names provider
/// and payee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowProof {
    /// The set.
    pub set: SetId,
    /// The window that is open, or the missed one that the set owes.
    pub window: WindowIndex,
    /// For a missed window, the commitment to its challenged leaves; `None` where it was posted in time.
    pub late: Option<Element>,
    /// The proof.
    pub proof: ProofBytes,
}
