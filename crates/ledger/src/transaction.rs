//! Transactions and their signed form.

use hpips_crypto::sign::SecretKey;
use hpips_types::content::sha256;
use hpips_types::{AccountId, ChainId, Height, SignatureBytes, TokenAmount, TxId, cbor};
use serde::{Deserialize, Serialize};

use crate::error::Malformed;
use crate::operation::{OPERATIONS_MAX, Operation};
use crate::statement::Statement;

/// Domain of transactions. Frozen.
pub const TX_DOMAIN: &str = "hpips/tx/v1";
/// Version of [`Transaction`].
pub const TX_VERSION: u8 = 1;
/// Bytes of a signed transaction at most.
pub const TX_BYTES_MAX: usize = 64 * 1024;
/// A transaction expires at most so many blocks ahead, so that it can be forgotten.
pub const EXPIRY_BLOCKS_MAX: u64 = 4_096;

/// What an account wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// [`TX_VERSION`].
    pub v: u8,
    /// The chain it is for.
    pub chain: ChainId,
    /// Who pays and acts.
    pub from: AccountId,
    /// Transactions this account made before.
    pub nonce: u64,
    /// Last height that may contain it.
    pub expires: Height,
    /// Nano to the proposer.
    pub tip: TokenAmount,
    /// Most nano to be paid in fees, tip included.
    pub max_fee: TokenAmount,
    /// What it does, in order.
    pub ops: Vec<Operation>,
}

/// A transaction and its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What is signed.
    pub body: Transaction,
    /// The sender's signature, domain [`TX_DOMAIN`].
    pub signature: SignatureBytes,
}

impl Transaction {
    /// Signs as the sender.
    pub fn sign(self, key: &SecretKey) -> Signed {
        let signature = key.sign(TX_DOMAIN, &cbor::encode(&self));
        Signed { body: self, signature }
    }
}

impl Signed {
    /// The canonical bytes, as they travel and stand in blocks.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a transaction from outside.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are not the canonical form, another version, no or too many operations.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let signed: Self = cbor::decode(bytes, TX_BYTES_MAX).map_err(Malformed::Encoding)?;
        if signed.body.v != TX_VERSION {
            return Err(Malformed::Version(signed.body.v));
        }
        if signed.body.ops.is_empty() || signed.body.ops.len() > OPERATIONS_MAX {
            return Err(Malformed::Operations(signed.body.ops.len()));
        }
        Ok(signed)
    }

    /// What names the transaction.
    pub fn id(&self) -> TxId {
        Self::id_of(&self.encode())
    }

    /// The id of encoded bytes.
    pub fn id_of(bytes: &[u8]) -> TxId {
        TxId::new(sha256(bytes).to_bytes())
    }

    /// The statement that the sender signed.
    pub fn statement(&self) -> Statement {
        Statement::Signature {
            domain: TX_DOMAIN,
            account: self.body.from,
            message: cbor::encode(&self.body),
            signature: self.signature,
        }
    }
}
