use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hpips_net::rpc::{RpcError, Service, request, serve};
use hpips_net::{Config, FrameError, GossipError, Net, NoBlocks, OpenError};

use crate::support::{Memory, eventually, join, node, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_answered_within_limits() {
    let a = node(120, Memory::default()).await;
    let b = node(121, Memory::default()).await;
    join(&a, &b).await;
    let service = Service { question_bytes_max: 1000, ..Service::default() };
    let asker = a.account();
    serve(&b, "/test/echo/1", service, move |from, question| async move {
        assert_eq!(from, asker);
        match question.first() {
            Some(0) => None,
            Some(1) => std::future::pending().await,
            Some(2) => Some(vec![9; 5000]),
            _ => Some(question),
        }
    })
    .unwrap();
    assert!(serve(&b, "/test/echo/1", service, |_, _| async { None }).is_err(), "one server a protocol");
    let ask = |question: Vec<u8>, deadline: Duration| {
        let a = a.clone();
        let b = b.account();
        async move { within(request(&a, b, "/test/echo/1", &question, 1000, deadline)).await }
    };
    let long = Duration::from_secs(30);
    assert_eq!(ask(vec![7; 1000], long).await.unwrap(), vec![7; 1000]);
    assert_eq!(ask(vec![], long).await.unwrap(), vec![]);
    assert!(matches!(ask(vec![0], long).await, Err(RpcError::NoAnswer)));
    assert!(matches!(ask(vec![1], Duration::from_millis(50)).await, Err(RpcError::Deadline(_))));
    assert!(matches!(ask(vec![2], long).await, Err(RpcError::Frame(FrameError::TooLong { .. }))));
    assert!(ask(vec![3; 1001], long).await.is_err());
    let foreign = within(request(&a, b.account(), "/test/none/1", &[], 10, long)).await;
    assert!(matches!(foreign, Err(RpcError::Open(OpenError::Unsupported(_)))), "{foreign:?}");
    let nobody = node(122, Memory::default()).await.account();
    let unknown = within(request(&a, nobody, "/test/echo/1", &[], 10, long)).await;
    assert!(matches!(unknown, Err(RpcError::Open(OpenError::NotConnected(_)))), "{unknown:?}");
    // A burst of streams: more than a queue of one would hold.
    let burst = (0..40u8).map(|index| ask(vec![index + 3; 10], long));
    for (index, answer) in futures::future::join_all(burst).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), vec![u8::try_from(index).unwrap() + 3; 10]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_come_in_order_from_everyone_and_large_ones_pass() {
    let mut nodes = Vec::new();
    for seed in 130..135 {
        nodes.push(node(seed, Memory::default()).await);
    }
    for a in &nodes {
        for b in &nodes {
            a.keep(b.account(), b.listen_addrs()).await;
        }
    }
    let everyone: Vec<_> = nodes.iter().map(Net::account).collect();
    let mut ends: Vec<_> = nodes.iter().map(|node| node.frames(3, 1 << 20).unwrap()).collect();
    assert!(nodes[0].frames(3, 1 << 20).is_err());
    // Sent before anybody is connected.
    for (index, (sender, _)) in ends.iter().enumerate() {
        let others: Vec<_> = everyone.iter().copied().filter(|a| *a != everyone[index]).collect();
        for round in 0..20u8 {
            let len = if round == 10 { 1 << 20 } else { 100 };
            assert_eq!(sender.send(&others, Bytes::from(vec![round; len])), 4);
        }
        assert_eq!(sender.send(&others, Bytes::from(vec![0; (1 << 20) + 1])), 0);
    }
    for (index, (_, receiver)) in ends.iter_mut().enumerate() {
        let mut next = [0u8; 5];
        for _ in 0..4 * 20 {
            let (from, frame) = within(receiver.recv()).await.unwrap();
            let from = everyone.iter().position(|a| *a == from).unwrap();
            assert_ne!(from, index);
            assert_eq!(frame[0], next[from], "in order");
            next[from] += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_flow_again_after_a_restart() {
    let a = node(140, Memory::default()).await;
    let mut config = Config::loopback([141; 32]);
    config.peers = a.full_addrs();
    let b = Net::start(config.clone(), Arc::new(NoBlocks)).await.unwrap();
    let (a_account, b_account) = (a.account(), b.account());
    config.listen = b.listen_addrs();
    let (a_send, mut a_recv) = a.frames(0, 1000).unwrap();
    let (b_send, mut b_recv) = b.frames(0, 1000).unwrap();
    a_send.send(&[b_account], Bytes::from_static(b"one"));
    b_send.send(&[a_account], Bytes::from_static(b"two"));
    assert_eq!(within(b_recv.recv()).await.unwrap(), (a_account, Bytes::from_static(b"one")));
    assert_eq!(within(a_recv.recv()).await.unwrap(), (b_account, Bytes::from_static(b"two")));
    for round in 0..3u8 {
        b.shutdown().await;
        eventually("the cut is seen", || a.connected().is_empty()).await;
        // Said while nobody listens: kept.
        a_send.send(&[b_account], Bytes::from(vec![round]));
        // The same port and key; nobody told `a`, `b` dials.
        let b = Net::start(config.clone(), Arc::new(NoBlocks)).await.unwrap();
        let (b_send, mut b_recv) = b.frames(0, 1000).unwrap();
        assert_eq!(within(b_recv.recv()).await.unwrap(), (a_account, Bytes::from(vec![round])));
        b_send.send(&[a_account], Bytes::from(vec![round, 1]));
        assert_eq!(within(a_recv.recv()).await.unwrap(), (b_account, Bytes::from(vec![round, 1])));
        b.shutdown().await;
        eventually("the cut is seen", || a.connected().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_keep_each_other_meet_in_any_order() {
    // Addresses are fixed by starting once; then everything is started again in reverse.
    let mut configs = Vec::new();
    for seed in 150..155 {
        let net = node(seed, Memory::default()).await;
        let mut config = Config::loopback([seed; 32]);
        config.listen = net.listen_addrs();
        configs.push((config, net.full_addrs()));
        net.shutdown().await;
    }
    let all: Vec<_> = configs.iter().flat_map(|(_, full)| full.clone()).collect();
    let mut nodes = Vec::new();
    for (config, _) in configs.into_iter().rev() {
        nodes.push(Net::start(Config { peers: all.clone(), ..config }, Arc::new(NoBlocks)).await.unwrap());
    }
    for a in &nodes {
        let others: Vec<_> = nodes.iter().map(Net::account).filter(|b| *b != a.account()).collect();
        within(a.wait_connected(&others)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_reaches_everyone_through_others() {
    let mut nodes: Vec<Net> = Vec::new();
    let mut gossips = Vec::new();
    for seed in 160..165 {
        let net = node(seed, Memory::default()).await;
        gossips.push(net.gossip("/test/topic", 2 << 20));
        if let Some(previous) = nodes.last() {
            join(&net, previous).await;
        }
        nodes.push(net);
    }
    let accounts: Vec<_> = nodes.iter().map(Net::account).collect();
    let over = gossips[0].publish(Bytes::from(vec![0; (2 << 20) + 1])).await;
    assert!(matches!(over, Err(GossipError::TooLong { .. })));

    // Subscriptions and meshes come about by themselves; the first messages find them when they are there.
    let publisher = gossips[0].publisher();
    let hellos = tokio::spawn(async move {
        for number in 0u64.. {
            let _ = publisher.publish(Bytes::from(number.to_le_bytes().to_vec())).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for gossip in &mut gossips[1..] {
        assert_eq!(within(gossip.recv()).await.unwrap().0, accounts[0]);
    }
    hellos.abort();

    let large = Bytes::from(noise(2 << 20));
    within(gossips[4].publish(large.clone())).await.unwrap();
    within(gossips[4].publish(large.clone())).await.unwrap();
    for (index, gossip) in gossips.iter_mut().enumerate().take(4) {
        let mut count = 0;
        loop {
            let (author, data) = within(gossip.recv()).await.unwrap();
            if author == accounts[4] {
                assert!(data == large);
                count += 1;
                break;
            }
            assert!(index != 0 && author == accounts[0]);
        }
        assert_eq!(count, 1);
    }
}

fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(b"gossip").finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_an_error_and_shutdown_frees_it() {
    let a = node(170, Memory::default()).await;
    let mut config = Config::loopback([171; 32]);
    config.listen = a.listen_addrs();
    let taken = Net::start(config.clone(), Arc::new(NoBlocks)).await;
    assert!(taken.is_err(), "{taken:?}");
    a.shutdown().await;
    let b = Net::start(config, Arc::new(NoBlocks)).await.unwrap();
    drop(a);
    let account = b.account();
    drop(b);
    // The last handle is gone: so is the network.
    let c = node(172, Memory::default()).await;
    assert!(within(c.connect(account)).await.is_err());
}
