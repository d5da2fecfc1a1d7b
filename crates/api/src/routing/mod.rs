//! Who has a block, where a peer is, what a name's record says: asked of everybody that can know.
//!
//! [`Routers`] joins the sources: this node itself, holders that the chain names, the DHT, and routers elsewhere that are asked
//! over HTTP ([`Delegated`]). `server` answers the same questions to others, as
//! <https://specs.ipfs.tech/routing/http-routing-v1/> has them. Nothing that a router says is believed: an address leads
//! to a peer that has to prove its name, a record is checked against its own.

mod delegated;
mod filter;
pub(crate) mod json;
pub(crate) mod server;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cid::Cid;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use futures::{FutureExt, StreamExt};
use hpips_ipns::{Moment, Name, Record};
use hpips_ledger::query;
use hpips_net::identity::{account_of, peer_of};
use hpips_net::{FindProviders, Multiaddr, Net, PeerId, Provider, Routing, RoutingError};
use hpips_store::Store;
use tokio::sync::mpsc;

pub use delegated::{Delegated, DelegatedError};

use crate::server::Network;

/// Peers of one search that wait for whoever asked.
const PEERS_AHEAD: usize = 16;
/// Peers of one search at most.
const PEERS_MAX: usize = 1000;
/// How long one router may take for one question.
pub(crate) const ROUTER_WAIT: Duration = Duration::from_secs(10);
/// Said of peers that speak bitswap.
const BITSWAP: &str = "transport-bitswap";

/// A peer, as routers speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Its name.
    pub peer: PeerId,
    /// Where it listens, without its name; empty when that is not known.
    pub addresses: Vec<Multiaddr>,
    /// What it is known to speak; empty when that is not known.
    pub protocols: Vec<String>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This node and what it is part of. What others ask goes no further, or two nodes that ask each other would
    /// never end.
    Own,
    /// The routers of the configuration too.
    All,
}

/// A running node as a source.
struct Own {
    net: Net,
    store: Store,
    network: Option<Network>,
}

/// Routers elsewhere, without this node.
#[derive(Debug)]
struct Elsewhere(Vec<Delegated>);

impl FindProviders for Elsewhere {
    fn find_providers(&self, cid: Cid, found: mpsc::Sender<Provider>) -> BoxFuture<'static, ()> {
        let routers = self.0.clone();
        async move {
            let mut asked: FuturesUnordered<_> = routers.iter().map(|router| router.providers(cid)).collect();
            while let Some(records) = asked.next().await {
                for PeerRecord { peer, addresses, .. } in records {
                    if found.send(Provider { peer, addresses }).await.is_err() {
                        return;
                    }
                }
            }
        }
        .boxed()
    }
}

/// All sources. Clones share them.
#[derive(Clone)]
pub struct Routers(Arc<Inner>);

struct Inner {
    own: Option<Own>,
    delegated: Vec<Delegated>,
}

impl std::fmt::Debug for Routers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routers").field("delegated", &self.0.delegated).finish_non_exhaustive()
    }
}

impl Routers {
    /// Nobody, of a repo that no node runs on.
    pub fn none() -> Self {
        Self(Arc::new(Inner { own: None, delegated: Vec::new() }))
    }

    /// A node and the routers that it asks.
    pub fn new(net: Net, store: Store, network: Option<Network>, delegated: Vec<Delegated>) -> Self {
        Self(Arc::new(Inner { own: Some(Own { net, store, network }), delegated }))
    }

    /// Whether anybody can be asked at all.
    pub(crate) fn is_online(&self) -> bool {
        self.0.own.is_some()
    }

    fn delegated(&self, reach: Reach) -> &[Delegated] {
        if reach == Reach::All { &self.0.delegated } else { &[] }
    }

    /// The DHT, of a node that takes part in one.
    fn dht(&self) -> Option<&Routing> {
        self.0.own.as_ref().map(|own| own.net.routing()).filter(|dht| dht.is_on())
    }

    /// Whether there is anybody to tell of a record.
    pub(crate) fn can_tell(&self) -> bool {
        self.dht().is_some() || !self.0.delegated.is_empty()
    }

    /// Tells the DHT that this node has a block.
    ///
    /// # Errors
    /// [`RoutingError`] by variant.
    pub(crate) async fn provide(&self, cid: Cid) -> Result<(), RoutingError> {
        self.dht().ok_or(RoutingError::Off)?.provide(cid).await
    }

    /// Peers that have a block, each once, as they are found. Dropping the result ends the search.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn providers(&self, cid: Cid, reach: Reach) -> mpsc::Receiver<PeerRecord> {
        let (found, providers) = mpsc::channel(PEERS_AHEAD);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = found.closed() => {}
                () = this.find_providers(cid, reach, &found) => {}
            }
        });
        providers
    }

    /// The routers elsewhere alone, for fetches; `None` when there are none.
    pub fn elsewhere(&self) -> Option<Arc<dyn FindProviders>> {
        let routers = self.0.delegated.clone();
        if routers.is_empty() { None } else { Some(Arc::new(Elsewhere(routers))) }
    }

    async fn find_providers(&self, cid: Cid, reach: Reach, found: &mpsc::Sender<PeerRecord>) {
        let mut seen = HashSet::new();
        for record in self.own_providers(cid).await {
            if seen.insert(record.peer) && found.send(record).await.is_err() {
                return;
            }
        }
        let asked: FuturesUnordered<_> =
            self.delegated(reach).iter().map(|router| router.providers(cid)).collect();
        let told = asked.flat_map(futures::stream::iter);
        let walked = self.dht().map(|dht| received(dht.find_providers(cid)).map(from_dht));
        let walked = walked.map_or_else(|| futures::stream::empty().left_stream(), StreamExt::right_stream);
        let mut records = std::pin::pin!(futures::stream::select(told, walked));
        while let Some(record) = records.next().await {
            if seen.len() >= PEERS_MAX {
                return;
            }
            if seen.insert(record.peer) && found.send(record).await.is_err() {
                return;
            }
        }
    }

    /// This node, when it has the block, and the holders of a root's deals.
    async fn own_providers(&self, cid: Cid) -> Vec<PeerRecord> {
        let Some(own) = &self.0.own else { return Vec::new() };
        let mut records = Vec::new();
        let store = own.store.clone();
        let has = tokio::task::spawn_blocking(move || store.has(&cid)).await;
        // An index that cannot be read is told by whoever reads the block.
        if matches!(has, Ok(Ok(true))) {
            records.push(own.itself());
        }
        if let Some(network) = &own.network {
            for (account, addresses) in network.client.holders(&cid) {
                records.extend(peer_of(&account).map(|peer| bitswap_peer(peer, addresses)));
            }
        }
        records
    }

    /// Where a peer is; `None` when nobody knows it.
    pub async fn peer(&self, peer: PeerId, reach: Reach) -> Option<PeerRecord> {
        let mut known = self.0.own.as_ref().and_then(|own| own.peer(peer));
        if known.as_ref().is_some_and(|record| !record.addresses.is_empty()) {
            return known;
        }
        let walk = async {
            let addresses = self.dht()?.find_peer(peer).await.ok()?;
            Some(PeerRecord { peer, addresses, protocols: Vec::new() })
        };
        let mut asked: FuturesUnordered<BoxFuture<'_, Option<PeerRecord>>> =
            self.delegated(reach).iter().map(|router| router.peer(peer).boxed()).collect();
        asked.push(walk.boxed());
        while let Some(record) = asked.next().await {
            if record.as_ref().is_some_and(|record| !record.addresses.is_empty()) {
                return record;
            }
            known = known.or(record);
        }
        known
    }

    /// The newest record of a name that any router has and that holds; asks for at most `wait`.
    pub(crate) async fn record(&self, name: &Name, reach: Reach, wait: Duration) -> Option<Record> {
        let asked: FuturesUnordered<_> =
            self.delegated(reach).iter().map(|router| router.record(*name)).collect();
        let told = asked.filter_map(std::future::ready);
        let walked = self.dht().map(|dht| received(dht.get(hpips_ipns::dht_key(name))));
        let walked = walked.map_or_else(|| futures::stream::empty().left_stream(), StreamExt::right_stream);
        let walked = walked.filter_map(|value: Vec<u8>| std::future::ready(Record::decode(&value).ok()));
        let mut records = std::pin::pin!(futures::stream::select(told, walked));
        let mut best: Option<Record> = None;
        let ask = async {
            while let Some(record) = records.next().await {
                let record = Some(record).filter(|record| record.verify(name, now()).is_ok());
                if let Some(record) = record
                    && best.as_ref().is_none_or(|best| record.is_newer_than(best))
                {
                    best = Some(record);
                }
            }
        };
        // What came in time counts.
        let _ = tokio::time::timeout(wait, ask).await;
        best
    }

    /// Hands a record to every router; how many took it.
    pub(crate) async fn put_record(&self, name: &Name, record: &Record, reach: Reach) -> usize {
        let walk = async {
            let Some(dht) = self.dht() else { return false };
            let put = dht.put(hpips_ipns::dht_key(name), record.bytes().to_vec()).await;
            if let Err(error) = &put {
                tracing::debug!(%name, %error, "the DHT did not take a record");
            }
            put.is_ok()
        };
        let asked: FuturesUnordered<BoxFuture<'_, bool>> =
            self.delegated(reach).iter().map(|router| router.put_record(*name, record).boxed()).collect();
        asked.push(walk.boxed());
        asked.filter(|taken| std::future::ready(*taken)).count().await
    }
}

impl Own {
    fn itself(&self) -> PeerRecord {
        bitswap_peer(self.net.peer_id(), self.net.addrs())
    }

    fn peer(&self, peer: PeerId) -> Option<PeerRecord> {
        if peer == self.net.peer_id() {
            return Some(self.itself());
        }
        let account = account_of(&peer)?;
        if let Some(network) = &self.network
            && let Some(pledge) = query::pledge(&network.chain.state(), &account)
        {
            let addresses = pledge.terms.addresses.iter().filter_map(|text| text.parse().ok()).collect();
            return Some(bitswap_peer(peer, addresses));
        }
        self.net.is_connected(&account).then(|| bitswap_peer(peer, Vec::new()))
    }
}

fn from_dht(provider: Provider) -> PeerRecord {
    PeerRecord { peer: provider.peer, addresses: provider.addresses, protocols: Vec::new() }
}

/// What comes over a channel, as a stream.
fn received<T>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

fn bitswap_peer(peer: PeerId, addresses: Vec<Multiaddr>) -> PeerRecord {
    PeerRecord { peer, addresses, protocols: vec![BITSWAP.to_owned()] }
}

/// What the clock says.
pub(crate) fn now() -> Moment {
    Moment::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// What a router answers, through the filters.
pub fn fuzz_answer(data: &[u8]) {
    let records = json::parse(data).unwrap_or_default();
    assert!(records.len() <= json::PEERS_MAX, "{}", records.len());
    let filter = filter::Filter::new(Some("tcp,!quic-v1,unknown"), Some("transport-bitswap,unknown"));
    for record in records.into_iter().filter_map(|record| filter.apply(record)) {
        assert!(record.addresses.len() <= 64, "{}", record.addresses.len());
        let _ = serde_json::to_string(&json::Peer::from(&record));
    }
}
