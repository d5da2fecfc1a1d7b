//! Poseidon2 over the scalar field of BLS12-381: S-box `x^5`, 4 + 4 full rounds, 56 partial rounds (57 at
//! width 8).
//!
//! A permutation begins with the external matrix. The internal matrix is all ones plus a diagonal; at width 8
//! the diagonal is made of small integers, so that a partial round multiplies in its one S-box only. The
//! compressions [`h3`], [`h4`], [`h8`] add the first input back (feed-forward); [`Sponge8`] is for lists.
//!
//! Source: Poseidon2, ePrint 2023/323; constants in `tests/vectors/poseidon2-bls12-381.json`.

mod constants;

use core::any::Any;

use ark_ff::{AdditiveGroup, Field};

use crate::Fr;

/// Full rounds before the partial ones, and as many after.
pub const FULL_ROUNDS_HALF: usize = 4;

/// The numbers that make a permutation of width `T`.
#[derive(Debug)]
pub struct Instance<const T: usize> {
    first: [[Fr; T]; FULL_ROUNDS_HALF],
    partial: &'static [Fr],
    last: [[Fr; T]; FULL_ROUNDS_HALF],
    diagonal: Diagonal<T>,
}

#[derive(Debug)]
enum Diagonal<const T: usize> {
    Small([i8; T]),
    Field([Fr; T]),
}

impl<const T: usize> Instance<T> {
    /// Constants of the full rounds before the partial ones.
    pub fn first(&self) -> &[[Fr; T]; FULL_ROUNDS_HALF] {
        &self.first
    }

    /// Constants of the partial rounds, each for lane 0.
    pub fn partial(&self) -> &[Fr] {
        self.partial
    }

    /// Constants of the full rounds after the partial ones.
    pub fn last(&self) -> &[[Fr; T]; FULL_ROUNDS_HALF] {
        &self.last
    }

    /// What the internal matrix has over all ones on its diagonal: lane `i` becomes `sum + diagonal[i] * lane`.
    pub fn diagonal(&self) -> [Fr; T] {
        match &self.diagonal {
            Diagonal::Small(small) => small.map(|value| Fr::from(i64::from(value))),
            Diagonal::Field(diagonal) => *diagonal,
        }
    }
}

/// The instance of a width, for whoever states the permutation in another form.
///
/// # Panics
/// For widths other than 2, 3, 4 and 8.
pub fn instance<const T: usize>() -> &'static Instance<T> {
    let instance: &'static dyn Any = match T {
        2 => &constants::WIDTH_2,
        3 => &constants::WIDTH_3,
        4 => &constants::WIDTH_4,
        8 => &constants::WIDTH_8,
        width => panic!("no Poseidon2 instance of width {width}"),
    };
    instance.downcast_ref().expect("the width was matched")
}

/// The permutation of two lanes.
pub fn permute2(state: &mut [Fr; 2]) {
    permute(state, &constants::WIDTH_2, external_sum, |state| {
        let sum = state[0] + state[1];
        state[0] += sum;
        state[1] = state[1].double() + sum;
    });
}

/// The permutation of three lanes.
pub fn permute3(state: &mut [Fr; 3]) {
    permute(state, &constants::WIDTH_3, external_sum, |state| {
        let sum = state[0] + state[1] + state[2];
        state[0] += sum;
        state[1] += sum;
        state[2] = state[2].double() + sum;
    });
}

/// The permutation of four lanes.
pub fn permute4(state: &mut [Fr; 4]) {
    let Diagonal::Field(diagonal) = &constants::WIDTH_4.diagonal else {
        unreachable!("width 4 has field elements on its diagonal")
    };
    permute(state, &constants::WIDTH_4, external_four, |state| {
        let sum = state[0] + state[1] + state[2] + state[3];
        for (lane, factor) in state.iter_mut().zip(diagonal) {
            *lane *= factor;
            *lane += sum;
        }
    });
}

/// The permutation of eight lanes, instance `8-small`.
pub fn permute8(state: &mut [Fr; 8]) {
    permute(state, &constants::WIDTH_8, external_eight, internal_eight);
}

/// Compression of three elements: lane 0 of the permutation plus the first input.
pub fn h3(a: Fr, b: Fr, c: Fr) -> Fr {
    let mut state = [a, b, c];
    permute3(&mut state);
    state[0] + a
}

/// Compression of four elements: lane 0 of the permutation plus the first input.
pub fn h4(inputs: &[Fr; 4]) -> Fr {
    let mut state = *inputs;
    permute4(&mut state);
    state[0] + inputs[0]
}

/// Compression of eight elements: lane 0 of the permutation plus the first input.
pub fn h8(inputs: &[Fr; 8]) -> Fr {
    let mut state = *inputs;
    permute8(&mut state);
    state[0] + inputs[0]
}

/// Hash of a list whose length both sides know: rate 7, capacity in lane 0.
///
/// Zeros at the end up to the rate are not told apart; a statement of open length absorbs its length first.
pub fn sponge8(inputs: &[Fr]) -> Fr {
    let mut sponge = Sponge8::new();
    sponge.absorb_all(inputs);
    sponge.finish()
}

/// [`sponge8`] in steps: elements are added to lanes 1 to 7, the state is permuted after every seventh and
/// after an incomplete last group, and lane 1 is the result. An empty list is one permutation of zeros.
#[derive(Clone, Debug)]
pub struct Sponge8 {
    state: [Fr; 8],
    filled: usize,
    absorbed_any: bool,
}

impl Default for Sponge8 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sponge8 {
    /// Elements absorbed by one permutation.
    pub const RATE: usize = 7;

    /// An empty sponge.
    pub fn new() -> Self {
        Self { state: [Fr::ZERO; 8], filled: 0, absorbed_any: false }
    }

    /// Absorbs one element.
    pub fn absorb(&mut self, element: Fr) {
        self.state[1 + self.filled] += element;
        self.filled += 1;
        self.absorbed_any = true;
        if self.filled == Self::RATE {
            permute8(&mut self.state);
            self.filled = 0;
        }
    }

    /// Absorbs elements in order.
    pub fn absorb_all(&mut self, elements: &[Fr]) {
        for element in elements {
            self.absorb(*element);
        }
    }

    /// The hash of everything absorbed.
    pub fn finish(mut self) -> Fr {
        if self.filled > 0 || !self.absorbed_any {
            permute8(&mut self.state);
        }
        self.state[1]
    }
}

#[inline(always)]
fn permute<const T: usize>(
    state: &mut [Fr; T],
    instance: &Instance<T>,
    external: impl Fn(&mut [Fr; T]),
    internal: impl Fn(&mut [Fr; T]),
) {
    let full = |state: &mut [Fr; T], constants: &[Fr; T]| {
        for (lane, constant) in state.iter_mut().zip(constants) {
            *lane += constant;
            *lane = fifth_power(lane);
        }
        external(state);
    };
    external(state);
    for constants in &instance.first {
        full(state, constants);
    }
    for constant in instance.partial {
        state[0] += constant;
        state[0] = fifth_power(&state[0]);
        internal(state);
    }
    for constants in &instance.last {
        full(state, constants);
    }
}

#[inline(always)]
fn fifth_power(x: &Fr) -> Fr {
    x.square().square() * x
}

/// External matrix of widths 2 and 3: all ones plus the identity.
#[inline(always)]
fn external_sum<const T: usize>(state: &mut [Fr; T]) {
    let sum: Fr = state.iter().sum();
    for lane in state {
        *lane += sum;
    }
}

/// The matrix M4 of the paper: rows (5 7 1 3), (4 6 1 1), (1 3 5 7), (1 1 4 6).
#[inline(always)]
fn external_four(lanes: &mut [Fr; 4]) {
    let [a, b, c, d] = *lanes;
    let t0 = a + b;
    let t1 = c + d;
    let t2 = b.double() + t1;
    let t3 = d.double() + t0;
    let t4 = t1.double().double() + t3;
    let t5 = t0.double().double() + t2;
    *lanes = [t3 + t5, t5, t2 + t4, t4];
}

/// External matrix of width 8: M4 on both halves, then each half plus the sum of both.
#[inline(always)]
fn external_eight(state: &mut [Fr; 8]) {
    let (low, high) = state.split_at_mut(4);
    let low: &mut [Fr; 4] = low.try_into().expect("half of eight");
    let high: &mut [Fr; 4] = high.try_into().expect("half of eight");
    external_four(low);
    external_four(high);
    for (a, b) in low.iter_mut().zip(high) {
        let sum = *a + *b;
        *a += sum;
        *b += sum;
    }
}

/// Internal matrix of width 8 by additions only: all ones plus the diagonal (1, 2, 3, 4, -1, -2, 6, -8).
#[inline(always)]
fn internal_eight(state: &mut [Fr; 8]) {
    let [a, b, c, d, e, f, g, h] = *state;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    *state = [
        sum + a,
        sum + b.double(),
        sum + c.double() + c,
        sum + d.double().double(),
        sum - e,
        sum - f.double(),
        sum + (g.double() + g).double(),
        sum - h.double().double().double(),
    ];
}

#[cfg(test)]
mod tests;
