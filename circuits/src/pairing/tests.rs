use ark_bls12_381::{Bls12_381, G1Projective, G2Projective};
use ark_ec::pairing::Pairing;
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::{AdditiveGroup, Field};
use ark_groth16::{Groth16, Proof};

use super::*;
use crate::testing::number;

fn one(place: u64) -> G1Affine {
    (G1Projective::generator() * number("one", place)).into_affine()
}

fn two(place: u64) -> G2Affine {
    (G2Projective::generator() * number("two", place)).into_affine()
}

fn product(points_2: &[Point2], points_1: &[Point1], twos: &[G2Affine], ones: &[G1Affine]) -> bool {
    // Both libraries fix their results up to factors that the final exponentiation takes away, so the
    // products are compared by what follows from them: whether they are one.
    let ours = loops(points_2, points_1).final_exp() == blst_fp12::default();
    let theirs = Bls12_381::multi_pairing(ones, twos).0 == <Bls12_381 as Pairing>::TargetField::ONE;
    assert_eq!(ours, theirs);
    ours
}

#[test]
fn products_of_pairings_are_those_of_arkworks_also_at_infinity() {
    let scale = number("scale", 0);
    let (p, q) = (one(1), two(1));
    let (sp, sq) = ((p * scale).into_affine(), (q * scale).into_affine());
    let (zero_1, zero_2) = (G1Affine::identity(), G2Affine::identity());
    let cases = [
        (vec![q, -sq], vec![sp, p], true),
        (vec![q, sq], vec![sp, p], false),
        (vec![q], vec![zero_1], true),
        (vec![zero_2], vec![p], true),
        (vec![q, zero_2, -sq], vec![sp, sp, p], true),
        (vec![q, q], vec![zero_1, p], false),
    ];
    for (twos, ones, expected) in cases {
        let points_2: Vec<_> = twos.iter().map(point_2).collect();
        let points_1: Vec<_> = ones.iter().map(point_1).collect();
        assert_eq!(product(&points_2, &points_1, &twos, &ones), expected);
    }
}

#[test]
fn sums_are_those_of_arkworks_for_any_number_of_points() {
    // Libraries choose their way by the number of points: one, few, many.
    for count in [1, 2, 5, 31, 32, 100] {
        let mut points: Vec<G1Affine> = (0..count).map(one).collect();
        let mut factors: Vec<Fr> = (0..count).map(|place| number("factor", place)).collect();
        if count > 4 {
            points[1] = points[0];
            factors[1] = -factors[0];
            factors[2] = Fr::ZERO;
            points[3] = G1Affine::identity();
        }
        let expected: G1Projective = points.iter().zip(&factors).map(|(point, factor)| *point * factor).sum();
        let converted: Vec<_> = points.iter().map(point_1).collect();
        assert_eq!(
            sum(&converted, &factors, FIELD_BITS),
            Some(point_1(&expected.into_affine())),
            "{count} points"
        );
    }
    assert_eq!(sum(&[], &[], FIELD_BITS), None);
}

#[test]
fn sums_that_vanish_are_the_point_at_infinity() {
    for points in [vec![one(1), one(1)], vec![one(1); 40]] {
        let mut factors = vec![Fr::ZERO; points.len()];
        factors[0] = Fr::from(5u64);
        factors[1] = -Fr::from(5u64);
        let converted: Vec<_> = points.iter().map(point_1).collect();
        assert_eq!(sum(&converted, &factors, FIELD_BITS), Some(Point1::default()));
    }
}

/// A key and a true proof of any inputs, made with the key's secrets.
fn forged(inputs: &[Fr]) -> (ark_groth16::VerifyingKey<Bls12_381>, Proof<Bls12_381>) {
    let secret = |name| number(name, 0);
    let [alpha, beta, gamma, delta] = ["alpha", "beta", "gamma", "delta"].map(secret);
    let ic: Vec<Fr> = (0..=u64::try_from(inputs.len()).unwrap()).map(|place| number("ic", place)).collect();
    let first = |scalar: Fr| (G1Projective::generator() * scalar).into_affine();
    let second = |scalar: Fr| (G2Projective::generator() * scalar).into_affine();
    let key = ark_groth16::VerifyingKey {
        alpha_g1: first(alpha),
        beta_g2: second(beta),
        gamma_g2: second(gamma),
        delta_g2: second(delta),
        gamma_abc_g1: ic.iter().copied().map(first).collect(),
    };
    let (a, b) = (secret("a"), secret("b"));
    let public = ic[0] + ic[1..].iter().zip(inputs).map(|(point, input)| *point * input).sum::<Fr>();
    let c = (a * b - alpha * beta - public * gamma) * delta.inverse().unwrap();
    (key, Proof { a: first(a), b: second(b), c: first(c) })
}

/// The verdicts of both libraries, which must be the same.
fn verdict(key: &ark_groth16::VerifyingKey<Bls12_381>, proof: &Proof<Bls12_381>, inputs: &[Fr]) -> bool {
    let prepared = ark_groth16::prepare_verifying_key(key);
    let theirs = Groth16::<Bls12_381>::verify_proof(&prepared, proof, inputs).unwrap();
    let (a, b, c) = (point_1(&proof.a), point_2(&proof.b), point_1(&proof.c));
    let checking = Checking::new(key);
    for factor in [Fr::ONE, Fr::from(u128::MAX), Fr::from(7u64)] {
        let weighted = || Weighted { a: &a, b: &b, c: &c, inputs, factor };
        assert_eq!(checking.hold(&[weighted()]), theirs, "{factor}");
        let many: Vec<_> = (0..LOOPS * 2 + 1).map(|_| weighted()).collect();
        assert_eq!(checking.hold(&many), theirs, "many, {factor}");
    }
    theirs
}

#[test]
fn verdicts_are_those_of_arkworks() {
    let inputs = [number("input", 0), Fr::ZERO, -Fr::ONE];
    let (key, proof) = forged(&inputs);
    assert!(verdict(&key, &proof, &inputs));
    for place in 0..inputs.len() {
        let mut other = inputs;
        other[place] += Fr::ONE;
        assert!(!verdict(&key, &proof, &other));
    }
    assert!(!verdict(&key, &Proof { a: -proof.a, ..proof.clone() }, &inputs));
    assert!(verdict(&key, &Proof { a: -proof.a, b: -proof.b, ..proof.clone() }, &inputs));
    assert!(!verdict(&key, &Proof { b: -proof.b, ..proof.clone() }, &inputs));
    assert!(!verdict(&key, &Proof { c: one(9), ..proof }, &inputs));
}

#[test]
fn inputs_whose_sum_vanishes_are_no_special_case() {
    // Input chosen with the key's secrets so that its part of the equation is the point at infinity.
    let ic = [number("ic", 0), number("ic", 1)];
    let inputs = [-ic[0] * ic[1].inverse().unwrap()];
    let (key, proof) = forged(&inputs);
    assert!(verdict(&key, &proof, &inputs));
    assert!(!verdict(&key, &proof, &[inputs[0] + Fr::ONE]));
}
