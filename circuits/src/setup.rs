//! The insecure setup of test networks.
//!
//! A Groth16 key is made from secrets that nobody may know afterwards. Here they are derived from the
//! circuit's name, so every node makes the same key and needs nobody's help, and **anybody can forge
//! proofs**. Real networks take their keys from a ceremony; this module refuses to serve them.

use std::io::{self, Write};

use ark_bls12_381::{G1Projective, G2Projective};
use ark_ec::scalar_mul::{BatchMulPreprocessing, ScalarMul};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::Field;
use ark_poly::EvaluationDomain;
use ark_std::rand::{Error, RngCore};
use hpips_crypto::{Fr, field};
use hpips_types::NetworkParams;
use rayon::prelude::*;

use crate::circuit::CircuitId;
use crate::keys::{KeyOf, Origin, PIECE, Point, VerifyingKey, Writer};
use crate::matrices::Matrices;
use crate::qap;

/// Domain of everything derived here; frozen, for keys depend on it.
const DOMAIN: &str = "HPIPS INSECURE TEST SETUP v1";

/// Why no test key is made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Only networks whose name starts with `test-` may use keys that anybody can forge with.
    #[error("network {network} is no test network: insecure keys are refused")]
    NotATestNetwork {
        /// The network's name.
        network: String,
    },
    /// The circuit is too large for the field's roots of unity.
    #[error("circuit of {constraints} constraints is too large")]
    TooLarge {
        /// Rows of the circuit.
        constraints: usize,
    },
    /// The file cannot be written.
    #[error("the key cannot be written")]
    Write(#[source] io::Error),
}

/// Makes the insecure proving key of a circuit, the same bytes on every machine, and writes its file from
/// front to end; returns the verifying key.
///
/// Costs about 0.13 ms of a core for each constraint, on the current rayon pool, and 300 bytes of memory.
///
/// # Errors
/// [`SetupError`] by variant.
pub fn insecure_key(
    circuit: CircuitId,
    matrices: &Matrices,
    network: &NetworkParams,
    file: &mut impl Write,
) -> Result<VerifyingKey, SetupError> {
    if !network.is_test() {
        return Err(SetupError::NotATestNetwork { network: network.name.clone() });
    }
    let too_large = SetupError::TooLarge { constraints: matrices.constraints() };
    let domain = qap::domain(matrices).ok_or(too_large)?;
    let of = KeyOf { origin: Origin::InsecureTest, circuit, constraints: matrices.hash() };
    let secret = |name: &[u8]| field::from_hash(DOMAIN, &[circuit.as_bytes(), name]);
    let (alpha, beta) = (secret(b"alpha"), secret(b"beta"));
    let (gamma, delta) = (secret(b"gamma"), secret(b"delta"));
    let point = domain.sample_element_outside_domain(&mut HashStream::new(circuit));

    let qap::AtPoint { sides: [a, b, c], vanishing } = qap::evaluate(matrices, &domain, point);
    let inverse = |secret: Fr| secret.inverse().expect("a hash is not zero");
    // What each variable adds to the sum that the verifier or the prover makes, times its secret's inverse.
    let inputs = matrices.inputs() + 1;
    let shares: Vec<Fr> = a.par_iter().zip(&b).zip(&c).map(|((a, b), c)| beta * a + alpha * b + c).collect();
    drop(c);
    let over =
        |shares: &[Fr], inverse: Fr| -> Vec<Fr> { shares.iter().map(|share| *share * inverse).collect() };
    let (public, private) =
        (over(&shares[..inputs], inverse(gamma)), over(&shares[inputs..], inverse(delta)));
    drop(shares);

    let (g1, g2) = (G1Projective::generator(), G2Projective::generator());
    let g1_table = BatchMulPreprocessing::new(g1, 3 * a.len() + domain.size());
    let g2_table = BatchMulPreprocessing::new(g2, b.len());
    let vk = ark_groth16::VerifyingKey {
        alpha_g1: (g1 * alpha).into_affine(),
        beta_g2: (g2 * beta).into_affine(),
        gamma_g2: (g2 * gamma).into_affine(),
        delta_g2: (g2 * delta).into_affine(),
        gamma_abc_g1: g1_table.batch_mul(&public),
    };
    let singles = [&(g1 * beta).into_affine(), &(g1 * delta).into_affine()];
    let powers = domain.size() - 1;
    let counts = [a.len(), b.len(), b.len(), powers, private.len()];
    let write = || -> io::Result<()> {
        let mut writer = Writer::new(file);
        writer.proving_header(&of, &vk, singles, counts)?;
        multiples(&mut writer, &g1_table, a.len(), |at| a[at])?;
        multiples(&mut writer, &g1_table, b.len(), |at| b[at])?;
        multiples(&mut writer, &g2_table, b.len(), |at| b[at])?;
        let scale = vanishing * inverse(delta);
        multiples(&mut writer, &g1_table, powers, |at| scale * point.pow([at as u64]))?;
        multiples(&mut writer, &g1_table, private.len(), |at| private[at])?;
        writer.finish()
    };
    write().map_err(SetupError::Write)?;
    Ok(VerifyingKey::new(of, &vk))
}

/// Writes multiples of a generator, a piece at a time.
fn multiples<G: ScalarMul<ScalarField = Fr, MulBase: Point>, W: Write>(
    writer: &mut Writer<W>,
    table: &BatchMulPreprocessing<G>,
    count: usize,
    factor: impl Fn(usize) -> Fr + Sync,
) -> io::Result<()> {
    for start in (0..count).step_by(PIECE) {
        let factors: Vec<Fr> = (start..count.min(start + PIECE)).into_par_iter().map(&factor).collect();
        writer.points(&table.batch_mul(&factors))?;
    }
    Ok(())
}

/// The output of BLAKE3 in the clothes of a random generator, from which `ark-groth16` draws the point
/// that the polynomials are evaluated at.
struct HashStream(blake3::OutputReader);

impl HashStream {
    fn new(circuit: CircuitId) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN.as_bytes());
        hasher.update(circuit.as_bytes());
        Self(hasher.finalize_xof())
    }
}

impl RngCore for HashStream {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.fill(bytes);
        Ok(())
    }
}
