use std::sync::LazyLock;
use std::time::Instant;

use ark_ff::Field;
use hpips_crypto::Fr;
use hpips_types::AccountId;

use super::*;
use crate::prove::{Blinding, create};
use crate::testing::{activation, dev, ready, window};
use crate::{Witness, assign};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let [window, activation] = circuit::KINDS.map(|kind| ready(kind).key.verifying_key());
    Verifier::new(dev(), window, activation).unwrap()
});

fn prove(statement: &Statement, witness: &Witness) -> ProofBytes {
    let ready = ready(statement.kind());
    let values = assign(statement, witness).unwrap();
    let started = Instant::now();
    let proof = create(&ready.key, &ready.matrices, &values, &Blinding::from_random(&[5; 128])).unwrap();
    println!("{} proof in {:?}", circuit::name(statement.kind()), started.elapsed());
    proof
}

fn proven_window(seed: u8) -> (Statement, ProofBytes) {
    let (statement, witness) = window(dev(), seed);
    let statement = Statement::Window(statement);
    let proof = prove(&statement, &witness.into());
    (statement, proof)
}

fn proven_activation(seed: u8) -> (Statement, ProofBytes) {
    let (statement, witness) = activation(dev(), seed);
    let statement = Statement::Activation(statement);
    let proof = prove(&statement, &witness.into());
    (statement, proof)
}

static WINDOWS: LazyLock<[(Statement, ProofBytes); 2]> =
    LazyLock::new(|| [proven_window(1), proven_window(2)]);
static ACTIVATION: LazyLock<(Statement, ProofBytes)> = LazyLock::new(|| proven_activation(1));

type Change = fn(&mut Statement);

fn of_window(statement: &mut Statement) -> &mut hpips_proofs::WindowStatement {
    match statement {
        Statement::Window(statement) => statement,
        Statement::Activation(_) => panic!("a window"),
    }
}

fn of_activation(statement: &mut Statement) -> &mut hpips_proofs::ActivationStatement {
    match statement {
        Statement::Activation(statement) => statement,
        Statement::Window(_) => panic!("an activation"),
    }
}

#[test]
fn a_proof_holds_for_its_statement_and_no_other() {
    let windows: &[(&str, Change)] = &[
        ("set root", |s| of_window(s).terms.set_root = Fr::ONE.into()),
        ("window", |s| of_window(s).terms.window = of_window(s).terms.window.next()),
        ("leaf commitment", |s| of_window(s).leaf_commitment = Fr::ONE.into()),
        ("payee", |s| of_window(s).terms.payee = AccountId::new([2; 32])),
        ("provider", |s| of_window(s).terms.set.provider = AccountId::new([2; 32])),
        ("set", |s| of_window(s).terms.set.number += 1),
        ("network", |s| of_window(s).terms.network = hpips_types::ChainId::new([0; 32])),
    ];
    let activations: &[(&str, Change)] = &[
        ("batch root", |s| of_activation(s).batch_root = Fr::ONE.into()),
        ("batch", |s| of_activation(s).batch += 1),
        ("payee", |s| of_activation(s).payee = AccountId::new([2; 32])),
        ("provider", |s| of_activation(s).set.provider = AccountId::new([2; 32])),
        ("network", |s| of_activation(s).network = hpips_types::ChainId::new([0; 32])),
    ];
    for ((statement, proof), changes) in [(&WINDOWS[0], windows), (&*ACTIVATION, activations)] {
        assert_eq!(VERIFIER.check(statement, proof), Ok(()));
        for (what, change) in changes {
            let mut other = statement.clone();
            change(&mut other);
            assert_eq!(VERIFIER.check(&other, proof), Err(ProofError::False.into()), "{what}");
        }
    }
}

#[test]
fn every_public_input_is_bound() {
    for (statement, proof) in [&WINDOWS[0], &*ACTIVATION] {
        let inputs = statement.public_inputs().unwrap();
        for input in 0..inputs.len() {
            let mut inputs = inputs.clone();
            inputs[input] += Fr::ONE;
            let claim = Claim { inputs, proof: WellFormed::parse(proof).unwrap() };
            let key = VERIFIER.key(statement.kind());
            assert_eq!(key.verify(&claim), Err(ProofError::False), "input {input}");
        }
    }
}

#[test]
fn mixed_batches_get_the_verdicts_of_single_checks() {
    let [first, second] = WINDOWS.clone();
    let activation = ACTIVATION.clone();
    let wrong_proof = (first.0.clone(), second.1);
    let of_other_circuit = (first.0.clone(), activation.1);
    let malformed = (second.0.clone(), ProofBytes::new([0xff; 192]));
    let mut impossible = activation.clone();
    of_activation(&mut impossible.0).sectors = 0;
    let mut of_other_shape = first.clone();
    of_window(&mut of_other_shape.0).terms.shape = Shape::new(4, 1, 3, 1, 1).unwrap();
    let items = vec![
        (wrong_proof, false),
        (first.clone(), true),
        (activation.clone(), true),
        (malformed, false),
        (second.clone(), true),
        (impossible, false),
        (of_other_circuit, false),
        (of_other_shape, false),
        (first.clone(), true),
        (activation.clone(), true),
    ];
    let (items, expected): (Vec<_>, Vec<bool>) = items.into_iter().unzip();
    assert_eq!(VERIFIER.verify(&items), expected);
    for ((statement, proof), expected) in items.iter().zip(expected) {
        assert_eq!(VERIFIER.check(statement, proof).is_ok(), expected);
    }
    assert_eq!(VERIFIER.verify(&[]), Vec::<bool>::new());

    let started = Instant::now();
    assert_eq!(VERIFIER.check(&first.0, &first.1), Ok(()));
    println!("one check in {:?}", started.elapsed());
    let eight: Vec<_> = [first, second].iter().cycle().take(8).cloned().collect();
    let started = Instant::now();
    assert_eq!(VERIFIER.verify(&eight), [true; 8]);
    println!("batch of 8 in {:?}", started.elapsed());
    let mut eight = eight;
    eight[5].1 = activation.1;
    let started = Instant::now();
    assert_eq!(VERIFIER.verify(&eight).iter().filter(|verdict| **verdict).count(), 7);
    println!("batch of 8 with a bad one in {:?}", started.elapsed());
}

#[test]
fn keys_must_belong_to_the_shape() {
    let [window, activation] = circuit::KINDS.map(|kind| ready(kind).key.verifying_key());
    let other = Shape::new(4, 2, 4, 1, 1).unwrap();
    let refused = Verifier::new(other, window.clone(), activation.clone()).err();
    assert_eq!(refused, Some(WrongKey { kind: CircuitKind::Window }));
    let swapped = Verifier::new(dev(), activation, window).err();
    assert_eq!(swapped, Some(WrongKey { kind: CircuitKind::Window }));
}
