//! Questions to the DHTs: who has a block, where a peer is, which value stands under a key.
//!
//! The behaviours of libp2p walk the network; this is what is asked of them and who waits for the answer. A
//! question goes to every DHT that is on, and is answered when all have ended, or sooner where the one
//! who asked wants no more.

mod records;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hpips_ipns::{Moment, better_dht, validate_dht};
use hpips_types::Cid;
use libp2p::core::Endpoint;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, QueryId, RecordKey};
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

pub(crate) use records::Records;

use crate::address::is_public;
use crate::config::{Dht, Reach};
use crate::routing::{Provider, RoutingError};

/// Questions under way; more are refused.
const LOOKUPS_MAX: usize = 512;
/// Providers told of one block at most.
const PROVIDERS_MAX: usize = 1024;
/// Addresses told of one peer at most.
const ADDRESSES_MAX: usize = 16;
/// How long a walk through the network may take.
const WALK: Duration = Duration::from_secs(60);
/// How long records of others are kept (as the IPFS network does).
const KEPT: Duration = Duration::from_secs(48 * 3600);
/// Bytes of a message at most: twenty peers with many addresses each, or a value.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// One DHT.
pub(crate) type Behaviour = kad::Behaviour<Records>;

/// Makes the behaviour of a DHT.
pub(crate) fn behaviour(dht: &Dht, local: PeerId) -> Option<Behaviour> {
    let mut config = kad::Config::new(StreamProtocol::try_from_owned(dht.protocol.clone()).ok()?);
    config
        .set_query_timeout(WALK)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_record_ttl(Some(KEPT))
        .set_provider_record_ttl(Some(KEPT))
        // Whoever provides or publishes does it again: see `providing` in `node`.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_max_packet_size(MESSAGE_BYTES_MAX)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled);
    let mut behaviour = Behaviour::with_config(local, Records::new(local), config);
    // Until it is known that others reach this node.
    behaviour.set_mode(Some(kad::Mode::Client));
    Some(behaviour)
}

type Reply<T> = oneshot::Sender<Result<T, RoutingError>>;

/// A question.
#[derive(Debug)]
pub(crate) enum Ask {
    Provide(Cid, Reply<()>),
    Providers(Cid, mpsc::Sender<Provider>),
    Peer(PeerId, Reply<Vec<Multiaddr>>),
    Put(Vec<u8>, Vec<u8>, Reply<()>),
    Get(Vec<u8>, mpsc::Sender<Vec<u8>>),
}

#[derive(Debug)]
enum Lookup {
    /// Something is told to the network; whether a peer took it.
    Tell {
        reply: Reply<()>,
        taken: bool,
    },
    Providers {
        sender: mpsc::Sender<Provider>,
        told: BTreeSet<PeerId>,
    },
    Peer {
        peer: PeerId,
        reply: Reply<Vec<Multiaddr>>,
        addresses: Vec<Multiaddr>,
    },
    Get {
        key: Vec<u8>,
        sender: mpsc::Sender<Vec<u8>>,
    },
}

/// Questions under way.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    next: u64,
    /// With the number of DHTs that have not ended.
    lookups: HashMap<u64, (usize, Lookup)>,
    queries: HashMap<(Reach, QueryId), u64>,
}

/// The key of a block in every DHT of IPFS: the multihash, so that codecs and versions of CIDs do not matter.
fn key_of(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

fn now() -> Moment {
    Moment::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl Lookups {
    /// Asks all of these DHTs. Which blocks are here is told to the public one only with `announces_public`.
    pub(crate) fn ask<'a>(
        &mut self,
        ask: Ask,
        announces_public: bool,
        dhts: impl Iterator<Item = (Reach, &'a mut Behaviour)>,
    ) {
        let number = self.next;
        self.next += 1;
        let is_told = |reach: &Reach| announces_public || *reach != Reach::Public;
        let is_asked = |reach: &Reach| !matches!(ask, Ask::Provide(..)) || is_told(reach);
        let mut dhts: Vec<_> = dhts.filter(|(reach, _)| is_asked(reach)).collect();
        let mut failed = RoutingError::Off;
        if self.lookups.len() >= LOOKUPS_MAX {
            failed = RoutingError::Busy;
            dhts.clear();
        } else if let Ask::Put(key, value, _) = &ask
            && dhts.iter_mut().any(|(_, dht)| !is_acceptable(dht, key, value))
        {
            failed = RoutingError::Refused;
            dhts.clear();
        }
        let mut open = 0;
        for (reach, dht) in dhts {
            if let Some(query) = start(&ask, dht) {
                self.queries.insert((reach, query), number);
                open += 1;
            }
        }
        let lookup = match ask {
            Ask::Provide(_, reply) | Ask::Put(_, _, reply) => Lookup::Tell { reply, taken: false },
            Ask::Providers(_, sender) => Lookup::Providers { sender, told: BTreeSet::new() },
            Ask::Peer(peer, reply) => Lookup::Peer { peer, reply, addresses: Vec::new() },
            Ask::Get(key, sender) => Lookup::Get { key, sender },
        };
        if open > 0 {
            self.lookups.insert(number, (open, lookup));
        } else {
            lookup.end(failed);
        }
    }

    /// Takes an event of a DHT. Returns addresses learned of providers.
    pub(crate) fn on_event(
        &mut self,
        reach: Reach,
        dht: &mut Behaviour,
        event: kad::Event,
    ) -> Option<Provider> {
        match event {
            kad::Event::InboundRequest { request } => {
                store(dht, request);
                None
            }
            kad::Event::OutboundQueryProgressed { id, result, stats, step } => {
                self.progress(reach, dht, id, result, stats, step.last)
            }
            _ => None,
        }
    }

    fn progress(
        &mut self,
        reach: Reach,
        dht: &mut Behaviour,
        query: QueryId,
        result: kad::QueryResult,
        stats: kad::QueryStats,
        is_last: bool,
    ) -> Option<Provider> {
        let number = *self.queries.get(&(reach, query))?;
        let (open, lookup) = self.lookups.get_mut(&number)?;
        let mut learned = None;
        let mut enough = false;
        match (&mut *lookup, result) {
            (Lookup::Tell { taken, .. }, kad::QueryResult::StartProviding(Ok(_))) => {
                *taken |= stats.num_successes() > 0;
            }
            (Lookup::Tell { taken, .. }, kad::QueryResult::PutRecord(Ok(_))) => *taken = true,
            (
                Lookup::Providers { sender, told },
                kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { key, providers })),
            ) => {
                for peer in providers {
                    if told.len() >= PROVIDERS_MAX || !told.insert(peer) {
                        continue;
                    }
                    let provider = Provider { peer, addresses: addresses(dht, reach, &key, peer) };
                    // A reader that is behind has enough to try.
                    let _ = sender.try_send(provider.clone());
                    learned = Some(provider);
                }
                enough = sender.is_closed() || told.len() >= PROVIDERS_MAX;
            }
            (Lookup::Peer { peer, addresses, .. }, kad::QueryResult::GetClosestPeers(result)) => {
                let peers = match result {
                    Ok(ok) => ok.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let found =
                    peers.into_iter().filter(|info| info.peer_id == *peer).flat_map(|info| info.addrs);
                addresses.extend(found.take(ADDRESSES_MAX));
                enough = !addresses.is_empty();
            }
            (
                Lookup::Get { key, sender },
                kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))),
            ) => {
                if validate_dht(key, &found.record.value, now()) {
                    let _ = sender.try_send(found.record.value);
                }
                enough = sender.is_closed();
            }
            _ => {}
        }
        if is_last {
            self.queries.remove(&(reach, query));
            *open -= 1;
            if *open == 0
                && let Some((_, lookup)) = self.lookups.remove(&number)
            {
                lookup.end(RoutingError::NoPeers);
            }
        } else if enough && let Some(mut query) = dht.query_mut(&query) {
            query.finish();
        }
        learned
    }

    /// Ends walks whose askers are gone.
    pub(crate) fn sweep<'a>(&mut self, dhts: impl Iterator<Item = (Reach, &'a mut Behaviour)>) {
        for (reach, dht) in dhts {
            let given_up: Vec<QueryId> = dht
                .iter_queries()
                .map(|query| query.id())
                .filter(|query| {
                    let number = self.queries.get(&(reach, *query));
                    number
                        .and_then(|number| self.lookups.get(number))
                        .is_some_and(|(_, lookup)| lookup.is_given_up())
                })
                .collect();
            for query in given_up {
                if let Some(mut query) = dht.query_mut(&query) {
                    query.finish();
                }
            }
            dht.store_mut().expire(Instant::now());
        }
    }
}

impl Lookup {
    fn is_given_up(&self) -> bool {
        match self {
            Self::Tell { reply, .. } => reply.is_closed(),
            Self::Providers { sender, .. } => sender.is_closed(),
            Self::Peer { reply, .. } => reply.is_closed(),
            Self::Get { sender, .. } => sender.is_closed(),
        }
    }

    /// Tells the asker that nothing more comes; `failed` is why, where nothing came. Askers may be gone.
    fn end(self, failed: RoutingError) {
        match self {
            Self::Tell { reply, taken } => {
                let _ = reply.send(if taken { Ok(()) } else { Err(failed) });
            }
            Self::Peer { reply, addresses, .. } => {
                let found = if addresses.is_empty() { Err(failed.or_not_found()) } else { Ok(addresses) };
                let _ = reply.send(found);
            }
            // The channel ends.
            Self::Providers { .. } | Self::Get { .. } => {}
        }
    }
}

fn start(ask: &Ask, dht: &mut Behaviour) -> Option<QueryId> {
    match ask {
        Ask::Provide(cid, _) => dht.start_providing(key_of(cid)).ok(),
        Ask::Providers(cid, _) => Some(dht.get_providers(key_of(cid))),
        Ask::Peer(peer, _) => Some(dht.get_closest_peers(*peer)),
        Ask::Put(key, value, _) => {
            let record = kad::Record::new(key.clone(), value.clone());
            dht.put_record(record, kad::Quorum::One).ok()
        }
        Ask::Get(key, _) => Some(dht.get_record(RecordKey::new(key))),
    }
}

/// Where a provider says it is: with its record here, or in the answers of others while the walk lasts.
fn addresses(dht: &mut Behaviour, reach: Reach, key: &RecordKey, provider: PeerId) -> Vec<Multiaddr> {
    let mut all = dht.store_mut().addresses(key, &provider);
    // The behaviour gives what its walks found only to dials; nothing is dialed here.
    let connection = ConnectionId::new_unchecked(usize::MAX);
    let walked = dht.handle_pending_outbound_connection(connection, Some(provider), &[], Endpoint::Dialer);
    for address in walked.unwrap_or_default() {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all.retain(|address| reach != Reach::Public || is_public(address));
    all.truncate(ADDRESSES_MAX);
    all
}

/// Whether a value is valid under its key and not older than the one that is kept here.
fn is_acceptable(dht: &mut Behaviour, key: &[u8], value: &[u8]) -> bool {
    let old = dht.store_mut().get(&RecordKey::new(&key)).map(|old| old.value.clone());
    validate_dht(key, value, now()) && old.is_none_or(|old| old == value || better_dht(key, &old, value))
}

/// Keeps what others ask to be kept, if it is in order.
fn store(dht: &mut Behaviour, request: kad::InboundRequest) {
    match request {
        kad::InboundRequest::AddProvider { record: Some(record) } => {
            if let Err(error) = dht.store_mut().add_provider(record) {
                tracing::debug!(%error, "provider not kept");
            }
        }
        kad::InboundRequest::PutRecord { source, record: Some(record), .. } => {
            if !is_acceptable(dht, record.key.as_ref(), &record.value) {
                tracing::debug!(peer = %source, bytes = record.value.len(), "record not kept: not valid, or older");
            } else if let Err(error) = dht.store_mut().put(record) {
                tracing::debug!(%error, "record not kept");
            }
        }
        _ => {}
    }
}
