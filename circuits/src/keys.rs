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
//! Points of a proving key are not checked to lie on the curve when it is loaded: that costs more than a
//! proof. The hash protects against damage, and every proof is verified before it is used.

use ark_bls12_381::{Bls12_381, G1Affine, G2Affine};
use ark_groth16::PreparedVerifyingKey;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use hpips_types::{Blake3Hash, NetworkParams};

use crate::circuit::CircuitId;

/// File version.
const VERSION: u32 = 1;
const MAGIC_BYTES: usize = 24;
const HASH_BYTES: usize = 32;
const G1_BYTES: usize = 96;
const G2_BYTES: usize = 192;
/// More public inputs than any circuit here has.
const INPUTS_MAX: usize = 16;

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
        got: usize,
        /// Bytes that belong there.
        expected: usize,
    },
    /// Damaged.
    #[error("key file is damaged: its hash differs")]
    Hash,
    /// A point that does not decode.
    #[error("malformed curve point in key file")]
    Point,
}

/// What verifies the proofs of one circuit.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    pub(crate) of: KeyOf,
    pub(crate) prepared: PreparedVerifyingKey<Bls12_381>,
}

/// What makes the proofs of one circuit; about 600 bytes of memory a constraint.
#[derive(Clone, Debug)]
pub struct ProvingKey {
    pub(crate) of: KeyOf,
    pub(crate) inner: ark_groth16::ProvingKey<Bls12_381>,
}

impl VerifyingKey {
    pub(crate) fn new(of: KeyOf, inner: &ark_groth16::VerifyingKey<Bls12_381>) -> Self {
        Self { of, prepared: ark_groth16::prepare_verifying_key(inner) }
    }

    /// What the key belongs to.
    pub fn of(&self) -> &KeyOf {
        &self.of
    }

    /// Public inputs of the circuit.
    pub fn inputs(&self) -> usize {
        self.prepared.vk.gamma_abc_g1.len() - 1
    }

    /// BLAKE3 of the file's bytes: names the key in a network's description.
    pub fn hash(&self) -> Blake3Hash {
        Blake3Hash::new(*blake3::hash(&self.to_bytes()).as_bytes())
    }

    /// The key as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(&self.of, Part::Verifying, &self.prepared.vk);
        seal(&mut bytes);
        bytes
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
        Blake3Hash::new(*hash(&self.to_bytes()).as_bytes())
    }

    /// The key as a file.
    ///
    /// # Panics
    /// Never for a key that this program made or read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let key = &self.inner;
        let mut bytes = header(&self.of, Part::Proving, &key.vk);
        put(&mut bytes, &key.beta_g1);
        put(&mut bytes, &key.delta_g1);
        let counts = [
            key.a_query.len(),
            key.b_g1_query.len(),
            key.b_g2_query.len(),
            key.h_query.len(),
            key.l_query.len(),
        ];
        for count in counts {
            bytes.extend((count as u64).to_le_bytes());
        }
        for point in key.a_query.iter().chain(&key.b_g1_query) {
            put(&mut bytes, point);
        }
        for point in &key.b_g2_query {
            put(&mut bytes, point);
        }
        for point in key.h_query.iter().chain(&key.l_query) {
            put(&mut bytes, point);
        }
        seal(&mut bytes);
        bytes
    }

    /// Reads a key file for a circuit on a network.
    ///
    /// # Errors
    /// [`KeyError`] by variant. Points are decoded but not checked to lie on the curve.
    pub fn from_bytes(bytes: &[u8], circuit: CircuitId, network: &NetworkParams) -> Result<Self, KeyError> {
        let mut reader = Reader::open(bytes)?;
        let of = reader.of(Part::Proving, circuit, network)?;
        let vk = reader.verifying_key()?;
        let beta_g1 = reader.g1()?;
        let delta_g1 = reader.g1()?;
        let [a, b_g1, b_g2, h, l] =
            [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
        // Checked before anything is allocated for a count that the file does not have.
        let expected = [a, b_g1, h, l]
            .iter()
            .try_fold(0u64, |sum, count| sum.checked_add(count.checked_mul(G1_BYTES as u64)?))
            .and_then(|sum| sum.checked_add(b_g2.checked_mul(G2_BYTES as u64)?))
            .and_then(|sum| usize::try_from(sum).ok())
            .unwrap_or(usize::MAX);
        if expected != reader.rest.len() {
            return Err(KeyError::Length { got: reader.rest.len(), expected });
        }
        let inner = ark_groth16::ProvingKey {
            vk,
            beta_g1,
            delta_g1,
            a_query: reader.g1_list(a)?,
            b_g1_query: reader.g1_list(b_g1)?,
            b_g2_query: reader.g2_list(b_g2)?,
            h_query: reader.g1_list(h)?,
            l_query: reader.g1_list(l)?,
        };
        reader.end()?;
        Ok(Self { of, inner })
    }
}

#[derive(Clone, Copy)]
enum Part {
    Proving,
    Verifying,
}

fn magic(part: Part, origin: Origin) -> [u8; MAGIC_BYTES] {
    let text: &[u8] = match (part, origin) {
        (Part::Proving, Origin::Ceremony) => b"HPIPS-PK",
        (Part::Verifying, Origin::Ceremony) => b"HPIPS-VK",
        (Part::Proving, Origin::InsecureTest) => b"HPIPS-INSECURE-PK",
        (Part::Verifying, Origin::InsecureTest) => b"HPIPS-INSECURE-VK",
    };
    let mut magic = [0; MAGIC_BYTES];
    magic[..text.len()].copy_from_slice(text);
    magic
}

fn put(bytes: &mut Vec<u8>, point: &impl CanonicalSerialize) {
    point.serialize_uncompressed(bytes).expect("writing to memory does not fail");
}

fn header(of: &KeyOf, part: Part, vk: &ark_groth16::VerifyingKey<Bls12_381>) -> Vec<u8> {
    let mut bytes = magic(part, of.origin).to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(of.circuit.as_bytes());
    bytes.extend(of.constraints.as_bytes());
    let inputs = u32::try_from(vk.gamma_abc_g1.len() - 1).expect("a circuit has few public inputs");
    bytes.extend(inputs.to_le_bytes());
    put(&mut bytes, &vk.alpha_g1);
    for point in [&vk.beta_g2, &vk.gamma_g2, &vk.delta_g2] {
        put(&mut bytes, point);
    }
    for point in &vk.gamma_abc_g1 {
        put(&mut bytes, point);
    }
    bytes
}

fn seal(bytes: &mut Vec<u8>) {
    let hash = hash(bytes);
    bytes.extend(hash.as_bytes());
}

/// BLAKE3 on the current thread pool: key files are large.
fn hash(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(bytes);
    hasher.finalize()
}

/// Takes a file apart from the front; whatever is missing is an error, never a panic.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the hash and leaves everything before it.
    fn open(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let least = MAGIC_BYTES + HASH_BYTES;
        let Some(end) = bytes.len().checked_sub(HASH_BYTES).filter(|_| bytes.len() >= least) else {
            return Err(KeyError::Length { got: bytes.len(), expected: least });
        };
        let (rest, stated) = bytes.split_at(end);
        if hash(rest).as_bytes() != stated {
            return Err(KeyError::Hash);
        }
        Ok(Self { rest })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], KeyError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(KeyError::Length { got: self.rest.len(), expected: count })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as taken"))
    }

    fn u64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn of(&mut self, part: Part, circuit: CircuitId, network: &NetworkParams) -> Result<KeyOf, KeyError> {
        let found: [u8; MAGIC_BYTES] = self.array()?;
        let origin = [Origin::Ceremony, Origin::InsecureTest]
            .into_iter()
            .find(|&origin| magic(part, origin) == found)
            .ok_or(KeyError::Magic)?;
        if origin == Origin::InsecureTest && !network.is_test() {
            return Err(KeyError::Insecure { network: network.name.clone() });
        }
        let version = u32::from_le_bytes(self.array()?);
        if version != VERSION {
            return Err(KeyError::Version(version));
        }
        if self.array()? != *circuit.as_bytes() {
            return Err(KeyError::Circuit);
        }
        Ok(KeyOf { origin, circuit, constraints: Blake3Hash::new(self.array()?) })
    }

    fn verifying_key(&mut self) -> Result<ark_groth16::VerifyingKey<Bls12_381>, KeyError> {
        let inputs = usize::try_from(u32::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
        if inputs > INPUTS_MAX {
            return Err(KeyError::Length { got: self.rest.len(), expected: usize::MAX });
        }
        let g1 = |bytes: &[u8]| G1Affine::deserialize_uncompressed(bytes).map_err(|_| KeyError::Point);
        let g2 = |bytes: &[u8]| G2Affine::deserialize_uncompressed(bytes).map_err(|_| KeyError::Point);
        Ok(ark_groth16::VerifyingKey {
            alpha_g1: g1(self.take(G1_BYTES)?)?,
            beta_g2: g2(self.take(G2_BYTES)?)?,
            gamma_g2: g2(self.take(G2_BYTES)?)?,
            delta_g2: g2(self.take(G2_BYTES)?)?,
            gamma_abc_g1: (0..=inputs).map(|_| g1(self.take(G1_BYTES)?)).collect::<Result<_, _>>()?,
        })
    }

    fn g1(&mut self) -> Result<G1Affine, KeyError> {
        G1Affine::deserialize_uncompressed_unchecked(self.take(G1_BYTES)?).map_err(|_| KeyError::Point)
    }

    fn g2(&mut self) -> Result<G2Affine, KeyError> {
        G2Affine::deserialize_uncompressed_unchecked(self.take(G2_BYTES)?).map_err(|_| KeyError::Point)
    }

    fn g1_list(&mut self, count: u64) -> Result<Vec<G1Affine>, KeyError> {
        (0..count).map(|_| self.g1()).collect()
    }

    fn g2_list(&mut self, count: u64) -> Result<Vec<G2Affine>, KeyError> {
        (0..count).map(|_| self.g2()).collect()
    }

    fn end(self) -> Result<(), KeyError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(KeyError::Length { got: self.rest.len(), expected: 0 })
        }
    }
}

#[cfg(test)]
mod tests;
