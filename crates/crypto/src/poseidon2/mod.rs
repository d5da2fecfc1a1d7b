//! Poseidon2 over the scalar field of BLS12-381: S-box `x^5`, 4 + 4 full rounds, 56 partial rounds (57 at
//! width 8).
//!
//! A permutation begins with the external matrix. The internal matrix is all ones plus a diagonal; at width 8
//! the diagonal is made of small integers, so that a partial round multiplies in its one S-box only. The
//! compressions [`h3`], [`h4`], [`h8`] add the first input back (feed-forward); [`Sponge8`] is for lists.
//!
//! Source: Poseidon2, ePrint 2023/323; constants in `tests/vectors/poseidon2-bls12-381.json`.

mod constants;
pub(crate) mod rounds;
mod single;

use core::any::Any;

use ark_ff::AdditiveGroup;

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
    single::width_2(state);
}

/// The permutation of three lanes.
pub fn permute3(state: &mut [Fr; 3]) {
    single::width_3(state);
}

/// The permutation of four lanes.
pub fn permute4(state: &mut [Fr; 4]) {
    single::width_4(state);
}

/// The permutation of eight lanes, instance `8-small`.
pub fn permute8(state: &mut [Fr; 8]) {
    single::width_8(state);
}

/// The permutation of any width there is.
///
/// # Panics
/// For widths other than 2, 3, 4 and 8.
pub fn permute_any<const T: usize>(state: &mut [Fr; T]) {
    let state: &mut [Fr] = state;
    match state.len() {
        2 => permute2(state.try_into().expect("two lanes")),
        3 => permute3(state.try_into().expect("three lanes")),
        4 => permute4(state.try_into().expect("four lanes")),
        8 => permute8(state.try_into().expect("eight lanes")),
        width => panic!("no Poseidon2 permutation of width {width}"),
    }
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

#[cfg(test)]
mod tests;
