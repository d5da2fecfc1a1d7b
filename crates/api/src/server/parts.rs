//! What the endpoints speak for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hpips_chain::{Chain, Wallet};
use hpips_client::{Client, FetchOptions, NetBlocks};
use hpips_net::Net;
use hpips_provider::Provider;
use hpips_store::Store;
use hpips_types::{AccountId, Cid, TokenAmount};
use tokio::sync::watch;

use super::feed::Feed;
use crate::error::{ApiError, ErrorCode, chain_text};
use crate::pinning::Pinning;
use crate::rpc::Settings;

/// How long a request waits for proving keys that are being made for the first time.
const KEYS: Duration = Duration::from_secs(120);

/// What only the process around the rooms can do.
pub trait Host: Send + Sync + 'static {
    /// Mounts `/ipfs` on an empty folder; one at a time. Blocks.
    ///
    /// # Errors
    /// A sentence that says why not, and what to do.
    fn mount(&self, path: &Path) -> Result<(), String>;

    /// Unmounts, if anything is mounted. Blocks.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn unmount(&self) -> Result<(), String>;

    /// Makes the node stop; returns at once.
    fn shut_down(&self);
}

/// The rooms behind the endpoints.
#[derive(Clone)]
pub struct Parts {
    /// The network.
    pub net: Net,
    /// The blocks.
    pub store: Store,
    /// The folder of the repo.
    pub repo: PathBuf,
    /// What a node has that joined a network.
    pub network: Option<Network>,
    /// The process.
    pub host: Arc<dyn Host>,
    /// A person's settings.
    pub settings: Arc<dyn Settings>,
    /// Pins that others asked for.
    pub pinning: Pinning,
}

/// The chain's side of a node.
#[derive(Clone)]
pub struct Network {
    /// The chain.
    pub chain: Chain,
    /// The account.
    pub wallet: Wallet,
    /// The client's role.
    pub client: Client,
    /// The provider's role: absent until the proving keys are there, idle until something is pledged.
    pub provider: watch::Receiver<Option<Provider>>,
    /// Finalized blocks, remembered for a while.
    pub feed: Arc<Feed>,
    /// The genesis committee.
    pub committee: Vec<AccountId>,
    /// What a pledge asks when nothing else is said.
    pub ask: TokenAmount,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("network", &self.network.is_some()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Network {
    /// The provider's role; waits while the proving keys are made.
    pub(super) async fn provider(&self) -> Result<Provider, ApiError> {
        let mut provider = self.provider.clone();
        let started = tokio::time::timeout(KEYS, provider.wait_for(Option::is_some)).await;
        match started {
            Ok(Ok(provider)) => Ok(provider.clone().expect("waited for it")),
            Ok(Err(_)) => Err(ApiError::new(ErrorCode::Failed, "the node has no prover")),
            Err(_) => Err(ApiError::new(ErrorCode::Timeout, "the proving keys are still being made")),
        }
    }
}

impl Parts {
    /// Blocks of a root: the local store, holders known from the chain, connected peers.
    pub(super) async fn blocks(&self, root: Cid) -> Result<NetBlocks, ApiError> {
        match &self.network {
            Some(network) => {
                let blocks = network.client.blocks(root).await;
                blocks.map_err(|error| ApiError::new(ErrorCode::NotFound, chain_text(&error)))
            }
            None => Ok(NetBlocks::new(&self.net, &self.store, Vec::new(), FetchOptions::of(&self.net))),
        }
    }

    pub(super) fn network(&self) -> Result<&Network, ApiError> {
        let missing =
            || ApiError::new(ErrorCode::NoNetwork, "this node joined no network: hpips init --network FILE");
        self.network.as_ref().ok_or_else(missing)
    }
}
