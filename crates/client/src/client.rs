//! The handle.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hpips_chain::{Chain, Wallet, WalletError};
use hpips_ledger::{Operation, query};
use hpips_net::{Multiaddr, Net};
use hpips_store::Store;
use hpips_types::{AccountId, Cid, Height};

/// Longest wait for the state of a block that is final already.
const CAUGHT_UP: Duration = Duration::from_secs(60);

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The network.
    pub net: Net,
    /// The chain.
    pub chain: Chain,
    /// The account's wallet, shared with the provider of the same node.
    pub wallet: Wallet,
    /// The local blocks.
    pub store: Store,
    /// Folder of its own in the repo: pieces on their way out lie here, and check-points.
    pub dir: PathBuf,
}

/// A client. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) parts: Arc<Parts>,
    /// Roots that are being stored now.
    busy: Arc<Mutex<HashSet<Cid>>>,
}

/// While this lives, no other call stores the same root.
#[derive(Debug)]
pub(crate) struct Turn {
    busy: Arc<Mutex<HashSet<Cid>>>,
    root: Cid,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.root);
    }
}

impl Client {
    /// A client of these parts. Touches nothing.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), busy: Arc::default() }
    }

    /// Whose deals it makes.
    pub fn account(&self) -> AccountId {
        self.parts.wallet.account()
    }

    /// The local blocks.
    pub fn local(&self) -> &Store {
        &self.parts.store
    }

    /// Takes the turn to store a root; `None` when another call has it.
    pub(crate) fn turn(&self, root: Cid) -> Option<Turn> {
        let is_free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(root);
        is_free.then(|| Turn { busy: Arc::clone(&self.busy), root })
    }

    /// Who holds slots of the deals of a root, as the chain says, and where each is reached. Dials nobody.
    pub fn holders(&self, root: &Cid) -> Vec<(AccountId, Vec<Multiaddr>)> {
        let state = self.parts.chain.state();
        let deals = query::deals_of_root(&state, root).into_iter();
        let holders: BTreeSet<AccountId> =
            deals.flat_map(|deal| crate::object::holders(&state, deal)).flatten().collect();
        holders.into_iter().map(|holder| (holder, self.addresses(&holder))).collect()
    }

    /// Where a provider is reached, as its pledge says.
    fn addresses(&self, provider: &AccountId) -> Vec<Multiaddr> {
        let pledge = query::pledge(&self.parts.chain.state(), provider);
        // What is no address is of no use; the provider announced it itself.
        let texts = pledge.map(|pledge| pledge.terms.addresses).unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Tells the network where a provider is reached.
    pub(crate) async fn introduce(&self, provider: AccountId) {
        let addresses = self.addresses(&provider);
        if !addresses.is_empty() {
            self.parts.net.address_book(provider, addresses).await;
        }
    }

    /// Executes operations; the finalized state has their effect when it returns.
    pub(crate) async fn execute(&self, operations: Vec<Operation>) -> Result<Height, WalletError> {
        let height = self.parts.wallet.execute(operations).await?;
        self.parts.chain.wait_height(height, CAUGHT_UP).await?;
        Ok(height)
    }

    pub(crate) fn outgoing_dir(&self) -> PathBuf {
        self.parts.dir.join("outgoing")
    }
}
