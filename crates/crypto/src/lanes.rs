//! Many independent Poseidon2 permutations at once.
//!
//! A vector holds one element of several states, a state a lane; every lane is computed alike, so the result is
//! that of [`crate::poseidon2`] bit for bit. Chosen at run time, and tested equal:
//!
//! - AVX-512 with IFMA: eight states, five limbs of 52 bits;
//! - AVX2: four states, nine limbs of 29 bits;
//! - portable: one state after the other.
//!
//! Elements go in and out as field elements or as canonical integers ([`Canonical`]), whichever the caller has:
//! the change of form costs one multiplication in the lanes. Slices of any length are taken; the last group is
//! filled up with zeros, so that few states cost as much as a whole group.
//!
//! This file and those below it are the only ones of the crate with unsafe code: the intrinsics.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod form;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod job;

#[cfg(target_arch = "x86_64")]
use core::any::Any;

#[cfg(target_arch = "x86_64")]
use form::Form;
#[cfg(target_arch = "x86_64")]
use job::Job;

use crate::Fr;
use crate::poseidon2;

pub use form::{Canonical, Word};

/// A set of instructions that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// AVX-512 F with IFMA.
    Ifma,
    /// AVX2.
    Avx2,
    /// Every machine.
    Portable,
}

impl Kernel {
    /// All that this machine can run, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        [Self::Ifma, Self::Avx2, Self::Portable].into_iter().filter(|kernel| kernel.is_available())
    }

    /// The fastest that this machine can run.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// States computed at once.
    pub const fn lanes(self) -> usize {
        match self {
            Self::Ifma => 8,
            Self::Avx2 => 4,
            Self::Portable => 1,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Ifma => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma"),
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// Inputs from which on a whole group of lanes is cheaper than one after the other. Picked by measurement.
    const fn group_min(self) -> usize {
        match self {
            Self::Ifma => 2,
            Self::Avx2 => 3,
            Self::Portable => usize::MAX,
        }
    }

    /// The permutation of every state, in place.
    ///
    /// # Panics
    /// For widths other than 3, 4 and 8, and when the machine lacks the instructions.
    pub fn permute<const T: usize>(self, states: &mut [[Fr; T]]) {
        assert!(self.is_available(), "instructions that this machine has");
        for group in states.chunks_mut(self.lanes()) {
            if group.len() < self.group_min() {
                group.iter_mut().for_each(poseidon2::permute_any);
                continue;
            }
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Ifma => permute_group::<T, { ifma::LANES }>(group, run_ifma),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => permute_group::<T, { avx2::LANES }>(group, run_avx2),
                _ => unreachable!("a group of one state is not worth lanes"),
            }
        }
    }

    /// The compression of every input: lane 0 of the permutation plus the first element.
    ///
    /// # Panics
    /// As [`Self::permute`]; when there are not as many outputs as inputs.
    pub fn compress<const T: usize, I: Word, O: Word>(self, inputs: &[[I; T]], outputs: &mut [O]) {
        assert!(self.is_available(), "instructions that this machine has");
        assert_eq!(inputs.len(), outputs.len(), "an output for each input");
        for (inputs, outputs) in inputs.chunks(self.lanes()).zip(outputs.chunks_mut(self.lanes())) {
            if inputs.len() < self.group_min() {
                for (input, output) in inputs.iter().zip(outputs) {
                    *output = compress_one(input);
                }
                continue;
            }
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Ifma => compress_group::<T, { ifma::LANES }, I, O>(inputs, outputs, run_ifma),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => compress_group::<T, { avx2::LANES }, I, O>(inputs, outputs, run_avx2),
                _ => unreachable!("a group of one state is not worth lanes"),
            }
        }
    }
}

/// Compressions by the fastest kernel of this machine; see [`Kernel::compress`].
///
/// # Panics
/// For widths other than 3, 4 and 8; when there are not as many outputs as inputs.
pub fn compress<const T: usize, I: Word, O: Word>(inputs: &[[I; T]], outputs: &mut [O]) {
    Kernel::best().compress(inputs, outputs);
}

fn compress_one<const T: usize, I: Word, O: Word>(input: &[I; T]) -> O {
    let mut state: [Fr; T] = input.map(Into::into);
    let first = state[0];
    poseidon2::permute_any(&mut state);
    O::from(state[0] + first)
}

/// The words of a group of states: `[element][word][lane]`.
#[cfg(target_arch = "x86_64")]
type Planes<const T: usize, const LANES: usize> = [[[u64; LANES]; 4]; T];

#[cfg(target_arch = "x86_64")]
fn planes<const T: usize, const LANES: usize, I: Word>(states: &[[I; T]]) -> Planes<T, LANES> {
    let mut planes = [[[0; LANES]; 4]; T];
    for (lane, state) in states.iter().enumerate() {
        for (plane, element) in planes.iter_mut().zip(state) {
            for (word, value) in plane.iter_mut().zip(element.words()) {
                word[lane] = value;
            }
        }
    }
    planes
}

#[cfg(target_arch = "x86_64")]
fn element<const LANES: usize, O: Word>(plane: &[[u64; LANES]; 4], lane: usize) -> O {
    O::of_words(core::array::from_fn(|word| plane[word][lane]))
}

#[cfg(target_arch = "x86_64")]
fn permute_group<const T: usize, const LANES: usize>(
    states: &mut [[Fr; T]],
    run: fn(&mut Planes<T, LANES>, &Job),
) {
    let mut planes = planes(states);
    run(&mut planes, &Job { from: Form::Montgomery, to: Form::Montgomery, compresses: false });
    for (lane, state) in states.iter_mut().enumerate() {
        *state = core::array::from_fn(|at| element(&planes[at], lane));
    }
}

#[cfg(target_arch = "x86_64")]
fn compress_group<const T: usize, const LANES: usize, I: Word, O: Word>(
    inputs: &[[I; T]],
    outputs: &mut [O],
    run: fn(&mut Planes<T, LANES>, &Job),
) {
    let mut planes = planes(inputs);
    run(&mut planes, &Job { from: I::FORM, to: O::FORM, compresses: true });
    for (lane, output) in outputs.iter_mut().enumerate() {
        *output = element(&planes[0], lane);
    }
}

#[cfg(target_arch = "x86_64")]
fn run_ifma<const T: usize>(planes: &mut Planes<T, { ifma::LANES }>, job: &Job) {
    let planes: &mut dyn Any = planes;
    // SAFETY: whoever chose the kernel made sure of the instructions.
    unsafe {
        if let Some(planes) = planes.downcast_mut() {
            ifma::width_8(planes, job);
        } else if let Some(planes) = planes.downcast_mut() {
            ifma::width_4(planes, job);
        } else if let Some(planes) = planes.downcast_mut() {
            ifma::width_3(planes, job);
        } else {
            panic!("no lanes of width {T}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn run_avx2<const T: usize>(planes: &mut Planes<T, { avx2::LANES }>, job: &Job) {
    let planes: &mut dyn Any = planes;
    // SAFETY: whoever chose the kernel made sure of the instructions.
    unsafe {
        if let Some(planes) = planes.downcast_mut() {
            avx2::width_8(planes, job);
        } else if let Some(planes) = planes.downcast_mut() {
            avx2::width_4(planes, job);
        } else if let Some(planes) = planes.downcast_mut() {
            avx2::width_3(planes, job);
        } else {
            panic!("no lanes of width {T}");
        }
    }
}

#[cfg(test)]
mod tests;
