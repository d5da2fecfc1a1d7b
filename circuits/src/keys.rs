//! Proving and verifying keys and their files.
//!
//! A file, integers little-endian, points uncompressed in the standard BLS12-381 encoding:
//!
//! ```text
//! bytes  what
//! 24     magic in ASCII, zero-padded: HPIPS-PK, HPIPS-VK, HPIPS-INSECURE-PK or HPIPS-INSECURE-VK
//! 4      version, 1
//! 32     circuit id
//! 32     BLAKE3 of the circuit's matrices (Matrices::hash)
//! 4      public inputs, n
//! 96 + 3 * 192 + (n + 1) * 96   verifying key: alpha G1, beta G2, gamma G2, delta G2, n + 1 of G1
//!        proving keys only:
//! 192    beta G1, delta G1
//! 40     five counts of 64 bits: a (G1), b (G1), b (G2), h (G1), l (G1)
//! ...    the five lists of points
//! 32     BLAKE3 of all bytes before
//! ```
//!
//! Points of a proving key are not checked to lie on the curve when it is read: that costs more than a
//! proof. The hash protects against damage, and every proof is verified before it is used.
//!
//! In reading order: the keys; `format`, their files taken apart and put together; `stored`, the proving key
//! that stays in its file.

mod format;
mod stored;

use ark_bls12_381::Bls12_381;
use hpips_types::{Blake3Hash, NetworkParams};

use crate::circuit::CircuitId;
use crate::pairing::Checking;
pub use format::{HASH_BYTES, HEAD_BYTES};
use format::{Part, ProvingHeader, Reader};
pub(crate) use format::{Point, Writer};
pub use stored::{KeySource, StoredKey};
pub(crate) use stored::{List, PIECE};

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A setup whose secrets anybody can recompute: whoever wants to can forge proofs. Test networks only.
    InsecureTest,
    /// A ceremony with at least one honest party.
    Ceremony,
}

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOf {
    /// Where it comes from.
    pub origin: Origin,
    /// The circuit and its shape.
    pub circuit: CircuitId,
    /// BLAKE3 of the circuit's matrices.
    pub constraints: Blake3Hash,
}

/// Why a key file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key file of this kind.
    #[error("not a key file of this kind")]
    Magic,
    /// A version that this program does not read.
    #[error("key file version {0} is not supported")]
    Version(u32),
    /// A test key on a network that must not trust it.
    #[error("an insecure test key is refused on network {network}")]
    Insecure {
        /// The network's name.
        network: String,
    },
    /// A key of another circuit or shape.
    #[error("key of another circuit")]
    Circuit,
    /// A key made for other constraints.
    #[error("key made for other constraints of the same circuit")]
    Constraints,
    /// Shorter or longer than its own counts say.
    #[error("key file has {got} bytes where its header promises {expected}")]
    Length {
        /// Bytes given.
        got: u64,
        /// Bytes that belong there.
        expected: u64,
    },
    /// More public inputs than any circuit has.
    #[error("key file claims {0} public inputs")]
    Inputs(u32),
    /// Damaged.
    #[error("key file is damaged: its hash differs")]
    Hash,
    /// A point that does not decode.
    #[error("malformed curve point in key file")]
    Point,
    /// The bytes are not to be had: the disk fails, or the file shrank under its reader.
    #[error("key file cannot be read: {0}")]
    Read(std::io::ErrorKind),
}

/// What verifies the proofs of one circuit.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    pub(crate) of: KeyOf,
    pub(crate) inner: ark_groth16::VerifyingKey<Bls12_381>,
    pub(crate) checking: Checking,
}

/// A proving key in memory, whole: about 600 bytes a constraint. Ceremonies change such keys; proofs are made
/// with a [`StoredKey`].
#[derive(Clone, Debug)]
pub struct ProvingKey {
    pub(crate) of: KeyOf,
    pub(crate) inner: ark_groth16::ProvingKey<Bls12_381>,
}

impl VerifyingKey {
    pub(crate) fn new(of: KeyOf, inner: &ark_groth16::VerifyingKey<Bls12_381>) -> Self {
        Self { of, checking: Checking::new(inner), inner: inner.clone() }
    }

    /// What the key belongs to.
    pub fn of(&self) -> &KeyOf {
        &self.of
    }

    /// Public inputs of the circuit.
    pub fn inputs(&self) -> usize {
        self.inner.gamma_abc_g1.len() - 1
    }

    /// BLAKE3 of the file's bytes: names the key in a network's description.
    pub fn hash(&self) -> Blake3Hash {
        Blake3Hash::new(*blake3::hash(&self.to_bytes()).as_bytes())
    }

    /// The key as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        in_memory(|writer| writer.header(&self.of, Part::Verifying, &self.inner))
    }

    /// Reads what a file begins with, [`HEAD_BYTES`] are enough: what it says it is, not whether it is whole.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    pub fn head(bytes: &[u8], circuit: CircuitId, network: &NetworkParams) -> Result<KeyOf, KeyError> {
        Reader { rest: bytes }.of(Part::Verifying, circuit, network)
    }

    /// Reads a key file for a circuit on a network.
    ///
    /// # Errors
    /// [`KeyError`] by variant. Every point is checked.
    pub fn from_bytes(bytes: &[u8], circuit: CircuitId, network: &NetworkParams) -> Result<Self, KeyError> {
        let mut reader = Reader::open(bytes)?;
        let of = reader.of(Part::Verifying, circuit, network)?;
        let vk = reader.verifying_key()?;
        reader.end()?;
        Ok(Self::new(of, &vk))
    }
}

impl ProvingKey {
    /// What the key belongs to.
    pub fn of(&self) -> &KeyOf {
        &self.of
    }

    /// The verifying key that is part of it.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::new(self.of, &self.inner.vk)
    }

    /// BLAKE3 of the file's bytes: names the key in the transcript of a ceremony.
    pub fn hash(&self) -> Blake3Hash {
        Blake3Hash::new(*format::hash(&self.to_bytes()).as_bytes())
    }

    /// The key as `ark-groth16` has it.
    pub fn points(&self) -> &ark_groth16::ProvingKey<Bls12_381> {
        &self.inner
    }

    /// The key as a file.
    ///
    /// # Panics
    /// Never for a key that this program made or read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let key = &self.inner;
        let counts = [
            key.a_query.len(),
            key.b_g1_query.len(),
            key.b_g2_query.len(),
            key.h_query.len(),
            key.l_query.len(),
        ];
        in_memory(|writer| {
            writer.proving_header(&self.of, &key.vk, [&key.beta_g1, &key.delta_g1], counts)?;
            writer.points(&key.a_query)?;
            writer.points(&key.b_g1_query)?;
            writer.points(&key.b_g2_query)?;
            writer.points(&key.h_query)?;
            writer.points(&key.l_query)
        })
    }

    /// Reads what a file begins with, [`HEAD_BYTES`] are enough: what it says it is, not whether it is whole.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    pub fn head(bytes: &[u8], circuit: CircuitId, network: &NetworkParams) -> Result<KeyOf, KeyError> {
        Reader { rest: bytes }.of(Part::Proving, circuit, network)
    }

    /// Reads a key file for a circuit on a network.
    ///
    /// # Errors
    /// [`KeyError`] by variant. Points are decoded but not checked to lie on the curve.
    pub fn from_bytes(bytes: &[u8], circuit: CircuitId, network: &NetworkParams) -> Result<Self, KeyError> {
        let mut reader = Reader::open(bytes)?;
        let header = ProvingHeader::read(&mut reader, circuit, network)?;
        header.check_length(reader.remaining() as u64)?;
        let ProvingHeader { of, vk, beta_g1, delta_g1, counts: [a, b_g1, b_g2, h, l] } = header;
        let inner = ark_groth16::ProvingKey {
            vk,
            beta_g1,
            delta_g1,
            a_query: reader.points(a)?,
            b_g1_query: reader.points(b_g1)?,
            b_g2_query: reader.points(b_g2)?,
            h_query: reader.points(h)?,
            l_query: reader.points(l)?,
        };
        reader.end()?;
        Ok(Self { of, inner })
    }
}

/// A file written to memory, with its hash.
fn in_memory(write: impl FnOnce(&mut Writer<&mut Vec<u8>>) -> std::io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer).and_then(|()| writer.finish()).expect("writing to memory does not fail");
    bytes
}

#[cfg(test)]
mod tests;
