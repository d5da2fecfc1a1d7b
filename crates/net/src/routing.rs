//! Finding who has what: the handle to the DHTs, and to routers beside them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use hpips_types::Cid;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::dht::Ask;
use crate::swarm::Command;

/// Answers that wait for their reader; what comes when it is full is left out.
const ANSWERS_MAX: usize = 256;

/// Somebody who says to have a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Who.
    pub peer: PeerId,
    /// Where; may be empty.
    pub addresses: Vec<Multiaddr>,
}

/// Why the network could not be asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// This node takes part in no DHT.
    #[error("this node takes part in no DHT")]
    Off,
    /// Too many questions are under way.
    #[error("too many questions to the DHT are under way")]
    Busy,
    /// No peer of the DHT answered.
    #[error("no peer of the DHT answered")]
    NoPeers,
    /// Nobody knows it.
    #[error("not found in the DHT")]
    NotFound,
    /// The record is not valid, or a newer one is known.
    #[error("the record is not valid under its key, or a newer one is known")]
    Refused,
    /// This node shuts down.
    #[error("the network is shut down")]
    Closed,
}

impl RoutingError {
    /// For questions whose walk ended without an answer.
    pub(crate) fn or_not_found(self) -> Self {
        if self == Self::NoPeers { Self::NotFound } else { self }
    }
}

/// Somebody besides the DHTs who may know who has a block.
pub trait FindProviders: fmt::Debug + Send + Sync {
    /// Sends the peers that have a block as they are found, and ends when there are no more.
    fn find_providers(&self, cid: Cid, found: mpsc::Sender<Provider>) -> BoxFuture<'static, ()>;
}

/// Asks the DHTs of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Routing {
    is_on: bool,
    commands: mpsc::Sender<Command>,
    beside: Arc<OnceLock<Arc<dyn FindProviders>>>,
}

impl Routing {
    pub(crate) fn new(is_on: bool, commands: mpsc::Sender<Command>) -> Self {
        Self { is_on, commands, beside: Arc::default() }
    }

    /// Has [`Routing::search`] ask somebody else, too: of all clones, from now on. Only the first counts.
    pub fn also_ask(&self, router: Arc<dyn FindProviders>) {
        if self.beside.set(router).is_err() {
            tracing::debug!("a second router beside the DHT is left out");
        }
    }

    /// Whether [`Routing::search`] can find anybody.
    pub fn can_search(&self) -> bool {
        self.is_on || self.beside.get().is_some()
    }

    /// Looks for peers that have a block in the DHTs and beside them; a peer may come twice. The channel ends with the
    /// searches, and they with the channel. What this node answers to others comes from [`Routing::find_providers`], or
    /// two nodes that ask each other would go round in circles.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn search(&self, cid: Cid) -> mpsc::Receiver<Provider> {
        let (found, providers) = mpsc::channel(ANSWERS_MAX);
        if let Some(router) = self.beside.get() {
            let (search, end) = (router.find_providers(cid, found.clone()), found.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = end.closed() => {}
                    () = search => {}
                }
            });
        }
        if self.is_on && self.commands.try_send(Command::Route(Ask::Providers(cid, found))).is_err() {
            tracing::debug!("the network is busy: a search was not begun");
        }
        providers
    }

    /// Whether the node takes part in any DHT.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, RoutingError>>) -> Ask,
    ) -> Result<T, RoutingError> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(Command::Route(ask(reply))).await.map_err(|_| RoutingError::Closed)?;
        outcome.await.map_err(|_| RoutingError::Closed)?
    }

    /// A channel that is fed by an answer, or ends at once when nothing can be asked.
    fn stream<T: Send + 'static>(&self, ask: impl FnOnce(mpsc::Sender<T>) -> Ask) -> mpsc::Receiver<T> {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        // A full queue of commands ends the search at once; whoever asks tries again.
        if self.commands.try_send(Command::Route(ask(sender))).is_err() {
            tracing::debug!("the network is busy: a search was not begun");
        }
        answers
    }

    /// Tells the network that this node has a block. Holds for 48 hours; to be repeated every 22.
    ///
    /// # Errors
    /// [`RoutingError::NoPeers`] when nobody took the record.
    pub async fn provide(&self, cid: Cid) -> Result<(), RoutingError> {
        self.ask(|reply| Ask::Provide(cid, reply)).await
    }

    /// Looks for peers that have a block, each once; the channel ends with the search, and the search with the channel.
    pub fn find_providers(&self, cid: Cid) -> mpsc::Receiver<Provider> {
        self.stream(|sender| Ask::Providers(cid, sender))
    }

    /// Looks for the addresses of a peer.
    ///
    /// # Errors
    /// [`RoutingError::NotFound`] when nobody knows it.
    pub async fn find_peer(&self, peer: PeerId) -> Result<Vec<Multiaddr>, RoutingError> {
        self.ask(|reply| Ask::Peer(peer, reply)).await
    }

    /// Publishes a signed value under its key: of IPNS records, others are refused by everyone.
    ///
    /// # Errors
    /// [`RoutingError::NoPeers`] when nobody took it, [`RoutingError::Refused`] when nobody should.
    pub async fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), RoutingError> {
        self.ask(|reply| Ask::Put(key, value, reply)).await
    }

    /// Looks for values under a key, valid ones only, not sorted by age; the channel ends with the search.
    pub fn get(&self, key: Vec<u8>) -> mpsc::Receiver<Vec<u8>> {
        self.stream(|sender| Ask::Get(key, sender))
    }
}
