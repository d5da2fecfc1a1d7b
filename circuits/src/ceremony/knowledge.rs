//! The proof that a party knows the factor `d` by which it scaled delta.
//!
//! The party picks a point `s` of G1 and answers a point `r` of G2, a hash of all it claims, with `d r`. That
//! `e(s, d r) = e(d s, r)` shows `d r` to be `r` times the ratio of `d s` to `s`; knowledge of the ratio is what
//! the knowledge-of-exponent assumption of ePrint 2017/1050 gives.

use ark_bls12_381::{Bls12_381, Fq, Fq2, G1Affine, G2Affine, g2};
use ark_ec::hashing::curve_maps::wb::WBMap;
use ark_ec::hashing::map_to_curve_hasher::MapToCurve;
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, PrimeField};
use hpips_crypto::draw::Draw;

/// The point of G2 that a claim is answered at: nobody knows its logarithm.
///
/// As `hash_to_curve` of RFC 9380 (two maps, a sum, cofactor cleared), with the field elements from BLAKE3,
/// 64 bytes reduced for each coordinate, where that names SHA-256.
pub(super) fn challenge(claim: &[u8]) -> G2Affine {
    let mut draw = Draw::new("hpips/circuits/ceremony-challenge/v1", &[claim]);
    let mut coordinate = || {
        let mut wide = [0; 64];
        draw.fill(&mut wide);
        Fq::from_le_bytes_mod_order(&wide)
    };
    let mut mapped = || {
        let element = Fq2::new(coordinate(), coordinate());
        WBMap::<g2::Config>::map_to_curve(element).expect("the map of this curve is total")
    };
    let sum = mapped() + mapped();
    sum.into_affine().clear_cofactor()
}

/// Whether the ratio of two points of G1 is that of two points of G2: `e(a, y) = e(b, x)`.
///
/// Says nothing where a point is at infinity: the caller refuses those.
pub(super) fn same_ratio((a, b): (G1Affine, G1Affine), (x, y): (G2Affine, G2Affine)) -> bool {
    Bls12_381::multi_pairing([a, -b], [y, x]).0 == <Bls12_381 as Pairing>::TargetField::ONE
}
