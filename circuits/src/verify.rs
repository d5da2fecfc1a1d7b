//! Checking proofs: one by one, or many of one circuit at a fifth of the cost.

use ark_bls12_381::Fr;
use ark_ff::Field;
use ark_serialize::CanonicalSerialize;
use hpips_proofs::ProofBytes;

use crate::keys::VerifyingKey;
use crate::pairing::{Point1, Point2, Refused, Weighted, decode_1, decode_2};

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
pub struct WellFormed {
    bytes: ProofBytes,
    a: Point1,
    b: Point2,
    c: Point1,
}

impl WellFormed {
    /// Takes the points out of a proof's bytes: `A`, `B`, `C` compressed, 48, 96 and 48 bytes.
    ///
    /// # Errors
    /// [`ProofError::Malformed`], [`ProofError::WrongSubgroup`] or [`ProofError::Infinity`].
    pub fn parse(proof: &ProofBytes) -> Result<Self, ProofError> {
        let (a, rest) = proof.as_bytes().split_at(48);
        let (b, c) = rest.split_at(96);
        let a = decode_1(a).map_err(|refused| ProofError::of(Part::A, refused))?;
        let b = decode_2(b).map_err(|refused| ProofError::of(Part::B, refused))?;
        let c = decode_1(c).map_err(|refused| ProofError::of(Part::C, refused))?;
        Ok(Self { bytes: *proof, a, b, c })
    }

    /// As [`parse`](Self::parse), for bytes of unknown length.
    ///
    /// # Errors
    /// Also [`ProofError::Length`].
    pub fn parse_slice(bytes: &[u8]) -> Result<Self, ProofError> {
        let proof = ProofBytes::from_slice(bytes).ok_or(ProofError::Length { got: bytes.len() })?;
        Self::parse(&proof)
    }

    /// The bytes it was parsed from, the only ones that it has.
    pub fn bytes(&self) -> &ProofBytes {
        &self.bytes
    }
}

impl ProofError {
    fn of(part: Part, refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Malformed(part),
            Refused::Infinity => Self::Infinity(part),
            Refused::WrongSubgroup => Self::WrongSubgroup(part),
        }
    }
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
        let holds = self.checking.hold(&[claim.weighted(Fr::ONE)]);
        if holds { Ok(()) } else { Err(ProofError::False) }
    }

    /// Checks many proofs of this circuit; about 0.3 ms of a core each while all are true.
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
            hasher.update(&bytes).update(claim.proof.bytes().as_bytes());
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

    fn all_hold(&self, items: &[Item<'_>]) -> bool {
        let proofs: Vec<_> = items.iter().map(|item| item.claim.weighted(item.factor)).collect();
        self.checking.hold(&proofs)
    }
}

impl Claim {
    fn weighted(&self, factor: Fr) -> Weighted<'_> {
        let WellFormed { a, b, c, .. } = &self.proof;
        Weighted { a, b, c, inputs: &self.inputs, factor }
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
