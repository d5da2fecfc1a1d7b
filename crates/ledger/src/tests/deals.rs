//! Proposals, draws, receipts, terms.

use super::*;
use crate::rows::SlotState;

fn network() -> Sim {
    let mut sim = Sim::new(NetworkParams::demo(), 12);
    sim.providers(0..10);
    sim.steps(16);
    sim
}

#[test]
fn the_next_beacon_draws_different_holders_with_room() {
    let mut sim = network();
    let (id, row) = sim.drawn(10, sim.proposal_terms(1, 3, 6));
    let draw = row.draw.unwrap();
    let opening = query::opening(&sim.state, row.opening).unwrap();
    assert!(
        row.opening < sim.height && opening.beacon.unwrap().carried == sim.height,
        "drawn by a later beacon"
    );
    let holders: BTreeSet<AccountId> = draw.holders.iter().map(|holder| holder.provider).collect();
    assert_eq!((holders.len(), draw.spares.len()), (6, 3));
    assert!(draw.spares.iter().all(|spare| !holders.contains(spare)));
    for holder in &draw.holders {
        let pledge = query::pledge(&sim.state, &holder.provider).unwrap();
        assert_eq!((pledge.locked, pledge.used_bytes > 0), (holder.collateral, true));
        let fourteen_days = price_ceil(holder.ask, 300_000, 14);
        assert!(
            holder.collateral >= fourteen_days
                && holder.collateral >= repair_price(sim.params(), row.terms.ask_max, 300_000, 3)
        );
    }
    assert_eq!(query::proposals_of(&sim.state, &sim.id(10)), [id]);
}

#[test]
fn an_activation_needs_the_receipts_of_the_drawn() {
    let mut sim = network();
    let (id, row) = sim.drawn(10, sim.proposal_terms(1, 3, 6));
    let good = sim.activation(id, &[]);
    let change = |change: &dyn Fn(&mut ActivateDeal)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    let stranger = sim.who(&row.draw.as_ref().unwrap().spares[0]);
    let resigned = |receipt: PieceReceipt, who: usize| receipt.sign(&sim.keys[who]);
    let holder = sim.who(&good.receipts[0].receipt.provider);
    let other_proposal =
        resigned(PieceReceipt { proposal: ProposalId::new(99), ..good.receipts[0].receipt.clone() }, holder);
    let other_bytes = resigned(PieceReceipt { bytes: 5, ..good.receipts[0].receipt.clone() }, holder);
    let other_chain = resigned(
        PieceReceipt { chain: hpips_types::ChainId::new([0; 32]), ..good.receipts[0].receipt.clone() },
        holder,
    );
    let strangers =
        resigned(PieceReceipt { provider: sim.id(stranger), ..good.receipts[0].receipt.clone() }, stranger);
    let cases = [
        (change(&|a| a.proposal = ProposalId::new(9)), Failure::Unknown),
        (change(&|a| a.receipts[0].signature = a.receipts[1].signature), Failure::Signature),
        (change(&|a| a.receipts[0].receipt.comm_p = element(1)), Failure::Signature),
        (change(&|a| a.receipts[0] = other_proposal.clone()), Failure::Signature),
        (change(&|a| a.receipts[0] = other_bytes.clone()), Failure::Signature),
        (change(&|a| a.receipts[0] = other_chain.clone()), Failure::Signature),
        (change(&|a| a.receipts[0] = strangers.clone()), Failure::Signature),
        (change(&|a| a.receipts.truncate(5)), Failure::Range),
        (change(&|a| a.receipts.swap(0, 1)), Failure::Range),
        (change(&|a| a.receipts[1] = a.receipts[0].clone()), Failure::Range),
        (sim.activation(id, &[0, 1, 2]), Failure::LeftOut),
    ];
    for (activation, failure) in cases {
        assert_eq!(
            sim.try_op(10, Operation::ActivateDeal(activation.clone())),
            Err(failure),
            "{activation:?}"
        );
    }
    assert_eq!(sim.try_op(11, Operation::ActivateDeal(good.clone())), Err(Failure::NotYours));
    let before = sim.balance(10);
    let price: u64 = row
        .terms
        .piece_bytes
        .iter()
        .map(|bytes| price_ceil(nano(1_000_000_000), *bytes, row.terms.term_windows).get())
        .sum();
    sim.op(10, Operation::ActivateDeal(good.clone()));
    let fee = before.get() + row.deposit.get() - price - sim.balance(10).get();
    assert!(fee < 10_000, "escrow is the price, the deposit counts towards it: {fee}");
    assert_eq!(
        sim.try_op(10, Operation::ActivateDeal(good)),
        Err(Failure::Unknown),
        "a deal cannot be replayed"
    );
    let deal = DealId::new(id.get());
    assert_eq!(query::deals_of_root(&sim.state, &root(1)), [deal]);
    assert_eq!(query::deal(&sim.state, deal).unwrap().healthy, 6);
    for slot in 0..6 {
        let who = sim.holder(deal, slot).unwrap();
        let pieces = query::pieces(&sim.state, &sim.id(who));
        assert_eq!((pieces.len(), pieces[0].deal, pieces[0].slot.get()), (1, deal, slot));
    }
}

#[test]
fn pieces_are_proven_from_the_next_opening_and_paid_for_their_term() {
    let mut sim = network();
    let terms = Propose { term_windows: 5, ..sim.proposal_terms(1, 3, 6) };
    let (id, _) = sim.drawn(10, terms.clone());
    sim.op(10, Operation::ActivateDeal(sim.activation(id, &[])));
    let deal = DealId::new(id.get());
    sim.until(|event| matches!(event, Event::DealEnded { .. }).then_some(()));
    let slots = query::slots(&sim.state, deal);
    for slot in &slots {
        assert_eq!(
            (slot.windows_before, slot.escrow, slot.collateral),
            (5, TokenAmount::ZERO, TokenAmount::ZERO)
        );
    }
    let paid: u64 = sim
        .log
        .iter()
        .map(|(_, event)| match event {
            Event::Settled { revenue, .. } => revenue.get(),
            _ => 0,
        })
        .sum();
    let open_day = query::day(&sim.state, query::current_day(&sim.state)).unwrap();
    let price: u64 =
        terms.piece_bytes.iter().map(|bytes| price_floor(nano(1_000_000_000), *bytes, 5).get()).sum();
    assert_eq!(paid + open_day.revenue.get(), price);
    for who in 0..10 {
        assert_eq!(query::pledge(&sim.state, &sim.id(who)).unwrap().locked, TokenAmount::ZERO);
    }
    // The pieces stay for the grace, then everything is forgotten.
    assert!(sim.holder(deal, 0).is_some());
    sim.steps(sim.params().grace_windows * 16 + 2);
    assert_eq!(query::deal(&sim.state, deal), None);
    assert_eq!(query::deals_of_root(&sim.state, &root(1)), []);
    assert_eq!(query::proposals_of(&sim.state, &sim.id(10)), []);
    for who in 0..10 {
        assert_eq!(query::pledge(&sim.state, &sim.id(who)).unwrap().used_bytes, 0);
        assert!(query::pieces(&sim.state, &sim.id(who)).is_empty());
    }
    sim.steps(40);
    assert_eq!(sim.count(|event| matches!(event, Event::Missed { .. } | Event::Fined { .. })), 0);
}

#[test]
fn refusals_are_free_for_the_client_and_close_the_provider_for_a_day() {
    let mut sim = network();
    let (id, row) = sim.drawn(10, sim.proposal_terms(1, 3, 6));
    let draw = row.draw.unwrap();
    let who = sim.who(&draw.holders[2].provider);
    let refusal = Refusal {
        chain: sim.genesis.chain_id(),
        proposal: id,
        slot: SlotIndex::new(2),
        provider: sim.id(who),
    };
    let replace = |refusal| Operation::Replace { proposal: id, slot: SlotIndex::new(2), refusal };
    let forged = refusal.clone().sign(&sim.keys[10]);
    assert_eq!(sim.try_op(10, replace(Some(forged))), Err(Failure::Signature));
    let elsewhere = Refusal { slot: SlotIndex::new(1), ..refusal.clone() }.sign(&sim.keys[who]);
    assert_eq!(sim.try_op(10, replace(Some(elsewhere))), Err(Failure::Signature));
    let good = refusal.sign(&sim.keys[who]);
    assert_eq!(sim.try_op(11, replace(Some(good.clone()))), Err(Failure::NotYours));
    sim.op(10, replace(Some(good.clone())));
    let now = query::proposal(&sim.state, id).unwrap().draw.unwrap();
    assert_eq!((now.holders[2].provider, now.skipped), (draw.spares[0], 0));
    let pledge = query::pledge(&sim.state, &sim.id(who)).unwrap();
    assert!(pledge.locked == TokenAmount::ZERO && pledge.used_bytes == 0 && pledge.closed_until > sim.height);
    assert_eq!(sim.try_op(10, replace(Some(good))), Err(Failure::Signature), "it was another's refusal");
    // Without a signature only a quarter may be skipped, rounded up.
    sim.op(10, replace(None));
    sim.op(10, replace(None));
    assert_eq!(sim.try_op(10, replace(None)), Err(Failure::LeftOut));
    assert_eq!(sim.try_op(10, Operation::ActivateDeal(sim.activation(id, &[4]))), Err(Failure::LeftOut));
    sim.op(10, Operation::ActivateDeal(sim.activation(id, &[])));
}

#[test]
fn a_proposal_that_is_not_activated_loses_its_deposit() {
    let mut sim = network();
    let before = sim.balance(10);
    let (id, row) = sim.drawn(10, sim.proposal_terms(1, 3, 6));
    let activation = sim.activation(id, &[]);
    sim.steps(sim.params().activate_blocks + 1);
    assert_eq!(sim.try_op(10, Operation::ActivateDeal(activation)), Err(Failure::Unknown));
    assert_eq!(
        sim.count(|event| matches!(event, Event::ProposalEnded { reason: ProposalEnd::Expired, .. })),
        1
    );
    assert!(before.get() - sim.balance(10).get() >= row.deposit.get());
    for who in 0..10 {
        let pledge = query::pledge(&sim.state, &sim.id(who)).unwrap();
        assert_eq!((pledge.locked, pledge.used_bytes), (TokenAmount::ZERO, 0));
    }
}

#[test]
fn ceilings_and_sizes_are_checked() {
    let mut sim = network();
    let good = sim.proposal_terms(1, 3, 6);
    for (terms, failure) in [
        (Propose { k: 0, ..good.clone() }, Failure::Range),
        (Propose { k: 7, ..good.clone() }, Failure::Range),
        (Propose { n: 5, ..good.clone() }, Failure::Range),
        (Propose { piece_bytes: vec![1 << 40; 6], ..good.clone() }, Failure::Range),
        (Propose { piece_bytes: vec![0; 6], ..good.clone() }, Failure::Range),
        (Propose { term_windows: 0, ..good.clone() }, Failure::Range),
        (Propose { term_windows: 1 << 40, ..good.clone() }, Failure::Range),
        (Propose { ask_max: TokenAmount::ZERO, ..good.clone() }, Failure::Range),
        (
            Propose { ask_max: coins(100_000_000), piece_bytes: vec![500_000_000; 6], ..good.clone() },
            Failure::Balance,
        ),
    ] {
        assert_eq!(sim.try_op(10, Operation::Propose(terms.clone())), Err(failure), "{terms:?}");
    }
    let before = sim.balance(10);
    for (terms, reason) in [
        (Propose { ask_max: nano(999_999_999), ..good.clone() }, ProposalEnd::CeilingTooLow),
        (Propose { k: 3, n: 11, piece_bytes: vec![5; 11], ..good.clone() }, ProposalEnd::TooFewProviders),
    ] {
        let quote = query::quote(&sim.state, &terms);
        assert_eq!(quote.admits, reason != ProposalEnd::CeilingTooLow);
        let id = sim.propose(10, terms);
        let ended = sim.until(|event| match event {
            Event::ProposalEnded { proposal, reason } if *proposal == id => Some(*reason),
            _ => None,
        });
        assert_eq!(ended, reason);
    }
    assert!(before.get() - sim.balance(10).get() < 10_000, "only fees");
    let quote = query::quote(&sim.state, &good);
    assert_eq!((quote.market.offers.len(), quote.admits), (10, true));
}

#[test]
fn providers_without_coins_are_not_drawn() {
    let mut grants = vec![coins(10); 8];
    grants.extend([nano(20_000_000); 4]);
    let mut sim = Sim::granted(NetworkParams::demo(), &grants);
    sim.providers(0..12);
    // Before the first reward is paid the four poor ones can lock nothing.
    let poor: Vec<AccountId> = (8..12).map(|who| sim.id(who)).collect();
    let terms = Propose { ask_max: nano(900_000_000_000_000), ..sim.proposal_terms(1, 3, 6) };
    let market = query::quote(&sim.state, &terms).market;
    assert!(market.offers.iter().all(|offer| !poor.contains(&offer.provider)));
}

#[test]
fn slots_left_out_are_offered_like_lost_ones() {
    let mut sim = network();
    let (id, _) = sim.drawn(10, sim.proposal_terms(1, 3, 6));
    sim.op(10, Operation::ActivateDeal(sim.activation(id, &[1, 4])));
    let deal = DealId::new(id.get());
    assert_eq!(query::deal(&sim.state, deal).unwrap().healthy, 4);
    for _ in 0..80 {
        sim.rebuild();
        sim.step();
    }
    let now = query::deal(&sim.state, deal).unwrap();
    assert_eq!((now.healthy, now.lost.len()), (6, 0));
    for slot in [1, 4] {
        let slot = query::slot(&sim.state, deal, SlotIndex::new(slot)).unwrap();
        assert!(matches!(slot.state, SlotState::Held { .. }) && slot.repair_pot == TokenAmount::ZERO);
    }
}

#[test]
fn renewing_prolongs_at_asks_valid_now() {
    let mut sim = network();
    let deal = sim.deal(10, 1, 3, 6);
    sim.steps(40);
    let ends = query::deal(&sim.state, deal).unwrap().ends;
    let renew = |windows, price_max| Operation::Renew { deal, windows, price_max };
    assert_eq!(sim.try_op(11, renew(0, coins(1))), Err(Failure::Range));
    assert_eq!(sim.try_op(11, renew(20, nano(1))), Err(Failure::Price));
    let before = sim.balance(11);
    sim.op(11, renew(20, coins(1)));
    let price: u64 = (0..6)
        .map(|slot| {
            price_ceil(nano(1_000_000_000), 300_000 + slot, 60).get()
                - price_ceil(nano(1_000_000_000), 300_000 + slot, 40).get()
        })
        .sum();
    let paid = before.get() - sim.balance(11).get();
    assert!(paid >= price && paid < price + 1_000, "{paid} {price}");
    assert_eq!(query::deal(&sim.state, deal).unwrap().ends, ends.plus(20 * 16));
    // A holder that asks more now gets more from now on.
    let who = sim.holder(deal, 0).unwrap();
    sim.op(who, Operation::Pledge(Pledge { ask: nano(2_000_000_000), ..sim.pledge_terms(who, 0) }));
    sim.op(11, renew(20, coins(1)));
    assert_eq!(query::slot(&sim.state, deal, SlotIndex::new(0)).unwrap().ask, nano(2_000_000_000));
    assert_eq!(query::slot(&sim.state, deal, SlotIndex::new(1)).unwrap().ask, nano(1_000_000_000));
    while sim.height < ends {
        sim.step();
    }
    assert_eq!(query::deal(&sim.state, deal).unwrap().deleted, None, "the old end passed");
    sim.until(|event| matches!(event, Event::DealEnded { .. }).then_some(()));
    for slot in query::slots(&sim.state, deal) {
        assert_eq!(slot.windows_before, 80);
    }
    assert_eq!(sim.try_op(11, renew(20, coins(1))), Err(Failure::Late));
}

#[test]
fn a_client_may_end_its_deal_after_the_least_term() {
    let mut sim = network();
    let deal = sim.deal(10, 1, 3, 6);
    let end = Operation::EndDeal { deal };
    assert_eq!(sim.try_op(11, end.clone()), Err(Failure::NotYours));
    assert_eq!(sim.try_op(10, end.clone()), Err(Failure::Early));
    sim.steps(50);
    let before = sim.balance(10);
    sim.op(10, end.clone());
    assert!(sim.balance(10) > before, "the unused escrow returned");
    assert_eq!(sim.try_op(10, end), Err(Failure::Late));
}
