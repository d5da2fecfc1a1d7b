//! Pledges, pre-commitments, activations.

use super::*;

#[test]
fn a_pledge_is_sealed_challenged_and_activated() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    sim.providers(0..2);
    let set = sim.set(0);
    let records = query::records(&sim.state, set).unwrap();
    assert_eq!(records.places.len(), 2);
    assert!(query::batch(&sim.state, &sim.id(0), 0).is_none(), "an activated batch is forgotten");
    // Until the first opening there is no window; then there is one a window length.
    sim.until(|event| {
        matches!(event, Event::WindowOpened { set: opened, .. } if *opened == set).then_some(())
    });
    let row = query::set(&sim.state, set).unwrap();
    assert_eq!(row.window.unwrap().opened.get() % sim.params().window_blocks, row.offset);
    let snapshot = query::snapshot(&sim.state, set, row.version).unwrap();
    assert_eq!(snapshot.sealed_bytes, 2 * sim.params().sector_bytes());
    assert_eq!(snapshot.root, records.tree.root_after(&sim, &snapshot.records));
    sim.until(|event| matches!(event, Event::Proven { set: proven, .. } if *proven == set).then_some(()));
}

trait RootAfter {
    fn root_after(&self, sim: &Sim, records: &[hpips_proofs::Record]) -> Element;
}

impl RootAfter for hpips_proofs::SetTree {
    /// The root over records, computed anew.
    fn root_after(&self, sim: &Sim, records: &[hpips_proofs::Record]) -> Element {
        let shape = hpips_proofs::Shape::of(sim.params()).unwrap();
        hpips_proofs::SetTree::from_records(&shape, records).unwrap().root()
    }
}

#[test]
fn the_statement_of_an_activation_comes_from_the_chain() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    sim.steps(4);
    sim.op(0, Operation::Pledge(sim.pledge_terms(0, 5)));
    sim.op(0, Operation::PreCommit(sim.sectors(0, 3)));
    assert_eq!(query::activation_statements(&sim.state, &sim.id(0), 0), Err(Failure::Early));
    assert_eq!(query::activation_statements(&sim.state, &sim.id(0), 1), Err(Failure::Unknown));
    sim.steps(8);
    let statements = query::activation_statements(&sim.state, &sim.id(0), 0).unwrap();
    assert_eq!(statements.len(), 1);
    let seed = query::batch(&sim.state, &sim.id(0), 0).unwrap().seed;
    let view = query::opening(&sim.state, seed).unwrap().view.unwrap();
    let signature = signature_of(View::new(view.get() + sim.params().lag_views));
    assert_eq!(statements[0].beacon, hpips_proofs::Beacon::from_signature(signature.as_bytes()));
    assert_eq!((statements[0].sectors, statements[0].payee), (3, sim.id(0)));
    let wrong = |proofs| Operation::Activate { batch: 0, proofs };
    assert_eq!(sim.try_op(0, wrong(vec![bad_proof()])), Err(Failure::Proof));
    assert_eq!(sim.try_op(0, wrong(vec![good_proof(); 2])), Err(Failure::Range));
    assert_eq!(sim.try_op(1, wrong(vec![good_proof()])), Err(Failure::Unknown));
    sim.op(0, wrong(vec![good_proof()]));
    assert_eq!(sim.try_op(0, wrong(vec![good_proof()])), Err(Failure::Unknown), "once");
}

#[test]
fn pre_commitments_are_checked() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    sim.steps(4);
    let (ticket, _) = query::ticket(&sim.state).unwrap();
    let sector = |number, ticket| Sector { number, ticket, comm_c: element(1), comm_k: element(2) };
    let commit = |set, sectors| Operation::PreCommit(PreCommit { set, sectors });
    assert_eq!(sim.try_op(0, commit(0, vec![sector(0, ticket)])), Err(Failure::NoPledge));
    sim.op(0, Operation::Pledge(sim.pledge_terms(0, 5)));
    let many: Vec<Sector> = (0..49).map(|number| sector(number, ticket)).collect();
    for (op, failure) in [
        (commit(0, vec![]), Failure::Range),
        (commit(1, vec![sector(0, ticket)]), Failure::Range),
        (commit(0, vec![sector(0, Height::new(1_000))]), Failure::Ticket),
        (commit(0, vec![sector(1, ticket), sector(1, ticket)]), Failure::SectorNumber),
        (commit(0, vec![sector(u64::MAX, ticket)]), Failure::Range),
        (commit(0, many), Failure::Full),
    ] {
        assert_eq!(sim.try_op(0, op.clone()), Err(failure), "{op:?}");
    }
    sim.op(0, commit(0, vec![sector(7, ticket)]));
    assert_eq!(sim.try_op(0, commit(0, vec![sector(7, ticket)])), Err(Failure::SectorNumber));
    assert!(query::ticket(&sim.state).unwrap().0 > ticket);
    let old = sim.height;
    sim.steps(33 * sim.params().window_blocks);
    assert_eq!(
        sim.try_op(0, commit(0, vec![sector(8, ticket)])),
        Err(Failure::Ticket),
        "too old since {old}"
    );
    assert!(query::batch(&sim.state, &sim.id(0), 0).is_none(), "not proven in time");
}

#[test]
fn a_newcomer_owes_its_first_fees() {
    let mut grants = vec![coins(100); 4];
    grants.push(TokenAmount::ZERO);
    let mut sim = Sim::granted(NetworkParams::dev(), &grants);
    sim.providers(4..5);
    let owed = query::account(&sim.state, &sim.id(4)).owed;
    assert!(owed > TokenAmount::ZERO);
    assert_eq!(sim.balance(4), TokenAmount::ZERO);
    let transfer = sim.transaction(4, vec![Operation::Transfer { to: sim.id(0), amount: nano(1) }]);
    let refused = check_tx(&sim.state, &transfer.sign(&sim.keys[4]).encode());
    assert!(matches!(refused, Err(Refused::Balance { .. })), "only the first steps are on credit");
    let id = sim.id(4);
    let reward = sim.until(|event| match event {
        Event::Paid { account, amount, reason: PayReason::Contribution { .. } } if *account == id => {
            Some(*amount)
        }
        _ => None,
    });
    assert_eq!(query::account(&sim.state, &id).owed, TokenAmount::ZERO);
    assert_eq!(sim.balance(4).get(), reward.get() - owed.get());
    // Credit has an end.
    let mut stranger = Sim::granted(NetworkParams::dev(), &grants);
    let refused = (0..2_000).find_map(|_| {
        let pledge = Operation::Pledge(stranger.pledge_terms(4, 5));
        let signed = stranger.transaction(4, vec![pledge; 16]).sign(&stranger.keys[4]);
        let checked = check_tx(&stranger.state, &signed.encode()).err();
        stranger.waiting.push(signed.encode());
        stranger.step();
        checked
    });
    assert!(matches!(refused, Some(Refused::OwedTooMuch(_))), "{refused:?}");
}

#[test]
fn leaving_retires_sealed_space() {
    let mut sim = Sim::new(NetworkParams::dev(), 6);
    sim.providers(0..2);
    sim.steps(40);
    sim.op(0, Operation::Unpledge {});
    assert_eq!(sim.try_op(0, Operation::Unpledge {}), Err(Failure::NoPledge));
    sim.steps(2 * sim.params().window_blocks);
    assert_eq!(query::set(&sim.state, sim.set(0)).unwrap().window, None);
    assert_eq!(query::providers(&sim.state), [sim.id(1)]);
    assert_eq!(sim.count(|event| matches!(event, Event::Missed { .. })), 0);
    sim.op(0, Operation::Pledge(sim.pledge_terms(0, 7)));
    assert_eq!(query::providers(&sim.state).len(), 1, "back in the draws with the next proven sector");
}
