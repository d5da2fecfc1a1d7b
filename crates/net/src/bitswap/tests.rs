//! Scripted peers: old versions, bad input, and what is left of memory and answers beside them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use hpips_bitswap::{Message, PROTOCOL, Payload, SourceError, WantType};
use hpips_types::content::{IDENTITY, RAW, cid_v0, cid_v1, cid_v1_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::Config;
use crate::net::{Incoming, NoBlocks};
use crate::wire::Stream;

/// Longest wait for anything; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks that can be added to.
#[derive(Clone, Default)]
struct Shelf {
    blocks: Arc<Mutex<BTreeMap<Cid, Bytes>>>,
    read: Arc<AtomicU64>,
}

impl Shelf {
    fn of(blocks: &[(Cid, Bytes)]) -> Self {
        Self { blocks: Arc::new(Mutex::new(blocks.iter().cloned().collect())), read: Arc::default() }
    }
}

impl BlockSource for Shelf {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Ok(self.blocks.lock().unwrap().get(cid).map(|block| u32::try_from(block.len()).unwrap()))
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        Ok(self.blocks.lock().unwrap().get(cid).cloned())
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

async fn node(seed: u8, shelf: Shelf) -> Net {
    Net::start(Config::loopback([seed; 32]), Arc::new(shelf)).await.unwrap()
}

/// A peer whose bitswap is what the test makes of it: it speaks one version.
async fn scripted(seed: u8, protocol: Protocol) -> (Net, Incoming) {
    let net = Net::start(Config::loopback([seed; 32]), Arc::new(NoBlocks)).await.unwrap();
    for protocol in Protocol::ALL {
        net.accepting().refuse(&StreamProtocol::new(protocol.name()));
    }
    let incoming = net.accept(protocol.name()).unwrap();
    (net, incoming)
}

async fn join(a: &Net, b: &Net) {
    within(a.dial(b.full_addrs()[0].clone())).await.unwrap();
    within(b.wait_connected(&[a.account()])).await;
}

async fn say(stream: &mut Stream, message: &Message, protocol: Protocol) {
    within(stream.write_all(&message.encode_for(protocol).concat())).await.unwrap();
    within(stream.flush()).await.unwrap();
}

async fn hear(stream: &mut Stream) -> Message {
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = within(stream.read_u8()).await.unwrap();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    within(stream.read_exact(&mut body)).await.unwrap();
    Message::decode(&body.into()).unwrap()
}

fn wants(cids: impl IntoIterator<Item = Cid>) -> Message {
    let wants = cids.into_iter().map(|cid| Entry::want(cid, WantType::Block)).collect();
    Message { wants, ..Message::default() }
}

fn block(number: u32, length: usize) -> (Cid, Bytes) {
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    (cid_v1(RAW, &bytes), bytes.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_versions_are_served_and_asked() {
    for (seed, protocol) in [(1, Protocol::V1_1), (3, Protocol::V1_0), (5, Protocol::Unversioned)] {
        let ours = Bytes::from_static(b"ours");
        let theirs = Bytes::from_static(b"theirs");
        let net = node(seed, Shelf::of(&[(cid_v0(&ours), ours.clone())])).await;
        let (old, mut incoming) = scripted(seed + 1, protocol).await;
        join(&net, &old).await;
        // It asks us.
        let mut to_us = within(old.open(net.account(), protocol.name())).await.unwrap();
        say(&mut to_us, &wants([cid_v0(&ours)]), protocol).await;
        let (_, mut from_us) = within(incoming.next()).await.unwrap();
        let answer = hear(&mut from_us).await;
        assert_eq!(answer.blocks, [Payload::new(&cid_v0(&ours), ours)], "{protocol:?}");
        assert!(answer.presences.is_empty());
        // We ask it, on the stream that stands; presences are unknown to it.
        let session = Session::new(&net, vec![old.account()]);
        let fetched = session.get_one(cid_v0(&theirs), PATIENCE);
        let answers = async {
            let asked = hear(&mut from_us).await;
            assert_eq!(asked.wants[0].cid, cid_v0(&theirs));
            assert_eq!((asked.wants[0].want_type, asked.wants[0].send_dont_have), (WantType::Block, false));
            let blocks = vec![Payload::new(&cid_v0(&theirs), theirs.clone())];
            say(&mut to_us, &Message { blocks, ..Message::default() }, protocol).await;
        };
        let (fetched, ()) = tokio::join!(fetched, answers);
        assert_eq!(fetched.unwrap(), theirs);
        // What the version has no name for is not asked of it.
        if protocol != Protocol::V1_1 {
            let missing = cid_v1(RAW, b"no name");
            let outcome = within(session.get_one(missing, PATIENCE)).await;
            assert_eq!(outcome, Err(FetchError::NotFound { cid: missing, asked: 0 }));
        }
        let ledger = net.bitswap_ledger(old.peer_id()).await.unwrap();
        assert_eq!((ledger.bytes_sent, ledger.bytes_received), (4, 6));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_want_is_answered_when_its_block_comes() {
    let shelf = Shelf::of(&[]);
    let net = node(10, shelf.clone()).await;
    let (peer, mut incoming) = scripted(11, Protocol::V1_2).await;
    join(&net, &peer).await;
    let (cid, bytes) = block(1, 5000);
    let mut to_us = within(peer.open(net.account(), PROTOCOL)).await.unwrap();
    say(&mut to_us, &wants([cid]), Protocol::V1_2).await;
    let (_, mut from_us) = within(incoming.next()).await.unwrap();
    assert_eq!(hear(&mut from_us).await.presences, [(cid, Presence::DontHave)]);
    assert_eq!(net.bitswap_wantlist(Some(peer.peer_id())).await, [cid]);
    assert_eq!(net.bitswap_wantlist(None).await, []);
    assert_eq!(net.bitswap_stats().wants_waiting, 1);
    shelf.blocks.lock().unwrap().insert(cid, bytes.clone());
    net.blocks_arrived()(&mut [cid].iter());
    assert_eq!(hear(&mut from_us).await.blocks, [Payload::new(&cid, bytes)]);
    assert_eq!(net.bitswap_wantlist(Some(peer.peer_id())).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_need_nobody() {
    let net = node(20, Shelf::of(&[])).await;
    let (peer, mut incoming) = scripted(21, Protocol::V1_2).await;
    join(&net, &peer).await;
    let identity = cid_v1_with(RAW, IDENTITY, b"here").unwrap();
    let (absent, _) = block(1, 100);
    let session = Session::new(&net, vec![]);
    let got: Vec<_> = within(session.get(vec![identity, identity]).collect()).await;
    assert_eq!(got, [Ok((identity, Bytes::from_static(b"here")))]);
    let mut to_us = within(peer.open(net.account(), PROTOCOL)).await.unwrap();
    say(&mut to_us, &wants([identity, absent]), Protocol::V1_2).await;
    let (_, mut from_us) = within(incoming.next()).await.unwrap();
    let answer = hear(&mut from_us).await;
    assert_eq!(answer.presences, [(absent, Presence::DontHave)], "nothing was asked, nothing is said");
    assert!(answer.blocks.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_skipped_and_what_is_cut_is_forgotten() {
    let (cid, bytes) = block(1, 3000);
    let net = node(30, Shelf::of(&[(cid, bytes.clone())])).await;
    let (peer, mut incoming) = scripted(31, Protocol::V1_2).await;
    join(&net, &peer).await;
    // A message that ends before its length, again and again: the stream is gone, nothing else.
    for _ in 0..100 {
        let mut cut = within(peer.open(net.account(), PROTOCOL)).await.unwrap();
        within(cut.write_all(&[0xff, 0xff, 0x03, 0x0a])).await.unwrap();
        within(cut.shutdown()).await.unwrap();
    }
    // Fields that no version has, of every wire type, around an honest want.
    let want = wants([cid]).encode().concat();
    let mut body = vec![0x78, 0x01, 0x7a, 0x02, 1, 2, 0x7d, 0, 0, 0, 0, 0x79, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&want[1..]);
    let mut to_us = within(peer.open(net.account(), PROTOCOL)).await.unwrap();
    within(to_us.write_all(&[&[u8::try_from(body.len()).unwrap()], &body[..]].concat())).await.unwrap();
    within(to_us.flush()).await.unwrap();
    let (_, mut from_us) = within(incoming.next()).await.unwrap();
    assert_eq!(hear(&mut from_us).await.blocks, [Payload::new(&cid, bytes)]);
    assert_eq!(net.bitswap_stats().messages_refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_costs_little_and_keeps_nobody_waiting() {
    let all: Vec<_> = (0..300).map(|number| block(number, 1 << 20)).collect();
    let shelf = Shelf::of(&all);
    let net = node(40, shelf.clone()).await;
    let (lazy, mut incoming) = scripted(41, Protocol::V1_2).await;
    join(&net, &lazy).await;
    let mut to_us = within(lazy.open(net.account(), PROTOCOL)).await.unwrap();
    say(&mut to_us, &wants(all.iter().map(|(cid, _)| *cid)), Protocol::V1_2).await;
    // It takes the stream and leaves it.
    let (_, _from_us) = within(incoming.next()).await.unwrap();
    let honest = node(42, Shelf::of(&[])).await;
    join(&honest, &net).await;
    let session = Session::new(&honest, vec![net.account()]);
    let mut stream = session.get(all.iter().take(50).map(|(cid, _)| *cid).collect());
    while let Some(item) = within(stream.next()).await {
        item.unwrap();
    }
    // 50 for the honest one; for the other what was loaded ahead and what the connection's window took.
    let read = shelf.read.load(Ordering::Relaxed);
    assert!((50..80).contains(&read), "{read}");
    assert!(net.bitswap_wantlist(Some(lazy.peer_id())).await.len() > 250, "the rest is not loaded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_left_are_closed() {
    let all: Vec<_> = (0..20).map(|number| block(number, 10_000)).collect();
    let net = node(50, Shelf::of(&all)).await;
    let (idle, _incoming) = scripted(51, Protocol::V1_2).await;
    join(&net, &idle).await;
    let mut left = Vec::new();
    for _ in 0..30 {
        left.clear();
        // Nearly as many as one connection carries.
        for number in 0..60 {
            // Some are reset before they are taken: that is an answer, too.
            let protocol = Protocol::ALL[number % 4];
            if let Ok(mut stream) = within(idle.open(net.account(), protocol.name())).await {
                // The beginning of a message, or nothing.
                let is_idle = number % 2 == 1;
                if !is_idle {
                    let _ = within(stream.write_all(&[0xff, 0xff, 0x7f])).await;
                }
                // Without it the other end does not learn of the stream.
                let _ = within(stream.flush()).await;
                left.push((is_idle, stream));
            }
        }
    }
    assert!(left.len() > 50, "{}", left.len());
    let honest = node(52, Shelf::of(&[])).await;
    join(&honest, &net).await;
    let session = Session::new(&honest, vec![net.account()]);
    let got: Vec<_> = within(session.get(all.iter().map(|(cid, _)| *cid).collect()).collect()).await;
    assert!(got.len() == 20 && got.iter().all(Result::is_ok));
    // The first ones that said nothing were reset to make room: reading ends.
    for (_, stream) in left.iter_mut().filter(|(is_idle, _)| *is_idle).take(10) {
        let outcome = within(stream.read(&mut [0])).await;
        assert!(matches!(outcome, Err(_) | Ok(0)), "{outcome:?}");
    }
}
