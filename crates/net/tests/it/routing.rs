//! DHTs, QUIC, private networks, relays and filters.

use std::sync::Arc;
use std::time::Duration;

use hpips_ipns::{Content, Form, Moment, Name, Record, dht_key};
use hpips_net::{Config, Dht, Net, NoBlocks, OpenError, PrivateKey, RoutingError, Session};
use hpips_types::content::{RAW, cid_v1};

use crate::support::{Memory, blocks, eventually, join, memory, node, within};

async fn start(seed: u8, source: Memory, change: impl FnOnce(&mut Config)) -> Net {
    let mut config = Config::loopback([seed; 32]);
    change(&mut config);
    Net::start(config, Arc::new(source)).await.unwrap()
}

fn in_dht(config: &mut Config) {
    config.dhts = vec![Dht::of_network("test-net")];
}

fn over_quic(config: &mut Config) {
    config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_found_among_twenty_nodes_and_fetched() {
    let held = blocks(3, 10_000);
    let mut nodes = vec![start(1, Memory::default(), in_dht).await];
    for seed in 2..20 {
        nodes.push(start(seed, Memory::default(), in_dht).await);
    }
    let holder = start(20, memory(&held), in_dht).await;
    let seeker = start(21, Memory::default(), in_dht).await;
    nodes.extend([holder.clone(), seeker.clone()]);
    // Everyone knows one other node only: a chain, so that the walk has to be walked.
    for pair in nodes.windows(2) {
        join(&pair[1], &pair[0]).await;
    }
    let cid = *held.keys().next().unwrap();
    // The peers' tables fill with what identify says.
    for round in 0.. {
        match within(holder.routing().provide(cid)).await {
            Ok(()) => break,
            Err(error) => assert!(error == RoutingError::NoPeers && round < 1000, "{error}"),
        }
        tokio::task::yield_now().await;
    }
    let found = within(async {
        loop {
            let mut providers = seeker.routing().find_providers(cid);
            if let Some(provider) = providers.recv().await {
                break provider;
            }
        }
    })
    .await;
    assert_eq!(found.peer, holder.peer_id());
    assert!(!found.addresses.is_empty());
    seeker.disconnect_peer(nodes[18].peer_id()).await;
    within(seeker.connect_peer(found.peer)).await.unwrap();
    let block = Session::new(&seeker, Vec::new()).get_one(cid, Duration::from_secs(60)).await.unwrap();
    assert_eq!(block, held[&cid]);
    let addresses = within(nodes[3].routing().find_peer(holder.peer_id())).await.unwrap();
    assert!(!addresses.is_empty());
    let absent = cid_v1(RAW, b"nobody has it");
    assert_eq!(within(nodes[5].routing().find_providers(absent).recv()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_published_and_forged_ones_are_not_kept() {
    let a = start(30, Memory::default(), in_dht).await;
    let b = start(31, Memory::default(), in_dht).await;
    let c = start(32, Memory::default(), in_dht).await;
    join(&a, &b).await;
    join(&c, &b).await;
    let seed = [7; 32];
    let key = dht_key(&Name::of_seed(&seed));
    let record = |seed: &[u8; 32], sequence| {
        let validity = Moment::from_unix_seconds(4_000_000_000);
        let value = "/ipfs/bafkqaddwgevxmmraojswg33smq".to_owned();
        let content = Content { value, validity, sequence, ttl_nanoseconds: 0 };
        Record::create(seed, &content, Form::V1AndV2).unwrap().bytes().to_vec()
    };
    let get = async || {
        let mut values = c.routing().get(key.clone());
        let mut all = Vec::new();
        while let Some(value) = within(values.recv()).await {
            all.push(value);
        }
        all
    };
    within(async {
        while a.routing().put(key.clone(), record(&seed, 5)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(async { while !get().await.contains(&record(&seed, 5)) {} }).await;
    // An older one, one signed by somebody else, and no record at all: what is kept stays.
    for bad in [record(&seed, 4), record(&[8; 32], 6), vec![0; 100]] {
        assert_eq!(within(a.routing().put(key.clone(), bad)).await, Err(RoutingError::Refused));
    }
    assert!(get().await.iter().all(|value| *value == record(&seed, 5)));
    let outside = node(33, Memory::default()).await;
    assert_eq!(within(outside.routing().put(key, record(&seed, 9))).await, Err(RoutingError::Off));
    assert!(!outside.routing().is_on() && a.routing().is_on());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_travel_over_quic() {
    let held = blocks(20, 300_000);
    let a = start(40, memory(&held), over_quic).await;
    let b = start(41, Memory::default(), over_quic).await;
    assert!(a.listen_addrs()[0].to_string().ends_with("/quic-v1"));
    join(&b, &a).await;
    let session = Session::new(&b, vec![a.account()]);
    for (cid, bytes) in &held {
        assert_eq!(session.get_one(*cid, Duration::from_secs(60)).await.unwrap(), bytes);
    }
    let peers = b.peers();
    assert!(peers[0].is_outbound && peers[0].address.to_string().contains("/quic-v1"));
    assert!(peers[0].received > 6_000_000 && b.traffic().0 >= peers[0].received);
    assert!(within(b.ping(a.peer_id())).await.unwrap() > Duration::ZERO);
    eventually("the agent is known", || b.peers()[0].agent.starts_with("hpips/")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_connect_with_a_private_network() {
    let private = |key: u8| {
        move |config: &mut Config| {
            config.private_key = Some(PrivateKey::new([key; 32]));
            // Has no place for the key: left out.
            config.listen.push("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap());
        }
    };
    let a = start(50, Memory::default(), private(1)).await;
    let b = start(51, Memory::default(), private(1)).await;
    assert_eq!(a.listen_addrs().len(), 1);
    join(&b, &a).await;
    let foreign = start(52, Memory::default(), |config| {
        private(2)(config);
        config.limits.open = Duration::from_secs(2);
    })
    .await;
    let open = start(53, Memory::default(), |config| config.limits.open = Duration::from_secs(2)).await;
    for outsider in [&foreign, &open] {
        let refused = within(outsider.dial(a.full_addrs()[0].clone())).await;
        assert!(matches!(refused, Err(OpenError::NotConnected(_) | OpenError::Deadline)), "{refused:?}");
        let refused = within(a.dial(outsider.full_addrs()[0].clone())).await;
        assert!(matches!(refused, Err(OpenError::NotConnected(_) | OpenError::Deadline)), "{refused:?}");
    }
    assert_eq!(a.connected(), [b.account()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_an_open_port_is_reached_by_a_relay() {
    let held = blocks(1, 10_000);
    let relay = node(60, Memory::default()).await;
    let address = relay.full_addrs()[0].clone();
    let hidden = start(61, memory(&held), |config| {
        config.listen.clear();
        config.relays = vec![address];
    })
    .await;
    eventually("an address at the relay", || !hidden.full_addrs().is_empty()).await;
    let circuit = hidden.full_addrs()[0].clone();
    assert!(circuit.to_string().contains("/p2p-circuit/"), "{circuit}");
    let seeker = node(62, Memory::default()).await;
    within(seeker.dial(circuit)).await.unwrap();
    let (cid, block) = held.first_key_value().unwrap();
    let session = Session::new(&seeker, vec![hidden.account()]);
    assert_eq!(session.get_one(*cid, Duration::from_secs(60)).await.unwrap(), block);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filtered_networks_are_not_connected_with() {
    let a = node(70, Memory::default()).await;
    let b = node(71, Memory::default()).await;
    let loopback = "/ip4/127.0.0.0/ipcidr/8".parse().unwrap();
    assert!(a.filters().add(loopback));
    assert!(within(a.dial(b.full_addrs()[0].clone())).await.is_err());
    // The address is looked at when the handshake is over: the other side had a connection for a moment.
    eventually("the other side knows that it is closed", || !b.is_connected(&a.account())).await;
    assert!(within(b.dial(a.full_addrs()[0].clone())).await.is_err());
    assert!(a.filters().remove(&loopback));
    join(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_peers_are_let_go_and_kept_ones_stay() {
    let full = start(80, Memory::default(), |config| {
        config.limits.peers_high = 4;
        config.limits.peers_low = 2;
        config.limits.grace = Duration::from_millis(1);
        config.limits.tick = Duration::from_millis(20);
    })
    .await;
    let kept = node(81, Memory::default()).await;
    full.keep(kept.account(), kept.listen_addrs()).await;
    within(full.wait_connected(&[kept.account()])).await;
    let mut others = Vec::new();
    for seed in 82..90 {
        let other = node(seed, Memory::default()).await;
        within(other.dial(full.full_addrs()[0].clone())).await.unwrap();
        others.push(other);
    }
    eventually("few are left", || full.peers().len() <= 4).await;
    assert!(full.is_connected(&kept.account()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_starts_with_a_relay_that_has_no_name() {
    let mut config = Config::loopback([90; 32]);
    config.relays = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
    assert!(Net::start(config, Arc::new(NoBlocks)).await.is_err());
}
