//! What a peer can make a node hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hpips_net::{Config, Net};
use tokio::io::AsyncWriteExt;

use crate::support::{Memory, join, within};

const PROTOCOL: &str = "/hpips/test-held/1";
/// A stream on which nothing moves for so long stands still.
const STILL: Duration = Duration::from_secs(1);

async fn listening(seed: u8, address: &str) -> Net {
    let mut config = Config::loopback([seed; 32]);
    config.listen = vec![address.parse().unwrap()];
    // Streams that find no place give up soon.
    config.limits.open = STILL;
    Net::start(config, Arc::new(Memory::default())).await.unwrap()
}

/// Bytes that a peer gets rid of on as many streams as it can open, to a node that takes the streams and reads none.
async fn pushed(seed: u8, address: &str) -> u64 {
    let node = listening(seed, address).await;
    let peer = listening(seed + 1, address).await;
    join(&peer, &node).await;
    let mut incoming = node.accept(PROTOCOL).unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some((_, stream)) = incoming.next().await {
            held.push(stream);
        }
    });
    let written = Arc::new(AtomicU64::new(0));
    let writers = (0..200).map(|_| {
        let (peer, node, written) = (peer.clone(), node.account(), written.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = peer.open(node, PROTOCOL).await else { return };
            let bytes = vec![1; 64 * 1024];
            while let Ok(Ok(count)) = tokio::time::timeout(STILL, stream.write(&bytes)).await {
                written.fetch_add(count as u64, Ordering::Relaxed);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        within(writer).await.unwrap();
    }
    holding.abort();
    written.load(Ordering::Relaxed)
}

/// 64 streams with 256 KiB each over TCP; the window of the connection over QUIC. Up to 16 MiB more may lie in the
/// sockets.
const BOUNDS: [(u8, &str, u64); 2] =
    [(140, "/ip4/127.0.0.1/tcp/0", 16 << 20), (142, "/ip4/127.0.0.1/udp/0/quic-v1", 32_000_000)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_cannot_make_a_node_hold_more_than_the_bound() {
    for (seed, address, bound) in BOUNDS {
        let pushed = pushed(seed, address).await;
        assert!(pushed > bound / 2, "{address}: {pushed}, so little says nothing");
        assert!(pushed < bound + (16 << 20), "{address}: {pushed}");
    }
}
