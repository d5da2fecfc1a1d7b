//! The statements of `proofs` as rank-1 constraints, their keys, and the proofs of them: Groth16 over
//! BLS12-381.
//!
//! Two circuits: [`window`] (challenged leaves open in a proving set) and [`activation`] (a batch of sectors
//! is sealed correctly). Each mirrors the native check in `proofs`, constraint by constraint; its module says
//! in words what each constraint demands. Which nodes are challenged and who their parents are is computed
//! natively by the verifier, hashed into one public input and matched in the circuit.
//!
//! Pure: keys are bytes behind a [`KeySource`], randomness is an argument, work runs on the current rayon pool. Files, threads and
//! queues are those of `prover`. In reading order:
//!
//! - [`builder`], [`matrices`]: constraints written once, run twice;
//! - [`gadget`]: Poseidon2, Merkle openings, bits;
//! - [`window`], [`activation`], [`mod@assign`]: the circuits, and values for a statement and its witness;
//! - [`circuit`]: what names a circuit of one shape;
//! - [`keys`], [`setup`]: key files, and the insecure setup of test networks;
//! - [`ceremony`]: contributions to a key by many parties, and the check of all of them;
//! - `qap`, `msm`: constraints as polynomials, and sums of many points that come in pieces;
//! - [`prove`], `pairing`, [`verify`], [`verifier`]: one proof; many checked at once; the trait the ledger knows.
//! - [`json`]: proofs and verifying keys for other programs.
//!
//! ```no_run
//! # use hpips_circuits::{StoredKey, Witness, assign, circuit, insecure_key, prove::{Blinding, create}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (statement, witness): (hpips_proofs::Statement, Witness) = todo!();
//! # let randomness = [0; 128];
//! let params = hpips_types::NetworkParams::dev();
//! let shape = hpips_proofs::Shape::of(&params)?;
//! let matrices = circuit::matrices(statement.kind(), &shape);
//! let (id, mut file) = (circuit::id(statement.kind(), &shape), Vec::new());
//! insecure_key(id, &matrices, &params, &mut file)?;
//! let key = StoredKey::open(file, id, &params)?;
//! let values = assign(&statement, &witness)?;
//! let proof = create(&key, &matrices, &values, &Blinding::from_random(&randomness))?;
//! # Ok(()) }
//! ```

#![deny(unsafe_code)]

pub mod activation;
pub mod assign;
pub mod builder;
pub mod ceremony;
pub mod circuit;
pub mod gadget;
pub mod json;
pub mod keys;
pub mod matrices;
mod msm;
mod pairing;
pub mod prove;
mod qap;
pub mod setup;
pub mod verifier;
pub mod verify;
pub mod window;

pub use assign::{AssignError, Witness, assign};
pub use circuit::CircuitId;
pub use keys::{KeyError, KeyOf, KeySource, Origin, ProvingKey, StoredKey, VerifyingKey};
pub use matrices::Matrices;
pub use prove::proving_bytes;
pub use setup::{SetupError, insecure_key};
pub use verifier::{Verifier, VerifyError};
pub use verify::ProofError;

#[cfg(test)]
mod testing;
