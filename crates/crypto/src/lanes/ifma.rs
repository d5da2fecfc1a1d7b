//! Eight states in AVX-512 with IFMA: five limbs of 52 bits.
//!
//! The instructions multiply the low 52 bits of two words and add the low or the high half of the product.

use core::arch::x86_64::*;
use std::sync::LazyLock;

use super::job::{self, Job, Width, complement, split};
use crate::poseidon2::instance;
use crate::poseidon2::rounds::{MODULUS, Vector};

/// States in a vector.
pub(super) const LANES: usize = 8;

const LIMBS: usize = 5;
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;
const MODULUS_LIMBS: [u64; LIMBS] = split(MODULUS, BITS);
/// `2^260` less the modulus.
const COMPLEMENT: [u64; LIMBS] = complement(BITS);
/// `-1 / r` modulo `2^52`: the modulus is 1 modulo `2^32`.
const INVERSE: u64 = {
    let inverse = (1u64 << 32).wrapping_add(1).wrapping_neg() & MASK;
    assert!(MODULUS[0].wrapping_mul(inverse) & MASK == MASK, "an inverse of the modulus");
    inverse
};
/// `2^52` through the modulus' bits from 216 up, rounded down.
const QUOTIENT: u64 = (1 << BITS) / ((MODULUS[3] >> 24) + 1);

static WIDTH_3: LazyLock<Width<Element, 3>> = LazyLock::new(|| Width::new(instance()));
static WIDTH_4: LazyLock<Width<Element, 4>> = LazyLock::new(|| Width::new(instance()));
static WIDTH_8: LazyLock<Width<Element, 8>> = LazyLock::new(|| Width::new(instance()));

/// Does a job on eight states of width 3.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn width_3(states: &mut [[[u64; LANES]; 4]; 3], job: &Job) {
    job::run(states, &WIDTH_3, job);
}

/// Does a job on eight states of width 4.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn width_4(states: &mut [[[u64; LANES]; 4]; 4], job: &Job) {
    job::run(states, &WIDTH_4, job);
}

/// Does a job on eight states of width 8.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn width_8(states: &mut [[[u64; LANES]; 4]; 8], job: &Job) {
    job::run(states, &WIDTH_8, job);
}

/// Limbs of eight elements. Made by this file's functions only, where the instructions were detected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element([__m512i; LIMBS]);

impl Vector for Element {
    const LIMBS: u32 = 5;
    const BITS: u32 = BITS;
    const PHASES: usize = 2;
    const WEIGHT_END: u64 = 255;
    type Constant = [u64; LIMBS];
    type Words = [u64; LANES];

    fn constant(words: [u64; 4]) -> Self::Constant {
        split(words, BITS)
    }

    fn heavier(constant: Self::Constant, weight: u64) -> Self::Constant {
        constant.map(|limb| limb + weight * MASK)
    }

    #[inline(always)]
    fn broadcast(constant: &Self::Constant) -> Self {
        // SAFETY: elements are only made where the instructions were detected.
        unsafe { broadcast(constant) }
    }

    #[inline(always)]
    fn load(words: &[Self::Words; 4]) -> Self {
        // SAFETY: as above.
        unsafe { load(words) }
    }

    #[inline(always)]
    fn store(self) -> [Self::Words; 4] {
        // SAFETY: as above.
        unsafe { store(&self) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { add(self, &other) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { sub(self, &other) }
    }

    #[inline(always)]
    fn shift<const N: u32>(self) -> Self {
        // SAFETY: as above.
        unsafe { shift::<N>(self) }
    }

    #[inline(always)]
    fn reduce(self) -> Self {
        // SAFETY: as above.
        unsafe { reduce(self) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { mul(&self, &other) }
    }

    #[inline(always)]
    fn fifth_power(self) -> Self {
        // SAFETY: as above.
        unsafe { fifth_power(&self) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn word(value: u64) -> __m512i {
    _mm512_set1_epi64(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52lo_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52hi_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn broadcast(constant: &[u64; LIMBS]) -> Element {
    let mut limbs = [word(0); LIMBS];
    for (limb, value) in limbs.iter_mut().zip(constant) {
        *limb = word(*value);
    }
    Element(limbs)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add(mut a: Element, b: &Element) -> Element {
    for (limb, other) in a.0.iter_mut().zip(b.0) {
        *limb = _mm512_add_epi64(*limb, other);
    }
    a
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub(mut a: Element, b: &Element) -> Element {
    for (limb, other) in a.0.iter_mut().zip(b.0) {
        *limb = _mm512_sub_epi64(*limb, other);
    }
    a
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn shift<const N: u32>(mut a: Element) -> Element {
    for limb in &mut a.0 {
        *limb = _mm512_slli_epi64::<N>(*limb);
    }
    a
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(words: &[[u64; LANES]; 4]) -> Element {
    let [a, b, c, d] = words;
    let (a, b, c, d) = (vector(a), vector(b), vector(c), vector(d));
    let mask = word(MASK);
    Element([
        _mm512_and_si512(a, mask),
        _mm512_and_si512(joined::<52, 12>(a, b), mask),
        _mm512_and_si512(joined::<40, 24>(b, c), mask),
        _mm512_and_si512(joined::<28, 36>(c, d), mask),
        _mm512_srli_epi64::<16>(d),
    ])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store(element: &Element) -> [[u64; LANES]; 4] {
    let [a, b, c, d, e] = element.0;
    let words = [
        _mm512_or_si512(a, _mm512_slli_epi64::<52>(b)),
        joined::<12, 40>(b, c),
        joined::<24, 28>(c, d),
        joined::<36, 16>(d, e),
    ];
    let mut result = [[0; LANES]; 4];
    for (word, vector) in result.iter_mut().zip(words) {
        // SAFETY: a word of each lane is 64 bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_epi64(word.as_mut_ptr().cast(), vector) };
    }
    result
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn vector(words: &[u64; LANES]) -> __m512i {
    // SAFETY: the words are 64 bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_epi64(words.as_ptr().cast()) }
}

/// `low >> RIGHT | high << LEFT`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn joined<const RIGHT: u32, const LEFT: u32>(low: __m512i, high: __m512i) -> __m512i {
    _mm512_or_si512(_mm512_srli_epi64::<RIGHT>(low), _mm512_slli_epi64::<LEFT>(high))
}

/// Subtracts a multiple of the modulus that the highest limbs give, one or two too few at most.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce(element: Element) -> Element {
    let mut limbs = element.0;
    let top = _mm512_add_epi64(limbs[4], _mm512_srli_epi64::<BITS>(limbs[3]));
    let quotient = high(word(0), _mm512_srli_epi64::<8>(top), word(QUOTIENT));
    for (limb, factor) in COMPLEMENT.into_iter().enumerate() {
        limbs[limb] = low(limbs[limb], quotient, word(factor));
        if limb + 1 < LIMBS {
            limbs[limb + 1] = high(limbs[limb + 1], quotient, word(factor));
        }
    }
    let mut result = carried(limbs);
    // What was added beyond the multiple is a multiple of 2^260.
    result.0[4] = _mm512_and_si512(result.0[4], word(MASK));
    result
}

/// Carries what exceeds 52 bits from limb to limb; the highest keeps all it has.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carried(mut limbs: [__m512i; LIMBS]) -> Element {
    for limb in 0..LIMBS - 1 {
        limbs[limb + 1] = _mm512_add_epi64(limbs[limb + 1], _mm512_srli_epi64::<BITS>(limbs[limb]));
        limbs[limb] = _mm512_and_si512(limbs[limb], word(MASK));
    }
    Element(limbs)
}

/// Sums of the limbs of a product, from the lowest.
type Sums = [__m512i; 2 * LIMBS];

/// Row after row, each followed by its step of the reduction: a step waits for the one before, and the next row
/// fills that time.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul(a: &Element, b: &Element) -> Element {
    let sums = reduced::<0>(row::<0>([word(0); 2 * LIMBS], a, b));
    let sums = reduced::<1>(row::<1>(sums, a, b));
    let sums = reduced::<2>(row::<2>(sums, a, b));
    let sums = reduced::<3>(row::<3>(sums, a, b));
    let [.., a, b, c, d, e] = reduced::<4>(row::<4>(sums, a, b));
    carried([a, b, c, d, e])
}

/// As [`mul`]; a row leaves two columns that no later row adds to.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(a: &Element) -> Element {
    let zeros = [word(0); 2 * LIMBS];
    let (sums, crosses) = half_row::<0>(zeros, zeros, a);
    let sums = reduced::<1>(reduced::<0>(sums));
    let (sums, crosses) = half_row::<1>(sums, crosses, a);
    let sums = reduced::<3>(reduced::<2>(sums));
    let (sums, crosses) = half_row::<2>(sums, crosses, a);
    let sums = reduced::<4>(sums);
    let (sums, crosses) = half_row::<3>(sums, crosses, a);
    let ([.., a, b, c, d, e], _) = half_row::<4>(sums, crosses, a);
    carried([a, b, c, d, e])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn row<const I: usize>(mut sums: Sums, a: &Element, b: &Element) -> Sums {
    for j in 0..LIMBS {
        sums[I + j] = low(sums[I + j], a.0[I], b.0[j]);
        sums[I + j + 1] = high(sums[I + j + 1], a.0[I], b.0[j]);
    }
    sums
}

/// Products of limb `I` with the limbs above it go to `crosses`; twice what is there in two columns, and the
/// limb's square, to `sums`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn half_row<const I: usize>(mut sums: Sums, mut crosses: Sums, a: &Element) -> (Sums, Sums) {
    for j in I + 1..LIMBS {
        crosses[I + j] = low(crosses[I + j], a.0[I], a.0[j]);
        crosses[I + j + 1] = high(crosses[I + j + 1], a.0[I], a.0[j]);
    }
    let (even, odd) = (2 * I, 2 * I + 1);
    sums[even] = _mm512_add_epi64(low(sums[even], a.0[I], a.0[I]), _mm512_slli_epi64::<1>(crosses[even]));
    sums[odd] = _mm512_add_epi64(high(sums[odd], a.0[I], a.0[I]), _mm512_slli_epi64::<1>(crosses[odd]));
    (sums, crosses)
}

/// Adds the multiple of the modulus that makes a column's low 52 bits zero, and carries the rest on.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced<const COLUMN: usize>(mut sums: Sums) -> Sums {
    let multiple = low(word(0), sums[COLUMN], word(INVERSE));
    // The next column is what the next step waits for: its three parts are added as a tree.
    let carry = _mm512_srli_epi64::<BITS>(low(sums[COLUMN], multiple, word(MODULUS_LIMBS[0])));
    let next = low(word(0), multiple, word(MODULUS_LIMBS[1]));
    let own = high(sums[COLUMN + 1], multiple, word(MODULUS_LIMBS[0]));
    sums[COLUMN + 1] = _mm512_add_epi64(own, _mm512_add_epi64(next, carry));
    for limb in 1..LIMBS {
        let at = COLUMN + limb + 1;
        sums[at] = high(sums[at], multiple, word(MODULUS_LIMBS[limb]));
        if limb + 1 < LIMBS {
            sums[at] = low(sums[at], multiple, word(MODULUS_LIMBS[limb + 1]));
        }
    }
    sums
}

/// Kept apart so that a full round is a loop of calls, not a hundred kilobytes of code.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fifth_power(x: &Element) -> Element {
    mul(&square(&square(x)), x)
}
