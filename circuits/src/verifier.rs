//! The verifier that the ledger sees: statements and proofs in, verdicts out.

use hpips_proofs::{CircuitKind, ProofBytes, ProofVerifier, Shape, Statement};
use rayon::prelude::*;

use crate::circuit;
use crate::keys::VerifyingKey;
use crate::verify::{Claim, ProofError, WellFormed};

/// The two verifying keys of a network.
#[derive(Clone, Debug)]
pub struct Verifier {
    shape: Shape,
    window: VerifyingKey,
    activation: VerifyingKey,
}

/// Keys that do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {} key is not one of this network's shape", circuit::name(*kind))]
pub struct WrongKey {
    /// Which of the two.
    pub kind: CircuitKind,
}

/// Why a statement is not accepted as proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The statement is impossible.
    #[error("impossible statement")]
    Statement(#[from] hpips_proofs::StatementError),
    /// A statement of another network's sizes.
    #[error("statement of another shape")]
    Shape,
    /// The proof is malformed or false.
    #[error("proof refused")]
    Proof(#[from] ProofError),
}

impl Verifier {
    /// A verifier for statements of one shape.
    ///
    /// # Errors
    /// [`WrongKey`] when a key belongs to another circuit or shape.
    pub fn new(shape: Shape, window: VerifyingKey, activation: VerifyingKey) -> Result<Self, WrongKey> {
        for (kind, key) in [(CircuitKind::Window, &window), (CircuitKind::Activation, &activation)] {
            if key.of().circuit != circuit::id(kind, &shape) || key.inputs() != kind.inputs() {
                return Err(WrongKey { kind });
            }
        }
        Ok(Self { shape, window, activation })
    }

    /// The sizes of the statements it accepts.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The key of a circuit.
    pub fn key(&self, kind: CircuitKind) -> &VerifyingKey {
        match kind {
            CircuitKind::Window => &self.window,
            CircuitKind::Activation => &self.activation,
        }
    }

    /// Checks one proof and says what is wrong with it.
    ///
    /// # Errors
    /// [`VerifyError`] by variant.
    pub fn check(&self, statement: &Statement, proof: &ProofBytes) -> Result<(), VerifyError> {
        let claim = self.claim(statement, proof)?;
        Ok(self.key(statement.kind()).verify(&claim)?)
    }

    fn claim(&self, statement: &Statement, proof: &ProofBytes) -> Result<Claim, VerifyError> {
        if *statement.shape() != self.shape {
            return Err(VerifyError::Shape);
        }
        Ok(Claim { inputs: statement.public_inputs()?, proof: WellFormed::parse(proof)? })
    }
}

impl ProofVerifier for Verifier {
    /// Batches the proofs of each circuit: about 0.5 ms of a core each, decoding included, while all are true.
    fn verify(&self, items: &[(Statement, ProofBytes)]) -> Vec<bool> {
        let mut verdicts = vec![false; items.len()];
        for kind in circuit::KINDS {
            let of_kind = items.par_iter().enumerate().filter(|(_, (statement, _))| statement.kind() == kind);
            // Three points of each are decoded here: two fifths of a check in a batch.
            let (places, claims): (Vec<usize>, Vec<Claim>) = of_kind
                .filter_map(|(place, (statement, proof))| Some((place, self.claim(statement, proof).ok()?)))
                .unzip();
            for (place, verdict) in places.into_iter().zip(self.key(kind).verify_batch(&claims)) {
                verdicts[place] = verdict.is_ok();
            }
        }
        verdicts
    }
}

#[cfg(test)]
mod tests;
