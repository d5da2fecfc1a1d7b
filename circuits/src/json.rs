//! Proofs and verifying keys as JSON, in the form of snarkjs, which most pairing libraries read.
//!
//! Coordinates are decimal numbers in strings, points projective with a last coordinate of one, elements of the
//! quadratic extension `[c0, c1]` for `c0 + c1 u`. Source: docs/formats/keys.md, section 5.

use ark_bls12_381::{Bls12_381, Fq, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::PrimeField;
use ark_groth16::Proof;
use ark_serialize::CanonicalDeserialize;
use hpips_crypto::Fr;
use hpips_proofs::{CircuitKind, ProofBytes, Statement};
use serde::{Deserialize, Serialize};

use crate::circuit;
use crate::keys::{Origin, VerifyingKey};
use crate::verifier::{Verifier, VerifyError};

/// A point of G1.
pub type Point1 = [String; 3];
/// A point of G2.
pub type Point2 = [[String; 2]; 3];

/// A verifying key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyingKeyJson {
    /// `groth16`.
    pub protocol: String,
    /// `bls12381`.
    pub curve: String,
    /// Public inputs.
    #[serde(rename = "nPublic")]
    pub inputs: usize,
    /// Alpha.
    pub vk_alpha_1: Point1,
    /// Beta.
    pub vk_beta_2: Point2,
    /// Gamma.
    pub vk_gamma_2: Point2,
    /// Delta.
    pub vk_delta_2: Point2,
    /// One point more than there are inputs: the first belongs to the constant one.
    #[serde(rename = "IC")]
    pub ic: Vec<Point1>,
}

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJson {
    /// `A`.
    pub pi_a: Point1,
    /// `B`.
    pub pi_b: Point2,
    /// `C`.
    pub pi_c: Point1,
    /// `groth16`.
    pub protocol: String,
    /// `bls12381`.
    pub curve: String,
}

/// A verifying key, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyExport {
    /// The circuit's name.
    pub circuit: String,
    /// The circuit's id, hexadecimal.
    pub id: String,
    /// BLAKE3 of the circuit's matrices, hexadecimal.
    pub constraints: String,
    /// BLAKE3 of the key's file, hexadecimal.
    pub hash: String,
    /// Whether anybody can make false proofs under this key.
    pub insecure: bool,
    /// The key.
    pub verification_key: VerifyingKeyJson,
}

/// Everything that somebody else needs to check one proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofExport {
    /// The key it is checked with.
    #[serde(flatten)]
    pub key: KeyExport,
    /// What each public signal is, in order.
    pub signals: Vec<String>,
    /// The public inputs, decimal.
    pub public_signals: Vec<String>,
    /// The proof.
    pub proof: ProofJson,
}

impl KeyExport {
    /// Of a key of this circuit.
    pub fn new(kind: CircuitKind, key: &VerifyingKey) -> Self {
        let vk = &key.inner;
        let of = key.of();
        Self {
            circuit: circuit::name(kind).to_owned(),
            id: of.circuit.to_string(),
            constraints: of.constraints.to_string(),
            hash: key.hash().to_string(),
            insecure: of.origin == Origin::InsecureTest,
            verification_key: VerifyingKeyJson {
                protocol: "groth16".to_owned(),
                curve: "bls12381".to_owned(),
                inputs: key.inputs(),
                vk_alpha_1: point_1(&vk.alpha_g1),
                vk_beta_2: point_2(&vk.beta_g2),
                vk_gamma_2: point_2(&vk.gamma_g2),
                vk_delta_2: point_2(&vk.delta_g2),
                ic: vk.gamma_abc_g1.iter().map(point_1).collect(),
            },
        }
    }
}

impl ProofExport {
    /// Of a proof that holds.
    ///
    /// # Errors
    /// [`VerifyError`] when it does not: nothing false is exported.
    pub fn new(verifier: &Verifier, statement: &Statement, proof: &ProofBytes) -> Result<Self, VerifyError> {
        verifier.check(statement, proof)?;
        let kind = statement.kind();
        let points = Proof::<Bls12_381>::deserialize_compressed(proof.as_bytes().as_slice())
            .expect("a proof that holds is well formed");
        let signals: &[&str] = match kind {
            CircuitKind::Window => &["set root", "challenge digest", "leaf commitment", "tag"],
            CircuitKind::Activation => &["batch root", "challenge digest", "tag"],
        };
        Ok(Self {
            key: KeyExport::new(kind, verifier.key(kind)),
            signals: signals.iter().map(|name| (*name).to_owned()).collect(),
            public_signals: statement.public_inputs()?.iter().map(decimal_fr).collect(),
            proof: ProofJson {
                pi_a: point_1(&points.a),
                pi_b: point_2(&points.b),
                pi_c: point_1(&points.c),
                protocol: "groth16".to_owned(),
                curve: "bls12381".to_owned(),
            },
        })
    }
}

fn decimal_fr(value: &Fr) -> String {
    value.into_bigint().to_string()
}

fn decimal(value: &Fq) -> String {
    value.into_bigint().to_string()
}

/// Points at infinity occur in no key and no proof; they would be written as zero.
fn point_1(point: &G1Affine) -> Point1 {
    let (x, y) = point.xy().unwrap_or_default();
    [decimal(&x), decimal(&y), "1".to_owned()]
}

fn point_2(point: &G2Affine) -> Point2 {
    let (x, y) = point.xy().unwrap_or_default();
    [[decimal(&x.c0), decimal(&x.c1)], [decimal(&y.c0), decimal(&y.c1)], ["1".to_owned(), "0".to_owned()]]
}

#[cfg(test)]
mod tests;
