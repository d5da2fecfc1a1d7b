//! What those who mean harm send: extreme fields in any order, floods that cost next to nothing, work put off
//! to one height.

use super::*;
use crate::calendar::WAITING_MAX;

/// A number that rules have edges at.
fn extreme(numbers: &mut Draw) -> u64 {
    match numbers.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << numbers.below(64),
        3 => u64::MAX - numbers.below(3),
        4 => TokenAmount::SUPPLY.get() - numbers.below(2),
        5 => hpips_proofs::piece::PIECE_BYTES_MAX + numbers.below(3) - 1,
        _ => numbers.below(6),
    }
}

fn short(numbers: &mut Draw) -> u16 {
    match numbers.below(5) {
        0 => u16::MAX,
        1 => 50 + u16::try_from(numbers.below(4)).unwrap(),
        _ => u16::try_from(numbers.below(6)).unwrap(),
    }
}

fn choice<T: Clone>(numbers: &mut Draw, items: &[T]) -> Option<T> {
    Some(items.get(numbers.choose(items.len(), 1).first().copied()?)?.clone())
}

/// Any operation, its fields extreme or taken from what the chain knows.
fn operation(sim: &Sim, numbers: &mut Draw, who: usize, signed: &[ActivateDeal]) -> Operation {
    let proposal = ProposalId::new(if numbers.below(3) == 0 { extreme(numbers) } else { numbers.below(12) });
    let deal = DealId::new(proposal.get());
    let slot = SlotIndex::new(short(numbers));
    match numbers.below(14) {
        0 => Operation::Transfer { to: sim.id(numbers.choose(8, 1)[0]), amount: nano(extreme(numbers)) },
        1 => Operation::Pledge(Pledge {
            ask: nano(extreme(numbers)),
            open_bytes: extreme(numbers),
            collateral_max: nano(extreme(numbers)),
            payee: sim.id(numbers.choose(8, 1)[0]),
            addresses: vec!["x".repeat(usize::try_from(numbers.below(300)).unwrap()); 2],
            operator: String::new(),
        }),
        2 if numbers.below(6) == 0 => Operation::Unpledge {},
        2 | 3 => {
            let first = query::pledge(&sim.state, &sim.id(who)).map_or(0, |row| row.next_sector);
            let first = if numbers.below(4) == 0 { extreme(numbers) } else { first };
            let ticket = query::ticket(&sim.state).map_or(Height::ZERO, |(ticket, _)| ticket);
            let ticket = if numbers.below(6) == 0 { Height::new(extreme(numbers)) } else { ticket };
            let sector = |number: u64| Sector {
                number: first.wrapping_add(number),
                ticket,
                comm_c: element(number),
                comm_k: element(first),
            };
            let sectors = (0..numbers.below(70)).map(sector).collect();
            let set = u32::try_from(extreme(numbers) % (1 << 32)).unwrap();
            Operation::PreCommit(PreCommit { set: if numbers.below(2) == 0 { 0 } else { set }, sectors })
        }
        4 => {
            let proof = if numbers.below(4) == 0 { bad_proof() } else { good_proof() };
            let proofs = vec![proof; usize::from(numbers.below(8) > 0)];
            Operation::Activate { batch: numbers.below(4), proofs }
        }
        5 => {
            let set = u32::try_from(numbers.below(2)).unwrap();
            let count = numbers.below(3);
            let mut records: Vec<_> =
                (0..count).map(|_| hpips_types::RecordIndex::new(short(numbers))).collect();
            records.sort_unstable();
            Operation::DeclareLost { set, records }
        }
        6 | 7 => {
            let (k, n) = (short(numbers), short(numbers));
            let sizes = if numbers.below(8) == 0 { short(numbers) % 80 } else { n };
            let wild = numbers.below(3) == 0;
            let bytes = |numbers: &mut Draw| if wild { extreme(numbers) } else { numbers.below(1 << 22) };
            Operation::Propose(Propose {
                root: root(numbers.below(3)),
                extent: ExtentIndex::new(u32::MAX),
                content_bytes: extreme(numbers),
                k,
                n,
                piece_bytes: (0..sizes.min(200)).map(|_| bytes(numbers)).collect(),
                term_windows: if numbers.below(2) == 0 { extreme(numbers) } else { 1 + numbers.below(9) },
                ask_max: nano(if numbers.below(2) == 0 { extreme(numbers) } else { 1 << 40 }),
            })
        }
        8 => {
            let provider = sim.id(numbers.choose(8, 1)[0]);
            let refusal = Refusal { chain: sim.genesis.chain_id(), proposal, slot, provider };
            let refusal = (numbers.below(2) == 0).then(|| refusal.sign(&sim.keys[sim.who(&provider)]));
            Operation::Replace { proposal, slot, refusal }
        }
        9 => match choice(numbers, signed) {
            // An activation that is right, or was, or is bent a little.
            Some(mut activation) => {
                match numbers.below(6) {
                    0 => activation.proposal = proposal,
                    1 => activation.receipts.reverse(),
                    2 => drop(activation.receipts.pop()),
                    3 => activation.receipts.extend(activation.receipts.last().cloned()),
                    4 => {
                        let left = LeftOut { slot, comm_p: element(1), blake3: Blake3Hash::new([1; 32]) };
                        activation.left_out.push(left);
                    }
                    _ => {}
                }
                Operation::ActivateDeal(activation)
            }
            None => Operation::EndDeal { deal },
        },
        10 => Operation::ClaimRepair { deal, slot },
        11 => Operation::ProveEntry { deal, slot, leaf_commitment: element(1), proof: good_proof() },
        12 => Operation::Renew { deal, windows: extreme(numbers), price_max: nano(extreme(numbers)) },
        _ => Operation::EndDeal { deal },
    }
}

/// Puts a body together as a proposer would who does not care, and applies it.
fn storm(seed: u64, blocks: u64) -> Sim {
    let mut numbers = numbers(seed);
    let params = NetworkParams { term_windows_min: 1, ..NetworkParams::demo() };
    let mut sim = Sim::new(params, 8);
    sim.providers(0..6);
    for _ in 0..blocks {
        let mut signed = Vec::new();
        for client in 0..8 {
            for id in query::proposals_of(&sim.state, &sim.id(client)) {
                let drawn = query::proposal(&sim.state, id).is_some_and(|row| row.draw.is_some());
                signed.extend(drawn.then(|| sim.activation(id, &[])));
            }
        }
        for who in 0..8 {
            let ops =
                (0..1 + numbers.below(2)).map(|_| operation(&sim, &mut numbers, who, &signed)).collect();
            let mut transaction = sim.transaction(who, ops);
            if numbers.below(10) == 0 {
                transaction.tip = nano(extreme(&mut numbers));
                transaction.max_fee = nano(extreme(&mut numbers));
            }
            sim.waiting.push(transaction.sign(&sim.keys[who]).encode());
        }
        for activation in signed {
            let client = query::proposal(&sim.state, activation.proposal).unwrap().client;
            if numbers.below(4) == 0 {
                let who = sim.who(&client);
                let signed =
                    sim.transaction(who, vec![Operation::ActivateDeal(activation)]).sign(&sim.keys[who]);
                sim.waiting.push(signed.encode());
            }
        }
        sim.rebuild();
        if numbers.below(20) == 0 {
            let who = numbers.choose(6, 1)[0];
            if !sim.alive.remove(&who) {
                sim.alive.insert(who);
            }
        }
        let (commitments, proofs) = sim.lane();
        let transactions = core::mem::take(&mut sim.waiting);
        let candidates = Candidates { beacons: sim.beacons(), commitments, proofs, transactions };
        let mut body = select(&sim.state, candidates);
        // What a proposer could not foresee makes a block invalid, never a panic; it goes on without.
        while let Err(error) = sim.apply(&body) {
            let Invalid::Transaction { index, .. } = error else { panic!("{error:?}") };
            body.transactions.remove(index);
        }
    }
    sim
}

#[test]
fn extreme_operations_neither_panic_nor_make_coins() {
    let mut seen = BTreeSet::new();
    for seed in 100..104 {
        let sim = storm(seed, 100);
        for (_, event) in &sim.log {
            let name = match event {
                Event::Executed { failure: Some((_, failure)), .. } => format!("{failure:?}"),
                Event::DealActive { .. } => "active".into(),
                Event::Drawn { .. } => "drawn".into(),
                _ => continue,
            };
            seen.insert(name);
        }
    }
    for wanted in ["active", "drawn", "Range", "Balance", "Full", "State"] {
        assert!(seen.contains(wanted), "{wanted} not in {seen:?}");
    }
}

#[test]
fn a_flood_of_proposals_is_spread_over_beacons() {
    let mut sim = Sim::new(NetworkParams::dev(), 8);
    sim.providers(0..2);
    let terms = sim.proposal_terms(1, 1, 1);
    let ops = vec![Operation::Propose(Propose { ask_max: nano(1), ..terms }); OPERATIONS_MAX];
    for who in 0..7 {
        let signed = sim.transaction(who, ops.clone()).sign(&sim.keys[who]);
        sim.waiting.push(signed.encode());
    }
    sim.step();
    assert_eq!(sim.count(|event| matches!(event, Event::Proposed { .. })), 7 * OPERATIONS_MAX);
    let waiting = |sim: &Sim, ahead: u64| {
        query::opening(&sim.state, sim.height.plus(ahead)).map_or(0, |row| row.waiting.len())
    };
    let rest = 7 * OPERATIONS_MAX - 3 * WAITING_MAX;
    assert_eq!([0, 2, 3, 4].map(|ahead| waiting(&sim, ahead)), [WAITING_MAX, WAITING_MAX, rest, 0]);
}

#[test]
fn announcements_alone_take_no_part_in_draws_or_openings() {
    let mut sim = Sim::granted(NetworkParams::dev(), &[coins(100), coins(100), coins(1), coins(0)]);
    sim.steps(6);
    for who in 2..4 {
        sim.send(who, Operation::Pledge(sim.pledge_terms(who, 5)));
    }
    sim.step();
    for who in 2..4 {
        sim.send(who, Operation::PreCommit(sim.sectors(who, 1)));
    }
    sim.step();
    sim.op(2, Operation::Unpledge {});
    assert!(query::providers(&sim.state).is_empty());
    assert!(!sim.state.keys().any(|key| key.starts_with(b"ring-1/")));
    sim.steps(5);
    sim.op(3, Operation::Activate { batch: 0, proofs: vec![good_proof()] });
    assert_eq!(query::providers(&sim.state), [sim.id(3)]);
    sim.until(|event| matches!(event, Event::WindowOpened { .. }).then_some(()));
}

#[test]
fn what_falls_due_together_is_spread_over_heights() {
    let mut sim = Sim::new(NetworkParams::dev(), 6);
    sim.steps(6);
    sim.op(0, Operation::Pledge(sim.pledge_terms(0, 5)));
    // One batch an operation; all lapse at the same height.
    for _ in 0..10 {
        let first = sim.sectors(0, 320).sectors;
        let ahead = 32 * sim.waiting.len();
        let ops = first[ahead..ahead + 32]
            .iter()
            .map(|sector| Operation::PreCommit(PreCommit { set: 0, sectors: vec![*sector] }))
            .collect();
        let signed = sim.transaction(0, ops).sign(&sim.keys[0]);
        sim.waiting.push(signed.encode());
    }
    sim.step();
    let batches = |sim: &Sim| sim.state.keys().filter(|key| key.starts_with(b"batch-1/")).count();
    assert_eq!(batches(&sim), 320);
    while batches(&sim) == 320 {
        sim.step();
    }
    assert_eq!(batches(&sim), 320 - 256);
    sim.step();
    assert_eq!(batches(&sim), 0);
}

#[test]
fn a_piece_of_an_ended_deal_can_be_declared_lost() {
    let mut sim = Sim::new(NetworkParams::dev(), 8);
    sim.providers(0..5);
    let deal = sim.deal(7, 1, 1, 3);
    sim.steps(5 * sim.params().window_blocks);
    sim.op(7, Operation::EndDeal { deal });
    let who = sim.holder(deal, 0).unwrap();
    let record = query::pieces(&sim.state, &sim.id(who))[0].record;
    sim.op(who, Operation::DeclareLost { set: 0, records: vec![record] });
    assert!(query::pieces(&sim.state, &sim.id(who)).is_empty());
    assert_eq!(query::pledge(&sim.state, &sim.id(who)).unwrap().used_bytes, 0);
    sim.steps(6 * sim.params().window_blocks);
    assert!(query::deal(&sim.state, deal).is_none());
}
