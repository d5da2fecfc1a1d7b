//! Missed windows, debts, lost slots, repair.

use super::*;
use crate::rows::SlotState;

/// Ten providers, one deal of 3 of 6, some windows proven.
fn network() -> (Sim, DealId) {
    let mut sim = Sim::new(NetworkParams::demo(), 12);
    sim.providers(0..10);
    let deal = sim.deal(10, 1, 3, 6);
    sim.steps(40);
    (sim, deal)
}

#[test]
fn a_missed_window_is_a_debt_until_it_is_answered() {
    let (mut sim, deal) = network();
    let who = sim.holder(deal, 0).unwrap();
    let set = sim.set(who);
    let before = query::set(&sim.state, set).unwrap();
    sim.alive.remove(&who);
    sim.until(|event| matches!(event, Event::Missed { set: missed, .. } if *missed == set).then_some(()));
    let slot = query::slot(&sim.state, deal, SlotIndex::new(0)).unwrap();
    let day = price_ceil(slot.ask, slot.bytes, sim.params().day_windows);
    let (_, fined) = sim
        .log
        .iter()
        .find(|(_, event)| matches!(event, Event::Fined { .. }))
        .expect("the first missed window costs a day's price on this network");
    assert!(
        matches!(fined, Event::Fined { amount, reason: FineReason::MissedInRow(1), .. } if *amount == day)
    );
    let task = query::debt(&sim.state, set).unwrap();
    // Proving the present window does not count while the debt stands.
    let current = loop {
        match query::open_window(&sim.state, set) {
            Some(task) => break task,
            None => sim.step(),
        };
    };
    let chain = sim.genesis.chain_id();
    let commitment = Commitment::sign(chain, set, current.window, element(1), &sim.keys[who]);
    sim.apply(&Body { commitments: vec![commitment], ..Body::default() }).unwrap();
    let proof = WindowProof { set, window: current.window, late: None, proof: good_proof() };
    sim.apply(&Body { beacons: sim.beacons(), proofs: vec![proof], ..Body::default() }).unwrap();
    while query::set(&sim.state, set).unwrap().pending == 0 {
        sim.step();
    }
    let now = query::set(&sim.state, set).unwrap();
    assert!(now.proven <= before.proven + 1 && now.missed_in_row == 0);
    let late = |proof, window| WindowProof { set, window, late: Some(element(2)), proof };
    for bad in [late(bad_proof(), task.window), late(good_proof(), task.window.next())] {
        assert!(matches!(
            sim.apply(&Body { proofs: vec![bad], ..Body::default() }),
            Err(Invalid::Proof { reason: LaneFault::False | LaneFault::Window, .. })
        ));
    }
    sim.apply(&Body { proofs: vec![late(good_proof(), task.window)], ..Body::default() }).unwrap();
    let paid = query::set(&sim.state, set).unwrap();
    assert_eq!((paid.debt, paid.pending, paid.proven), (None, 0, now.proven + now.pending));
    let again = sim.apply(&Body { proofs: vec![late(good_proof(), task.window)], ..Body::default() });
    assert!(matches!(again, Err(Invalid::Proof { reason: LaneFault::Window, .. })), "answered once");
    let versions = sim.state.keys().filter(|key| key.starts_with(b"snapshot-1/")).count();
    assert!(versions <= 10, "old snapshots are forgotten: {versions}");
}

#[test]
fn two_dead_holders_are_replaced_and_the_rebuilders_paid() {
    let (mut sim, deal) = network();
    let dead = [sim.holder(deal, 1).unwrap(), sim.holder(deal, 4).unwrap()];
    let before: Vec<_> = query::slots(&sim.state, deal);
    for who in dead {
        sim.alive.remove(&who);
    }
    for _ in 0..200 {
        sim.rebuild();
        sim.step();
    }
    assert_eq!(sim.count(|event| matches!(event, Event::SlotLost { .. })), 2);
    assert_eq!(sim.count(|event| matches!(event, Event::SlotRepaired { .. })), 2);
    assert_eq!(sim.count(|event| matches!(event, Event::RepairFailed { .. })), 0);
    let now = query::deal(&sim.state, deal).unwrap();
    assert_eq!((now.healthy, now.lost.len(), now.held.len()), (6, 0, 8));
    let holders: BTreeSet<usize> = (0..6).map(|slot| sim.holder(deal, slot).unwrap()).collect();
    assert_eq!(holders.len(), 6);
    assert!(dead.iter().all(|who| !holders.contains(who)));
    for (now, then) in query::slots(&sim.state, deal).iter().zip(&before) {
        assert_eq!((now.comm_p, now.bytes, now.blake3), (then.comm_p, then.bytes, then.blake3));
    }
    for (_, event) in &sim.log {
        if let Event::SlotRepaired { slot, pay, .. } = event {
            let then = &before[usize::from(slot.get())];
            let quoted = repair_price(sim.params(), nano(1_500_000_000), then.bytes, 3).get();
            let fined = price_ceil(then.ask, then.bytes, sim.params().day_windows).get();
            assert_eq!(
                pay.get(),
                quoted.min(then.collateral.get() - fined),
                "out of what was left of the stake"
            );
        }
        if let Event::Fined { provider, .. } | Event::SlotLost { provider, .. } = event {
            assert!(dead.contains(&sim.who(provider)), "only the dead lose anything");
        }
    }
    for who in dead {
        let pledge = query::pledge(&sim.state, &sim.id(who)).unwrap();
        assert_eq!((pledge.locked, pledge.used_bytes), (TokenAmount::ZERO, 0));
        assert!(
            query::quote(&sim.state, &sim.proposal_terms(2, 3, 6))
                .market
                .offers
                .iter()
                .all(|offer| offer.provider != sim.id(who)),
            "who misses is not drawn"
        );
    }
    // The new holders are paid like the others from now on.
    let paid = query::slot(&sim.state, deal, SlotIndex::new(1)).unwrap().paid;
    sim.steps(32);
    assert!(query::slot(&sim.state, deal, SlotIndex::new(1)).unwrap().paid > paid);
}

#[test]
fn a_rebuild_is_claimed_and_proven_by_the_one_it_is_offered_to() {
    let (mut sim, deal) = network();
    let slot = SlotIndex::new(2);
    let dead = sim.holder(deal, 2).unwrap();
    sim.alive.remove(&dead);
    let rebuilder = sim.until(|event| match event {
        Event::RepairOffered { provider, .. } => Some(*provider),
        _ => None,
    });
    let who = sim.who(&rebuilder);
    assert_eq!(query::offers(&sim.state, &rebuilder), [(deal, slot)]);
    let claim = Operation::ClaimRepair { deal, slot };
    let entry = |proof| Operation::ProveEntry { deal, slot, leaf_commitment: element(1), proof };
    assert_eq!(sim.try_op(dead, claim.clone()), Err(Failure::NotYours));
    assert_eq!(sim.try_op(who, entry(good_proof())), Err(Failure::Early));
    sim.op(who, claim.clone());
    let claimed = sim.height;
    assert_eq!(sim.try_op(who, claim), Err(Failure::State));
    while query::entry(&sim.state, deal, slot).is_none() {
        sim.step();
    }
    let terms = query::entry(&sim.state, deal, slot).unwrap().terms;
    let SlotState::Entering { record, offset, .. } = query::slot(&sim.state, deal, slot).unwrap().state
    else {
        panic!("claimed")
    };
    assert_eq!(terms.entry, Some(hpips_proofs::Entry { record, offset }));
    let lag = sim.params().lag_views + sim.params().offset_blocks;
    assert!(sim.height <= claimed.plus(lag + 2), "an entry does not wait for the set's next window");
    assert!(terms.challenges().unwrap().iter().all(|challenge| challenge.record == record));
    assert_eq!(sim.try_op(who, entry(bad_proof())), Err(Failure::Proof));
    assert_eq!(sim.try_op(dead, entry(good_proof())), Err(Failure::NotYours));
    sim.op(who, entry(good_proof()));
    assert_eq!(sim.try_op(who, entry(good_proof())), Err(Failure::Early), "paid once");
    assert_eq!(sim.holder(deal, 2), Some(who));
    assert!(query::offers(&sim.state, &rebuilder).is_empty());
}

#[test]
fn after_three_failures_a_slot_closes_and_its_client_is_refunded() {
    let (mut sim, deal) = network();
    let dead = sim.holder(deal, 3).unwrap();
    sim.alive.remove(&dead);
    let before = sim.balance(10);
    let refund = sim.until(|event| match event {
        Event::SlotClosed { refund, .. } => Some(*refund),
        _ => None,
    });
    assert_eq!(sim.count(|event| matches!(event, Event::RepairFailed { .. })), 3);
    assert!(refund > TokenAmount::ZERO && sim.balance(10).get() >= before.get() + refund.get());
    let slot = query::slot(&sim.state, deal, SlotIndex::new(3)).unwrap();
    assert_eq!(
        (slot.state, slot.escrow, slot.repair_pot),
        (SlotState::Closed {}, TokenAmount::ZERO, TokenAmount::ZERO)
    );
    for who in 0..10 {
        assert!(query::offers(&sim.state, &sim.id(who)).is_empty());
    }
    sim.until(|event| matches!(event, Event::DealEnded { .. }).then_some(()));
}

#[test]
fn declaring_a_loss_costs_half_a_day_and_clears_the_debt() {
    let (mut sim, deal) = network();
    let who = sim.holder(deal, 0).unwrap();
    let set = sim.set(who);
    sim.alive.remove(&who);
    sim.until(|event| matches!(event, Event::Missed { set: missed, .. } if *missed == set).then_some(()));
    let record = query::pieces(&sim.state, &sim.id(who))[0].record;
    let declare = |records| Operation::DeclareLost { set: 0, records };
    for (records, failure) in [
        (vec![], Failure::Range),
        (vec![record, record], Failure::Range),
        (vec![hpips_types::RecordIndex::new(60)], Failure::Unknown),
    ] {
        assert_eq!(sim.try_op(who, declare(records)), Err(failure));
    }
    let slot = query::slot(&sim.state, deal, SlotIndex::new(0)).unwrap();
    let before = sim.balance(who);
    sim.op(who, declare(vec![record]));
    let half = price_ceil(slot.ask, slot.bytes, sim.params().day_windows).get().div_ceil(2);
    let repair = repair_price(sim.params(), nano(1_500_000_000), slot.bytes, 3).get();
    assert_eq!(
        sim.log.iter().rev().find_map(|(_, event)| match event {
            Event::Fined { amount, reason: FineReason::DeclaredLost, .. } => Some(amount.get()),
            _ => None,
        }),
        Some(half)
    );
    let expected = slot.collateral.get() - half - repair.min(slot.collateral.get() - half);
    let got = sim.balance(who).get() + 10_000 - before.get();
    assert!(got >= expected && got <= expected + 100_000_000_000, "the rest of the stake returned");
    let row = query::set(&sim.state, set).unwrap();
    assert_eq!((row.debt, row.window), (None, None));
    sim.alive.insert(who);
    for _ in 0..120 {
        sim.rebuild();
        sim.step();
    }
    assert_eq!(query::deal(&sim.state, deal).unwrap().healthy, 6);
    assert_ne!(sim.holder(deal, 0), Some(who), "never to one that held the object");
    assert_eq!(query::set(&sim.state, set).unwrap().missed_in_row, 0, "its sealed space is proven on");
}

#[test]
fn who_proves_too_little_over_fourteen_days_loses_its_slots() {
    let (mut sim, deal) = network();
    let who = sim.holder(deal, 5).unwrap();
    let set = sim.set(who);
    // Misses every third window, so never two in a row.
    for _ in 0..40 * 16 {
        let window = query::open_window(&sim.state, set).map_or(0, |task| task.window.get());
        if window.is_multiple_of(3) {
            sim.alive.remove(&who);
        } else {
            sim.alive.insert(who);
        }
        sim.step();
    }
    let reason = sim.log.iter().find_map(|(_, event)| match event {
        Event::SlotLost { provider, reason, .. } if *provider == sim.id(who) => Some(*reason),
        _ => None,
    });
    assert!(
        matches!(reason, Some(LossReason::MissedShare { proven, due }) if proven * 5 < due * 4),
        "{reason:?}"
    );
}
