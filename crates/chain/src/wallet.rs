//! One account's transactions, in order.
//!
//! Client and provider of a node act for the same account. Both send through one wallet, which hands out
//! nonces one after the other.

use std::sync::Arc;
use std::time::Duration;

use hpips_crypto::sign::SecretKey;
use hpips_ledger::{Failure, Operation, TX_VERSION, Transaction, base_fee_of, query};
use hpips_types::{AccountId, Height, TokenAmount};
use tokio::sync::Mutex;

use crate::chain::{Chain, WaitError};
use crate::machine::SubmitError;

/// Blocks until a transaction that nobody took is forgotten.
const EXPIRY_BLOCKS: u64 = 64;
/// Signed bytes that the fee limit is computed from beside those of the operations.
const ENVELOPE_BYTES: usize = 512;
/// Times the present base fee that is accepted, since it may rise until inclusion.
const FEE_HEADROOM: u64 = 4;
/// Longest wait for inclusion: the expiry at slow blocks, and the catching up of this node.
const INCLUSION: Duration = Duration::from_secs(300);

/// Why operations did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The transaction was not taken.
    #[error("the transaction was refused")]
    Submit(#[from] SubmitError),
    /// It was taken and is not in a block yet; it still may come.
    #[error("the transaction is not in a block yet")]
    Wait(#[from] WaitError),
    /// It is in a block and had no effect but its fee.
    #[error("operation {operation} of the transaction failed at height {height}")]
    Failed {
        /// Which operation, from 0.
        operation: u8,
        /// The block.
        height: Height,
        /// Why.
        #[source]
        source: Failure,
    },
}

impl WalletError {
    /// Why the ledger refused, if it did.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Failed { source, .. } => Some(*source),
            Self::Submit(_) | Self::Wait(_) => None,
        }
    }
}

/// Sends one account's operations. Clones are handles to the same wallet.
#[derive(Clone)]
pub struct Wallet {
    chain: Chain,
    key: Arc<SecretKey>,
    /// Held from the choice of a nonce until the transaction is in the pool.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallet").field("account", &self.account()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// The wallet of a key.
    pub fn new(chain: Chain, key: SecretKey) -> Self {
        Self { chain, key: Arc::new(key), turn: Arc::default() }
    }

    /// Whose it is.
    pub fn account(&self) -> AccountId {
        self.key.account()
    }

    /// The key, for signatures that are no transactions.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The chain it acts on.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Sends operations as one transaction and waits until a finalized block has executed them. Dropping the
    /// future does not take the transaction back.
    ///
    /// # Errors
    /// [`WalletError`] by variant.
    pub async fn execute(&self, ops: Vec<Operation>) -> Result<Height, WalletError> {
        let id = {
            let _turn = self.turn.lock().await;
            let state = self.chain.state();
            let head = query::head(&state);
            let bytes = hpips_types::cbor::encode(&ops).len() + ENVELOPE_BYTES;
            let max_fee = base_fee_of(head.base_fee, bytes).get().saturating_mul(FEE_HEADROOM);
            let body = Transaction {
                v: TX_VERSION,
                chain: self.chain.id(),
                from: self.account(),
                nonce: self.chain.next_nonce(&self.account()),
                expires: head.height.plus(EXPIRY_BLOCKS),
                tip: TokenAmount::ZERO,
                max_fee: TokenAmount::new(max_fee),
                ops,
            };
            self.chain.submit(body.sign(&self.key)).await?
        };
        let row = self.chain.wait_tx(id, INCLUSION).await?;
        match row.failure {
            None => Ok(row.height),
            Some((operation, source)) => Err(WalletError::Failed { operation, height: row.height, source }),
        }
    }
}
