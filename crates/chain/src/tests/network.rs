//! Whole networks: agreement, followers, restarts.

use std::time::Instant;

use hpips_ledger::{StateView as _, query};
use hpips_types::{Height, TokenAmount, TxId};

use super::harness::{DEADLINE, Node, Plan, RICH, key};
use crate::Evidence;

/// Digest and state root of every block up to a height.
fn history(node: &Node, height: u64) -> Vec<(String, String)> {
    (1..=height)
        .map(|height| {
            let (block, _) = node.chain.block(Height::new(height)).unwrap().expect("block is kept");
            assert_eq!(block.height(), Height::new(height));
            (block.digest().to_string(), block.state_root().to_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_validators_and_two_followers_agree_through_a_restart() {
    let started = Instant::now();
    let plan = Plan::new(4, 100);
    let one = plan.start(1, &[]).await;
    let two = plan.start(2, &[&one]).await;
    let three = plan.start(3, &[&one, &two]).await;
    let four = plan.start(4, &[&one, &two, &three]).await;
    let follower = plan.start(11, &[&one, &four]).await;
    follower.reach(2).await;
    println!("first blocks after {:?}", started.elapsed());

    // One transfer enters at a follower, one at a validator; they need one another's order.
    let first = follower.chain.submit(plan.transfer(0, 201, 7)).await.unwrap();
    assert_eq!(follower.chain.next_nonce(&key(RICH).account()), 1);
    let done = follower.chain.wait_tx(first, DEADLINE).await.unwrap();
    assert_eq!(done.failure, None);
    two.reach(done.height.get()).await;
    let second = two.chain.submit(plan.transfer(1, 202, 3)).await.unwrap();
    let done = follower.chain.wait_tx(second, DEADLINE).await.unwrap();
    assert_eq!(done.failure, None);
    for node in [&one, &two, &three, &four, &follower] {
        node.reach(done.height.get().max(10)).await;
        let state = node.chain.state();
        let balance = |number| query::account(&state, &key(number).account()).balance;
        assert_eq!((balance(201), balance(202)), (TokenAmount::from_coins(7), TokenAmount::from_coins(3)));
    }
    println!("height 10 with transfers after {:?}", started.elapsed());
    assert!(one.chain.submit(plan.transfer(1, 202, 3)).await.is_err(), "a nonce is used once");

    // Beacons of openings come into blocks without anyone asking.
    let state = one.chain.state();
    let known = (1..state.height().get())
        .filter(|height| {
            query::opening(&state, Height::new(*height)).is_some_and(|opening| opening.beacon.is_some())
        })
        .count();
    assert!(known > 0, "no beacon in {} blocks", state.height());

    // A follower that starts late takes everything from the one peer it knows, another follower.
    let late = plan.start(12, &[&follower]).await;
    late.reach(10).await;
    println!("late follower at height 10 after {:?}", started.elapsed());

    // Three of four go on; the fourth comes back with what it has on disk.
    four.stop().await;
    let height = one.chain.height().get();
    one.reach(height + 6).await;
    println!("six blocks without the fourth after {:?}", started.elapsed());
    let four = plan.start(4, &[&one, &two, &three]).await;
    assert!(four.chain.height().get() >= 10, "it continues from its disk");
    let height = one.chain.height().get() + 3;
    for node in [&one, &two, &three, &four, &follower, &late] {
        node.reach(height).await;
    }
    println!("restarted validator caught up after {:?}", started.elapsed());
    let expected = history(&one, height);
    for node in [&two, &three, &four, &follower, &late] {
        assert_eq!(history(node, height), expected);
        assert!(node.chain.fault().borrow().is_none());
    }
    let stats = one.chain.stats();
    println!(
        "finality p50 {:?} ms, p95 {:?} ms, {} blocks, {} views passed",
        stats.finality_percentile_ms(50),
        stats.finality_percentile_ms(95),
        stats.blocks,
        stats.nullified
    );
    assert!(stats.finality_percentile_ms(50).is_some());

    // A follower's evidence convinces whoever holds the group key.
    let account = [b"account-1/".as_slice(), key(201).account().as_bytes()].concat();
    let nobody = [b"account-1/".as_slice(), key(250).account().as_bytes()].concat();
    let (evidence, absent, value) = loop {
        let state = follower.chain.state();
        if let (Ok(evidence), Ok(absent)) = (follower.chain.prove(&account), follower.chain.prove(&nobody)) {
            break (evidence, absent, state.get(&account).expect("the account has coins"));
        }
        follower.reach(state.height().get() + 1).await;
    };
    let certificates = one.chain.certificates();
    let evidence = Evidence::decode(&evidence.encode()).unwrap();
    assert!(evidence.verify(certificates, &account, Some(&value)).unwrap() >= Height::new(height));
    absent.verify(certificates, &nobody, None).unwrap();
    assert!(evidence.verify(certificates, &account, None).is_err());
    assert!(evidence.verify(certificates, &nobody, Some(&value)).is_err());
    let others = Plan::new(4, 100);
    let foreign =
        crate::CertificateVerifier::new(&others.genesis.chain_id(), &others.genesis.group_key).unwrap();
    assert!(evidence.verify(&foreign, &account, Some(&value)).is_err());

    for node in [one, two, three, four, follower, late] {
        node.stop().await;
    }
    println!("everything stopped after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_validator_restarts_with_its_pending_beacons() {
    let plan = Plan::new(1, 20);
    let node = plan.start(1, &[]).await;
    node.reach(5).await;
    let before = history(&node, 5);
    node.stop().await;
    let node = plan.start(1, &[]).await;
    node.reach(12).await;
    assert_eq!(history(&node, 5), before);
    let state = node.chain.state();
    for height in 1..6 {
        let opening = query::opening(&state, Height::new(height)).expect("every height opens on dev");
        assert!(opening.beacon.is_some(), "opening {height} has no beacon");
    }
    node.stop().await;
}

/// Measures: four validators in one process at the pace of `dev`, whole and with one of them gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of about a minute; run it alone"]
async fn pace_with_all_and_with_three_of_four_slow() {
    const BLOCKS: u64 = 20;
    let plan = Plan::new(4, 1_000);
    let one = plan.start(1, &[]).await;
    let two = plan.start(2, &[&one]).await;
    let three = plan.start(3, &[&one, &two]).await;
    let four = plan.start(4, &[&one, &two, &three]).await;
    one.reach(3).await;
    let (started, height) = (Instant::now(), one.chain.height().get());
    one.chain.wait_height(Height::new(height + BLOCKS), 2 * DEADLINE).await.unwrap();
    println!("four: {BLOCKS} blocks in {:?}", started.elapsed());
    let stats = one.chain.stats();
    let finality = |percent| stats.finality_percentile_ms(percent);
    println!("finality p50 {:?} ms, p95 {:?} ms", finality(50), finality(95));
    four.stop().await;
    let (started, height) = (Instant::now(), one.chain.height().get());
    one.chain.wait_height(Height::new(height + BLOCKS), 2 * DEADLINE).await.unwrap();
    println!("three: {BLOCKS} blocks in {:?}", started.elapsed());
    println!("{} views passed", one.chain.stats().nullified - stats.nullified);
    for node in [one, two, three] {
        node.stop().await;
    }
}

#[test]
fn what_the_handle_does_can_run_on_any_thread() {
    fn check<F: Future + Send>(_: fn() -> Option<F>) {}
    fn some_chain() -> Option<crate::Chain> {
        None
    }
    check(|| {
        some_chain().map(|chain| async move { chain.wait_tx(TxId::new([0; 32]), DEADLINE).await.is_ok() })
    });
    check(|| {
        some_chain().map(|chain| async move { chain.wait_height(Height::ZERO, DEADLINE).await.is_ok() })
    });
    check(|| some_chain().map(|chain| async move { chain.shutdown().await }));
    let plan = Plan::new(1, 100);
    let signed = plan.transfer(0, 1, 1);
    let submit = |chain: crate::Chain| async move { chain.submit(signed).await.is_ok() };
    fn check_submit<F: Future + Send>(_: impl FnOnce(crate::Chain) -> F) {}
    check_submit(submit);
}
