//! Commitments, proofs and beacons in the lane: what a block may carry and what makes it invalid.

use super::*;

/// A chain with one provider whose window is open and has its beacon, not yet committed to.
fn open() -> (Sim, SetId, query::WindowTask) {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    sim.providers(0..1);
    let set = sim.set(0);
    sim.until(|event| matches!(event, Event::Proven { .. }).then_some(()));
    sim.alive.clear();
    sim.until(|event| matches!(event, Event::WindowOpened { .. }).then_some(()));
    loop {
        if let Some(task) = query::open_window(&sim.state, set) {
            return (sim, set, task);
        }
        sim.step();
    }
}

fn commitment(sim: &Sim, set: SetId, task: &query::WindowTask) -> Commitment {
    Commitment::sign(sim.genesis.chain_id(), set, task.window, element(4), &sim.keys[0])
}

fn lane_fault(error: Invalid) -> LaneFault {
    match error {
        Invalid::Commitment { reason, .. } | Invalid::Proof { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn commitments_are_accepted_once_and_in_time() {
    let (mut sim, set, task) = open();
    let good = commitment(&sim, set, &task);
    let mut forged = Commitment::sign(good.chain, set, task.window, element(4), &sim.keys[1]);
    forged.set = set;
    for (items, fault) in [
        (vec![Commitment { window: task.window.next(), ..good }], LaneFault::Window),
        (vec![Commitment { chain: hpips_types::ChainId::new([1; 32]), ..good }], LaneFault::Chain),
        (vec![good, good], LaneFault::Order),
        (vec![forged], LaneFault::False),
        (vec![Commitment { leaf_commitment: element(9), ..good }], LaneFault::False),
        (vec![Commitment { set: SetId { number: 3, ..set }, ..good }], LaneFault::Window),
    ] {
        let error = sim.apply(&Body { commitments: items, ..Body::default() }).unwrap_err();
        assert_eq!(lane_fault(error), fault);
    }
    let mut late = Sim { state: sim.state.clone(), ..open().0 };
    while late.height < task.commit_by.unwrap() {
        late.step();
    }
    let error = late.apply(&Body { commitments: vec![good], ..Body::default() }).unwrap_err();
    assert_eq!(lane_fault(error), LaneFault::Late);

    sim.apply(&Body { commitments: vec![good], ..Body::default() }).unwrap();
    let error = sim.apply(&Body { commitments: vec![good], ..Body::default() }).unwrap_err();
    assert_eq!(lane_fault(error), LaneFault::Done, "a commitment cannot be replayed");
}

#[test]
fn proofs_need_an_earlier_commitment_and_count_once() {
    let (mut sim, set, task) = open();
    let good = commitment(&sim, set, &task);
    let proof = |late, proof| WindowProof { set, window: task.window, late, proof };
    let body = |proofs| Body { proofs, ..Body::default() };
    let error = sim.apply(&body(vec![proof(None, good_proof())])).unwrap_err();
    assert_eq!(lane_fault(error), LaneFault::Uncommitted);
    let both = Body { commitments: vec![good], proofs: vec![proof(None, good_proof())], ..Body::default() };
    assert_eq!(lane_fault(sim.apply(&both).unwrap_err()), LaneFault::Uncommitted, "not in the same block");
    sim.apply(&Body { commitments: vec![good], ..Body::default() }).unwrap();
    for (items, fault) in [
        (vec![proof(None, bad_proof())], LaneFault::False),
        (vec![proof(Some(element(4)), good_proof())], LaneFault::Window),
        (vec![proof(None, good_proof()), proof(None, good_proof())], LaneFault::Order),
        (vec![WindowProof { window: task.window.next(), ..proof(None, good_proof()) }], LaneFault::Window),
    ] {
        assert_eq!(lane_fault(sim.apply(&body(items)).unwrap_err()), fault);
    }
    let ctx = sim.next();
    let statements = statements(&sim.state, &ctx, &body(vec![proof(None, good_proof())])).unwrap();
    let [Statement::Proof { claim, .. }] = &statements[..] else { panic!("{statements:?}") };
    let hpips_proofs::Statement::Window(window) = &**claim else { panic!("{claim:?}") };
    assert_eq!(window.terms, task.terms, "what the provider is told to prove is what is verified");
    assert_eq!(window.leaf_commitment, element(4));
    sim.apply(&body(vec![proof(None, good_proof())])).unwrap();
    let error = sim.apply(&body(vec![proof(None, good_proof())])).unwrap_err();
    assert_eq!(lane_fault(error), LaneFault::Done, "a proof cannot be replayed");
    while sim.height < task.prove_by.unwrap() {
        sim.apply(&Body { beacons: sim.beacons(), ..Body::default() }).unwrap();
    }
    let error = sim.apply(&body(vec![proof(None, good_proof())])).unwrap_err();
    assert_eq!(lane_fault(error), LaneFault::Window, "the window is over");
}

#[test]
fn beacons_are_those_of_the_view_fixed_at_the_opening() {
    let mut sim = Sim::new(NetworkParams::dev(), 4);
    sim.silent = true;
    sim.steps(5);
    let view = View::new(query::opening(&sim.state, Height::new(2)).unwrap().view.unwrap().get() + 2);
    let good = Beacon { opening: Height::new(2), view, signature: signature_of(view) };
    let other = Beacon { opening: Height::new(3), view: view.next(), signature: signature_of(view.next()) };
    for beacons in [
        vec![Beacon { view: view.next(), signature: signature_of(view.next()), ..good }],
        vec![Beacon { signature: signature_of(view.next()), ..good }],
        vec![Beacon { opening: Height::new(40), ..good }],
        vec![Beacon { opening: Height::ZERO, ..good }],
        vec![good, good],
        vec![other, good],
    ] {
        let error = sim.apply(&Body { beacons, ..Body::default() }).unwrap_err();
        assert!(matches!(error, Invalid::Beacon(_)), "{error}");
    }
    sim.apply(&Body { beacons: vec![good, other], ..Body::default() }).unwrap();
    let error = sim.apply(&Body { beacons: vec![good], ..Body::default() }).unwrap_err();
    assert!(matches!(error, Invalid::Beacon(_)), "a beacon cannot be replayed");
    assert_eq!(query::opening(&sim.state, Height::new(2)).unwrap().beacon.unwrap().carried, Height::new(6));
}

#[test]
fn a_window_without_beacon_is_nobodys_fault() {
    let mut sim = Sim::new(NetworkParams::dev(), 8);
    sim.providers(0..6);
    sim.steps(40);
    sim.deal(7, 1, 2, 4);
    sim.steps(40);
    sim.silent = true;
    sim.steps(60);
    assert!(sim.count(|event| matches!(event, Event::Voided { .. })) > 10);
    assert_eq!(sim.count(|event| matches!(event, Event::Missed { .. } | Event::Fined { .. })), 0);
    sim.silent = false;
    sim.steps(60);
    assert_eq!(sim.count(|event| matches!(event, Event::Missed { .. } | Event::Fined { .. })), 0);
}

#[test]
fn blocks_out_of_place_are_invalid() {
    let sim = Sim::new(NetworkParams::dev(), 4);
    let good = sim.next();
    for ctx in [
        BlockContext { height: Height::new(2), ..good },
        BlockContext { height: Height::ZERO, ..good },
        BlockContext { view: View::ZERO, ..good },
    ] {
        let error = statements(&sim.state, &ctx, &Body::default()).unwrap_err();
        assert!(matches!(error, Invalid::Position { .. }), "{error}");
    }
    let error = apply(&sim.state, &good, &Body::default(), &Verdicts::all_true(1)).unwrap_err();
    assert!(matches!(error, Invalid::Verdicts { got: 1, expected: 0 }), "{error}");
    let beacon =
        Beacon { opening: Height::new(1), view: View::new(1), signature: signature_of(View::new(1)) };
    let error =
        statements(&sim.state, &good, &Body { beacons: vec![beacon; 33], ..Body::default() }).unwrap_err();
    assert!(matches!(error, Invalid::Beacons(33)), "{error}");
}
