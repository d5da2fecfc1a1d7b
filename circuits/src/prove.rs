//! Making one proof from the constraints, a full assignment and a key that stays in its file.
//!
//! The same proof, byte for byte, as `ark-groth16` makes from the same key and blinding; what differs is that
//! neither the key nor the matrices are needed in memory the way that it keeps them.

use ark_bls12_381::{G1Affine, G1Projective, G2Affine, G2Projective};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::PrimeField;
use ark_poly::EvaluationDomain;
use ark_serialize::CanonicalSerialize;
use hpips_crypto::Fr;
use hpips_proofs::ProofBytes;

use crate::keys::{KeyError, KeySource, List, PIECE, StoredKey};
use crate::matrices::Matrices;
use crate::{msm, qap};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The key's points are not to be had.
    #[error("the proving key is unusable")]
    Key(#[from] KeyError),
}

/// Makes a proof, on the current rayon pool; about 0.1 ms of a core a constraint, in the memory that
/// [`proving_bytes`] says.
///
/// An assignment that does not satisfy the constraints gives a proof that does not verify.
///
/// # Errors
/// [`CreateError`] by variant.
pub fn create<S: KeySource>(
    key: &StoredKey<S>,
    matrices: &Matrices,
    assignment: &[Fr],
    blinding: &Blinding,
) -> Result<ProofBytes, CreateError> {
    if assignment.len() != matrices.variables() {
        return Err(CreateError::Assignment { got: assignment.len(), expected: matrices.variables() });
    }
    let domain = qap::domain(matrices).ok_or(CreateError::OtherConstraints)?;
    let (variables, inputs) = (matrices.variables(), matrices.inputs() + 1);
    // A key without the right number of points would give a useless proof seconds later.
    let fits = [List::A, List::BG1, List::BG2].iter().all(|&list| key.count(list) == variables)
        && key.count(List::H) == domain.size() - 1
        && key.count(List::L) == variables - inputs
        && key.vk.gamma_abc_g1.len() == inputs;
    if !fits {
        return Err(CreateError::OtherConstraints);
    }
    let quotient = qap::quotient(matrices, &domain, assignment);
    let h: G1Projective = sum::<G1Affine, _>(key, List::H, &quotient[..domain.size() - 1])?;
    drop(quotient);
    let l: G1Projective = sum::<G1Affine, _>(key, List::L, &assignment[inputs..])?;
    let Blinding { r, s } = blinding;
    let a = key.delta_g1 * r + key.vk.alpha_g1 + sum::<G1Affine, _>(key, List::A, assignment)?;
    let b_g1 = key.delta_g1 * s + key.beta_g1 + sum::<G1Affine, _>(key, List::BG1, assignment)?;
    let b = key.vk.delta_g2 * s + key.vk.beta_g2 + sum::<G2Affine, _>(key, List::BG2, assignment)?;
    let c = a * s + b_g1 * r - key.delta_g1 * (*r * s) + l + h;
    let (a, b, c) = (a.into_affine(), b.into_affine(), c.into_affine());
    Ok(encode(&ark_groth16::Proof { a, b, c }))
}

fn encode(proof: &ark_groth16::Proof<ark_bls12_381::Bls12_381>) -> ProofBytes {
    let mut bytes = [0; ProofBytes::LEN];
    let mut rest = &mut bytes[..];
    proof.serialize_compressed(&mut rest).expect("a compressed proof has 192 bytes");
    assert!(rest.is_empty(), "a compressed proof has 192 bytes");
    ProofBytes::new(bytes)
}

/// The points of a list, each times its factor.
fn sum<P, S>(key: &StoredKey<S>, list: List, factors: &[Fr]) -> Result<P::Group, KeyError>
where
    P: AffineRepr<ScalarField = Fr> + crate::keys::Point,
    P::Group: VariableBaseMSM<MulBase = P>,
    S: KeySource,
{
    let mut sum = msm::Sum::<P::Group>::new(factors.len());
    for (piece, factors) in factors.chunks(PIECE).enumerate() {
        let start = piece * PIECE;
        sum.add(&key.points(list, start..start + factors.len())?, factors);
    }
    Ok(sum.finish())
}

/// Bytes of memory that making one proof of a circuit takes at its peak: its matrices and the assignment,
/// beside them either the polynomials or the sums over the key's points, and a quarter more for what the
/// allocator holds back. The key's file is not among them, nor are the witness that the assignment came from
/// and the rest of the program.
///
/// Nothing grows with the number of threads but their stacks. Measured: docs/proofs.md, "Measured".
pub fn proving_bytes(matrices: &Matrices) -> u64 {
    let element = size_of::<Fr>() as u64;
    let (variables, sums) = (matrices.variables() as u64, matrices.sums() as u64);
    let domain = (matrices.constraints() + matrices.inputs() + 1).next_power_of_two();
    let vector = domain as u64 * element;
    // Three products, and their sums before or the roots of unity for half of the domain behind.
    let polynomials = 3 * vector + (sums * element).max(vector);
    // Bytes read, points decoded and collected, and their digits.
    let pieces = |bytes: usize, point: usize| (PIECE * (bytes + 2 * point + 17 * size_of::<i32>())) as u64;
    let g1 = msm::bytes::<G1Projective>(domain) + pieces(96, size_of::<G1Affine>());
    let g2 = msm::bytes::<G2Projective>(matrices.variables()) + pieces(192, size_of::<G2Affine>());
    let counted = matrices.bytes() + variables * element + polynomials.max(vector + g1).max(g2);
    counted + counted / 4
}

#[cfg(test)]
mod tests;
