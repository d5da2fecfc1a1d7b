use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hpips_bitswap::{Entry, Message, PROTOCOL, WantType};
use hpips_net::{Config, FetchError, Net, NoBlocks, Session};
use hpips_types::Cid;
use hpips_types::content::{RAW, cid_v1, verify_block};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Gate, Memory, Opener, blocks, eventually, join, memory, node, within};

/// A node that never gives a silent peer up, so that only events can make it ask others.
async fn patient(seed: u8) -> Net {
    let mut config = Config::loopback([seed; 32]);
    config.limits.bitswap_silence = Duration::from_secs(3600);
    Net::start(config, Arc::new(NoBlocks)).await.unwrap()
}

async fn fetch(session: &Session, cids: impl Iterator<Item = Cid>) -> BTreeMap<Cid, Bytes> {
    let mut stream = session.get(cids.collect());
    let mut got = BTreeMap::new();
    while let Some(item) = within(stream.next()).await {
        let (cid, block) = item.unwrap();
        verify_block(&cid, &block).unwrap();
        assert!(got.insert(cid, block).is_none(), "{cid} came twice");
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_fetch_from_each_other() {
    let (left, right) = (blocks(50, 3000), blocks(80, 100_000));
    let a = node(1, memory(&left)).await;
    let b = node(2, memory(&right)).await;
    join(&a, &b).await;
    assert!(fetch(&Session::new(&a, vec![b.account()]), right.keys().copied()).await == right);
    assert!(fetch(&Session::new(&b, vec![]), left.keys().copied()).await == left);
    assert_eq!(a.bitswap_stats().blocks_received, 80);
    assert_eq!(a.bitswap_stats().blocks_sent, 50);
    a.shutdown().await;
    b.shutdown().await;
}

/// A lower bound of time only: a slow machine cannot fail it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_node_sends_and_receives_no_faster() {
    const RATE: u64 = 1 << 20;
    let held = blocks(15, 100_000);
    for bounded in ["sender", "reader"] {
        let (mut sender, mut reader) = (Config::loopback([1; 32]), Config::loopback([2; 32]));
        if bounded == "sender" {
            sender.limits.send_bytes_max = Some(RATE);
        } else {
            reader.limits.receive_bytes_max = Some(RATE);
        }
        let sender = Net::start(sender, Arc::new(memory(&held))).await.unwrap();
        let reader = Net::start(reader, Arc::new(NoBlocks)).await.unwrap();
        join(&reader, &sender).await;
        let begin = Instant::now();
        assert!(fetch(&Session::new(&reader, vec![]), held.keys().copied()).await == held);
        // A tenth of a second's bytes may go at once.
        let least = Duration::from_secs(1).mul_f64(1_500_000.0 / RATE as f64 - 0.1);
        assert!(begin.elapsed() >= least, "the {bounded} was done after {:?}", begin.elapsed());
        sender.shutdown().await;
        reader.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_each_with_a_part() {
    let all = blocks(200, 20_000);
    let mut nodes = Vec::new();
    for part in 0..5usize {
        // Every block is with two of the five.
        let with = |index: usize| index % 5 == part || index % 5 == (part + 2) % 5;
        let part_blocks = all.iter().enumerate().filter(|(index, _)| with(*index));
        let source = part_blocks.map(|(_, (cid, block))| (*cid, block.clone())).collect();
        nodes.push(node(u8::try_from(part).unwrap() + 10, memory(&source)).await);
    }
    let reader = patient(20).await;
    for node in &nodes {
        // Only the address: the session connects.
        reader.address_book(node.account(), node.full_addrs()).await;
    }
    let session = Session::new(&reader, nodes.iter().map(Net::account).collect());
    assert!(fetch(&session, all.keys().copied()).await == all);
    // With known holders: the same blocks again, and nobody is asked around.
    let holders = all.keys().enumerate().map(|(index, cid)| (*cid, vec![nodes[index % 5].account()]));
    let mut stream = session.get_from(holders.collect());
    let mut count = 0;
    while let Some(item) = within(stream.next()).await {
        item.unwrap();
        count += 1;
    }
    assert_eq!(count, 200);
    let missing = cid_v1(RAW, b"nobody has this");
    let outcome = within(session.get_one(missing, Duration::from_secs(30))).await;
    assert_eq!(outcome, Err(FetchError::NotFound { cid: missing, asked: 5 }));
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_found_out_and_replaced() {
    let all = blocks(30, 5000);
    let liar = node(30, Memory { lie: Some(Bytes::from_static(b"not what you want")), ..memory(&all) }).await;
    let honest = node(31, memory(&all)).await;
    let reader = patient(32).await;
    join(&reader, &liar).await;
    join(&reader, &honest).await;
    let session = Session::new(&reader, vec![liar.account(), honest.account()]);
    let hinted = session.get_from(all.keys().map(|cid| (*cid, vec![liar.account()])).collect());
    let got: BTreeMap<Cid, Bytes> = within(hinted.map(Result::unwrap).collect()).await;
    assert!(got == all);
    assert!(reader.bitswap_stats().blocks_unwanted > 0);
    assert_eq!(reader.bitswap_stats().blocks_received, 30);
    // With the liar alone the block is not found; the lie is never seen.
    let alone = Session::new(&reader, vec![liar.account()]);
    let cid = *all.keys().next().unwrap();
    let outcome = within(alone.get_one(cid, Duration::from_secs(30))).await;
    assert!(matches!(outcome, Err(FetchError::NotFound { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_dies_is_replaced_at_once() {
    let all = blocks(40, 50_000);
    let gate = Opener(Arc::new(Gate::default()));
    let dying = node(40, Memory { gate: Some((5, gate.0.clone())), ..memory(&all) }).await;
    let other = node(41, memory(&all)).await;
    // It would wait an hour for a silent peer.
    let reader = patient(42).await;
    join(&reader, &dying).await;
    join(&reader, &other).await;
    let session = Session::new(&reader, vec![dying.account(), other.account()]);
    let mut stream = session.get_from(all.keys().map(|cid| (*cid, vec![dying.account()])).collect());
    let mut got = BTreeMap::new();
    for _ in 0..1 {
        let (cid, block) = within(stream.next()).await.unwrap().unwrap();
        got.insert(cid, block);
    }
    // Sudden, as far as the reader can tell: connections are cut, nothing is said.
    dying.shutdown().await;
    while let Some(item) = within(stream.next()).await {
        let (cid, block) = item.unwrap();
        got.insert(cid, block);
    }
    assert!(got == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_replaced_after_a_while() {
    let all = blocks(3, 5000);
    let gate = Opener(Arc::new(Gate::default()));
    let silent = node(50, Memory { gate: Some((0, gate.0.clone())), ..memory(&all) }).await;
    let other = node(51, memory(&all)).await;
    let mut config = Config::loopback([52; 32]);
    config.limits.bitswap_silence = Duration::from_millis(200);
    let reader = Net::start(config, Arc::new(NoBlocks)).await.unwrap();
    join(&reader, &silent).await;
    join(&reader, &other).await;
    let session = Session::new(&reader, vec![silent.account(), other.account()]);
    let hinted = session.get_from(all.keys().map(|cid| (*cid, vec![silent.account()])).collect());
    let got: BTreeMap<Cid, Bytes> = within(hinted.map(Result::unwrap).collect()).await;
    assert!(got == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_oversized_messages_hurt_nobody_else() {
    let all = blocks(20, 100_000);
    let victim = node(60, memory(&all)).await;
    let attacker = node(61, Memory::default()).await;
    let reader = node(62, Memory::default()).await;
    join(&attacker, &victim).await;
    join(&reader, &victim).await;

    let wants = (0..80_000u32).map(|index| Entry::want(cid_v1(RAW, &index.to_le_bytes()), WantType::Block));
    let flood = Message { wants: wants.collect(), ..Message::default() }.encode().concat();
    assert!(flood.len() < 4 << 20, "{}", flood.len());
    let mut stream = within(attacker.open(victim.account(), PROTOCOL)).await.unwrap();
    for _ in 0..5 {
        within(stream.write_all(&flood)).await.unwrap();
    }
    within(stream.flush()).await.unwrap();
    eventually("floods are dropped", || victim.bitswap_stats().wants_dropped >= 5 * (80_000 - 1024)).await;

    for bad in [&[0x81, 0x80, 0x80, 0x02][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[3, 0xff, 0xff, 0xff]] {
        let refused = victim.bitswap_stats().messages_refused;
        let mut stream = within(attacker.open(victim.account(), PROTOCOL)).await.unwrap();
        within(stream.write_all(bad)).await.unwrap();
        within(stream.flush()).await.unwrap();
        // The victim closes the stream without reading on.
        let _ = within(stream.read(&mut [0])).await;
        eventually("the message is refused", || victim.bitswap_stats().messages_refused > refused).await;
    }
    // Blocks nobody asked for are counted and gone.
    let gift = Message {
        blocks: vec![hpips_bitswap::Payload::new(&cid_v1(RAW, b"gift"), Bytes::from_static(b"gift"))],
        ..Message::default()
    };
    let mut stream = within(attacker.open(victim.account(), PROTOCOL)).await.unwrap();
    within(stream.write_all(&gift.encode().concat())).await.unwrap();
    within(stream.flush()).await.unwrap();
    eventually("the gift is dropped", || victim.bitswap_stats().blocks_unwanted == 1).await;

    let session = Session::new(&reader, vec![victim.account()]);
    assert!(fetch(&session, all.keys().copied()).await == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_waited_for() {
    let all = blocks(300, 1 << 20);
    let server = node(70, memory(&all)).await;
    let reader = node(71, Memory::default()).await;
    join(&reader, &server).await;
    let session = Session::new(&reader, vec![server.account()]);
    let mut stream = session.get(all.keys().copied().collect());
    within(stream.next()).await.unwrap().unwrap();
    // It stops where the budget is used up; the first window is taken before sizes are known.
    let mut last = 0;
    let mut since = Instant::now();
    eventually("asking ends", || {
        let now = reader.bitswap_stats().blocks_received;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    })
    .await;
    assert!(last <= 129, "{last}");
    let rest = within(stream.count()).await;
    assert_eq!(rest, 299);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_fetches_quickly() {
    let gate = Opener(Arc::new(Gate::default()));
    let all = blocks(3, 5000);
    let server = node(80, Memory { gate: Some((0, gate.0.clone())), ..memory(&all) }).await;
    let reader = patient(81).await;
    join(&reader, &server).await;
    let session = Session::new(&reader, vec![server.account()]);
    let mut stream = session.get(all.keys().copied().collect());
    let mut incoming = reader.accept("/test/any/1").unwrap();
    let mut gossip = reader.gossip("/test/any", 100);
    let ending = reader.clone();
    let (item, ()) = tokio::join!(within(stream.next()), async move { ending.shutdown().await });
    assert!(!matches!(item, Some(Ok(_))), "{item:?}");
    assert!(within(incoming.next()).await.is_none() && within(gossip.recv()).await.is_none());
    let late = within(session.get_one(*all.keys().next().unwrap(), Duration::from_secs(30))).await;
    assert_eq!(late, Err(FetchError::Closed));
}

/// Prints what this machine does; asserts nothing about time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_is_printed() {
    let all = blocks(128, 1 << 20);
    let a = node(90, memory(&all)).await;
    let b = node(91, Memory::default()).await;
    join(&b, &a).await;
    let mut incoming = a.accept("/test/raw/1").unwrap();
    let data: Vec<Bytes> = all.values().cloned().collect();
    tokio::spawn(async move {
        let (_, mut stream) = incoming.next().await.unwrap();
        let _ = stream.read(&mut [0]).await;
        for block in data {
            stream.write_all(&block).await.unwrap();
        }
        stream.flush().await.unwrap();
        let _ = stream.read(&mut [0]).await;
    });
    let rate = |start: Instant| f64::from(128u32 << 20) / 1e6 / start.elapsed().as_secs_f64();
    let mut stream = b.open(a.account(), "/test/raw/1").await.unwrap();
    let start = Instant::now();
    stream.write_all(&[1]).await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    for cid in all.keys() {
        within(stream.read_exact(&mut buffer)).await.unwrap();
        verify_block(cid, &buffer).unwrap();
    }
    let raw = rate(start);
    drop(stream);
    for round in 0..3 {
        let session = Session::new(&b, vec![a.account()]);
        let start = Instant::now();
        let mut stream = session.get(all.keys().copied().collect());
        while let Some(item) = within(stream.next()).await {
            item.unwrap();
        }
        let bitswap = rate(start);
        println!(
            "bitswap 1 MiB blocks, round {round}: {bitswap:.0} MB/s; one raw stream with SHA-256: {raw:.0} MB/s"
        );
    }
}
