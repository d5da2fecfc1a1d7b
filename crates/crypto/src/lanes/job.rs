//! What is asked of the lanes, the change of form on the way in and out, and numbers in limbs.

use ark_ff::PrimeField;

use super::form::Form;
use crate::poseidon2::Instance;
use crate::poseidon2::rounds::{self, MODULUS, Tables, Vector, power};

/// An instance in the limbs of a vector, with the factors that change the form.
#[derive(Debug)]
pub(super) struct Width<V: Vector, const T: usize> {
    tables: Tables<V, T>,
    inward: [V::Constant; 2],
    outward: [V::Constant; 2],
}

impl<V: Vector, const T: usize> Width<V, T> {
    pub(super) fn new(instance: &Instance<T>) -> Self {
        let radix = u64::from(V::LIMBS * V::BITS);
        let factor = |exponent| V::constant(power(exponent).into_bigint().0);
        Self {
            tables: Tables::new(instance),
            inward: [2 * radix - 256, 2 * radix].map(factor),
            outward: [256, 0].map(factor),
        }
    }
}

/// What is made of the states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Form of the words given.
    pub(super) from: Form,
    /// Form of the words wanted.
    pub(super) to: Form,
    /// Lane 0 plus the first input, instead of the whole state.
    pub(super) compresses: bool,
}

/// Does a job on states given as words: `[element of the state][word]`, each of all lanes. Words that come out
/// are below twice the modulus; a compression's stand in place of the first element.
#[inline(always)]
pub(super) fn run<V: Vector, const T: usize>(
    states: &mut [[V::Words; 4]; T],
    width: &Width<V, T>,
    job: &Job,
) {
    let index = |form| match form {
        Form::Montgomery => 0,
        Form::Canonical => 1,
    };
    let inward = &width.inward[index(job.from)];
    let outward = V::broadcast(&width.outward[index(job.to)]);
    // Loops, not closures: what is not inlined here would be compiled without the vector instructions.
    let inward = V::broadcast(inward);
    let mut state = [inward; T];
    for (element, words) in state.iter_mut().zip(&*states) {
        *element = V::load(words).mul(inward);
    }
    let first = state[0];
    rounds::permute(&mut state, &width.tables);
    if job.compresses {
        let sum = state[0].add(first).reduce();
        states[0] = sum.mul(outward).store();
        return;
    }
    for (words, element) in states.iter_mut().zip(state) {
        *words = element.reduce().mul(outward).store();
    }
}

/// The limbs of an integer, lowest first.
pub(super) const fn split<const LIMBS: usize>(words: [u64; 4], bits: u32) -> [u64; LIMBS] {
    let mut limbs = [0; LIMBS];
    let mut at = 0;
    let mut start = 0;
    while at < LIMBS {
        let (word, offset) = ((start / 64) as usize, start % 64);
        let mut limb = words[word] >> offset;
        if offset + bits > 64 && word < 3 {
            limb |= words[word + 1] << (64 - offset);
        }
        limbs[at] = limb & ((1 << bits) - 1);
        at += 1;
        start += bits;
    }
    limbs
}

/// The limbs of `2^(LIMBS * bits) - r`, `r` the modulus.
pub(super) const fn complement<const LIMBS: usize>(bits: u32) -> [u64; LIMBS] {
    let mut limbs = split::<LIMBS>(MODULUS, bits);
    // All ones less the modulus, plus one: the lowest limb of the modulus is not zero, so nothing is carried.
    let mut at = 0;
    while at < LIMBS {
        limbs[at] = ((1 << bits) - 1) - limbs[at];
        at += 1;
    }
    limbs[0] += 1;
    limbs
}
