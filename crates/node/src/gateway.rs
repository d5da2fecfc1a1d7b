//! The gateway beside the API.

use std::net::SocketAddr;
use std::sync::Arc;

use cid::Cid;
use hpips_api::Parts;
use hpips_api::gateway::{self, Config, Source};
use hpips_api::names::Names;
use hpips_client::blocks::Local;
use hpips_client::{BlockGetter, FetchOptions, GetBlockError, NetBlocks};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Blocks of this node: from its store, then from holders and peers.
struct NodeBlocks {
    parts: Parts,
    runtime: Handle,
}

impl Source for NodeBlocks {
    fn local(&self) -> Arc<dyn BlockGetter> {
        Arc::new(Local(self.parts.store.clone()))
    }

    fn below(&self, root: &Cid) -> Result<Arc<dyn BlockGetter>, GetBlockError> {
        let _runtime = self.runtime.enter();
        Ok(match &self.parts.network {
            Some(network) => Arc::new(network.client.blocks_lazily(*root)),
            None => {
                let options = FetchOptions::of(&self.parts.net);
                Arc::new(NetBlocks::new(&self.parts.net, &self.parts.store, Vec::new(), options))
            }
        })
    }
}

/// Listens and answers until `ended`. A port that is taken keeps nobody from using the rest of the node.
pub(crate) async fn start(
    address: SocketAddr,
    parts: &Parts,
    names: Names,
    config: Config,
    mut ended: watch::Receiver<bool>,
) -> Option<(SocketAddr, JoinHandle<()>)> {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                %address, %error,
                "the gateway does not listen; another address: hpips config Addresses.Gateway /ip4/127.0.0.1/tcp/8081"
            );
            return None;
        }
    };
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "the gateway listens");
    let source = Arc::new(NodeBlocks { parts: parts.clone(), runtime: Handle::current() });
    let router = gateway::router(gateway::Parts { source, names: Some(names), config });
    let serving = tokio::spawn(async move {
        let shutdown = async move {
            let _ = ended.wait_for(|end| *end).await;
        };
        if let Err(error) = gateway::serve(listener, router, shutdown).await {
            tracing::warn!(%error, "the gateway ended");
        }
    });
    Some((address, serving))
}
