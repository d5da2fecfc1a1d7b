//! The rounds, over vectors of elements with lazy reductions.
//!
//! An element is an integer congruent to `x * R` modulo the field's modulus, `R` a power of two above it, in
//! limbs that may exceed their width. Its *weight* bounds that: no limb is above `weight` times a full one.
//! Multiplying needs weight 1, adding adds weights, and [`Vector::reduce`] brings anything below
//! [`Vector::WEIGHT_END`] back to weight 1. Only what enters an S-box has to be reduced at once; in the partial
//! rounds that is one lane of the state, and the others are reduced every [`Vector::PHASES`] rounds.

use ark_ff::{BigInt, Field, PrimeField};

use super::{FULL_ROUNDS_HALF, Instance};
use crate::Fr;

/// One element of each of several states.
///
/// Implementations use instructions that not every machine has: values are only made where those were detected.
pub(crate) trait Vector: Copy {
    /// Number of limbs, and their width.
    const LIMBS: u32;
    /// Bits of a limb; `R = 2^(LIMBS * BITS)`.
    const BITS: u32;
    /// Partial rounds between two reductions of the state's lanes but the first.
    const PHASES: usize;
    /// Weights below this are reduced correctly.
    const WEIGHT_END: u64;
    /// One element for all lanes, in limbs of weight 1.
    type Constant: Copy + Send + Sync + 'static;
    /// One 64-bit word of each lane.
    type Words: Copy;

    /// Splits an integer into limbs.
    fn constant(words: [u64; 4]) -> Self::Constant;
    /// Adds a full limb times `weight` to every limb.
    fn heavier(constant: Self::Constant, weight: u64) -> Self::Constant;
    /// The constant in every lane.
    fn broadcast(constant: &Self::Constant) -> Self;
    /// Splits the words of every lane into limbs.
    fn load(words: &[Self::Words; 4]) -> Self;
    /// Joins limbs of weight 1 into words; the integer must be below 2^256.
    fn store(self) -> [Self::Words; 4];
    /// The sum, limb by limb.
    fn add(self, other: Self) -> Self;
    /// The difference, limb by limb; no limb of `other` may be above that of `self`.
    fn sub(self, other: Self) -> Self;
    /// `2^N` times the element, limb by limb.
    fn shift<const N: u32>(self) -> Self;
    /// Congruent, below three times the modulus, weight 1. The weight must be below [`WEIGHT_END`].
    fn reduce(self) -> Self;
    /// `self * other / R`, weight 1, below twice the modulus. Both must be of weight 1, `other` below the
    /// modulus.
    fn mul(self, other: Self) -> Self;
    /// The fifth power of what [`Self::reduce`] gave, weight 1.
    fn fifth_power(self) -> Self;
}

/// The numbers of an instance, as vectors need them.
#[derive(Debug)]
pub(crate) struct Tables<V: Vector, const T: usize> {
    first: [[V::Constant; T]; FULL_ROUNDS_HALF],
    partial: Vec<V::Constant>,
    last: [[V::Constant; T]; FULL_ROUNDS_HALF],
    diagonal: [V::Constant; T],
    /// Of each phase: what the three negative multiples of width 8 are taken from.
    biases: Vec<[V::Constant; 3]>,
}

impl<V: Vector, const T: usize> Tables<V, T> {
    pub(crate) fn new(instance: &Instance<T>) -> Self {
        let radix = power(u64::from(V::LIMBS * V::BITS));
        let scaled = |element: &Fr| V::constant((radix * element).into_bigint().0);
        let full = |rounds: &[[Fr; T]; FULL_ROUNDS_HALF]| {
            core::array::from_fn(|round| core::array::from_fn(|lane| scaled(&rounds[round][lane])))
        };
        let mut weights = [1; 8];
        let mut biases = Vec::with_capacity(V::PHASES);
        for _ in 0..V::PHASES {
            let (next, multiples) = weigh(weights);
            assert!(next.iter().all(|weight| *weight + 1 < V::WEIGHT_END), "limbs have room for all phases");
            weights = next;
            biases.push(multiples.map(bias::<V>));
        }
        Self {
            first: full(instance.first()),
            partial: instance.partial().iter().map(scaled).collect(),
            last: full(instance.last()),
            diagonal: instance.diagonal().map(|element| scaled(&element)),
            biases,
        }
    }
}

/// A power of two.
pub(crate) fn power(exponent: u64) -> Fr {
    Fr::from(2u64).pow([exponent])
}

/// What one internal layer of width 8 makes of the weights of a state; and the weights that are subtracted.
fn weigh(weights: [u64; 8]) -> ([u64; 8], [u64; 3]) {
    let [_, b, c, d, e, f, g, h] = weights;
    let sum: u64 = weights.iter().sum();
    let subtracted = [e, 2 * f, 8 * h];
    // A bias weighs one more than what is subtracted from it.
    let [e, f, h] = subtracted.map(|weight| sum + weight + 1);
    // Lane 0 passes the S-box next, whatever it weighs.
    let next = [1, sum + 2 * b, sum + 3 * c, sum + 4 * d, e, f, sum + 6 * g, h];
    (next, subtracted)
}

/// A multiple of the modulus whose every limb is at least `weight` full ones.
fn bias<V: Vector>(weight: u64) -> V::Constant {
    let limb = power(u64::from(V::BITS));
    let ones = (0..V::LIMBS).fold(Fr::from(0u64), |sum, _| sum * limb + Fr::from(1u64));
    let full = (limb - Fr::from(1u64)) * Fr::from(weight) * ones;
    V::heavier(V::constant((-full).into_bigint().0), weight)
}

#[inline(always)]
pub(crate) fn permute<V: Vector, const T: usize>(state: &mut [V; T], tables: &Tables<V, T>) {
    external(state);
    full_rounds(state, &tables.first);
    for element in &mut state[1..] {
        *element = element.reduce();
    }
    for (round, constant) in tables.partial.iter().enumerate() {
        state[0] = state[0].add(V::broadcast(constant)).reduce().fifth_power();
        let phase = round % V::PHASES;
        internal(state, tables, phase);
        if phase + 1 == V::PHASES || T == 4 {
            for element in &mut state[1..] {
                *element = element.reduce();
            }
        }
    }
    full_rounds(state, &tables.last);
}

#[inline(always)]
fn full_rounds<V: Vector, const T: usize>(state: &mut [V; T], rounds: &[[V::Constant; T]; FULL_ROUNDS_HALF]) {
    for constants in rounds {
        for (element, constant) in state.iter_mut().zip(constants) {
            *element = element.add(V::broadcast(constant)).reduce().fifth_power();
        }
        external(state);
    }
}

/// The external matrix; weights grow at most 48-fold.
#[inline(always)]
fn external<V: Vector, const T: usize>(state: &mut [V; T]) {
    match T {
        4 => external_four(state),
        8 => {
            let (low, high) = state.split_at_mut(4);
            external_four(low);
            external_four(high);
            for (a, b) in low.iter_mut().zip(high) {
                let sum = a.add(*b);
                *a = a.add(sum);
                *b = b.add(sum);
            }
        }
        _ => {
            let sum = sum_of(state);
            for element in state {
                *element = element.add(sum);
            }
        }
    }
}

/// The sum of a state; the first element, which comes late from its S-box, is added last.
#[inline(always)]
fn sum_of<V: Vector>(state: &[V]) -> V {
    let mut sum = state[1];
    for element in &state[2..] {
        sum = sum.add(*element);
    }
    sum.add(state[0])
}

#[inline(always)]
fn external_four<V: Vector>(lanes: &mut [V]) {
    let (a, b, c, d) = (lanes[0], lanes[1], lanes[2], lanes[3]);
    let t0 = a.add(b);
    let t1 = c.add(d);
    let t2 = b.shift::<1>().add(t1);
    let t3 = d.shift::<1>().add(t0);
    let t4 = t1.shift::<2>().add(t3);
    let t5 = t0.shift::<2>().add(t2);
    lanes.copy_from_slice(&[t3.add(t5), t5, t2.add(t4), t4]);
}

/// The internal matrix.
#[inline(always)]
fn internal<V: Vector, const T: usize>(state: &mut [V; T], tables: &Tables<V, T>, phase: usize) {
    let sum = sum_of(state);
    match T {
        8 => {
            let [e, f, h] = &tables.biases[phase];
            let (e, f, h) = (V::broadcast(e), V::broadcast(f), V::broadcast(h));
            state[0] = sum.add(state[0]);
            state[1] = sum.add(state[1].shift::<1>());
            state[2] = sum.add(state[2].shift::<1>()).add(state[2]);
            state[3] = sum.add(state[3].shift::<2>());
            state[4] = sum.add(e).sub(state[4]);
            state[5] = sum.add(f).sub(state[5].shift::<1>());
            state[6] = sum.add(state[6].shift::<1>()).add(state[6].shift::<2>());
            state[7] = sum.add(h).sub(state[7].shift::<3>());
        }
        4 => {
            for (element, factor) in state.iter_mut().zip(&tables.diagonal) {
                *element = element.mul(V::broadcast(factor)).add(sum);
            }
        }
        3 => {
            state[0] = sum.add(state[0]);
            state[1] = sum.add(state[1]);
            state[2] = sum.add(state[2].shift::<1>());
        }
        _ => {
            state[0] = sum.add(state[0]);
            state[1] = sum.add(state[1].shift::<1>());
        }
    }
}

/// The modulus in words.
pub(crate) const MODULUS: [u64; 4] = {
    let BigInt(words) = <Fr as PrimeField>::MODULUS;
    words
};
