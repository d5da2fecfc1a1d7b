//! Checking proofs: one by one, or many of one circuit at a third of the cost.

use ark_bls12_381::{Bls12_381, Fr, G1Affine, G1Projective, G2Affine};
use ark_ec::pairing::Pairing;
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::{AdditiveGroup, Field, PrimeField};
use ark_groth16::{Groth16, Proof};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use hpips_proofs::ProofBytes;
use rayon::prelude::*;

use crate::keys::VerifyingKey;

/// One of the three points of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `A`, in G1.
    A,
    /// `B`, in G2.
    B,
    /// `C`, in G1.
    C,
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        })
    }
}

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not 192 bytes.
    #[error("a proof has {} bytes, not {got}", ProofBytes::LEN)]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// Not the canonical encoding of a point of the curve.
    #[error("point {0} of the proof is malformed")]
    Malformed(Part),
    /// A point of the curve outside the prime-order subgroup.
    #[error("point {0} of the proof is in the wrong subgroup")]
    WrongSubgroup(Part),
    /// The point at infinity, which no honest prover sends.
    #[error("point {0} of the proof is at infinity")]
    Infinity(Part),
    /// As many public inputs as the circuit has were not given.
    #[error("{got} public inputs for a circuit with {expected}")]
    Inputs {
        /// Inputs given.
        got: usize,
        /// Inputs of the circuit.
        expected: usize,
    },
    /// Well formed, but it does not prove the statement.
    #[error("the proof does not prove the statement")]
    False,
}

/// A proof whose points are in the right groups; whether it proves anything is not known yet.
#[derive(Clone, Debug)]
pub struct WellFormed(pub(crate) Proof<Bls12_381>);

impl WellFormed {
    /// Takes the points out of a proof's bytes: `A`, `B`, `C` compressed, 48, 96 and 48 bytes.
    ///
    /// # Errors
    /// [`ProofError::Malformed`], [`ProofError::WrongSubgroup`] or [`ProofError::Infinity`].
    pub fn parse(proof: &ProofBytes) -> Result<Self, ProofError> {
        let (a, rest) = proof.as_bytes().split_at(48);
        let (b, c) = rest.split_at(96);
        let a = point::<G1Affine>(Part::A, a, G1Affine::is_in_correct_subgroup_assuming_on_curve)?;
        let b = point::<G2Affine>(Part::B, b, G2Affine::is_in_correct_subgroup_assuming_on_curve)?;
        let c = point::<G1Affine>(Part::C, c, G1Affine::is_in_correct_subgroup_assuming_on_curve)?;
        Ok(Self(Proof { a, b, c }))
    }

    /// As [`parse`](Self::parse), for bytes of unknown length.
    ///
    /// # Errors
    /// Also [`ProofError::Length`].
    pub fn parse_slice(bytes: &[u8]) -> Result<Self, ProofError> {
        let proof = ProofBytes::from_slice(bytes).ok_or(ProofError::Length { got: bytes.len() })?;
        Self::parse(&proof)
    }
}

fn point<P: AffineRepr + CanonicalDeserialize + CanonicalSerialize>(
    part: Part,
    bytes: &[u8],
    in_subgroup: impl Fn(&P) -> bool,
) -> Result<P, ProofError> {
    // Decoding a compressed point computes y from x, so that it is on the curve or an error.
    let point = P::deserialize_compressed_unchecked(bytes).map_err(|_| ProofError::Malformed(part))?;
    let mut canonical = Vec::with_capacity(bytes.len());
    point.serialize_compressed(&mut canonical).expect("writing to memory does not fail");
    if canonical != bytes {
        return Err(ProofError::Malformed(part));
    }
    if point.is_zero() {
        return Err(ProofError::Infinity(part));
    }
    if !in_subgroup(&point) {
        return Err(ProofError::WrongSubgroup(part));
    }
    Ok(point)
}

/// A claim: public inputs in their documented order and the proof of it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Public inputs, the constant one not counted.
    pub inputs: Vec<Fr>,
    /// The proof.
    pub proof: WellFormed,
}

impl VerifyingKey {
    /// Checks one proof; about 1.5 ms of a core.
    ///
    /// # Errors
    /// [`ProofError::Inputs`] or [`ProofError::False`].
    pub fn verify(&self, claim: &Claim) -> Result<(), ProofError> {
        self.check_inputs(claim)?;
        let holds = Groth16::<Bls12_381>::verify_proof(&self.prepared, &claim.proof.0, &claim.inputs)
            .expect("preparing inputs of the right number does not fail");
        if holds { Ok(()) } else { Err(ProofError::False) }
    }

    /// Checks many proofs of this circuit; about 0.5 ms of a core each while all are true.
    ///
    /// All are checked at once by a random linear combination. Its factors are a hash of every claim, so
    /// the answer is the same on every machine, and a prover would need 2^128 attempts for proofs that only
    /// together look true. When the combination fails, halves are checked in turn until the false ones are
    /// found: with `f` false proofs about `2 f log2(n)` smaller combinations.
    pub fn verify_batch(&self, claims: &[Claim]) -> Vec<Result<(), ProofError>> {
        let mut verdicts: Vec<_> = claims.iter().map(|claim| self.check_inputs(claim)).collect();
        let well_formed: Vec<usize> = (0..claims.len()).filter(|&i| verdicts[i].is_ok()).collect();
        let factors = self.factors(claims, &well_formed);
        let items: Vec<Item<'_>> = well_formed
            .iter()
            .zip(factors)
            .map(|(&index, factor)| Item { index, factor, claim: &claims[index] })
            .collect();
        self.search(&items, &mut verdicts);
        verdicts
    }

    fn check_inputs(&self, claim: &Claim) -> Result<(), ProofError> {
        let (got, expected) = (claim.inputs.len(), self.inputs());
        if got == expected { Ok(()) } else { Err(ProofError::Inputs { got, expected }) }
    }

    /// One factor of 128 bits for each of these claims, from a hash over all of them.
    fn factors(&self, claims: &[Claim], indices: &[usize]) -> Vec<Fr> {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/batch/v1");
        hasher.update(self.of.circuit.as_bytes());
        let mut bytes = Vec::new();
        for &index in indices {
            let claim = &claims[index];
            bytes.clear();
            claim.inputs.serialize_compressed(&mut bytes).expect("writing to memory does not fail");
            claim.proof.0.serialize_compressed(&mut bytes).expect("writing to memory does not fail");
            hasher.update(&bytes);
        }
        let mut stream = hasher.finalize_xof();
        indices
            .iter()
            .map(|_| {
                let mut factor = [0; 16];
                stream.fill(&mut factor);
                Fr::from(u128::from_le_bytes(factor))
            })
            .collect()
    }

    fn search(&self, items: &[Item<'_>], verdicts: &mut [Result<(), ProofError>]) {
        match items {
            [] => {}
            [item] => verdicts[item.index] = self.verify(item.claim),
            _ if self.all_hold(items) => {}
            _ => {
                let (left, right) = items.split_at(items.len() / 2);
                self.search(left, verdicts);
                self.search(right, verdicts);
            }
        }
    }

    /// `product of e(f_i A_i, B_i) = e(alpha, beta)^(sum f) * e(sum f_i IC_i, gamma) * e(sum f_i C_i, delta)`.
    fn all_hold(&self, items: &[Item<'_>]) -> bool {
        let key = &self.prepared.vk;
        let factors: Vec<Fr> = items.iter().map(|item| item.factor).collect();
        let mut scalars = vec![Fr::ZERO; key.gamma_abc_g1.len()];
        for item in items {
            scalars[0] += item.factor;
            for (scalar, input) in scalars[1..].iter_mut().zip(&item.claim.inputs) {
                *scalar += item.factor * input;
            }
        }
        let c: Vec<G1Affine> = items.iter().map(|item| item.claim.proof.0.c).collect();
        let inputs = G1Projective::msm(&key.gamma_abc_g1, &scalars).expect("as many points as scalars");
        let c = G1Projective::msm(&c, &factors).expect("as many points as scalars");
        let a: Vec<G1Projective> =
            items.par_iter().map(|item| item.claim.proof.0.a.mul_bigint(item.factor.into_bigint())).collect();
        let mut left = G1Projective::normalize_batch(&a);
        left.extend([
            (-inputs).into_affine(),
            (-c).into_affine(),
            (-(key.alpha_g1 * scalars[0])).into_affine(),
        ]);
        let mut right: Vec<G2Affine> = items.iter().map(|item| item.claim.proof.0.b).collect();
        right.extend([key.gamma_g2, key.delta_g2, key.beta_g2]);
        Bls12_381::multi_pairing(left, right).0 == <Bls12_381 as Pairing>::TargetField::ONE
    }
}

/// One claim of a batch.
struct Item<'a> {
    index: usize,
    factor: Fr,
    claim: &'a Claim,
}

#[cfg(test)]
mod tests;
