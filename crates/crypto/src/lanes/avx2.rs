//! Four states in AVX2: nine limbs of 29 bits.
//!
//! The instruction multiplies the low 32 bits of two words into one of 64; eighteen products of 29 by 29 bits
//! fit a sum.

use core::arch::x86_64::*;
use std::sync::LazyLock;

use super::job::{self, Job, Width, complement, split};
use crate::poseidon2::instance;
use crate::poseidon2::rounds::{MODULUS, Vector};

/// States in a vector.
pub(super) const LANES: usize = 4;

const LIMBS: usize = 9;
const BITS: u32 = 29;
const SHIFT: i32 = 29;
const MASK: u64 = (1 << BITS) - 1;
const MODULUS_LIMBS: [u64; LIMBS] = {
    let limbs = split(MODULUS, BITS);
    assert!(limbs[0] == 1, "the modulus is 1 modulo 2^29: the multiples of a reduction are negated limbs");
    limbs
};
/// `2^261` less the modulus.
const COMPLEMENT: [u64; LIMBS] = complement(BITS);
/// `2^32` through the modulus' bits from 237 up, rounded down.
const QUOTIENT: u64 = (1 << 32) / ((MODULUS[3] >> 45) + 1);

static WIDTH_3: LazyLock<Width<Element, 3>> = LazyLock::new(|| Width::new(instance()));
static WIDTH_4: LazyLock<Width<Element, 4>> = LazyLock::new(|| Width::new(instance()));
static WIDTH_8: LazyLock<Width<Element, 8>> = LazyLock::new(|| Width::new(instance()));

/// Does a job on four states of width 3.
#[target_feature(enable = "avx2")]
pub(super) fn width_3(states: &mut [[[u64; LANES]; 4]; 3], job: &Job) {
    job::run(states, &WIDTH_3, job);
}

/// Does a job on four states of width 4.
#[target_feature(enable = "avx2")]
pub(super) fn width_4(states: &mut [[[u64; LANES]; 4]; 4], job: &Job) {
    job::run(states, &WIDTH_4, job);
}

/// Does a job on four states of width 8.
#[target_feature(enable = "avx2")]
pub(super) fn width_8(states: &mut [[[u64; LANES]; 4]; 8], job: &Job) {
    job::run(states, &WIDTH_8, job);
}

/// Limbs of four elements. Made by this file's functions only, where the instructions were detected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element([__m256i; LIMBS]);

impl Vector for Element {
    const LIMBS: u32 = 9;
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
        unsafe { shift(self, N) }
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
#[target_feature(enable = "avx2")]
fn word(value: u64) -> __m256i {
    _mm256_set1_epi64x(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn mul_add(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi64(sum, _mm256_mul_epu32(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(constant: &[u64; LIMBS]) -> Element {
    let mut limbs = [word(0); LIMBS];
    for (limb, value) in limbs.iter_mut().zip(constant) {
        *limb = word(*value);
    }
    Element(limbs)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(mut a: Element, b: &Element) -> Element {
    for (limb, other) in a.0.iter_mut().zip(b.0) {
        *limb = _mm256_add_epi64(*limb, other);
    }
    a
}

#[inline]
#[target_feature(enable = "avx2")]
fn sub(mut a: Element, b: &Element) -> Element {
    for (limb, other) in a.0.iter_mut().zip(b.0) {
        *limb = _mm256_sub_epi64(*limb, other);
    }
    a
}

#[inline]
#[target_feature(enable = "avx2")]
fn shift(mut a: Element, bits: u32) -> Element {
    for limb in &mut a.0 {
        *limb = _mm256_sllv_epi64(*limb, word(u64::from(bits)));
    }
    a
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[[u64; LANES]; 4]) -> Element {
    let [a, b, c, d] = words;
    let words = [vector(a), vector(b), vector(c), vector(d)];
    let mut limbs = [word(0); LIMBS];
    for (start, limb) in (0u64..).step_by(29).zip(&mut limbs) {
        let (at, offset) = ((start / 64) as usize, start % 64);
        *limb = _mm256_srlv_epi64(words[at], word(offset));
        if let Some(next) = words.get(at + 1) {
            // A shift by 64 and more gives zero.
            *limb = _mm256_or_si256(*limb, _mm256_sllv_epi64(*next, word(64 - offset)));
        }
        *limb = _mm256_and_si256(*limb, word(MASK));
    }
    Element(limbs)
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(element: &Element) -> [[u64; LANES]; 4] {
    let mut words = [word(0); 4];
    for (start, limb) in (0u64..).step_by(29).zip(element.0) {
        let (at, offset) = ((start / 64) as usize, start % 64);
        words[at] = _mm256_or_si256(words[at], _mm256_sllv_epi64(limb, word(offset)));
        if let Some(next) = words.get_mut(at + 1) {
            *next = _mm256_or_si256(*next, _mm256_srlv_epi64(limb, word(64 - offset)));
        }
    }
    let mut result = [[0u64; LANES]; 4];
    for (word, vector) in result.iter_mut().zip(words) {
        // SAFETY: a word of each lane is 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), vector) };
    }
    result
}

#[inline]
#[target_feature(enable = "avx2")]
fn vector(words: &[u64; LANES]) -> __m256i {
    // SAFETY: the words are 32 bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// Subtracts a multiple of the modulus that the highest limbs give, one or two too few at most.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(element: Element) -> Element {
    let mut limbs = element.0;
    let top = _mm256_add_epi64(limbs[8], _mm256_srli_epi64::<SHIFT>(limbs[7]));
    let quotient = _mm256_mul_epu32(_mm256_srli_epi64::<5>(top), word(QUOTIENT));
    let quotient = _mm256_srli_epi64::<32>(quotient);
    for (limb, factor) in limbs.iter_mut().zip(COMPLEMENT) {
        *limb = mul_add(*limb, quotient, word(factor));
    }
    let mut result = carried(limbs);
    // What was added beyond the multiple is a multiple of 2^261.
    result.0[8] = _mm256_and_si256(result.0[8], word(MASK));
    result
}

/// Carries what exceeds 29 bits from limb to limb; the highest keeps all it has.
#[inline]
#[target_feature(enable = "avx2")]
fn carried(mut limbs: [__m256i; LIMBS]) -> Element {
    for limb in 0..LIMBS - 1 {
        limbs[limb + 1] = _mm256_add_epi64(limbs[limb + 1], _mm256_srli_epi64::<SHIFT>(limbs[limb]));
        limbs[limb] = _mm256_and_si256(limbs[limb], word(MASK));
    }
    Element(limbs)
}

#[inline]
#[target_feature(enable = "avx2")]
fn mul(a: &Element, b: &Element) -> Element {
    let mut sums = [word(0); LIMBS];
    for limb in a.0 {
        for (sum, other) in sums.iter_mut().zip(b.0) {
            *sum = mul_add(*sum, limb, other);
        }
        sums = reduced_by_limb(sums);
    }
    carried(sums)
}

/// Adds the multiple of the modulus that makes the lowest limb zero, and drops that limb.
#[inline]
#[target_feature(enable = "avx2")]
fn reduced_by_limb(sums: [__m256i; LIMBS]) -> [__m256i; LIMBS] {
    let multiple = _mm256_and_si256(_mm256_sub_epi64(word(0), sums[0]), word(MASK));
    let carry = _mm256_srli_epi64::<SHIFT>(_mm256_add_epi64(sums[0], multiple));
    let mut next = [word(0); LIMBS];
    for limb in 1..LIMBS {
        next[limb - 1] = mul_add(sums[limb], multiple, word(MODULUS_LIMBS[limb]));
    }
    next[0] = _mm256_add_epi64(next[0], carry);
    next
}

/// Kept apart so that a full round is a loop of calls, not a hundred kilobytes of code.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn fifth_power(x: &Element) -> Element {
    let square = mul(x, x);
    mul(&mul(&square, &square), x)
}
