use ark_bls12_381::{Bls12_381, Fq2, Fr, G1Projective};
use ark_ec::CurveGroup;
use ark_ec::pairing::Pairing;
use ark_ff::{Field, One};
use hpips_proofs::Statement;
use serde_json::Value;

use super::*;
use crate::prove::{Blinding, create};
use crate::testing::{activation, dev, ready, window};
use crate::{Witness, assign};

fn verifier() -> Verifier {
    let key = |kind| ready(kind).key.verifying_key();
    Verifier::new(dev(), key(CircuitKind::Window), key(CircuitKind::Activation)).unwrap()
}

fn proven(kind: CircuitKind) -> (Statement, ProofBytes) {
    let (statement, witness): (Statement, Witness) = match kind {
        CircuitKind::Window => {
            let (statement, witness) = window(dev(), 1);
            (Statement::Window(statement), witness.into())
        }
        CircuitKind::Activation => {
            let (statement, witness) = activation(dev(), 1);
            (Statement::Activation(statement), witness.into())
        }
    };
    let values = assign(&statement, &witness).unwrap();
    let ready = ready(kind);
    let proof = create(&ready.key, &ready.matrices, &values, &Blinding::from_random(&[4; 128])).unwrap();
    (statement, proof)
}

fn number<F: PrimeField>(value: &Value) -> F {
    value.as_str().unwrap().parse().ok().unwrap()
}

fn g1(value: &Value) -> G1Affine {
    assert_eq!(value[2], "1");
    let point = G1Affine::new_unchecked(number(&value[0]), number(&value[1]));
    assert!(point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve());
    point
}

fn g2(value: &Value) -> G2Affine {
    assert_eq!((&value[2][0], &value[2][1]), (&"1".into(), &"0".into()));
    let element = |value: &Value| Fq2::new(number(&value[0]), number(&value[1]));
    let point = G2Affine::new_unchecked(element(&value[0]), element(&value[1]));
    assert!(point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve());
    point
}

/// The equation of Groth16, from the text alone: `e(A, B) = e(alpha, beta) e(inputs, gamma) e(C, delta)`.
fn holds(text: &str) -> bool {
    let all: Value = serde_json::from_str(text).unwrap();
    let (key, proof) = (&all["verificationKey"], &all["proof"]);
    for part in [key, proof] {
        assert_eq!((&part["protocol"], &part["curve"]), (&"groth16".into(), &"bls12381".into()));
    }
    let inputs = all["publicSignals"].as_array().unwrap();
    let ic = key["IC"].as_array().unwrap();
    assert_eq!((key["nPublic"].as_u64(), ic.len()), (Some(inputs.len() as u64), inputs.len() + 1));
    let sum = inputs
        .iter()
        .zip(&ic[1..])
        .fold(G1Projective::from(g1(&ic[0])), |sum, (input, point)| sum + g1(point) * number::<Fr>(input));
    let product = Bls12_381::multi_pairing(
        [-g1(&proof["pi_a"]), g1(&key["vk_alpha_1"]), sum.into_affine(), g1(&proof["pi_c"])],
        [g2(&proof["pi_b"]), g2(&key["vk_beta_2"]), g2(&key["vk_gamma_2"]), g2(&key["vk_delta_2"])],
    );
    product.0.is_one()
}

#[test]
fn an_exported_proof_is_verified_from_its_text_alone() {
    let verifier = verifier();
    for kind in circuit::KINDS {
        let (statement, proof) = proven(kind);
        let export = ProofExport::new(&verifier, &statement, &proof).unwrap();
        let text = serde_json::to_string(&export).unwrap();
        assert!(holds(&text), "{text}");
        assert_eq!(serde_json::from_str::<ProofExport>(&text).unwrap(), export);
        assert!(export.key.insecure);
        assert_eq!(export.signals.len(), export.public_signals.len());
        // Every input counts.
        for index in 0..export.public_signals.len() {
            let mut other = export.clone();
            let one_more: Fr = number::<Fr>(&other.public_signals[index].clone().into()) + Fr::ONE;
            other.public_signals[index] = one_more.into_bigint().to_string();
            assert!(!holds(&serde_json::to_string(&other).unwrap()), "{kind:?} {index}");
        }
    }
}

#[test]
fn nothing_false_is_exported() {
    let (statement, _) = proven(CircuitKind::Window);
    let (_, proof) = proven(CircuitKind::Activation);
    let refused = ProofExport::new(&verifier(), &statement, &proof);
    assert!(matches!(refused, Err(VerifyError::Proof(crate::ProofError::False))), "{refused:?}");
}
