use hpips_bitswap::SourceError;
use hpips_types::Cid;
use hpips_types::content::{RAW, cid_v1};

use super::*;
use crate::bitswap::Session;
use crate::peers::PeerEvent;

/// Longest wait for anything; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);
/// A key of 2048 bits in PKCS #8, for this test alone: nothing here makes RSA keys.
const RSA: &[u8] = include_bytes!("rsa.der");

/// One block.
struct Shelf(Bytes);

impl BlockSource for Shelf {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Ok(self.get(cid)?.map(|block| u32::try_from(block.len()).unwrap()))
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        Ok((*cid == cid_v1(RAW, &self.0)).then(|| self.0.clone()))
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

fn config(seed: u8) -> Config {
    let mut config = Config::loopback([seed; 32]);
    config.listen.push("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap());
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_any_kind_of_key_are_connected_with_and_fetched_from() {
    let keys = [
        Keypair::rsa_from_pkcs8(&mut RSA.to_vec()).unwrap(),
        Keypair::generate_ecdsa(),
        Keypair::generate_secp256k1(),
    ];
    let (ours, theirs) = (Bytes::from_static(b"ours"), Bytes::from_static(b"theirs"));
    for (seed, key) in (1..).zip(keys) {
        for transport in ["tcp", "udp"] {
            let net = Net::start(config(seed), Arc::new(Shelf(ours.clone()))).await.unwrap();
            let other =
                Net::start_as(config(seed + 100), &key, Arc::new(Shelf(theirs.clone()))).await.unwrap();
            let (peer, kind) = (other.peer_id(), key.key_type());
            assert_eq!(account_of(&peer), None, "{kind:?}");
            let mut addresses = other.full_addrs();
            addresses.retain(|address| address.to_string().contains(transport));

            net.address_book_peer(peer, addresses.clone()).await;
            within(net.connect_peer(peer)).await.unwrap();
            net.keep_peer(peer, addresses).await;
            within(net.ping(peer)).await.unwrap();
            // What a peer says of itself comes with no event.
            within(async {
                while net.peer(&peer).is_none_or(|info| info.public_key.is_none()) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(net.peer(&peer).unwrap().public_key.unwrap(), key.public().encode_protobuf());

            // Blocks go both ways.
            for (from, block) in [(&net, &theirs), (&other, &ours)] {
                let session = Session::new(from, Vec::new());
                let got = session.get_one(cid_v1(RAW, block), PATIENCE).await;
                assert_eq!(got.as_ref(), Ok(block), "{kind:?} over {transport}");
            }

            // A peer that is kept comes back, one that is let go does not.
            let mut events = net.0.shared.peers.subscribe();
            net.disconnect_peer(peer).await;
            within(async { while !matches!(events.recv().await, Ok(PeerEvent::Connected(_))) {} }).await;
            net.let_go_peer(peer).await;
            net.disconnect_peer(peer).await;
            within(async { while !matches!(events.recv().await, Ok(PeerEvent::Disconnected(_))) {} }).await;
            assert!(net.peer(&peer).is_none());
            within(other.shutdown()).await;
            within(net.shutdown()).await;
        }
    }
}
