//! Which circuits there are and what names them.

use hpips_proofs::{CircuitKind, Shape};

use crate::builder::Recorder;
use crate::matrices::Matrices;
use crate::{activation, window};

/// Version of the constraints of both circuits. A test holds the matrices' hashes at `dev` parameters: if it
/// fails, this number goes up, so that keys of the old constraints are not found any more.
pub const VERSION: u32 = 1;

/// Names a circuit of one shape: keys are made for it and files are named after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircuitId([u8; 32]);

impl CircuitId {
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Display for CircuitId {
    /// Hexadecimal.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for CircuitId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CircuitId({self})")
    }
}

/// Both circuits.
pub const KINDS: [CircuitKind; 2] = [CircuitKind::Window, CircuitKind::Activation];

/// A circuit's name, in file names and messages.
pub const fn name(kind: CircuitKind) -> &'static str {
    match kind {
        CircuitKind::Window => "window",
        CircuitKind::Activation => "activation",
    }
}

/// Names a circuit at a shape. Only the numbers that change its constraints count.
pub fn id(kind: CircuitKind, shape: &Shape) -> CircuitId {
    let depth = u16::from(shape.set_depth());
    let numbers = match kind {
        CircuitKind::Window => [depth, shape.window_challenges(), 0],
        CircuitKind::Activation => [depth, shape.activation_challenges(), shape.sector_height().into()],
    };
    let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/id/v1");
    hasher.update(name(kind).as_bytes());
    hasher.update(&VERSION.to_le_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    CircuitId(*hasher.finalize().as_bytes())
}

/// The constraints of a circuit at a shape. Milliseconds at `dev` parameters; seconds at those of `main`,
/// and [`Matrices::bytes`] of memory.
pub fn matrices(kind: CircuitKind, shape: &Shape) -> Matrices {
    let mut recorder = Recorder::default();
    match kind {
        CircuitKind::Window => window::record(&mut recorder, shape),
        CircuitKind::Activation => activation::record(&mut recorder, shape),
    }
    recorder.finish()
}
