//! Sums of many points, each times a number, that come in pieces: a key's lists need not be in memory whole.
//!
//! Pippenger's buckets with signed digits. The buckets stay between pieces, so a sum costs the same however
//! finely its points are cut. Work is shared out by digit and range of the digit's values, 68 parts of it for
//! large sums.

use ark_ec::VariableBaseMSM;
use ark_ff::PrimeField;
use hpips_crypto::Fr;
use rayon::prelude::*;

/// Bits of a number below half the modulus, and one for the sign.
const BITS: usize = 255;

/// Buckets that one thread fills at a time: 0.8 MB of G1, so that they stay in its cache.
const PART: usize = 1 << 12;

/// A sum that points are added to.
pub(crate) struct Sum<G: VariableBaseMSM> {
    /// Bits of a digit.
    width: usize,
    /// For each digit, lowest first, and each of its absolute values but zero: the points that have it.
    buckets: Vec<Vec<G::Bucket>>,
}

impl<G: VariableBaseMSM<ScalarField = Fr>> Sum<G> {
    /// An empty sum that is quickest for `count` points.
    pub(crate) fn new(count: usize) -> Self {
        let width = width(count);
        Self { width, buckets: vec![vec![G::ZERO_BUCKET; 1 << (width - 1)]; BITS.div_ceil(width)] }
    }

    /// Adds each point times its factor.
    ///
    /// # Panics
    /// When there are not as many factors as points.
    pub(crate) fn add(&mut self, points: &[G::MulBase], factors: &[Fr]) {
        assert_eq!(points.len(), factors.len(), "a factor for each point");
        let (width, count) = (self.width, self.buckets.len());
        let mut digits = vec![0; points.len() * count];
        digits
            .par_chunks_exact_mut(count)
            .zip(factors)
            .for_each(|(digits, factor)| split(factor, width, digits));
        let parts = self.buckets.iter_mut().enumerate().flat_map(|(place, buckets)| {
            buckets.chunks_mut(PART).enumerate().map(move |(part, buckets)| (place, part * PART, buckets))
        });
        parts.collect::<Vec<_>>().into_par_iter().with_max_len(1).for_each(|(place, first, buckets)| {
            for (digits, point) in digits.chunks_exact(count).zip(points) {
                let digit = digits[place];
                // Zero wraps around and is nowhere.
                let place = (digit.unsigned_abs() as usize).wrapping_sub(1 + first);
                let Some(bucket) = buckets.get_mut(place) else { continue };
                if digit > 0 {
                    *bucket += point;
                } else {
                    *bucket -= point;
                }
            }
        });
    }

    /// The sum.
    pub(crate) fn finish(self) -> G {
        let sums: Vec<G> = self.buckets.into_par_iter().with_max_len(1).map(weighted::<G>).collect();
        sums.into_iter().rev().fold(G::zero(), |mut total, sum| {
            for _ in 0..self.width {
                total.double_in_place();
            }
            total + sum
        })
    }
}

/// Bytes of memory that a sum of `count` points takes.
pub(crate) fn bytes<G: VariableBaseMSM>(count: usize) -> u64 {
    let width = width(count);
    ((BITS.div_ceil(width) << (width - 1)) * size_of::<G::Bucket>()) as u64
}

/// The width of digits that takes the fewest additions: one for each point, and at the end two for each bucket
/// that are half again as costly. Above 16 bits buckets outgrow the caches.
fn width(count: usize) -> usize {
    (3..=16).min_by_key(|&width| BITS.div_ceil(width) * (count + (3 << (width - 1)))).expect("some widths")
}

/// Each bucket times its number, the first being one.
fn weighted<G: VariableBaseMSM>(buckets: Vec<G::Bucket>) -> G {
    let (mut running, mut total) = (G::ZERO_BUCKET, G::ZERO_BUCKET);
    for bucket in buckets.iter().rev() {
        running += bucket;
        total += &running;
    }
    total.into()
}

/// Writes a number as `digits`, lowest first, each between `-2^(width - 1)` and `2^(width - 1)`.
///
/// A number of the upper half of the field is written as minus its opposite, which leaves the highest digit
/// room for a carry.
fn split(factor: &Fr, width: usize, digits: &mut [i32]) {
    let (number, opposite) = (factor.into_bigint(), (-*factor).into_bigint());
    let is_negative = opposite < number;
    let limbs = if is_negative { opposite.0 } else { number.0 };
    let mut carry = 0;
    for (place, digit) in digits.iter_mut().enumerate() {
        let (limb, shift) = (place * width / 64, place * width % 64);
        let above = limbs.get(limb + 1).copied().unwrap_or(0);
        let bits = u64::try_from((u128::from(above) << 64 | u128::from(limbs[limb])) >> shift & 0xffff_ffff)
            .expect("32 bits");
        let value = (bits & ((1 << width) - 1)) + carry;
        carry = u64::from(value > 1 << (width - 1));
        let value = i32::try_from(value).expect("17 bits") - i32::try_from(carry << width).expect("17 bits");
        *digit = if is_negative { -value } else { value };
    }
    debug_assert_eq!(carry, 0, "the highest digit has room");
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Bls12_381, G1Affine, G1Projective, G2Affine, G2Projective};
    use ark_ec::{CurveGroup, PrimeGroup, pairing::Pairing};
    use ark_ff::{AdditiveGroup, Field};

    use super::*;
    use crate::testing::number;

    fn halves() -> [Fr; 2] {
        let half = Fr::from(2u64).inverse().unwrap();
        [half, half - Fr::ONE]
    }

    #[test]
    fn digits_make_up_the_number_and_keep_their_bounds() {
        let mut factors: Vec<Fr> = (0..200).map(|i| number("factor", i)).collect();
        factors.extend([Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(u64::MAX), -Fr::from(1u64 << 15)]);
        factors.extend(halves());
        factors.extend((0..255).map(|bit| Fr::from(2u64).pow([bit])));
        factors.extend((0..255).map(|bit| -Fr::from(2u64).pow([bit])));
        for width in 3..=16 {
            let mut digits = vec![0; BITS.div_ceil(width)];
            for factor in &factors {
                split(factor, width, &mut digits);
                let base = Fr::from(1u64 << width);
                let sum = digits.iter().rev().fold(Fr::ZERO, |sum, &digit| {
                    let size = Fr::from(digit.unsigned_abs());
                    sum * base + if digit < 0 { -size } else { size }
                });
                assert_eq!(sum, *factor, "width {width}");
                assert!(digits.iter().all(|digit| digit.unsigned_abs() <= 1 << (width - 1)), "width {width}");
            }
        }
    }

    fn check<G: VariableBaseMSM<ScalarField = Fr>>(points: &[G::MulBase], factors: &[Fr], piece: usize) {
        let mut sum = Sum::<G>::new(points.len());
        for (points, factors) in points.chunks(piece).zip(factors.chunks(piece)) {
            sum.add(points, factors);
        }
        let plain: G = points.iter().zip(factors).map(|(point, factor)| *point * *factor).sum();
        assert_eq!(sum.finish(), plain, "{} points in pieces of {piece}", points.len());
    }

    #[test]
    fn sums_in_pieces_are_those_of_single_products() {
        let mut factors: Vec<Fr> = (0..90).map(|i| number("factor", i)).collect();
        factors.extend([Fr::ZERO, Fr::ONE, Fr::ONE, -Fr::ONE, Fr::from(7u64), -Fr::from(7u64)]);
        factors.extend(halves());
        let count = u64::try_from(factors.len()).unwrap();
        let mut points: Vec<G1Affine> =
            (0..count).map(|i| (G1Projective::generator() * number("point", i)).into_affine()).collect();
        // Meetings of a point with itself, its opposite and infinity in one bucket.
        points[91] = points[92];
        points[93] = points[92];
        points[94] = -points[95];
        points[3] = G1Affine::identity();
        for piece in [1, 7, 64, 1_000] {
            check::<G1Projective>(&points, &factors, piece);
        }
        check::<G1Projective>(&[], &[], 1);
        let points: Vec<G2Affine> =
            (0..40).map(|i| (G2Projective::generator() * number("point", i)).into_affine()).collect();
        check::<G2Projective>(&points, &factors[..40], 16);
    }

    #[test]
    fn memory_is_as_counted_and_bounded() {
        for (count, digits) in [(1usize << 15, 22), (1 << 19, 17), (1 << 20, 16), (usize::MAX >> 8, 16)] {
            assert_eq!(BITS.div_ceil(width(count)), digits, "{count}");
        }
        let sum = Sum::<<Bls12_381 as Pairing>::G1>::new(1 << 20);
        let counted: usize = sum.buckets.iter().map(|buckets| size_of_val(&buckets[..])).sum();
        assert_eq!(bytes::<G1Projective>(1 << 20), u64::try_from(counted).unwrap());
    }
}
