//! Transactions: what may stand in a block, what fails and only costs its fee.

use super::*;
use serde_bytes::ByteBuf;

fn transfer(sim: &Sim, to: usize, amount: u64) -> Operation {
    Operation::Transfer { to: sim.id(to), amount: nano(amount) }
}

#[test]
fn transactions_that_no_block_may_contain() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    sim.op(0, transfer(&sim, 1, 5));
    let good = sim.transaction(0, vec![transfer(&sim, 1, 5)]);
    let check = |sim: &mut Sim, signed: Signed, wanted: &dyn Fn(&Refused) -> bool| {
        let transactions = vec![ByteBuf::from(signed.encode())];
        let error = sim.apply(&Body { transactions, ..Body::default() }).unwrap_err();
        let Invalid::Transaction { index: 0, reason } = error else { panic!("{error}") };
        assert!(wanted(&reason), "{reason}");
        let candidates = Candidates { transactions: vec![signed.encode()], ..Candidates::default() };
        let is_signature = matches!(reason, Refused::Signature(_));
        assert_eq!(select(&sim.state, candidates).transactions.is_empty(), !is_signature, "{reason}");
    };
    type Wanted = fn(&Refused) -> bool;
    let height = sim.height;
    let cases: Vec<(Transaction, Wanted)> = vec![
        (Transaction { nonce: 0, ..good.clone() }, |r| matches!(r, Refused::Nonce { got: 0, expected: 1 })),
        (Transaction { nonce: 2, ..good.clone() }, |r| matches!(r, Refused::Nonce { got: 2, expected: 1 })),
        (Transaction { expires: height, ..good.clone() }, |r| matches!(r, Refused::Expired { .. })),
        (Transaction { expires: height.plus(5_000), ..good.clone() }, |r| {
            matches!(r, Refused::Expired { .. })
        }),
        (Transaction { chain: hpips_types::ChainId::new([1; 32]), ..good.clone() }, |r| {
            matches!(r, Refused::Chain(_))
        }),
        (Transaction { max_fee: nano(3), ..good.clone() }, |r| matches!(r, Refused::FeeTooLow { .. })),
        (Transaction { tip: coins(2), ..good.clone() }, |r| matches!(r, Refused::FeeTooLow { .. })),
        (Transaction { tip: coins(20_000), max_fee: coins(90_000), ..good.clone() }, |r| {
            matches!(r, Refused::Balance { .. })
        }),
        (Transaction { v: 2, ..good.clone() }, |r| matches!(r, Refused::Malformed(Malformed::Version(2)))),
        (Transaction { ops: vec![], ..good.clone() }, |r| {
            matches!(r, Refused::Malformed(Malformed::Operations(0)))
        }),
        (Transaction { ops: vec![transfer(&sim, 1, 1); 33], ..good.clone() }, |r| {
            matches!(r, Refused::Malformed(Malformed::Operations(33)))
        }),
    ];
    for (transaction, wanted) in cases {
        let signed = transaction.sign(&sim.keys[0]);
        assert!(
            check_tx(&sim.state, &signed.encode()).is_err() || signed.body.nonce == 2,
            "{:?}",
            signed.body
        );
        check(&mut sim, signed, &wanted);
    }
    let mut forged = good.clone().sign(&sim.keys[1]);
    check(&mut sim, forged.clone(), &|r| matches!(r, Refused::Signature(_)));
    forged.body.ops = vec![transfer(&sim, 2, 9)];
    check(&mut sim, forged, &|r| matches!(r, Refused::Signature(_)));
    let mut bytes = good.sign(&sim.keys[0]).encode();
    bytes.push(0);
    let body = Body { transactions: vec![ByteBuf::from(bytes.clone())], ..Body::default() };
    assert!(matches!(sim.apply(&body), Err(Invalid::Transaction { .. })));
    assert!(matches!(check_tx(&sim.state, &bytes), Err(Refused::Malformed(_))));
}

#[test]
fn a_replayed_transaction_is_refused() {
    let mut sim = Sim::new(NetworkParams::dev(), 4);
    sim.send(0, transfer(&sim, 1, 5));
    let bytes = sim.waiting[0].clone();
    sim.step();
    let body = Body { transactions: vec![ByteBuf::from(bytes.clone())], ..Body::default() };
    assert!(matches!(
        sim.apply(&body),
        Err(Invalid::Transaction { reason: Refused::Nonce { got: 0, expected: 1 }, .. })
    ));
    assert!(matches!(check_tx(&sim.state, &bytes), Err(Refused::Nonce { .. })));
    sim.waiting.push(bytes);
    assert!(
        !sim.step().iter().any(|event| matches!(event, Event::Executed { .. })),
        "a proposer leaves it out"
    );
}

#[test]
fn a_failed_operation_costs_the_fee_and_nothing_else() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    let (before, community) = (sim.balance(0), query::fund(&sim.state, rows::Fund::Community));
    let ops = vec![transfer(&sim, 4, 7), transfer(&sim, 4, u64::MAX)];
    let signed = sim.transaction(0, ops).sign(&sim.keys[0]);
    sim.waiting.push(signed.encode());
    let events = sim.step();
    let [Event::Executed { id, from, fee, failure }] = events[..] else { panic!("{events:?}") };
    assert_eq!((id, from, failure), (signed.id(), sim.id(0), Some((1, Failure::Balance))));
    assert_eq!(sim.balance(0).get(), before.get() - fee.get());
    assert_eq!(sim.balance(4), coins(10_000));
    assert_eq!(query::fund(&sim.state, rows::Fund::Community).get(), community.get() + fee.get());
    assert_eq!(query::account(&sim.state, &sim.id(0)).nonce, 1, "the nonce is used");
    assert_eq!(sim.try_op(0, transfer(&sim, 1, 0)), Err(Failure::Range));
}

#[test]
fn many_of_one_sender_follow_their_nonces() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    for _ in 0..40 {
        sim.send(4, transfer(&sim, 3, 1_000));
    }
    sim.step();
    assert_eq!(query::account(&sim.state, &sim.id(4)).nonce, 40);
    let far =
        Transaction { nonce: 40 + NONCES_AHEAD_MAX + 1, ..sim.transaction(4, vec![transfer(&sim, 3, 1)]) };
    assert!(matches!(check_tx(&sim.state, &far.sign(&sim.keys[4]).encode()), Err(Refused::Nonce { .. })));
}

#[test]
fn tips_go_to_the_proposer_and_demand_raises_the_base_fee() {
    let mut sim = Sim::new(NetworkParams::dev(), 6);
    let proposer = sim.next().proposer;
    let who = sim.who(&proposer);
    let before = sim.balance(who);
    let tipped = Transaction { tip: nano(12_345), ..sim.transaction(5, vec![transfer(&sim, 4, 1)]) };
    sim.waiting.push(tipped.sign(&sim.keys[5]).encode());
    sim.step();
    assert_eq!(sim.balance(who).get(), before.get() + 12_345);
    assert_eq!(query::head(&sim.state).base_fee, nano(1));
    // Blocks more than half full raise it by an eighth at most, empty ones lower it again.
    let mut last = 1;
    for _ in 0..30 {
        for number in 0..12u64 {
            let nonce = query::account(&sim.state, &sim.id(5)).nonce + number;
            let pledge = sim.pledge_terms(5, 5);
            let addresses = vec!["x".repeat(NAME_BYTES_MAX); ADDRESSES_MAX];
            let ops = vec![Operation::Pledge(Pledge { addresses, ..pledge }); 24];
            let big = Transaction { nonce, max_fee: coins(9), ..sim.transaction(5, ops) };
            sim.waiting.push(big.sign(&sim.keys[5]).encode());
        }
        sim.step();
        let fee = query::head(&sim.state).base_fee.get();
        assert!(fee > last && fee - last <= (last / 8).max(1), "{last} to {fee}");
        last = fee;
    }
    sim.steps(200);
    assert!(query::head(&sim.state).base_fee.get() < 9);
}

#[test]
fn bodies_have_limits() {
    let mut sim = Sim::new(NetworkParams::dev(), 5);
    let body = Body { transactions: vec![ByteBuf::from(vec![0; BODY_BYTES_MAX])], ..Body::default() };
    assert!(matches!(sim.apply(&body), Err(Invalid::TooLong(_))));
    assert!(Body::decode(&body.encode()).is_err());
    // Too many permutations: pre-commitments of many sectors in one block.
    sim.steps(4);
    let (ticket, _) = query::ticket(&sim.state).unwrap();
    let sectors: Vec<Sector> =
        (0..64).map(|number| Sector { number, ticket, comm_c: element(1), comm_k: element(2) }).collect();
    let op = Operation::PreCommit(PreCommit { set: 0, sectors });
    let costly: Vec<Vec<u8>> = (0..20u64)
        .map(|nonce| {
            let ops = vec![op.clone(); 3];
            Transaction { nonce, ..sim.transaction(4, ops) }.sign(&sim.keys[4]).encode()
        })
        .collect();
    let transactions: Vec<ByteBuf> = costly.iter().cloned().map(ByteBuf::from).collect();
    let error = sim.apply(&Body { transactions, ..Body::default() }).unwrap_err();
    assert!(matches!(error, Invalid::TooCostly { .. }), "{error}");
    let chosen = select(&sim.state, Candidates { transactions: costly, ..Candidates::default() });
    assert!(!chosen.transactions.is_empty() && chosen.transactions.len() < 20);
    sim.apply(&chosen).unwrap();
}
