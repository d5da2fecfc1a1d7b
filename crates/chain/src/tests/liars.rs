//! Peers that lie to a follower: it takes nothing from them, survives, and follows the truth when it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use hpips_net::Net;
use hpips_net::rpc::{self, Service};
use hpips_types::{Height, Sha256Digest, cbor};
use serde_bytes::ByteBuf;

use super::harness::{DEADLINE, Node, Plan};
use crate::block::{Block, Proposed};
use crate::chain::{protocol, topic};
use crate::finality::{Run, RunError};
use crate::scheme::CertificateError;
use crate::wire::{BLOCKS_TOPIC, BlocksResponse, Finality};

fn stored(node: &Node, height: u64) -> (Block, Option<Vec<u8>>) {
    let (block, certificate) = node.chain.block(Height::new(height)).unwrap().unwrap();
    (block, certificate.map(|certificate| certificate.encode()))
}

/// The heights, from 1, of the first two blocks with certificates of their own.
fn certified(node: &Node) -> (u64, u64) {
    let mut heights = (1..=node.chain.height().get()).filter(|height| stored(node, *height).1.is_some());
    (heights.next().unwrap(), heights.next().unwrap())
}

fn finality(blocks: &[&Block], certificate: &[u8]) -> Finality {
    Finality {
        blocks: blocks.iter().map(|block| ByteBuf::from(block.bytes().to_vec())).collect(),
        certificate: ByteBuf::from(certificate.to_vec()),
    }
}

/// A block as `real`, but with another state root.
fn altered(real: &Block) -> Block {
    let context = Proposed { ..real.context() };
    Block::new(real.chain(), context, real.height(), Sha256Digest::new([9; 32]), real.body().clone()).unwrap()
}

/// Every lie, by name: what a liar could make out of a real chain and a committee of its own.
fn lies(honest: &Node, foreign: &Node) -> Vec<(&'static str, Finality)> {
    let (first, second) = certified(honest);
    let blocks: Vec<Block> = (1..=second).map(|height| stored(honest, height).0).collect();
    let run: Vec<&Block> = blocks[..usize::try_from(first).unwrap()].iter().collect();
    let last = *run.last().unwrap();
    let (right, wrong) = (stored(honest, first).1.unwrap(), stored(honest, second).1.unwrap());
    let (foreign_first, _) = certified(foreign);
    let foreign_blocks: Vec<Block> = (1..=foreign_first).map(|height| stored(foreign, height).0).collect();
    let foreign_run: Vec<&Block> = foreign_blocks.iter().collect();
    let foreign_certificate = stored(foreign, foreign_first).1.unwrap();
    let changed = altered(last);
    let mut with_changed = run.clone();
    *with_changed.last_mut().unwrap() = &changed;
    let mut flipped = right.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let far = blocks.last().unwrap();
    vec![
        ("certificate of another block", finality(&run, &wrong)),
        ("altered block", finality(&with_changed, &right)),
        ("certificate of another committee", finality(&foreign_run, &foreign_certificate)),
        ("foreign certificate for a real block", finality(&run, &foreign_certificate)),
        ("flipped certificate", finality(&run, &flipped)),
        ("no certificate", finality(&run, b"")),
        ("doubled block", finality(&[blocks.first().unwrap(), last, last], &right)),
        ("far ahead", finality(&[far], &wrong)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_refused_and_the_truth_is_taken() {
    let plan = Plan::new(1, 20);
    let honest = plan.start(1, &[]).await;
    let other = Plan::new(1, 20);
    let foreign = other.start(1, &[]).await;
    honest.reach(6).await;
    foreign.reach(4).await;
    let chain = plan.genesis.chain_id();
    let lies = lies(&honest, &foreign);

    // Decoding and verification alone, lie by lie.
    let genesis = honest.chain.block(Height::new(1)).unwrap().unwrap().0.parent();
    for (name, lie) in &lies {
        if *name == "far ahead" {
            continue;
        }
        let verdict = Run::decode(lie.clone())
            .and_then(|run| run.verify((Height::ZERO, genesis), honest.chain.certificates()));
        assert!(verdict.is_err(), "{name} was believed");
    }
    let (first, _) = certified(&honest);
    let real: Vec<Block> = (1..=first).map(|height| stored(&honest, height).0).collect();
    let certificate = stored(&honest, first).1.unwrap();
    let truth = finality(&real.iter().collect::<Vec<_>>(), &certificate);
    Run::decode(truth).unwrap().verify((Height::ZERO, genesis), honest.chain.certificates()).unwrap();
    let mixed = finality(&[&real[0]], &stored(&honest, certified(&honest).1).1.unwrap());
    assert!(matches!(Run::decode(mixed), Err(RunError::Certificate(CertificateError::OtherBlock))));

    // Two liars a lie, one that answers requests with it and one that gossips it; and two that make noise.
    let asked = Arc::new(AtomicUsize::new(0));
    let lies: Vec<Option<Finality>> = lies.into_iter().map(|(_, lie)| Some(lie)).chain([None]).collect();
    let (mut servers, mut gossips) = (Vec::new(), Vec::new());
    for (number, lie) in (30u8..).step_by(2).zip(&lies) {
        let net = plan.net(number, &[]).await;
        let answer = lie.as_ref().map_or(vec![0xff; 100_000], |lie| {
            cbor::encode(&BlocksResponse { tip: Height::new(u64::MAX), runs: vec![lie.clone(); 3] })
        });
        let (asked, first) = (Arc::clone(&asked), AtomicBool::new(true));
        rpc::serve(&net, &protocol(&chain, "blocks"), Service::default(), move |_, _| {
            if first.swap(false, Ordering::Relaxed) {
                asked.fetch_add(1, Ordering::Relaxed);
            }
            std::future::ready(Some(answer.clone()))
        })
        .unwrap();
        servers.push(net);
        let net = plan.net(number + 1, &[]).await;
        let gossip = net.gossip(&topic(&chain, BLOCKS_TOPIC), 2 << 20);
        gossips.push((net, gossip, lie));
    }
    let follower = plan.start(20, &[]).await;
    let nets: Vec<&Net> = servers.iter().chain(gossips.iter().map(|(net, ..)| net)).collect();
    for net in &nets {
        follower.net.keep(net.account(), net.listen_addrs()).await;
    }
    let accounts: Vec<_> = nets.iter().map(|net| net.account()).collect();
    tokio::time::timeout(DEADLINE, follower.net.wait_connected(&accounts)).await.unwrap();
    let all_asked = async {
        while asked.load(Ordering::Relaxed) < servers.len() {
            for (_, gossip, lie) in &gossips {
                let message = lie.as_ref().map_or(vec![0xff; 1000], Finality::encode);
                // Whether gossip already carries the topic is a matter of time; the requests come for sure.
                let _ = gossip.publish(Bytes::from(message)).await;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all_asked).await.expect("every liar is asked once");
    assert_eq!(follower.chain.height(), Height::ZERO);
    assert!(follower.chain.fault().borrow().is_none());

    // The truth, among all those liars.
    follower.net.keep(honest.net.account(), honest.net.listen_addrs()).await;
    follower.reach(6).await;
    let tip = follower.chain.height();
    let same = |node: &Node| node.chain.block(tip).unwrap().unwrap().0.digest();
    honest.reach(tip.get()).await;
    assert_eq!(same(&follower), same(&honest));

    follower.stop().await;
    honest.stop().await;
    foreign.stop().await;
    for net in servers.into_iter().chain(gossips.into_iter().map(|(net, ..)| net)) {
        net.shutdown().await;
    }
}
