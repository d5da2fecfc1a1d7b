//! Weeks of random life from a seed: coins are conserved, days exact, honest providers never fined.

use hpips_types::cbor;

use super::*;

/// What a run chooses from: clients propose, upload, forget to; providers die and come back; refusals, renewals,
/// transfers, new prices.
fn live(seed: u64, params: NetworkParams, blocks: u64) -> Sim {
    let mut numbers = numbers(seed);
    let mut sim = Sim::new(params, 16);
    let clients = [12, 13, 14, 15];
    sim.providers(0..12);
    let mut dead: BTreeSet<usize> = BTreeSet::new();
    // When a provider was last away.
    let mut away: BTreeMap<usize, Height> = BTreeMap::new();
    let mut object = 0;
    for _ in 0..blocks {
        if numbers.below(10) == 0 {
            sim.view = View::new(sim.view.get() + numbers.below(4));
        }
        match numbers.below(40) {
            0 | 1 => {
                let client = clients[numbers.choose(4, 1)[0]];
                let n = 1 + u16::try_from(numbers.below(6)).unwrap();
                let k = 1 + u16::try_from(numbers.below(u64::from(n))).unwrap();
                object += 1;
                let mut terms = sim.proposal_terms(object, k, n);
                terms.term_windows = sim.params().term_windows_min + numbers.below(12);
                for bytes in &mut terms.piece_bytes {
                    *bytes = numbers.below(3_000_000);
                }
                sim.send(client, Operation::Propose(terms));
            }
            2 => {
                let who = numbers.choose(12, 1)[0];
                // At most two are away at a time, so that repair finds somebody.
                if dead.len() < 2 && dead.insert(who) {
                    sim.alive.remove(&who);
                }
            }
            3 => {
                if let Some(who) = dead.pop_first() {
                    sim.alive.insert(who);
                }
            }
            4 => {
                let (from, to) = (numbers.choose(16, 1)[0], numbers.choose(16, 1)[0]);
                sim.send(from, Operation::Transfer { to: sim.id(to), amount: nano(numbers.below(1 << 40)) });
            }
            5 => {
                let who = numbers.choose(12, 1)[0];
                let ask = 800_000_000 + numbers.below(600_000_000);
                sim.send(who, Operation::Pledge(sim.pledge_terms(who, ask)));
            }
            6 => {
                let deal = DealId::new(1 + numbers.below(object.max(1)));
                let windows = numbers.below(6);
                sim.send(12, Operation::Renew { deal, windows, price_max: coins(100) });
            }
            7 => {
                let deal = DealId::new(1 + numbers.below(object.max(1)));
                if let Some(row) = query::deal(&sim.state, deal) {
                    let client = sim.who(&row.client);
                    sim.send(client, Operation::EndDeal { deal });
                }
            }
            8 => {
                let who = numbers.choose(12, 1)[0];
                if let Some(piece) = query::pieces(&sim.state, &sim.id(who)).first() {
                    let records = vec![piece.record];
                    sim.send(who, Operation::DeclareLost { set: 0, records });
                }
            }
            9 => {
                let who = numbers.choose(12, 1)[0];
                let batch = query::pledge(&sim.state, &sim.id(who)).unwrap().next_batch;
                let op = Operation::PreCommit(sim.sectors(who, 1));
                sim.send(who, op);
                sim.send(who, Operation::Activate { batch, proofs: vec![good_proof()] });
            }
            _ => {}
        }
        for client in clients {
            for id in query::proposals_of(&sim.state, &sim.id(client)) {
                let Some(row) = query::proposal(&sim.state, id) else { continue };
                let Some(draw) = row.draw else { continue };
                if numbers.below(12) > 0 {
                    continue;
                }
                let unreachable: Vec<u16> = (0..row.terms.n)
                    .filter(|slot| dead.contains(&sim.who(&draw.holders[usize::from(*slot)].provider)))
                    .collect();
                let slot = SlotIndex::new(u16::try_from(numbers.below(u64::from(row.terms.n))).unwrap());
                let op = match numbers.below(6) {
                    0 => {
                        let provider = draw.holders[usize::from(slot.get())].provider;
                        let refusal = Refusal { chain: sim.genesis.chain_id(), proposal: id, slot, provider };
                        let refusal = Some(refusal.sign(&sim.keys[sim.who(&provider)]));
                        Operation::Replace { proposal: id, slot, refusal }
                    }
                    1 => Operation::Replace { proposal: id, slot, refusal: None },
                    _ => Operation::ActivateDeal(sim.activation(id, &unreachable)),
                };
                sim.send(client, op);
            }
        }
        if numbers.below(4) > 0 {
            sim.rebuild();
        }
        sim.silent = numbers.below(50) == 0;
        for who in &dead {
            away.insert(*who, sim.height);
        }
        for event in sim.step() {
            if let Event::Missed { set, .. } = event {
                let opened = sim.height.get() - sim.params().window_blocks;
                let last = away.get(&sim.who(&set.provider));
                assert!(last.is_some_and(|last| last.get() + 1 >= opened), "an honest provider missed");
            }
        }
    }
    sim
}

/// Sums that rows keep are the sums over the rows they speak of; snapshots are those that something refers to.
fn check_books(sim: &Sim) {
    let mut locked: BTreeMap<AccountId, u64> = BTreeMap::new();
    let mut used: BTreeMap<AccountId, u64> = BTreeMap::new();
    let mut versions: BTreeSet<Key> = BTreeSet::new();
    let billed = |bytes: u64| bytes.max(sim.params().piece_bytes_min);
    for (key, value) in &sim.state {
        if key.starts_with(tables::SLOT) {
            let slot: rows::Slot = cbor::decode(value, 1_000).unwrap();
            if let Some(provider) = slot.state.provider() {
                *locked.entry(provider).or_default() += slot.collateral.get();
                *used.entry(provider).or_default() += billed(slot.bytes);
            }
        } else if key.starts_with(tables::PROPOSAL) {
            let row: rows::ProposalRow = cbor::decode(value, 100_000).unwrap();
            for (holder, bytes) in row.draw.iter().flat_map(|draw| &draw.holders).zip(&row.terms.piece_bytes)
            {
                *locked.entry(holder.provider).or_default() += holder.collateral.get();
                *used.entry(holder.provider).or_default() += billed(*bytes);
            }
        }
    }
    for who in 0..12 {
        let (id, set) = (sim.id(who), sim.set(who));
        let pledge = query::pledge(&sim.state, &id).unwrap();
        let expected = (locked.get(&id).copied().unwrap_or(0), used.get(&id).copied().unwrap_or(0));
        assert_eq!((pledge.locked.get(), pledge.used_bytes), expected, "provider {who}");
        let row = query::set(&sim.state, set).unwrap();
        let referred =
            [Some(row.version), row.window.map(|window| window.version), row.debt.map(|debt| debt.version)];
        versions.extend(
            referred.into_iter().flatten().chain(row.entering).map(|version| tables::snapshot(set, version)),
        );
        let pieces = query::pieces(&sim.state, &id);
        let bytes: u64 = pieces.iter().map(|piece| billed(piece.bytes)).sum();
        assert!(bytes <= pledge.used_bytes);
        for piece in pieces {
            let slot = query::slot(&sim.state, piece.deal, piece.slot).unwrap();
            assert_eq!((slot.state.provider(), slot.bytes), (Some(id), piece.bytes));
        }
    }
    let kept: BTreeSet<Key> =
        sim.state.keys().filter(|key| key.starts_with(b"snapshot-1/")).cloned().collect();
    assert_eq!(kept, versions);
}

fn check(sim: &Sim) {
    check_books(sim);
    let mut missed: BTreeSet<AccountId> = BTreeSet::new();
    let mut declared: BTreeSet<AccountId> = BTreeSet::new();
    for (_, event) in &sim.log {
        match event {
            Event::Missed { set, .. } => drop(missed.insert(set.provider)),
            Event::DeclaredLost { set, .. } => drop(declared.insert(set.provider)),
            Event::Fined { provider, reason, .. } => assert!(match reason {
                FineReason::MissedInRow(_) => missed.contains(provider),
                // The declaration's own event follows its fines.
                FineReason::DeclaredLost => true,
            }),
            Event::SlotLost {
                provider,
                reason: LossReason::MissedInRow(_) | LossReason::MissedShare { .. },
                ..
            } => {
                assert!(missed.contains(provider) || declared.contains(provider));
            }
            Event::Settled { revenue, contributors, coin_holders, .. } => {
                assert_eq!(coin_holders.get(), revenue.get() / 10);
                assert_eq!(contributors.get(), revenue.get() - coin_holders.get());
            }
            _ => {}
        }
    }
}

#[test]
fn three_weeks_of_demo_life() {
    for seed in 0..3 {
        let sim = live(seed, NetworkParams::demo(), 21 * 16);
        check(&sim);
        assert!(sim.count(|event| matches!(event, Event::DealActive { .. })) > 2, "seed {seed}");
    }
}

#[test]
fn three_weeks_of_dev_life() {
    let sim = live(77, NetworkParams::dev(), 21 * 64);
    check(&sim);
    let seen = |wanted: fn(&Event) -> bool| assert!(sim.count(wanted) > 0);
    seen(|event| matches!(event, Event::DealActive { .. }));
    seen(|event| matches!(event, Event::SlotLost { .. }));
    seen(|event| matches!(event, Event::SlotRepaired { .. }));
    seen(|event| matches!(event, Event::Replaced { .. }));
    seen(|event| matches!(event, Event::DealEnded { .. }));
    seen(|event| matches!(event, Event::Fined { .. }));
}

#[test]
fn nobody_is_fined_where_nobody_is_away() {
    let mut sim = Sim::new(NetworkParams::demo(), 12);
    sim.providers(0..10);
    for number in 0..5 {
        sim.deal(10, number, 3, 6);
    }
    sim.steps(20 * 16);
    assert_eq!(
        sim.count(|event| matches!(
            event,
            Event::Missed { .. } | Event::Fined { .. } | Event::SlotLost { .. } | Event::Voided { .. }
        )),
        0
    );
    assert!(sim.count(|event| matches!(event, Event::Proven { .. })) > 190);
}

#[test]
fn a_set_with_offset_blocks_above_one_works_alike() {
    let params = NetworkParams { offset_blocks: 4, ..NetworkParams::demo() };
    let sim = live(5, params, 300);
    check(&sim);
    assert!(sim.count(|event| matches!(event, Event::Proven { .. })) > 50);
}
