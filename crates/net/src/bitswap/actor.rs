//! The task that owns the machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hpips_bitswap::{
    Answer, BlockSource, Client, ClientLimits, Effect, Entry, Message, Payload, RequestId, Server,
    ServerLimits, SessionId, Verdict, WANTS_MAX,
};
use hpips_types::Cid;
use libp2p::PeerId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::budget::{Budget, MISS, UNWANTED};
use super::session::{Ask, FetchError, Flow, Identity, Item};
use super::writer::{Outgoing, write_peer};
use super::{BitswapHandle, Counters, Event, Loaded, Received, count};
use crate::config::Limits;
use crate::net::Shared;
use crate::peers::PeerEvent;

/// How often silence is looked for and closed readers are noticed.
const TICK: Duration = Duration::from_millis(250);
/// Messages handed to a writer ahead of the stream.
const WRITER_MESSAGES: usize = 2;
/// Encoded answers that wait for a peer that does not read; wants of such a peer are dropped.
const READY_MAX: usize = 64;
/// Look-ups of sizes at once, for all peers; loading blocks is bounded by the server side itself.
const LOOKUPS_MAX: usize = 8;

/// What waits for one peer.
struct Out {
    writer: mpsc::Sender<Outgoing>,
    wants: BTreeMap<Cid, Entry>,
    ready: VecDeque<Outgoing>,
}

/// A reader of blocks.
struct Reader {
    inbox: mpsc::Sender<Item>,
    /// Items for which the channel had no room; bounded by the number of CIDs asked for.
    waiting: VecDeque<Item>,
    flow: Arc<Flow>,
    done: bool,
}

pub(super) struct Actor {
    shared: Shared,
    source: Arc<dyn BlockSource>,
    client: Client<PeerId>,
    server: Server<PeerId>,
    outs: BTreeMap<PeerId, Out>,
    connected: BTreeSet<PeerId>,
    dialing: BTreeSet<PeerId>,
    /// Where peers pay for wants that name nothing here.
    budgets: BTreeMap<PeerId, Arc<Budget>>,
    sessions: BTreeMap<u64, (SessionId, Weak<Identity>)>,
    readers: BTreeMap<RequestId, Reader>,
    lookups: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
    consumed: Arc<Notify>,
    counters: Arc<Counters>,
    started: Instant,
}

impl Actor {
    pub(super) fn new(
        shared: Shared,
        source: Arc<dyn BlockSource>,
        limits: &Limits,
        handle: &BitswapHandle,
    ) -> Self {
        let client_limits = ClientLimits { silence: limits.bitswap_silence, ..ClientLimits::default() };
        Self {
            shared,
            source,
            client: Client::new(client_limits),
            server: Server::new(ServerLimits::default()),
            outs: BTreeMap::new(),
            connected: BTreeSet::new(),
            dialing: BTreeSet::new(),
            budgets: BTreeMap::new(),
            sessions: BTreeMap::new(),
            readers: BTreeMap::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            events: handle.events.clone(),
            consumed: handle.consumed.clone(),
            counters: handle.counters.clone(),
            started: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut peers = self.shared.peers.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.resync();
        let consumed = self.consumed.clone();
        loop {
            tokio::select! {
                // Connections first: what a dead peer owes is asked of others before anything else. The inbox
                // last: it may be full all the time.
                biased;
                event = peers.recv() => match event {
                    Ok(PeerEvent::Connected(peer)) => self.connect(peer),
                    Ok(PeerEvent::Disconnected(peer)) => self.disconnect(peer),
                    Err(RecvError::Lagged(_)) => self.resync(),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => self.on_tick(),
                () = consumed.notified() => self.on_consumed(),
                event = inbox.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => return,
                },
            }
            self.perform();
        }
    }

    /// Compares what is connected with what was known, after events were missed.
    fn resync(&mut self) {
        let now: BTreeSet<PeerId> = self.shared.peers.all().into_iter().collect();
        for peer in self.connected.difference(&now).copied().collect::<Vec<_>>() {
            self.disconnect(peer);
        }
        for peer in now.difference(&self.connected).copied().collect::<Vec<_>>() {
            self.connect(peer);
        }
    }

    fn connect(&mut self, peer: PeerId) {
        self.connected.insert(peer);
        self.client.connected(peer, self.now());
    }

    fn disconnect(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
        self.budgets.remove(&peer);
        // The writer ends with its channel.
        self.outs.remove(&peer);
        self.server.disconnected(peer);
        self.client.disconnected(peer, self.now());
        self.answer();
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Request(ask) => self.on_request(ask),
            Event::Received(peer, received) => self.on_received(peer, received),
            Event::Heard(peer) => self.client.heard(peer, now),
            Event::Refused(peer) => self.client.lied(peer, now),
            Event::Unreachable(peer) => {
                self.client.disconnected(peer, now);
                if let Some(out) = self.outs.get_mut(&peer) {
                    out.wants.clear();
                }
            }
            Event::Dialed(peer, true) => {
                self.dialing.remove(&peer);
                self.client.connected(peer, now);
            }
            Event::Dialed(peer, false) => {
                self.dialing.remove(&peer);
                self.client.connect_failed(peer, now);
            }
            Event::Speaks(peer, protocol) => self.client.speaks(peer, protocol, now),
            Event::LookedUp(peer, found) => {
                if let Some(budget) = self.budgets.get(&peer) {
                    budget.charge(MISS * found.iter().filter(|(_, size)| size.is_none()).count() as u64);
                }
                let repeat = self.server.looked_up(peer, found);
                self.look_up(peer, repeat);
                self.answer();
            }
            Event::Arrived(cids) => {
                for (peer, cids) in self.server.arrived(&cids) {
                    self.look_up(peer, cids);
                }
            }
            Event::Wantlist(Some(peer), reply) => {
                let _ = reply.send(self.server.wantlist_for(peer).into_iter().map(|want| want.cid).collect());
            }
            Event::Wantlist(None, reply) => {
                let _ = reply.send(self.client.wantlist());
            }
            Event::Ledger(peer, reply) => {
                let _ = reply.send(self.server.ledger(peer));
            }
            Event::Loaded(peer, loaded) => self.on_loaded(peer, loaded),
            Event::Writing(peer, bytes) => {
                self.server.sent(peer, bytes);
                self.answer();
                self.flush(peer);
            }
        }
        self.counters.wants_waiting.store(self.server.waiting() as u64, Ordering::Relaxed);
    }

    fn on_request(&mut self, ask: Ask) {
        let now = self.now();
        let session = match self.sessions.get(&ask.session) {
            Some((session, _)) => *session,
            None => {
                let session = self.client.open_session(ask.peers.clone());
                self.sessions.insert(ask.session, (session, ask.alive));
                session
            }
        };
        for peer in ask.peers.into_iter().flatten() {
            self.client.add_peer(session, peer, now);
        }
        let request = self.client.request(session, ask.cids, now);
        let reader = Reader { inbox: ask.inbox, waiting: VecDeque::new(), flow: ask.flow, done: false };
        self.readers.insert(request, reader);
    }

    fn on_received(&mut self, peer: PeerId, received: Received) {
        let now = self.now();
        let counters = self.counters.clone();
        count(&counters.wants_dropped, received.dropped as u64);
        let (mut blocks, mut total) = (0, 0);
        for (cid, data) in received.blocks {
            let bytes = data.len() as u64;
            let verdict = cid.map_or(Verdict::Unwanted, |cid| self.client.block(peer, cid, bytes, now));
            match (verdict, cid) {
                (Verdict::Wanted, Some(cid)) => {
                    count(&counters.blocks_received, 1);
                    count(&counters.bytes_received, bytes);
                    (blocks, total) = (blocks + 1, total + bytes);
                    self.deliver(Some((cid, data)));
                }
                (Verdict::Late, _) => {
                    count(&counters.blocks_late, 1);
                    count(&counters.bytes_late, bytes);
                }
                _ => {
                    tracing::debug!(%peer, bytes, "block nobody asked for dropped");
                    count(&counters.blocks_unwanted, 1);
                    received.budget.charge(UNWANTED);
                    self.client.lied(peer, now);
                }
            }
        }
        if blocks > 0 {
            self.server.got(peer, blocks, total);
        }
        for (cid, presence) in received.presences {
            self.client.presence(peer, cid, presence, now);
        }
        if received.full || !received.wants.is_empty() {
            if self.connected.contains(&peer) {
                self.budgets.insert(peer, received.budget);
            }
            self.on_wants(peer, received.full, received.wants);
        }
    }

    fn on_wants(&mut self, peer: PeerId, full: bool, wants: Vec<Entry>) {
        if !self.connected.contains(&peer) {
            return;
        }
        if self.outs.get(&peer).is_some_and(|out| out.ready.len() >= READY_MAX) {
            count(&self.counters.wants_dropped, wants.len() as u64);
            return;
        }
        let before = self.server.dropped();
        let lookups = self.server.receive(peer, full, wants);
        count(&self.counters.wants_dropped, self.server.dropped().saturating_sub(before));
        self.look_up(peer, lookups);
    }

    /// Finds out which blocks are here, a few peers at a time.
    fn look_up(&self, peer: PeerId, cids: Vec<Cid>) {
        if cids.is_empty() {
            return;
        }
        let (source, lookups) = (self.source.clone(), self.lookups.clone());
        let size = move |cid: &Cid| match source.size(cid) {
            Ok(size) => size,
            Err(error) => {
                tracing::warn!(%cid, %error, "looking a block up failed");
                None
            }
        };
        let read = move || Event::LookedUp(peer, cids.into_iter().map(|cid| (cid, size(&cid))).collect());
        self.read_source(Some(lookups), read);
    }

    /// Runs a read of the block source on a blocking thread, when a place is free where places are counted.
    fn read_source(&self, places: Option<Arc<Semaphore>>, read: impl FnOnce() -> Event + Send + 'static) {
        let events = self.events.clone();
        self.shared.tasks.spawn(async move {
            let _place = match &places {
                Some(places) => places.acquire().await.ok(),
                None => None,
            };
            // Fails only when the source panics or the runtime ends.
            if let Ok(event) = tokio::task::spawn_blocking(read).await {
                let _ = events.send(event).await;
            }
        });
    }

    /// Prepares what may be sent now, to whose turn it is.
    fn answer(&mut self) {
        while let Some((peer, answer)) = self.server.next_answer() {
            if answer.blocks.is_empty() {
                let message = Message {
                    presences: answer.presences,
                    pending_bytes: self.server.pending_bytes(peer),
                    ..Message::default()
                };
                self.queue(peer, Outgoing { message, bytes: answer.bytes });
                continue;
            }
            let source = self.source.clone();
            self.read_source(None, move || Event::Loaded(peer, load(&*source, answer)));
        }
    }

    fn on_loaded(&mut self, peer: PeerId, loaded: Loaded) {
        self.server.loaded();
        for cid in loaded.gone {
            self.server.gone(peer, cid);
        }
        let (blocks, bytes) =
            (loaded.blocks.len() as u64, loaded.blocks.iter().map(|(_, block)| block.len() as u64).sum());
        if blocks > 0 && self.connected.contains(&peer) {
            count(&self.counters.blocks_sent, blocks);
            count(&self.counters.bytes_sent, bytes);
            self.server.gave(peer, blocks, bytes);
        }
        let message = Message {
            blocks: loaded.blocks.into_iter().map(|(cid, block)| Payload::new(&cid, block)).collect(),
            presences: loaded.presences,
            pending_bytes: self.server.pending_bytes(peer),
            ..Message::default()
        };
        if message.is_empty() {
            self.server.sent(peer, loaded.bytes);
        } else {
            self.queue(peer, Outgoing { message, bytes: loaded.bytes });
        }
        self.answer();
    }

    fn out(&mut self, peer: PeerId) -> Option<&mut Out> {
        if !self.connected.contains(&peer) {
            return None;
        }
        Some(self.outs.entry(peer).or_insert_with(|| {
            let (writer, messages) = mpsc::channel(WRITER_MESSAGES);
            let task = write_peer(self.shared.clone(), peer, messages, self.events.clone());
            self.shared.tasks.spawn(task);
            Out { writer, wants: BTreeMap::new(), ready: VecDeque::new() }
        }))
    }

    fn queue(&mut self, peer: PeerId, message: Outgoing) {
        if let Some(out) = self.out(peer) {
            out.ready.push_back(message);
            self.flush(peer);
        }
    }

    /// Hands messages to a peer's writer while it takes them: our wants first, they are small and urgent.
    fn flush(&mut self, peer: PeerId) {
        let Some(out) = self.outs.get_mut(&peer) else { return };
        while let Ok(slot) = out.writer.try_reserve() {
            if !out.wants.is_empty() {
                let mut wants = core::mem::take(&mut out.wants);
                if let Some(last) = wants.keys().nth(WANTS_MAX).copied() {
                    out.wants = wants.split_off(&last);
                }
                let message = Message { wants: wants.into_values().collect(), ..Message::default() };
                slot.send(Outgoing { message, bytes: 0 });
            } else if let Some(message) = out.ready.pop_front() {
                slot.send(message);
            } else {
                return;
            }
        }
    }

    /// Carries out what the asking side decided.
    fn perform(&mut self) {
        loop {
            let effects = self.client.drain();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.perform_one(effect);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect<PeerId>) {
        match effect {
            Effect::Send { peer, entries } => {
                if let Some(out) = self.out(peer) {
                    out.wants.extend(entries.into_iter().map(|entry| (entry.cid, entry)));
                    self.flush(peer);
                }
            }
            Effect::Connect(peer) => {
                if !self.dialing.insert(peer) {
                    return;
                }
                let (shared, events) = (self.shared.clone(), self.events.clone());
                self.shared.tasks.spawn(async move {
                    let connected = shared.connect(peer).await.is_ok();
                    let _ = events.send(Event::Dialed(peer, connected)).await;
                });
            }
            // Only `block` makes these, and it is followed by `deliver`.
            Effect::Deliver { .. } => {}
            Effect::NotFound { request, cid, asked } => {
                if let Some(reader) = self.readers.get_mut(&request) {
                    reader.waiting.push_back(Err(FetchError::NotFound { cid, asked }));
                    reader.flush();
                }
            }
            Effect::Done(request) => {
                if let Some(reader) = self.readers.get_mut(&request) {
                    reader.done = true;
                }
                self.drop_finished();
            }
        }
    }

    /// Carries out effects with the block at hand that they deliver.
    fn deliver(&mut self, block: Option<(Cid, bytes::Bytes)>) {
        for effect in self.client.drain() {
            match (effect, &block) {
                (Effect::Deliver { request, cid }, Some((name, data))) if cid == *name => {
                    if let Some(reader) = self.readers.get_mut(&request) {
                        reader.waiting.push_back(Ok((cid, data.clone())));
                        reader.flush();
                    }
                }
                (effect, _) => self.perform_one(effect),
            }
        }
    }

    /// Ends streams that have everything: their channel closes when the last item is in it.
    fn drop_finished(&mut self) {
        self.readers.retain(|_, reader| !(reader.done && reader.waiting.is_empty()));
    }

    fn on_consumed(&mut self) {
        let now = self.now();
        for (request, reader) in &mut self.readers {
            let blocks = reader.flow.blocks.swap(0, Ordering::Relaxed);
            let bytes = reader.flow.bytes.swap(0, Ordering::Relaxed);
            reader.flush();
            if blocks > 0 {
                self.client.consumed(*request, blocks, bytes, now);
            }
        }
        self.drop_finished();
    }

    fn on_tick(&mut self) {
        let now = self.now();
        self.on_consumed();
        let gone: Vec<RequestId> =
            self.readers.iter().filter(|(_, reader)| reader.inbox.is_closed()).map(|(id, _)| *id).collect();
        for request in gone {
            self.readers.remove(&request);
            self.client.close_request(request, now);
        }
        let ended: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, (_, alive))| alive.strong_count() == 0)
            .map(|(id, _)| *id)
            .collect();
        for number in ended {
            if let Some((session, _)) = self.sessions.remove(&number) {
                self.client.close_session(session, now);
            }
        }
        if !self.client.is_idle() {
            self.client.tick(now);
        }
    }
}

/// Reads the blocks of an answer; blocks.
fn load(source: &dyn BlockSource, answer: Answer) -> Loaded {
    let (presences, bytes) = (answer.presences, answer.bytes);
    let mut loaded = Loaded { blocks: Vec::new(), gone: Vec::new(), presences, bytes };
    for cid in answer.blocks {
        match source.get(&cid) {
            Ok(Some(block)) => loaded.blocks.push((cid, block)),
            Ok(None) => loaded.gone.push(cid),
            Err(error) => {
                tracing::warn!(%cid, %error, "loading a block failed");
                loaded.gone.push(cid);
            }
        }
    }
    loaded
}

impl Reader {
    fn flush(&mut self) {
        while let Some(item) = self.waiting.pop_front() {
            match self.inbox.try_send(item) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(item)) => {
                    self.waiting.push_front(item);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.waiting.clear();
                    return;
                }
            }
        }
    }
}
