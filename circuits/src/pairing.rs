//! Pairings for checking, by `blst`: its assembler takes half of the time of arkworks' portable code, and its
//! verdicts secure other chains. Everything that makes or stores points stays with arkworks; both agree on every
//! encoding (tests of `verify`).

use ark_bls12_381::{Fr, G1Affine, G2Affine};
use ark_ff::{BigInteger, PrimeField};
use ark_groth16::VerifyingKey;
use ark_serialize::CanonicalSerialize;
use blst::{BLST_ERROR, MultiPoint, blst_fp12, blst_p1_affine, blst_p2_affine, min_pk, min_sig, p1_affines};
use rayon::prelude::*;

/// A point of G1.
pub(crate) type Point1 = blst_p1_affine;
/// A point of G2.
pub(crate) type Point2 = blst_p2_affine;

/// Bits of a field element.
const FIELD_BITS: usize = 255;
/// Bits of a factor of a batch.
const FACTOR_BITS: usize = 128;

/// Miller loops that share their squarings: as many as `blst` takes at once.
const LOOPS: usize = 16;

/// Why bytes are no point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not the canonical compressed encoding of a point of the curve.
    Malformed,
    /// The point at infinity.
    Infinity,
    /// Not in the subgroup of prime order.
    WrongSubgroup,
}

impl Refused {
    fn of(error: BLST_ERROR) -> Self {
        match error {
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => Self::WrongSubgroup,
            BLST_ERROR::BLST_PK_IS_INFINITY => Self::Infinity,
            _ => Self::Malformed,
        }
    }
}

/// Decodes 48 bytes.
pub(crate) fn decode_1(bytes: &[u8]) -> Result<Point1, Refused> {
    min_pk::PublicKey::key_validate(bytes).map(Into::into).map_err(Refused::of)
}

/// Decodes 96 bytes.
pub(crate) fn decode_2(bytes: &[u8]) -> Result<Point2, Refused> {
    min_sig::PublicKey::key_validate(bytes).map(Into::into).map_err(Refused::of)
}

fn uncompressed(point: &impl CanonicalSerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    point.serialize_uncompressed(&mut bytes).expect("writing to memory does not fail");
    bytes
}

fn point_1(point: &G1Affine) -> Point1 {
    min_pk::PublicKey::deserialize(&uncompressed(point)).expect("both have one encoding").into()
}

fn point_2(point: &G2Affine) -> Point2 {
    min_sig::PublicKey::deserialize(&uncompressed(point)).expect("both have one encoding").into()
}

/// Each point times its number below `2^bits`, summed up. No points make no sum.
fn sum(points: &[Point1], factors: &[Fr], bits: usize) -> Option<Point1> {
    assert_eq!(points.len(), factors.len(), "a factor for each point");
    let bytes = bits.div_ceil(8);
    let factors: Vec<u8> = factors
        .iter()
        .flat_map(|factor| {
            let number = factor.into_bigint().to_bytes_le();
            debug_assert!(number[bytes..].iter().all(|&byte| byte == 0), "no more bits than promised");
            number.into_iter().take(bytes)
        })
        .collect();
    if points.is_empty() {
        return None;
    }
    Some(p1_affines::from(&[points.mult(&factors, bits)]).as_slice()[0])
}

/// A verifying key made ready: the points that pairings are computed with.
#[derive(Clone, Debug)]
pub(crate) struct Checking {
    alpha: Point1,
    beta: Point2,
    /// Of alpha and beta, before the final exponentiation.
    alpha_beta: blst_fp12,
    /// The opposites of gamma and delta.
    gamma_delta: [Point2; 2],
    inputs: Vec<Point1>,
}

/// A proof's points and the factor that it has in a batch, with its public inputs.
pub(crate) struct Weighted<'a> {
    pub(crate) a: &'a Point1,
    pub(crate) b: &'a Point2,
    pub(crate) c: &'a Point1,
    pub(crate) inputs: &'a [Fr],
    /// Below `2^128`.
    pub(crate) factor: Fr,
}

impl Checking {
    pub(crate) fn new(key: &VerifyingKey<ark_bls12_381::Bls12_381>) -> Self {
        let (alpha, beta) = (point_1(&key.alpha_g1), point_2(&key.beta_g2));
        Self {
            alpha,
            beta,
            alpha_beta: loops(&[beta], &[alpha]),
            gamma_delta: [point_2(&-key.gamma_g2), point_2(&-key.delta_g2)],
            inputs: key.gamma_abc_g1.iter().map(point_1).collect(),
        }
    }

    /// `product of e(f_i A_i, B_i) = e(alpha, beta)^(sum f) * e(sum f_i IC_i, gamma) * e(sum f_i C_i, delta)`.
    ///
    /// # Panics
    /// When a proof has another number of inputs than the key.
    pub(crate) fn hold(&self, proofs: &[Weighted<'_>]) -> bool {
        let factors: Vec<Fr> = proofs.iter().map(|proof| proof.factor).collect();
        let mut scalars = vec![Fr::from(0u64); self.inputs.len()];
        for proof in proofs {
            assert_eq!(proof.inputs.len() + 1, scalars.len(), "as many inputs as the key has");
            scalars[0] += proof.factor;
            for (scalar, input) in scalars[1..].iter_mut().zip(proof.inputs) {
                *scalar += proof.factor * input;
            }
        }
        let (is_one, factor) = (factors == [Fr::from(1u64)], scalars[0]);
        let scaled = |points: &[Point1]| {
            if is_one { points.first().copied() } else { sum(points, &factors, FACTOR_BITS) }
        };
        let c: Vec<Point1> = proofs.iter().map(|proof| *proof.c).collect();
        let public = [sum(&self.inputs, &scalars, FIELD_BITS), scaled(&c)].map(Option::unwrap_or_default);
        let mut left = proofs
            .par_chunks(LOOPS)
            .map(|proofs| {
                let b: Vec<Point2> = proofs.iter().map(|proof| *proof.b).collect();
                let a: Vec<Point1> = proofs.iter().map(|proof| *proof.a).collect();
                let a = if is_one { a } else { each_times(&a, proofs) };
                loops(&b, &a)
            })
            .reduce(blst_fp12::default, |one, other| one * other);
        left *= loops(&self.gamma_delta, &public);
        let right = if is_one {
            self.alpha_beta
        } else {
            let alpha = sum(&[self.alpha], &[factor], FIELD_BITS).unwrap_or_default();
            loops(&[self.beta], &[alpha])
        };
        blst_fp12::finalverify(&left, &right)
    }
}

/// Each `A` times its factor.
fn each_times(points: &[Point1], proofs: &[Weighted<'_>]) -> Vec<Point1> {
    let products: Vec<blst::blst_p1> = points
        .iter()
        .zip(proofs)
        .map(|(point, proof)| {
            let factor = proof.factor.into_bigint().to_bytes_le();
            [*point].mult(&factor, FACTOR_BITS)
        })
        .collect();
    p1_affines::from(&products).as_slice().to_vec()
}

/// The product of the pairings before the final exponentiation; those of the point at infinity are one, for
/// which `blst` itself has no formulas.
fn loops(points_2: &[Point2], points_1: &[Point1]) -> blst_fp12 {
    let is_infinite =
        |(two, one): &(&Point2, &Point1)| **two == Point2::default() || **one == Point1::default();
    let pairs = points_2.iter().zip(points_1).filter(|pair| !is_infinite(pair));
    let (points_2, points_1): (Vec<Point2>, Vec<Point1>) = pairs.map(|(two, one)| (*two, *one)).unzip();
    if points_2.is_empty() { blst_fp12::default() } else { blst_fp12::miller_loop_n(&points_2, &points_1) }
}

#[cfg(test)]
mod tests;
