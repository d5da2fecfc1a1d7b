use std::sync::LazyLock;

use ark_bls12_381::{Bls12_381, G1Affine, g1, g2};
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_groth16::Proof;
use ark_serialize::CanonicalDeserialize;
use hpips_proofs::CircuitKind;

use super::*;
use crate::StoredKey;
use crate::builder::{Assigner, Builder, Recorder};
use crate::circuit;
use crate::matrices::Matrices;
use crate::prove::{Blinding, CreateError, create};
use crate::testing::{self, dev};

/// `x^2 * z = y` with `y` and `z` public: the cheapest circuit that shows everything.
fn relation<B: Builder>(builder: &mut B, x: u64, y: u64, z: u64) {
    let [y, z] = builder.inputs([Fr::from(y), Fr::from(z)]);
    let x = builder.witness(Fr::from(x));
    let square = builder.mul("square", &x, &x);
    builder.enforce("product", &square, &z, &y);
}

struct Setup {
    matrices: Matrices,
    key: StoredKey<Vec<u8>>,
    verifying: VerifyingKey,
}

fn setup() -> Setup {
    let mut recorder = Recorder::default();
    relation(&mut recorder, 0, 0, 0);
    let matrices = recorder.finish();
    let id = circuit::id(CircuitKind::Window, &dev());
    let key = testing::key(id, &matrices);
    let verifying = key.verifying_key();
    Setup { matrices, key, verifying }
}

fn values(x: u64, y: u64, z: u64) -> Vec<Fr> {
    let mut assigner = Assigner::default();
    relation(&mut assigner, x, y, z);
    assigner.into_values()
}

fn blinding(seed: u8) -> Blinding {
    Blinding::from_random(&[seed; 128])
}

impl Setup {
    fn proof(&self, x: u64, z: u64, seed: u8) -> ProofBytes {
        create(&self.key, &self.matrices, &values(x, x * x * z, z), &blinding(seed)).unwrap()
    }

    fn claim(&self, x: u64, z: u64) -> Claim {
        let proof = WellFormed::parse(&self.proof(x, z, 7)).unwrap();
        Claim { inputs: vec![Fr::from(x * x * z), Fr::from(z)], proof }
    }
}

#[test]
fn proofs_are_determined_by_blinding_and_values() {
    let setup = setup();
    assert_eq!(setup.proof(3, 5, 1), setup.proof(3, 5, 1));
    assert_ne!(setup.proof(3, 5, 1), setup.proof(3, 5, 2));
    for seed in [0, 1, 255] {
        let proof = WellFormed::parse(&setup.proof(3, 5, seed)).unwrap();
        let claim = Claim { inputs: vec![Fr::from(45u64), Fr::from(5u64)], proof };
        assert_eq!(setup.verifying.verify(&claim), Ok(()), "seed {seed}");
    }
}

#[test]
fn values_that_do_not_satisfy_give_no_proof() {
    let setup = setup();
    let bytes = create(&setup.key, &setup.matrices, &values(3, 46, 5), &blinding(1)).unwrap();
    let proof = WellFormed::parse(&bytes).unwrap();
    let claim = Claim { inputs: vec![Fr::from(46u64), Fr::from(5u64)], proof };
    assert_eq!(setup.verifying.verify(&claim), Err(ProofError::False));
    let short = create(&setup.key, &setup.matrices, &[Fr::ONE], &blinding(1));
    assert_eq!(short, Err(CreateError::Assignment { got: 1, expected: 5 }));
    let mut recorder = Recorder::default();
    recorder.inputs([Fr::ONE]);
    let other = recorder.finish();
    let refused = create(&setup.key, &other, &[Fr::ONE; 2], &blinding(1));
    assert_eq!(refused, Err(CreateError::OtherConstraints));
}

#[test]
fn another_input_or_proof_is_false() {
    let setup = setup();
    let honest = setup.claim(3, 5);
    for input in 0..2 {
        let mut claim = honest.clone();
        claim.inputs[input] += Fr::ONE;
        assert_eq!(setup.verifying.verify(&claim), Err(ProofError::False), "input {input}");
    }
    for inputs in [vec![], vec![Fr::ONE; 1], vec![Fr::ONE; 3]] {
        let refused = Err(ProofError::Inputs { got: inputs.len(), expected: 2 });
        let claim = Claim { inputs, proof: honest.proof.clone() };
        assert_eq!(setup.verifying.verify(&claim), refused);
        assert_eq!(setup.verifying.verify_batch(&[claim, honest.clone()]), [refused, Ok(())]);
    }
    let mut swapped = honest.clone();
    swapped.proof = setup.claim(4, 5).proof;
    assert_eq!(setup.verifying.verify(&swapped), Err(ProofError::False));
}

#[test]
fn batches_find_exactly_the_bad_ones() {
    let setup = setup();
    let honest: Vec<Claim> = (1..=9).map(|x| setup.claim(x, x + 1)).collect();
    for bad in [vec![], vec![0], vec![8], vec![3, 4], vec![0, 2, 8], (0..9).collect::<Vec<usize>>()] {
        let mut claims = honest.clone();
        for &index in &bad {
            claims[index].inputs[1] += Fr::ONE;
        }
        let verdicts = setup.verifying.verify_batch(&claims);
        for (index, verdict) in verdicts.into_iter().enumerate() {
            let expected = if bad.contains(&index) { Err(ProofError::False) } else { Ok(()) };
            assert_eq!(verdict, expected, "claim {index} with {bad:?} bad");
        }
    }
    assert_eq!(setup.verifying.verify_batch(&[]), []);
}

#[test]
fn errors_that_cancel_in_a_plain_sum_do_not_cancel() {
    // C + D and C' - D: the sum of both equations holds, each alone does not.
    let setup = setup();
    let mut claims = [setup.claim(2, 3), setup.claim(3, 2)];
    let shift = G1Affine::generator();
    for (claim, shift) in claims.iter_mut().zip([shift, -shift]) {
        let mut proof = decoded(claim.proof.bytes().as_bytes()).unwrap();
        proof.c = (proof.c + shift).into_affine();
        let mut bytes = [0; ProofBytes::LEN];
        proof.serialize_compressed(&mut bytes[..]).unwrap();
        claim.proof = WellFormed::parse(&ProofBytes::new(bytes)).unwrap();
    }
    assert_eq!(setup.verifying.verify_batch(&claims), [Err(ProofError::False); 2]);
}

/// Some point of the curve that is not in the prime-order subgroup, compressed.
fn outside_subgroup<C: SWCurveConfig>() -> Vec<u8> {
    let point = (1u64..)
        .find_map(|x| {
            Affine::<C>::get_point_from_x_unchecked(C::BaseField::from(x), false)
                .filter(|point| !point.is_in_correct_subgroup_assuming_on_curve())
        })
        .unwrap();
    assert!(point.is_on_curve());
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).unwrap();
    bytes
}

#[test]
fn malformed_points_are_named() {
    let honest = *setup().proof(3, 5, 1).as_bytes();
    let parts = [(Part::A, 0, 48), (Part::B, 48, 96), (Part::C, 144, 48)];
    for (part, start, len) in parts {
        let with = |bytes: &[u8]| {
            let mut proof = honest;
            proof[start..start + len].copy_from_slice(bytes);
            WellFormed::parse(&ProofBytes::new(proof)).map(|_| ()).unwrap_err()
        };
        let own = &honest[start..start + len];
        // Not below the base field's modulus.
        assert_eq!(with(&[[0x9f].as_slice(), &vec![0xff; len - 1]].concat()), ProofError::Malformed(part));
        // The flag for compression not set.
        assert_eq!(with(&[&[own[0] & 0x7f], &own[1..]].concat()), ProofError::Malformed(part));
        assert_eq!(with(&vec![0; len]), ProofError::Malformed(part));
        let mut infinity = vec![0; len];
        infinity[0] = 0xc0;
        assert_eq!(with(&infinity), ProofError::Infinity(part));
        infinity[len - 1] = 1;
        assert_eq!(with(&infinity), ProofError::Malformed(part));
        // An x without y: one of the next few is.
        let off_curve = (0u8..=255)
            .map(|low| {
                let mut bytes = own.to_vec();
                bytes[len - 1] = low;
                bytes
            })
            .any(|bytes| {
                let mut proof = honest;
                proof[start..start + len].copy_from_slice(&bytes);
                matches!(WellFormed::parse(&ProofBytes::new(proof)), Err(ProofError::Malformed(p)) if p == part)
            });
        assert!(off_curve);
        let outside = match part {
            Part::A | Part::C => outside_subgroup::<g1::Config>(),
            Part::B => outside_subgroup::<g2::Config>(),
        };
        assert_eq!(with(&outside), ProofError::WrongSubgroup(part));
    }
    for len in [0, 191, 193, 1000] {
        assert_eq!(WellFormed::parse_slice(&vec![0; len]).err(), Some(ProofError::Length { got: len }));
    }
    assert!(WellFormed::parse_slice(&honest).is_ok());
}

/// The points of a proof as arkworks decodes them, and only if they are in the right groups.
fn decoded(bytes: &[u8]) -> Result<Proof<Bls12_381>, ProofError> {
    let (a, rest) = bytes.split_at(48);
    let (b, c) = rest.split_at(96);
    Ok(Proof { a: point(Part::A, a)?, b: point(Part::B, b)?, c: point(Part::C, c)? })
}

fn point<C: SWCurveConfig>(part: Part, bytes: &[u8]) -> Result<Affine<C>, ProofError> {
    let point =
        Affine::<C>::deserialize_compressed_unchecked(bytes).map_err(|_| ProofError::Malformed(part))?;
    let mut canonical = Vec::new();
    point.serialize_compressed(&mut canonical).unwrap();
    if canonical != bytes {
        return Err(ProofError::Malformed(part));
    }
    if point.is_zero() {
        return Err(ProofError::Infinity(part));
    }
    if !point.is_in_correct_subgroup_assuming_on_curve() {
        return Err(ProofError::WrongSubgroup(part));
    }
    Ok(point)
}

/// Compares the verdicts of both libraries on a proof's bytes.
fn parse_as_arkworks(bytes: &[u8; 192]) {
    let ours = WellFormed::parse(&ProofBytes::new(*bytes)).map(|proof| *proof.bytes().as_bytes());
    assert_eq!(ours, decoded(bytes).map(|_| *bytes));
}

proptest::proptest! {
    #[test]
    fn any_bytes_have_the_verdict_of_arkworks(mut bytes: [[u8; 32]; 6], flags: [u8; 3]) {
        bytes[0][0] = flags[0] >> 3 | 0x80;
        bytes[1][16] = flags[1] >> 3 | 0x80;
        bytes[4][16] = flags[2] >> 3 | 0x80;
        parse_as_arkworks(&bytes.concat().try_into().unwrap());
    }

    /// Points that are there, none or outside of the group in each place, and flags flipped.
    #[test]
    fn damaged_proofs_have_the_verdict_of_arkworks(
        at in 0..192usize, bit in 0..8u8, flags in 0..8u8, part in 0..3usize, what in 0..4u8,
    ) {
        let mut bytes = *HONEST;
        let (start, len) = [(0, 48), (48, 96), (144, 48)][part];
        let place = &mut bytes[start..start + len];
        match what {
            0 => bytes[at] ^= 1 << bit,
            1 => place[0] ^= flags << 5,
            2 => {
                place.fill(0);
                place[0] = flags << 5;
                place[len - 1] = u8::from(at < 20);
            }
            _ => {
                let outside = if len == 48 { outside_subgroup::<g1::Config>() } else { outside_subgroup::<g2::Config>() };
                place.copy_from_slice(&outside);
                place[0] ^= flags << 5;
            }
        }
        parse_as_arkworks(&bytes);
    }
}

static HONEST: LazyLock<[u8; 192]> = LazyLock::new(|| *setup().proof(3, 5, 1).as_bytes());
