//! Poseidon2, the twin of `crypto::poseidon2`.
//!
//! Only S-boxes cost constraints, three each; matrices and constants are linear. A state after the last full
//! round is a combination of at most `T` fresh variables, so chaining permutations does not let linear
//! combinations grow; within the partial rounds they reach about 65 terms at width 8.

use ark_ff::{AdditiveGroup, Field};
use hpips_crypto::Fr;
use hpips_crypto::poseidon2::{Instance, Sponge8, instance};

use crate::builder::Builder;

const RULE: &str = "Poseidon2 is computed correctly";

/// The permutation of width 3, 4 or 8: 240, 264 or 363 constraints, each one product of an S-box
/// `x -> x^2 -> x^4 -> x^5`.
///
/// # Panics
/// For other widths.
pub fn permute<B: Builder, const T: usize>(builder: &mut B, state: &mut [B::Number; T]) {
    let instance: &Instance<T> = instance();
    let diagonal = instance.diagonal();
    external(builder, state);
    for constants in instance.first() {
        full(builder, state, constants);
    }
    for constant in instance.partial() {
        let input = builder.add_constant(&state[0], *constant);
        state[0] = fifth_power(builder, &input);
        let sum = sum(builder, state);
        for (lane, factor) in state.iter_mut().zip(&diagonal) {
            *lane = builder.add_scaled(&sum, lane, *factor);
        }
    }
    for constants in instance.last() {
        full(builder, state, constants);
    }
}

/// `H_T`: lane 0 of the permutation plus the first input. As many constraints as the permutation.
///
/// # Panics
/// For widths other than 3, 4 and 8.
pub fn compress<B: Builder, const T: usize>(builder: &mut B, inputs: &[B::Number; T]) -> B::Number {
    let mut state = inputs.clone();
    permute(builder, &mut state);
    builder.add(&state[0], &inputs[0])
}

/// `sponge8`: 363 constraints for every seven elements begun, and for an empty list.
///
/// The length is the circuit's, so it needs no padding.
pub fn sponge<B: Builder>(builder: &mut B, elements: &[B::Number]) -> B::Number {
    let zero = builder.constant(Fr::ZERO);
    let mut state: [B::Number; 8] = core::array::from_fn(|_| zero.clone());
    if elements.is_empty() {
        permute(builder, &mut state);
    }
    for group in elements.chunks(Sponge8::RATE) {
        for (lane, element) in state[1..].iter_mut().zip(group) {
            *lane = builder.add(lane, element);
        }
        permute(builder, &mut state);
    }
    let [_, result, ..] = state;
    result
}

fn full<B: Builder, const T: usize>(builder: &mut B, state: &mut [B::Number; T], constants: &[Fr; T]) {
    for (lane, constant) in state.iter_mut().zip(constants) {
        let input = builder.add_constant(lane, *constant);
        *lane = fifth_power(builder, &input);
    }
    external(builder, state);
}

fn fifth_power<B: Builder>(builder: &mut B, x: &B::Number) -> B::Number {
    let square = builder.mul(RULE, x, x);
    let fourth = builder.mul(RULE, &square, &square);
    builder.mul(RULE, &fourth, x)
}

fn sum<B: Builder>(builder: &B, lanes: &[B::Number]) -> B::Number {
    lanes[1..].iter().fold(lanes[0].clone(), |sum, lane| builder.add(&sum, lane))
}

fn external<B: Builder, const T: usize>(builder: &B, state: &mut [B::Number; T]) {
    if T <= 3 {
        let sum = sum(builder, state);
        for lane in state.iter_mut() {
            *lane = builder.add(lane, &sum);
        }
        return;
    }
    for four in state.chunks_exact_mut(4) {
        external_four(builder, four);
    }
    if T > 4 {
        let column = |i: usize| {
            let lanes: Vec<B::Number> = (i..T).step_by(4).map(|j| state[j].clone()).collect();
            sum(builder, &lanes)
        };
        let columns: [B::Number; 4] = core::array::from_fn(column);
        for (i, lane) in state.iter_mut().enumerate() {
            *lane = builder.add(lane, &columns[i % 4]);
        }
    }
}

/// Rows (5 7 1 3), (4 6 1 1), (1 3 5 7), (1 1 4 6).
fn external_four<B: Builder>(builder: &B, lanes: &mut [B::Number]) {
    let [a, b, c, d] = lanes else { unreachable!("groups of four lanes") };
    let (two, four) = (Fr::ONE.double(), Fr::ONE.double().double());
    let t0 = builder.add(a, b);
    let t1 = builder.add(c, d);
    let t2 = builder.add_scaled(&t1, b, two);
    let t3 = builder.add_scaled(&t0, d, two);
    let t4 = builder.add_scaled(&t3, &t1, four);
    let t5 = builder.add_scaled(&t2, &t0, four);
    let (first, third) = (builder.add(&t3, &t5), builder.add(&t2, &t4));
    (*a, *b, *c, *d) = (first, t5, third, t4);
}
