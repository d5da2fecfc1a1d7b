//! A libp2p behaviour that opens and accepts raw streams, one protocol name each.
//!
//! In place of `libp2p-stream`, whose accept queue holds one stream a protocol (a burst of eight peers loses
//! seven), whose opening a stream may dial or wait for ever, and whose table of connections only grows. Here
//! the queue has a bound of ours, opening never dials, and a request ends when its connection does.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bandwidth::Bandwidth;
use crate::peers::Peers;
use crate::wire::Stream;

/// Streams that one connection may be negotiating on our behalf; more wait in the swarm's own queues.
const OPENING_MAX: usize = 64;

/// Why a stream did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection, and no way to make one.
    #[error("not connected")]
    NotConnected(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak {0}")]
    Unsupported(String),
    /// No answer in time.
    #[error("no answer in time")]
    Deadline,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] std::io::Error),
    /// Not a protocol name: it must begin with `/`.
    #[error("{0:?} is not a protocol name")]
    Name(String),
    /// This node shuts down.
    #[error("the network is shut down")]
    Closed,
}

/// A protocol is accepted in another place already.
#[derive(Debug, thiserror::Error)]
#[error("{0} is accepted in another place already")]
pub struct AlreadyAccepted(pub String);

pub(crate) type Opened = oneshot::Sender<Result<Stream, OpenError>>;
type Inbox = mpsc::Sender<(PeerId, Stream)>;

/// The protocols that are accepted, shared by all connections.
#[derive(Clone, Debug)]
pub(crate) struct Accepting {
    /// `None` after shutdown.
    inboxes: Arc<Mutex<Option<HashMap<StreamProtocol, Inbox>>>>,
    /// Inbound streams reset because nobody took them in time.
    dropped: Arc<AtomicU64>,
}

impl Accepting {
    pub(crate) fn new() -> Self {
        Self { inboxes: Arc::new(Mutex::new(Some(HashMap::new()))), dropped: Arc::default() }
    }

    /// Ends all receivers, and those to come.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<StreamProtocol, Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a protocol until the receiver is dropped.
    pub(crate) fn accept(
        &self,
        protocol: StreamProtocol,
        backlog: usize,
    ) -> Result<mpsc::Receiver<(PeerId, Stream)>, AlreadyAccepted> {
        let mut inboxes = self.lock();
        let (sender, receiver) = mpsc::channel(backlog);
        let Some(inboxes) = &mut *inboxes else { return Ok(receiver) };
        if inboxes.get(&protocol).is_some_and(|inbox| !inbox.is_closed()) {
            return Err(AlreadyAccepted(protocol.to_string()));
        }
        inboxes.insert(protocol, sender);
        Ok(receiver)
    }

    /// Names of all protocols, sorted.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names().iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    /// Accepts a protocol no longer, for peers that play a part in tests.
    #[cfg(test)]
    pub(crate) fn refuse(&self, protocol: &StreamProtocol) {
        if let Some(inboxes) = &mut *self.lock() {
            inboxes.remove(protocol);
        }
    }

    fn names(&self) -> Vec<StreamProtocol> {
        let mut inboxes = self.lock();
        let Some(inboxes) = &mut *inboxes else { return Vec::new() };
        inboxes.retain(|_, inbox| !inbox.is_closed());
        inboxes.keys().cloned().collect()
    }

    fn deliver(&self, peer: PeerId, stream: Stream, protocol: &StreamProtocol) {
        let inbox = self.lock().as_ref().and_then(|inboxes| inboxes.get(protocol).cloned());
        let sent = inbox.is_some_and(|inbox| inbox.try_send((peer, stream)).is_ok());
        if !sent {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(%peer, %protocol, dropped, "inbound stream reset");
        }
    }
}

/// The behaviour.
pub(crate) struct Behaviour {
    accepting: Accepting,
    peers: Arc<Peers>,
    bandwidth: Bandwidth,
    open: Duration,
    requests: VecDeque<(PeerId, OpenRequest)>,
    waker: Option<Waker>,
}

/// A request to a connection.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    protocol: StreamProtocol,
    opened: Opened,
}

impl Behaviour {
    pub(crate) fn new(accepting: Accepting, peers: Arc<Peers>, bandwidth: Bandwidth, open: Duration) -> Self {
        Self { accepting, peers, bandwidth, open, requests: VecDeque::new(), waker: None }
    }

    /// Opens a stream on a connection that exists; the requester learns the outcome. Without a connection the
    /// requester's channel is closed.
    pub(crate) fn open(&mut self, peer: PeerId, protocol: StreamProtocol, opened: Opened) {
        self.requests.push_back((peer, OpenRequest { protocol, opened }));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler {
            peer,
            accepting: self.accepting.clone(),
            peers: self.peers.clone(),
            bandwidth: self.bandwidth.clone(),
            open: self.open,
            requests: VecDeque::new(),
            opening: 0,
            closed: CancellationToken::new().drop_guard(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.requests.pop_front() {
            Some((peer_id, event)) => {
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
            }
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The part of the behaviour that lives in a connection's task.
pub(crate) struct Handler {
    peer: PeerId,
    accepting: Accepting,
    peers: Arc<Peers>,
    bandwidth: Bandwidth,
    open: Duration,
    requests: VecDeque<OpenRequest>,
    opening: usize,
    /// Tells streams that the connection is gone when this handler is.
    closed: DropGuard,
}

impl Handler {
    fn stream(&self, stream: libp2p::Stream, protocol: &StreamProtocol) -> Stream {
        let share = is_bulky(protocol).then(|| self.bandwidth.of_stream()).flatten();
        Stream::new(stream, self.closed.token().clone(), self.peers.traffic(&self.peer), share)
    }
}

/// Whether a protocol carries blocks or pieces, whose bandwidth may be bounded.
fn is_bulky(protocol: &StreamProtocol) -> bool {
    let name = protocol.as_ref();
    name.starts_with("/ipfs/bitswap") || (name.starts_with("/hpips/") && name.ends_with("/piece/1"))
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenRequest;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenRequest;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        SubstreamProtocol::new(Upgrade { protocols: self.accepting.names() }, ()).with_timeout(self.open)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, OpenRequest, Infallible>> {
        // Both ways to get here (a request, an outcome) wake the connection's task by themselves.
        while self.opening < OPENING_MAX
            && let Some(request) = self.requests.pop_front()
        {
            if request.opened.is_closed() {
                continue;
            }
            self.opening += 1;
            let upgrade = Upgrade { protocols: vec![request.protocol.clone()] };
            let protocol = SubstreamProtocol::new(upgrade, request).with_timeout(self.open);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: OpenRequest) {
        self.requests.push_back(request);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), OpenRequest>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, name),
                ..
            }) => {
                self.accepting.deliver(self.peer, self.stream(stream, &name), &name);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, name),
                info,
            }) => {
                self.opening -= 1;
                // Whoever asked may be gone; dropping the stream resets it.
                let _ = info.opened.send(Ok(self.stream(stream, &name)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info }) => {
                self.opening -= 1;
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Deadline,
                    StreamUpgradeError::NegotiationFailed => {
                        OpenError::Unsupported(info.protocol.to_string())
                    }
                    StreamUpgradeError::Io(error) => OpenError::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.opened.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Takes the stream as it is once the name is agreed on.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocols: Vec<StreamProtocol>,
}

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.protocols.clone().into_iter()
    }
}

impl InboundUpgrade<libp2p::Stream> for Upgrade {
    type Output = (libp2p::Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: libp2p::Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<libp2p::Stream> for Upgrade {
    type Output = (libp2p::Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: libp2p::Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
