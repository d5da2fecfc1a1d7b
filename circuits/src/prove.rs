//! Making one proof from cached matrices and a full assignment.

use ark_bls12_381::Bls12_381;
use ark_ff::PrimeField;
use ark_groth16::Groth16;
use ark_groth16::r1cs_to_qap::LibsnarkReduction;
use ark_serialize::CanonicalSerialize;
use hpips_crypto::Fr;
use hpips_proofs::ProofBytes;

use crate::keys::ProvingKey;
use crate::matrices::Matrices;

/// The two random numbers that hide the witness in a proof.
///
/// The same numbers, key and assignment make the same bytes, whatever computes them. They may not be used
/// twice for different witnesses.
pub struct Blinding {
    r: Fr,
    s: Fr,
}

impl core::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Blinding(..)")
    }
}

impl Blinding {
    /// From 128 bytes of the caller's randomness.
    pub fn from_random(bytes: &[u8; 128]) -> Self {
        let (r, s) = bytes.split_at(64);
        Self { r: Fr::from_le_bytes_mod_order(r), s: Fr::from_le_bytes_mod_order(s) }
    }
}

/// Why no proof was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The key was made for other constraints.
    #[error("the proving key was made for other constraints")]
    OtherConstraints,
    /// The assignment is not one of this circuit.
    #[error("{got} values for a circuit of {expected} variables")]
    Assignment {
        /// Values given.
        got: usize,
        /// Variables of the circuit.
        expected: usize,
    },
}

/// Makes a proof, on the current rayon pool; about 0.1 ms of a core a constraint.
///
/// An assignment that does not satisfy the constraints gives a proof that does not verify.
///
/// # Errors
/// [`CreateError`] by variant.
///
/// # Panics
/// When the circuit is larger than the field's roots of unity reach, for which no key exists.
pub fn create(
    key: &ProvingKey,
    matrices: &Matrices,
    assignment: &[Fr],
    blinding: &Blinding,
) -> Result<ProofBytes, CreateError> {
    if assignment.len() != matrices.variables() {
        return Err(CreateError::Assignment { got: assignment.len(), expected: matrices.variables() });
    }
    let inner = &key.inner;
    // A key without the right number of points would give a useless proof seconds later.
    if inner.a_query.len() != matrices.variables() || inner.vk.gamma_abc_g1.len() != matrices.inputs() + 1 {
        return Err(CreateError::OtherConstraints);
    }
    let proof = Groth16::<Bls12_381, LibsnarkReduction>::create_proof_with_reduction_and_matrices(
        inner,
        blinding.r,
        blinding.s,
        matrices.rows(),
        matrices.inputs() + 1,
        matrices.constraints(),
        assignment,
    )
    .expect("a key exists, so the domain does");
    let mut bytes = [0; ProofBytes::LEN];
    let mut rest = &mut bytes[..];
    proof.serialize_compressed(&mut rest).expect("a compressed proof has 192 bytes");
    assert!(rest.is_empty(), "a compressed proof has 192 bytes");
    Ok(ProofBytes::new(bytes))
}
