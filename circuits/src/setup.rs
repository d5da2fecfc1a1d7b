//! The insecure setup of test networks.
//!
//! A Groth16 key is made from secrets that nobody may know afterwards. Here they are derived from the
//! circuit's name, so every node makes the same key and needs nobody's help, and **anybody can forge
//! proofs**. Real networks take their keys from a ceremony; this module refuses to serve them.

use ark_bls12_381::{Bls12_381, G1Projective, G2Projective};
use ark_ec::PrimeGroup;
use ark_groth16::Groth16;
use ark_std::rand::{Error, RngCore};
use hpips_crypto::field;
use hpips_types::NetworkParams;

use crate::circuit::CircuitId;
use crate::keys::{KeyOf, Origin, ProvingKey};
use crate::matrices::Matrices;

/// Domain of everything derived here; frozen, for keys depend on it.
const DOMAIN: &str = "HPIPS INSECURE TEST SETUP v1";

/// Why no test key is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
}

/// Makes the insecure proving key of a circuit: the same bytes on every machine.
///
/// Costs about 0.13 ms of a core for each constraint, on the current rayon pool.
///
/// # Errors
/// [`SetupError`] by variant.
pub fn insecure_key(
    circuit: CircuitId,
    matrices: &Matrices,
    network: &NetworkParams,
) -> Result<ProvingKey, SetupError> {
    if !network.is_test() {
        return Err(SetupError::NotATestNetwork { network: network.name.clone() });
    }
    let secret = |name: &[u8]| field::from_hash(DOMAIN, &[circuit.as_bytes(), name]);
    let inner = Groth16::<Bls12_381>::generate_parameters_with_qap(
        matrices,
        secret(b"alpha"),
        secret(b"beta"),
        secret(b"gamma"),
        secret(b"delta"),
        G1Projective::generator(),
        G2Projective::generator(),
        &mut HashStream::new(circuit),
    )
    .map_err(|_| SetupError::TooLarge { constraints: matrices.constraints() })?;
    let of = KeyOf { origin: Origin::InsecureTest, circuit, constraints: matrices.hash() };
    Ok(ProvingKey { of, inner })
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
