//! What providers sign for clients: receipts and refusals.

use hpips_crypto::sign::{self, SecretKey, SignatureError};
use hpips_proofs::Element;
use hpips_types::{AccountId, Blake3Hash, ChainId, ProposalId, SignatureBytes, SlotIndex, cbor};
use serde::{Deserialize, Serialize};

/// Domain of receipts. Frozen.
pub const RECEIPT_DOMAIN: &str = "hpips/receipt/v1";
/// Domain of refusals. Frozen.
pub const REFUSAL_DOMAIN: &str = "hpips/refusal/v1";

/// "I hold these bytes."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceReceipt {
    /// The chain it is for.
    pub chain: ChainId,
    /// The proposal.
    pub proposal: ProposalId,
    /// The slot.
    pub slot: SlotIndex,
    /// Who holds.
    pub provider: AccountId,
    /// Commitment to the piece, computed by the provider while the bytes came in.
    pub comm_p: Element,
    /// Hash of the piece.
    pub blake3: Blake3Hash,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A receipt and its provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: PieceReceipt,
    /// The provider's signature, domain [`RECEIPT_DOMAIN`].
    pub signature: SignatureBytes,
}

impl PieceReceipt {
    /// Signs as the provider.
    pub fn sign(self, key: &SecretKey) -> SignedReceipt {
        let signature = key.sign(RECEIPT_DOMAIN, &cbor::encode(&self));
        SignedReceipt { receipt: self, signature }
    }
}

impl SignedReceipt {
    /// Checks the provider's signature; the ledger does the same when the deal is activated.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not the provider's.
    pub fn verify(&self) -> Result<(), SignatureError> {
        sign::verify(RECEIPT_DOMAIN, &self.receipt.provider, &cbor::encode(&self.receipt), &self.signature)
    }
}

/// "I do not take this slot."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The chain it is for.
    pub chain: ChainId,
    /// The proposal.
    pub proposal: ProposalId,
    /// The slot.
    pub slot: SlotIndex,
    /// Who refuses.
    pub provider: AccountId,
}

/// A refusal and its provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRefusal {
    /// What is signed.
    pub refusal: Refusal,
    /// The provider's signature, domain [`REFUSAL_DOMAIN`].
    pub signature: SignatureBytes,
}

impl Refusal {
    /// Signs as the provider.
    pub fn sign(self, key: &SecretKey) -> SignedRefusal {
        let signature = key.sign(REFUSAL_DOMAIN, &cbor::encode(&self));
        SignedRefusal { refusal: self, signature }
    }
}

impl SignedRefusal {
    /// Checks the provider's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not the provider's.
    pub fn verify(&self) -> Result<(), SignatureError> {
        sign::verify(REFUSAL_DOMAIN, &self.refusal.provider, &cbor::encode(&self.refusal), &self.signature)
    }
}
