//! Sessions that ask: whom for which block, and whom next.
//!
//! A block with a known holder is asked for at once; otherwise up to eight candidates are asked whether they
//! have it, the first that does sends it, and the others' answers are kept as second choices. A peer that says
//! no, stays silent, lies, or loses its connection is replaced by the next. A block is not found when nobody is
//! left to ask.
//!
//! Memory is bounded by what the reader has not consumed: see [`ClientLimits`].

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hpips_types::Cid;

use crate::message::{Entry, Presence, WantType};
use crate::protocol::Protocol;

/// Time since any fixed moment, as the caller's clock tells it.
type Time = Duration;

/// Bounds of the asking side.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Blocks asked for at once, of all requests; a peer keeps no more of our wants.
    pub wants_max: usize,
    /// Blocks of one request that are asked for or not yet consumed. With blocks of 2 MiB this bounds memory
    /// at 256 MiB a request, whatever sizes were expected.
    pub request_blocks_max: usize,
    /// Bytes of one request that are expected or not yet consumed, by the sizes seen so far.
    pub request_bytes_max: u64,
    /// Candidates asked at once whether they have a block.
    pub probes_max: usize,
    /// A peer that sends nothing useful for so long is passed over; twice more it gets another chance.
    pub silence: Duration,
    /// A block that takes longer, however busy its sender looks, is asked for elsewhere.
    pub ask_max: Duration,
    /// A peer that could not be dialed is not dialed again for so long.
    pub redial: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            wants_max: 1024,
            request_blocks_max: 128,
            request_bytes_max: 32 * 1024 * 1024,
            probes_max: 8,
            silence: Duration::from_secs(5),
            ask_max: Duration::from_secs(60),
            redial: Duration::from_secs(5),
        }
    }
}

/// Times a silent peer is asked for the same block.
const CHANCES: u8 = 3;
/// Lies after which a peer is asked for nothing until it reconnects.
const LIES_MAX: u8 = 3;
/// CIDs remembered as just received or given up, so that late copies are not taken for lies.
const DONE_MAX: usize = 8192;
/// A request whose window is full asks on when this part of it has become free, so that wants travel together
/// instead of in one message a block and peer. An eighth of the window keeps seven eighths on their
/// way, far above what any link holds.
const REFILL: u64 = 8;
/// Others asked whether they have a block while one that delivered before is asked for it. Each costs a line, an answer
/// and a cancel; with none, a block that is not there would cost a round trip more.
const PROBES_BESIDE: usize = 2;
/// Block size expected before the first has come.
const EXPECTED_BYTES: u64 = 256 * 1024;

/// A set of candidate peers that requests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(u64);

/// Blocks asked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<P> {
    /// Send these lines.
    Send {
        /// To whom.
        peer: P,
        /// The lines, at most one a CID.
        entries: Vec<Entry>,
    },
    /// Connect, then report [`Client::connected`] or [`Client::connect_failed`].
    Connect(P),
    /// The block that was just passed in belongs to this request.
    Deliver {
        /// Which request.
        request: RequestId,
        /// Which block.
        cid: Cid,
    },
    /// Nobody who was asked has the block.
    NotFound {
        /// Which request.
        request: RequestId,
        /// Which block.
        cid: Cid,
        /// Candidates tried.
        asked: usize,
    },
    /// Every block of the request was delivered or not found.
    Done(RequestId),
}

/// What a received block was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Asked for.
    Wanted,
    /// Asked for before and no longer needed.
    Late,
    /// Never asked for: the sender errs or lies.
    Unwanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Connection under way.
    Dialing,
    /// Asked whether it has the block.
    Probed { since: Time },
    /// Has it.
    Holds,
    /// Asked for the block.
    Asked { since: Time },
    /// Gave no answer in time, but may be asked again.
    Silent,
    /// Says it does not have it. It may remember the want and send the block when it has come.
    Lacks,
    /// Lied, was silent too often, cannot be reached, or has no way to send it.
    Refused,
}

#[derive(Debug)]
struct Want<P> {
    requests: BTreeSet<RequestId>,
    hints: Vec<P>,
    asks: BTreeMap<P, Ask>,
    /// Times each peer was silent about this block, over all attempts.
    silences: BTreeMap<P, u8>,
}

#[derive(Debug)]
struct Session<P> {
    /// `None`: everyone connected.
    peers: Option<Vec<P>>,
    /// Peers whose last answer in this session was a block.
    hot: BTreeSet<P>,
}

#[derive(Debug)]
struct Request<P> {
    session: SessionId,
    queue: VecDeque<(Cid, Vec<P>)>,
    active: usize,
    unread_blocks: usize,
    unread_bytes: u64,
    expected: u64,
    /// The window was full and has not become free enough to ask on, see [`REFILL`].
    is_full: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    connected: bool,
    failed: Option<Time>,
    /// When it last sent something useful.
    heard: Time,
    /// Blocks asked of it now.
    asked: usize,
    lies: u8,
    /// The version it speaks; the newest until the first stream says otherwise.
    protocol: Option<Protocol>,
}

/// The asking side. `P` tells peers apart.
#[derive(Debug)]
pub struct Client<P> {
    limits: ClientLimits,
    sessions: BTreeMap<SessionId, Session<P>>,
    requests: BTreeMap<RequestId, Request<P>>,
    wants: BTreeMap<Cid, Want<P>>,
    peers: BTreeMap<P, Peer>,
    /// Wants in whose `asks` a peer stands, so that what happens to one peer costs nothing where it was not asked.
    involved: BTreeMap<P, BTreeSet<Cid>>,
    done: (VecDeque<Cid>, BTreeSet<Cid>),
    outgoing: BTreeMap<P, BTreeMap<Cid, Entry>>,
    effects: Vec<Effect<P>>,
    next_id: u64,
}

impl<P: Copy + Ord> Client<P> {
    /// Knows nobody and wants nothing.
    pub fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            wants: BTreeMap::new(),
            peers: BTreeMap::new(),
            involved: BTreeMap::new(),
            done: (VecDeque::new(), BTreeSet::new()),
            outgoing: BTreeMap::new(),
            effects: Vec::new(),
            next_id: 0,
        }
    }

    /// Everything to be done since the last call, in order; lines for one peer are merged.
    pub fn drain(&mut self) -> Vec<Effect<P>> {
        let mut effects = core::mem::take(&mut self.effects);
        for (peer, entries) in core::mem::take(&mut self.outgoing) {
            effects.push(Effect::Send { peer, entries: entries.into_values().collect() });
        }
        effects
    }

    /// Whether anything is wanted, so that [`Client::tick`] is worth calling.
    pub fn is_idle(&self) -> bool {
        self.wants.is_empty()
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Opens a session over candidate peers; `None` means everyone connected.
    pub fn open_session(&mut self, peers: Option<Vec<P>>) -> SessionId {
        let id = SessionId(self.id());
        self.sessions.insert(id, Session { peers, hot: BTreeSet::new() });
        id
    }

    /// Adds a candidate to a session that is not over everyone.
    pub fn add_peer(&mut self, session: SessionId, peer: P, now: Time) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        match &mut state.peers {
            Some(peers) if !peers.contains(&peer) => peers.push(peer),
            _ => return,
        }
        for cid in self.wanted() {
            self.advance(cid, now);
        }
        self.settle(now);
    }

    /// Closes a session with its requests.
    pub fn close_session(&mut self, session: SessionId, now: Time) {
        let requests = self.requests.iter().filter(|(_, r)| r.session == session);
        for request in requests.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close_request(request, now);
        }
        self.sessions.remove(&session);
    }

    /// Asks for blocks, each CID once, with peers that are known to hold it.
    pub fn request(&mut self, session: SessionId, cids: Vec<(Cid, Vec<P>)>, now: Time) -> RequestId {
        let id = RequestId(self.id());
        let mut seen = BTreeSet::new();
        let queue: VecDeque<_> = cids.into_iter().filter(|(cid, _)| seen.insert(*cid)).collect();
        let request = Request {
            session,
            queue,
            active: 0,
            unread_blocks: 0,
            unread_bytes: 0,
            expected: EXPECTED_BYTES,
            is_full: false,
        };
        self.requests.insert(id, request);
        self.settle(now);
        id
    }

    /// Gives a request up: nothing more is delivered to it.
    pub fn close_request(&mut self, id: RequestId, now: Time) {
        if self.requests.remove(&id).is_none() {
            return;
        }
        for cid in self.wanted() {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            if want.requests.remove(&id) && want.requests.is_empty() {
                self.finish(cid, None);
            }
        }
        self.settle(now);
    }

    /// The reader took a delivered block.
    pub fn consumed(&mut self, id: RequestId, blocks: usize, bytes: u64, now: Time) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.unread_blocks = request.unread_blocks.saturating_sub(blocks);
            request.unread_bytes = request.unread_bytes.saturating_sub(bytes);
            self.settle(now);
        }
    }

    /// A connection stands.
    pub fn connected(&mut self, peer: P, now: Time) {
        let state = self.peers.entry(peer).or_default();
        if !state.connected {
            *state = Peer { connected: true, heard: now, ..Peer::default() };
        }
        for cid in self.wanted() {
            if self.wants.get(&cid).and_then(|want| want.asks.get(&peer)) == Some(&Ask::Dialing) {
                self.unask(cid, peer);
            }
            self.advance(cid, now);
        }
        self.settle(now);
    }

    /// The last connection is gone: everything asked of this peer is asked of others at once.
    pub fn disconnected(&mut self, peer: P, now: Time) {
        self.outgoing.remove(&peer);
        self.peers.remove(&peer);
        for cid in self.involving(peer) {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            match want.asks.get(&peer) {
                Some(Ask::Probed { .. } | Ask::Asked { .. } | Ask::Holds) => want.silent(peer),
                _ => continue,
            }
            self.advance(cid, now);
        }
        self.settle(now);
    }

    /// Dialing failed.
    pub fn connect_failed(&mut self, peer: P, now: Time) {
        let state = self.peers.entry(peer).or_default();
        if state.connected {
            return;
        }
        state.failed = Some(now);
        for cid in self.involving(peer) {
            if let Some(want) = self.wants.get_mut(&cid)
                && want.asks.get(&peer) == Some(&Ask::Dialing)
            {
                want.asks.insert(peer, Ask::Refused);
                self.advance(cid, now);
            }
        }
        self.settle(now);
    }

    /// The version a peer speaks became known: what it cannot answer is taken as refused, and where it cannot say
    /// whether it has a block, it was asked for the block.
    pub fn speaks(&mut self, peer: P, protocol: Protocol, now: Time) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.protocol.replace(protocol) == Some(protocol) {
            return;
        }
        for cid in self.involving(peer) {
            let ask = self.wants.get(&cid).and_then(|want| want.asks.get(&peer)).copied();
            match ask {
                Some(ask) if ask.is_pending() && !protocol.can_name(&cid) => {
                    if matches!(ask, Ask::Asked { .. }) {
                        self.release(peer);
                    }
                    self.note(cid, peer, Ask::Refused);
                }
                Some(Ask::Probed { since }) if !protocol.has_presence() => {
                    self.note(cid, peer, Ask::Asked { since });
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.asked += 1;
                    }
                }
                _ => continue,
            }
            self.advance(cid, now);
        }
        self.settle(now);
    }

    /// Blocks that are wanted now, in the order of CIDs.
    pub fn wantlist(&self) -> Vec<Cid> {
        self.wanted()
    }

    /// A part of a message arrived: a slow peer is not a silent one.
    pub fn heard(&mut self, peer: P, now: Time) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.heard = now;
        }
    }

    /// A peer says whether it has a block.
    pub fn presence(&mut self, peer: P, cid: Cid, presence: Presence, now: Time) {
        let Some(want) = self.wants.get_mut(&cid) else { return };
        let Some(ask) = want.asks.get(&peer).copied() else { return };
        match (ask, presence) {
            (Ask::Probed { .. } | Ask::Silent | Ask::Lacks, Presence::Have) => {
                want.asks.insert(peer, Ask::Holds);
            }
            (Ask::Probed { .. } | Ask::Silent | Ask::Holds, Presence::DontHave) => {
                want.asks.insert(peer, Ask::Lacks);
            }
            (Ask::Asked { .. }, Presence::DontHave) => {
                want.asks.insert(peer, Ask::Lacks);
                let requests = want.requests.clone();
                self.release(peer);
                for session in requests.iter().filter_map(|id| self.requests.get(id)).map(|r| r.session) {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        session.hot.remove(&peer);
                    }
                }
            }
            _ => return,
        }
        self.heard(peer, now);
        self.advance(cid, now);
        self.settle(now);
    }

    /// A block arrived whose bytes match its CID.
    pub fn block(&mut self, peer: P, cid: Cid, bytes: u64, now: Time) -> Verdict {
        if !self.wants.contains_key(&cid) {
            return if self.done.1.contains(&cid) { Verdict::Late } else { Verdict::Unwanted };
        }
        self.heard(peer, now);
        for id in self.finish(cid, Some(peer)) {
            let Some(request) = self.requests.get_mut(&id) else { continue };
            request.active -= 1;
            request.unread_blocks += 1;
            request.unread_bytes += bytes;
            request.expected = (3 * request.expected + bytes) / 4;
            if let Some(session) = self.sessions.get_mut(&request.session) {
                session.hot.insert(peer);
            }
            self.effects.push(Effect::Deliver { request: id, cid });
        }
        self.settle(now);
        Verdict::Wanted
    }

    /// A peer sent what nobody asked for, or no message at all: what is asked of it is asked of others at once.
    pub fn lied(&mut self, peer: P, now: Time) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lies = state.lies.saturating_add(1);
            state.asked = 0;
        }
        for session in self.sessions.values_mut() {
            session.hot.remove(&peer);
        }
        for cid in self.involving(peer) {
            let Some(want) = self.wants.get_mut(&cid) else { continue };
            if want.asks.get(&peer).is_some_and(|ask| ask.is_pending() || *ask == Ask::Holds) {
                want.asks.insert(peer, Ask::Refused);
                self.line(peer, Entry::cancel(cid));
                self.advance(cid, now);
            }
        }
        self.settle(now);
    }

    /// Passes over peers that were silent for too long. To be called a few times a second while not idle.
    pub fn tick(&mut self, now: Time) {
        let limits = self.limits;
        for cid in self.wanted() {
            let Some(want) = self.wants.get(&cid) else { continue };
            // With nobody else to ask, a slow answer is better than none.
            let alone = self.candidates(&cid, want).len() == 1;
            let is_late = |(peer, ask): &(&P, &Ask)| match ask {
                Ask::Probed { since } => now.saturating_sub(*since) >= limits.silence,
                Ask::Asked { since } => {
                    let heard = self.peers.get(*peer).map_or(Duration::ZERO, |state| state.heard);
                    now.saturating_sub((*since).max(heard)) >= limits.silence
                        || (!alone && now.saturating_sub(*since) >= limits.ask_max)
                }
                _ => false,
            };
            let late: Vec<(P, Ask)> = want.asks.iter().filter(is_late).map(|(p, ask)| (*p, *ask)).collect();
            for (peer, ask) in &late {
                if let Some(want) = self.wants.get_mut(&cid) {
                    want.silent(*peer);
                }
                if matches!(ask, Ask::Asked { .. }) {
                    self.release(*peer);
                }
                self.line(*peer, Entry::cancel(cid));
            }
            if !late.is_empty() {
                self.advance(cid, now);
            }
        }
        self.settle(now);
    }

    fn wanted(&self) -> Vec<Cid> {
        self.wants.keys().copied().collect()
    }

    /// Wants that a peer was asked about in any way.
    fn involving(&self, peer: P) -> Vec<Cid> {
        self.involved.get(&peer).into_iter().flatten().copied().collect()
    }

    /// Forgets that a peer was asked.
    fn unask(&mut self, cid: Cid, peer: P) {
        if let Some(want) = self.wants.get_mut(&cid) {
            want.asks.remove(&peer);
        }
        self.part(cid, peer);
    }

    fn part(&mut self, cid: Cid, peer: P) {
        if let Some(cids) = self.involved.get_mut(&peer) {
            cids.remove(&cid);
            if cids.is_empty() {
                self.involved.remove(&peer);
            }
        }
    }

    /// Notes where a peer stands with a want.
    fn note(&mut self, cid: Cid, peer: P, ask: Ask) {
        if let Some(want) = self.wants.get_mut(&cid) {
            want.asks.insert(peer, ask);
            self.involved.entry(peer).or_default().insert(cid);
        }
    }

    fn line(&mut self, peer: P, entry: Entry) {
        if self.peers.get(&peer).is_some_and(|state| state.connected) {
            self.outgoing.entry(peer).or_default().insert(entry.cid, entry);
        }
    }

    /// A block is no longer asked of a peer.
    fn release(&mut self, peer: P) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.asked = state.asked.saturating_sub(1);
        }
    }

    /// Forgets a want and takes back what was asked, but for the peer that answered.
    fn finish(&mut self, cid: Cid, answered: Option<P>) -> BTreeSet<RequestId> {
        let Some(want) = self.wants.remove(&cid) else { return BTreeSet::new() };
        for (peer, ask) in want.asks {
            if matches!(ask, Ask::Asked { .. }) {
                self.release(peer);
            }
            self.part(cid, peer);
            let open = matches!(ask, Ask::Asked { .. } | Ask::Probed { .. } | Ask::Holds | Ask::Lacks);
            if open && answered != Some(peer) {
                self.line(peer, Entry::cancel(cid));
            }
        }
        let (order, known) = &mut self.done;
        if known.insert(cid) {
            order.push_back(cid);
        }
        while order.len() > DONE_MAX {
            if let Some(old) = order.pop_front() {
                known.remove(&old);
            }
        }
        want.requests
    }

    /// Lets requests ask for more where room has come. Everything that may make room ends here, so that
    /// nothing calls itself however many blocks are not found in a row.
    fn settle(&mut self, now: Time) {
        let mut turn: VecDeque<RequestId> = self.requests.keys().copied().collect();
        while let Some(id) = turn.pop_front() {
            if self.pump(id, now) {
                turn.push_back(id);
            }
        }
    }

    /// Starts one block of a request; whether one was started.
    fn pump(&mut self, id: RequestId, now: Time) -> bool {
        let limits = self.limits;
        let Some(request) = self.requests.get_mut(&id) else { return false };
        if request.queue.is_empty() {
            if request.active == 0 {
                self.requests.remove(&id);
                self.effects.push(Effect::Done(id));
            }
            return false;
        }
        let blocks = request.active + request.unread_blocks;
        let bytes = request.unread_bytes + (request.active as u64 + 1) * request.expected;
        let room = blocks == 0 || (blocks < limits.request_blocks_max && bytes <= limits.request_bytes_max);
        if !room || self.wants.len() >= limits.wants_max {
            request.is_full = true;
            return false;
        }
        let is_worth_it = blocks as u64 * REFILL <= limits.request_blocks_max as u64 * (REFILL - 1)
            && bytes <= limits.request_bytes_max / REFILL * (REFILL - 1);
        if request.is_full && blocks != 0 && !is_worth_it {
            return false;
        }
        request.is_full = false;
        let Some((cid, hints)) = request.queue.pop_front() else { return false };
        request.active += 1;
        let want = self.wants.entry(cid).or_insert_with(Want::new);
        want.requests.insert(id);
        want.hints.extend(hints);
        self.advance(cid, now);
        true
    }

    /// Peers that may have a block, most likely first, without liars.
    fn candidates(&self, cid: &Cid, want: &Want<P>) -> Vec<P> {
        let mut candidates = want.hints.clone();
        for request in want.requests.iter().filter_map(|id| self.requests.get(id)) {
            let Some(session) = self.sessions.get(&request.session) else { continue };
            let connected = self.peers.iter().filter(|(_, state)| state.connected).map(|(peer, _)| *peer);
            match &session.peers {
                Some(peers) => candidates.extend(peers),
                None => candidates.extend(connected),
            }
        }
        let mut seen = BTreeSet::new();
        candidates.retain(|peer| {
            let state = self.peers.get(peer);
            let lies = state.map_or(0, |state| state.lies);
            let can_send = state.and_then(|state| state.protocol).is_none_or(|p| p.can_name(cid));
            lies < LIES_MAX && can_send && seen.insert(*peer)
        });
        candidates
    }

    fn is_connected(&self, peer: &P) -> bool {
        self.peers.get(peer).is_some_and(|state| state.connected)
    }

    /// Whether a peer speaks a version without presences.
    fn is_mute(&self, peer: &P) -> bool {
        let protocol = self.peers.get(peer).filter(|state| state.connected).and_then(|state| state.protocol);
        protocol.is_some_and(|protocol| !protocol.has_presence())
    }

    /// Whether an answer about a want is still to come.
    fn is_pending(&self, cid: &Cid) -> bool {
        self.wants.get(cid).is_some_and(|want| want.asks.values().any(Ask::is_pending))
    }

    /// The peer with the fewest blocks asked of it.
    fn idlest(&self, peers: impl Iterator<Item = P>) -> Option<P> {
        peers.min_by_key(|peer| self.peers.get(peer).map_or(0, |state| state.asked))
    }

    fn ask_for_block(&mut self, cid: Cid, peer: P, now: Time) {
        self.note(cid, peer, Ask::Asked { since: now });
        if let Some(state) = self.peers.get_mut(&peer) {
            state.asked += 1;
        }
        self.line(peer, Entry::want(cid, WantType::Block));
    }

    /// Does the next thing for a want; gives it up when nothing is left to do.
    fn advance(&mut self, cid: Cid, now: Time) {
        let Some(want) = self.wants.get(&cid) else { return };
        if want.asks.values().any(|ask| matches!(ask, Ask::Asked { .. })) {
            return;
        }
        let candidates = self.candidates(&cid, want);
        let holds = |peer: &P| want.asks.get(peer) == Some(&Ask::Holds);
        if let Some(peer) = self.idlest(candidates.iter().copied().filter(holds)) {
            return self.ask_for_block(cid, peer, now);
        }
        let fresh: Vec<P> = candidates.iter().copied().filter(|peer| !want.asks.contains_key(peer)).collect();
        let ready = |peer: &P| self.is_connected(peer);
        let hinted = fresh.iter().copied().filter(|peer| ready(peer) && want.hints.contains(peer));
        if let Some(peer) = self.idlest(hinted) {
            return self.ask_for_block(cid, peer, now);
        }
        let first = want.asks.is_empty();
        let hot = |peer: &P| {
            let sessions = want.requests.iter().filter_map(|id| self.requests.get(id)).map(|r| r.session);
            sessions.filter_map(|id| self.sessions.get(&id)).any(|session| session.hot.contains(peer))
        };
        let only = candidates.len() == 1;
        let direct = fresh.iter().copied().filter(|peer| ready(peer) && (only || (first && hot(peer))));
        let mut most = self.limits.probes_max;
        if let Some(peer) = self.idlest(direct) {
            self.ask_for_block(cid, peer, now);
            most = most.min(1 + PROBES_BESIDE);
        }
        self.probe(cid, &fresh, most, now);
        if self.is_pending(&cid) {
            return;
        }
        // Peers that cannot say whether they have it are asked for it, one after the other.
        if let Some(peer) = self.idlest(fresh.iter().copied().filter(|peer| self.is_mute(peer))) {
            return self.ask_for_block(cid, peer, now);
        }
        let Some(want) = self.wants.get(&cid) else { return };
        // Everyone has answered or kept silent: the silent ones get another chance.
        let silent = |peer: &P| matches!(want.asks.get(peer), Some(Ask::Silent));
        let again: Vec<P> = candidates.iter().copied().filter(silent).collect();
        for peer in &again {
            self.unask(cid, *peer);
        }
        self.probe(cid, &again, self.limits.probes_max, now);
        if self.is_pending(&cid) {
            return;
        }
        if let Some(peer) = self.idlest(again.iter().copied().filter(|peer| self.is_mute(peer))) {
            return self.ask_for_block(cid, peer, now);
        }
        let asked = candidates.len();
        for request in self.finish(cid, None) {
            if let Some(state) = self.requests.get_mut(&request) {
                state.active -= 1;
                self.effects.push(Effect::NotFound { request, cid, asked });
            }
        }
    }

    /// Asks peers whether they have a block, with at most so many answers to come at once, connected ones first; others
    /// are dialed.
    fn probe(&mut self, cid: Cid, peers: &[P], most: usize, now: Time) {
        let Some(want) = self.wants.get(&cid) else { return };
        let mut room = most.saturating_sub(want.asks.values().filter(|a| a.is_pending()).count());
        let (connected, others): (Vec<P>, Vec<P>) = peers
            .iter()
            .copied()
            .filter(|peer| !want.asks.contains_key(peer) && !self.is_mute(peer))
            .partition(|peer| self.is_connected(peer));
        for peer in connected.into_iter().chain(others) {
            if room == 0 {
                return;
            }
            let ask = if self.is_connected(&peer) {
                self.line(peer, Entry::want(cid, WantType::Have));
                Ask::Probed { since: now }
            } else {
                let failed = self.peers.get(&peer).and_then(|state| state.failed);
                if failed.is_some_and(|at| now.saturating_sub(at) < self.limits.redial) {
                    Ask::Refused
                } else {
                    if !self.effects.contains(&Effect::Connect(peer)) {
                        self.effects.push(Effect::Connect(peer));
                    }
                    Ask::Dialing
                }
            };
            room -= usize::from(ask.is_pending());
            self.note(cid, peer, ask);
        }
    }
}

impl Ask {
    /// Whether an answer is still to come.
    fn is_pending(&self) -> bool {
        matches!(self, Self::Dialing | Self::Probed { .. } | Self::Asked { .. })
    }
}

impl<P: Copy + Ord> Want<P> {
    fn new() -> Self {
        Self {
            requests: BTreeSet::new(),
            hints: Vec::new(),
            asks: BTreeMap::new(),
            silences: BTreeMap::new(),
        }
    }

    /// Notes that a peer let this want wait.
    fn silent(&mut self, peer: P) {
        let times = self.silences.entry(peer).or_insert(0);
        *times += 1;
        let ask = if *times < CHANCES { Ask::Silent } else { Ask::Refused };
        self.asks.insert(peer, ask);
    }
}

#[cfg(test)]
mod tests;
