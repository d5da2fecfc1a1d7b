//! From a statement and its witness to the values of every variable.

use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;
use hpips_proofs::statement::StatementError;
use hpips_proofs::{Statement, VanillaActivation, VanillaWindow};

use crate::builder::Unsatisfied;
use crate::{activation, window};

/// The private half of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Of an activation.
    Activation(VanillaActivation),
    /// Of a window.
    Window(VanillaWindow),
}

impl From<VanillaActivation> for Witness {
    fn from(witness: VanillaActivation) -> Self {
        Self::Activation(witness)
    }
}

impl From<VanillaWindow> for Witness {
    fn from(witness: VanillaWindow) -> Self {
        Self::Window(witness)
    }
}

/// Why a statement and a witness give no values that satisfy the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// The statement is impossible.
    #[error("impossible statement")]
    Statement(#[from] StatementError),
    /// A window's witness for an activation, or the other way round.
    #[error("the witness is one of the other circuit")]
    OtherCircuit,
    /// Not one witness for each challenge.
    #[error("{got} witnesses for {want} challenges")]
    Count {
        /// Witnesses given.
        got: usize,
        /// Challenges of the statement.
        want: usize,
    },
    /// A path has another number of levels.
    #[error("challenge {index}: a path has {got} levels, not {want}")]
    Depth {
        /// Which challenge, from 0.
        index: usize,
        /// Levels given.
        got: usize,
        /// Levels of the tree.
        want: u8,
    },
    /// The witness does not show the statement.
    #[error("the witness does not show the statement")]
    Unsatisfied(#[from] Unsatisfied),
}

/// The values of all variables, in the order of the circuit's matrices; a few milliseconds.
///
/// # Errors
/// [`AssignError`] by variant: whatever is wrong with a witness is found here, before seconds of proving.
pub fn assign(statement: &Statement, witness: &Witness) -> Result<Vec<Fr>, AssignError> {
    match (statement, witness) {
        (Statement::Activation(statement), Witness::Activation(witness)) => {
            activation::assign(statement, witness)
        }
        (Statement::Window(statement), Witness::Window(witness)) => window::assign(statement, witness),
        _ => Err(AssignError::OtherCircuit),
    }
}

pub(crate) fn check_count(got: usize, want: usize) -> Result<(), AssignError> {
    if got == want { Ok(()) } else { Err(AssignError::Count { got, want }) }
}

pub(crate) fn check_depth(index: usize, path: &Path, want: u8) -> Result<(), AssignError> {
    let got = path.depth();
    if got == usize::from(want) { Ok(()) } else { Err(AssignError::Depth { index, got, want }) }
}
