//! One state in the machine's own words: what [`super::permute8`] and its like run on.
//!
//! Elements are four words in Montgomery's form, as [`Fr`] keeps them, with a fifth for sums that are not yet
//! reduced: the matrices add elements dozens of times, and reducing after each addition would cost more than
//! the S-boxes.

use std::sync::LazyLock;

use ark_ff::BigInt;

use super::constants::{WIDTH_2, WIDTH_3, WIDTH_4, WIDTH_8};
use super::rounds::MODULUS;
use super::rounds::{self, Tables, Vector};
use crate::Fr;

/// `2^64` through the modulus' bits from 224 up, rounded down: a quotient by it is at most one too low.
const QUOTIENT: u64 = u64::MAX / ((MODULUS[3] >> 32) + 1);

/// `-1 / r` modulo `2^64`: the modulus is `1 - 2^32` there.
const INVERSE: u64 = {
    let inverse = (1u64 << 32).wrapping_add(1).wrapping_neg();
    assert!(MODULUS[0].wrapping_mul(inverse) == u64::MAX, "an inverse of the modulus");
    inverse
};

static TABLES_2: LazyLock<Tables<Element, 2>> = LazyLock::new(|| Tables::new(&WIDTH_2));
static TABLES_3: LazyLock<Tables<Element, 3>> = LazyLock::new(|| Tables::new(&WIDTH_3));
static TABLES_4: LazyLock<Tables<Element, 4>> = LazyLock::new(|| Tables::new(&WIDTH_4));
static TABLES_8: LazyLock<Tables<Element, 8>> = LazyLock::new(|| Tables::new(&WIDTH_8));

pub(super) fn width_2(state: &mut [Fr; 2]) {
    permute(state, &TABLES_2);
}

pub(super) fn width_3(state: &mut [Fr; 3]) {
    permute(state, &TABLES_3);
}

pub(super) fn width_4(state: &mut [Fr; 4]) {
    permute(state, &TABLES_4);
}

pub(super) fn width_8(state: &mut [Fr; 8]) {
    permute(state, &TABLES_8);
}

#[inline(always)]
fn permute<const T: usize>(state: &mut [Fr; T], tables: &Tables<Element, T>) {
    let mut elements = state.map(|element| Element::load(&element.0.0));
    rounds::permute(&mut elements, tables);
    *state = elements.map(|element| Fr::new_unchecked(BigInt(element.reduce().store())));
}

/// An integer congruent to an element, its words lowest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element([u64; 5]);

impl Vector for Element {
    const LIMBS: u32 = 4;
    const BITS: u32 = 64;
    const PHASES: usize = 4;
    const WEIGHT_END: u64 = 1 << 24;
    type Constant = [u64; 5];
    type Words = u64;

    fn constant([a, b, c, d]: [u64; 4]) -> [u64; 5] {
        [a, b, c, d, 0]
    }

    fn heavier(constant: [u64; 5], weight: u64) -> [u64; 5] {
        let mut sum = constant;
        let mut carry = 0;
        for word in &mut sum[..4] {
            (*word, carry) = u64::MAX.carrying_mul_add(weight, *word, carry);
        }
        sum[4] += carry;
        sum
    }

    #[inline(always)]
    fn broadcast(constant: &[u64; 5]) -> Self {
        Self(*constant)
    }

    #[inline(always)]
    fn load(words: &[u64; 4]) -> Self {
        let [a, b, c, d] = *words;
        Self([a, b, c, d, 0])
    }

    #[inline(always)]
    fn store(self) -> [u64; 4] {
        let [a, b, c, d, _] = self.0;
        [a, b, c, d]
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut words = [0; 5];
        let mut carry = false;
        for (word, (a, b)) in words.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            (*word, carry) = a.carrying_add(b, carry);
        }
        Self(words)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut words = [0; 5];
        let mut borrow = false;
        for (word, (a, b)) in words.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            (*word, borrow) = a.borrowing_sub(b, borrow);
        }
        Self(words)
    }

    #[inline(always)]
    fn shift<const N: u32>(self) -> Self {
        let [a, b, c, d, e] = self.0;
        let joined = |low: u64, high: u64| high << N | low >> (64 - N);
        Self([a << N, joined(a, b), joined(b, c), joined(c, d), joined(d, e)])
    }

    /// The canonical words: below the modulus.
    #[inline(always)]
    fn reduce(self) -> Self {
        let [.., d, e] = self.0;
        let (_, quotient) = (e << 32 | d >> 32).carrying_mul(QUOTIENT, 0);
        let mut words = [0; 4];
        let (mut carry, mut borrow) = (0, false);
        for (word, (modulus, value)) in words.iter_mut().zip(MODULUS.into_iter().zip(self.0)) {
            let low;
            (low, carry) = modulus.carrying_mul(quotient, carry);
            (*word, borrow) = value.borrowing_sub(low, borrow);
        }
        // Less than twice the modulus is left, so the fifth word has been used up.
        Self::load(&below_modulus(words))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::load(&mul(&other.store(), &self.store()))
    }

    #[inline(always)]
    fn fifth_power(self) -> Self {
        let x = self.store();
        let square = below_modulus(mul(&x, &x));
        let fourth = mul(&square, &square);
        Self::load(&mul(&x, &fourth))
    }
}

/// The same below the modulus, of words below twice the modulus.
#[inline(always)]
fn below_modulus(words: [u64; 4]) -> [u64; 4] {
    let mut less = [0; 4];
    let mut borrow = false;
    for (word, (value, modulus)) in less.iter_mut().zip(words.into_iter().zip(MODULUS)) {
        (*word, borrow) = value.borrowing_sub(modulus, borrow);
    }
    // Which of them is a coin's toss: a branch would be mispredicted, so both are taken and one masked out.
    let keep = u64::from(borrow).wrapping_neg();
    for (word, value) in less.iter_mut().zip(words) {
        *word ^= (*word ^ value) & keep;
    }
    less
}

/// `a * b / 2^256` or that plus the modulus; `a` must be below the modulus, `b` below `2^256`.
///
/// The running sum stays below `a` plus the modulus, which is below `2^256`: no word for a carry is needed
/// (Acar's CIOS method without the last carry).
#[inline(always)]
fn mul(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut sum = [0u64; 4];
    for digit in b {
        let (low, mut carry) = a[0].carrying_mul_add(*digit, sum[0], 0);
        let multiple = low.wrapping_mul(INVERSE);
        let (_, mut carry_multiple) = MODULUS[0].carrying_mul_add(multiple, low, 0);
        for word in 1..4 {
            let low;
            (low, carry) = a[word].carrying_mul_add(*digit, sum[word], carry);
            (sum[word - 1], carry_multiple) = MODULUS[word].carrying_mul_add(multiple, low, carry_multiple);
        }
        sum[3] = carry.wrapping_add(carry_multiple);
    }
    sum
}

#[cfg(test)]
mod tests {
    use ark_ff::{AdditiveGroup, Field};

    use super::*;

    #[test]
    fn arithmetic_equals_the_fields() {
        let mut elements = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(5u64).inverse().unwrap()];
        for seed in 0..50u64 {
            elements.push(crate::field::from_hash("hpips/test/single/v1", &[&seed.to_le_bytes()]));
        }
        let fr = |element: Element| Fr::new_unchecked(BigInt(element.reduce().store()));
        for a in &elements {
            for b in &elements {
                let (x, y) = (Element::load(&a.0.0), Element::load(&b.0.0));
                assert_eq!(fr(x.mul(y)), *a * b);
                assert_eq!(fr(x.add(y.shift::<3>())), b.double().double().double() + a);
                assert_eq!(fr(x.shift::<23>().add(y.shift::<22>())), Fr::from(1u64 << 22) * (a.double() + b));
            }
            assert_eq!(fr(Element::load(&a.0.0).fifth_power()), a.pow([5u64]));
            // As large as words get.
            let largest =
                Element([u64::MAX; 4].into_iter().chain([0]).collect::<Vec<_>>().try_into().unwrap());
            let expected = Fr::new_unchecked(BigInt(largest.reduce().store())) * a;
            assert_eq!(fr(largest.mul(Element::load(&a.0.0))), expected);
        }
    }
}
