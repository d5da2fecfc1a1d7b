//! Key files taken apart and put together.

use std::io::{self, Write};

use ark_bls12_381::{Bls12_381, G1Affine, G2Affine, g1, g2};
use ark_ec::short_weierstrass::Affine;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use hpips_types::{Blake3Hash, NetworkParams};

use super::{KeyError, KeyOf, Origin};
use crate::circuit::CircuitId;

/// File version.
const VERSION: u32 = 1;
const MAGIC_BYTES: usize = 24;
/// Bytes of a file that say what it is: magic, version, circuit and constraints.
pub const HEAD_BYTES: usize = MAGIC_BYTES + 4 + 32 + 32;
/// Bytes of the hash that a file ends with.
pub const HASH_BYTES: usize = 32;
const G1_BYTES: usize = 96;
const G2_BYTES: usize = 192;
/// More public inputs than any circuit here has.
const INPUTS_MAX: u32 = 16;
/// Bytes before the first list of a proving key, at most.
pub(super) const HEADER_BYTES_MAX: usize =
    HEAD_BYTES + 4 + (INPUTS_MAX as usize + 2 + 2) * G1_BYTES + 3 * G2_BYTES + 5 * 8;
/// The shortest file that has a hash to check.
pub(super) const FILE_BYTES_MIN: usize = MAGIC_BYTES + HASH_BYTES;

#[derive(Clone, Copy)]
pub(super) enum Part {
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

/// A point as it lies in a key file.
pub(crate) trait Point: CanonicalSerialize + CanonicalDeserialize + Send + Sync {
    /// Bytes of its encoding.
    const BYTES: usize;

    /// Decodes a point without looking whether it lies on the curve.
    fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::deserialize_uncompressed_unchecked(bytes).map_err(|_| KeyError::Point)
    }
}

impl Point for Affine<g1::Config> {
    const BYTES: usize = G1_BYTES;
}

impl Point for Affine<g2::Config> {
    const BYTES: usize = G2_BYTES;
}

/// Writes a key file from front to end and ends it with the hash of everything written.
pub(crate) struct Writer<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, hasher: blake3::Hasher::new() }
    }

    /// Hashed on the current thread pool: key files are large.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update_rayon(bytes);
        self.out.write_all(bytes)
    }

    pub(super) fn header(
        &mut self,
        of: &KeyOf,
        part: Part,
        vk: &ark_groth16::VerifyingKey<Bls12_381>,
    ) -> io::Result<()> {
        let mut bytes = magic(part, of.origin).to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(of.circuit.as_bytes());
        bytes.extend(of.constraints.as_bytes());
        let inputs = u32::try_from(vk.gamma_abc_g1.len() - 1).expect("a circuit has few public inputs");
        bytes.extend(inputs.to_le_bytes());
        self.put(&bytes)?;
        self.points(&[vk.alpha_g1])?;
        self.points(&[vk.beta_g2, vk.gamma_g2, vk.delta_g2])?;
        self.points(&vk.gamma_abc_g1)
    }

    /// Everything before the lists: `singles` are beta and delta in G1, `counts` the lengths of the lists.
    pub(crate) fn proving_header(
        &mut self,
        of: &KeyOf,
        vk: &ark_groth16::VerifyingKey<Bls12_381>,
        singles: [&G1Affine; 2],
        counts: [usize; 5],
    ) -> io::Result<()> {
        self.header(of, Part::Proving, vk)?;
        self.points(&singles.map(|point| *point))?;
        counts.iter().try_for_each(|count| self.put(&(*count as u64).to_le_bytes()))
    }

    /// Points of a list; a list may come in pieces.
    pub(crate) fn points<P: Point>(&mut self, points: &[P]) -> io::Result<()> {
        // Pieces, so that a list of gigabytes needs no second copy of itself.
        for piece in points.chunks(1 << 16) {
            let mut bytes = Vec::with_capacity(piece.len() * P::BYTES);
            for point in piece {
                point.serialize_uncompressed(&mut bytes).expect("writing to memory does not fail");
            }
            self.put(&bytes)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(self.hasher.finalize().as_bytes())?;
        self.out.flush()
    }
}

/// BLAKE3 on the current thread pool: key files are large.
pub(super) fn hash(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(bytes);
    hasher.finalize()
}

/// What stands before the lists of a proving key.
pub(super) struct ProvingHeader {
    pub(super) of: KeyOf,
    pub(super) vk: ark_groth16::VerifyingKey<Bls12_381>,
    pub(super) beta_g1: G1Affine,
    pub(super) delta_g1: G1Affine,
    /// Lengths of the lists: a, b in G1, b in G2, h, l.
    pub(super) counts: [u64; 5],
}

impl ProvingHeader {
    pub(super) fn read(
        reader: &mut Reader<'_>,
        circuit: CircuitId,
        network: &NetworkParams,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            of: reader.of(Part::Proving, circuit, network)?,
            vk: reader.verifying_key()?,
            beta_g1: reader.point()?,
            delta_g1: reader.point()?,
            counts: [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?],
        })
    }

    /// Whether the lists have the length that the counts say: before anything is allocated for them.
    pub(super) fn check_length(&self, got: u64) -> Result<(), KeyError> {
        let [a, b_g1, b_g2, h, l] = self.counts;
        let expected = [a, b_g1, h, l]
            .iter()
            .try_fold(0u64, |sum, count| sum.checked_add(count.checked_mul(G1_BYTES as u64)?))
            .and_then(|sum| sum.checked_add(b_g2.checked_mul(G2_BYTES as u64)?))
            .unwrap_or(u64::MAX);
        if got == expected { Ok(()) } else { Err(KeyError::Length { got, expected }) }
    }
}

/// Takes a file apart from the front; whatever is missing is an error, never a panic.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the hash and leaves everything before it.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let Some(end) = bytes.len().checked_sub(HASH_BYTES).filter(|_| bytes.len() >= FILE_BYTES_MIN) else {
            return Err(KeyError::Length { got: bytes.len() as u64, expected: FILE_BYTES_MIN as u64 });
        };
        let (rest, stated) = bytes.split_at(end);
        if hash(rest).as_bytes() != stated {
            return Err(KeyError::Hash);
        }
        Ok(Self { rest })
    }

    /// Over the beginning of a file whose hash was checked.
    pub(super) fn checked(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], KeyError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(KeyError::Length { got: self.rest.len() as u64, expected: count as u64 })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as taken"))
    }

    fn u64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn of(
        &mut self,
        part: Part,
        circuit: CircuitId,
        network: &NetworkParams,
    ) -> Result<KeyOf, KeyError> {
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

    /// Every point checked.
    pub(super) fn verifying_key(&mut self) -> Result<ark_groth16::VerifyingKey<Bls12_381>, KeyError> {
        let inputs = u32::from_le_bytes(self.array()?);
        if inputs > INPUTS_MAX {
            return Err(KeyError::Inputs(inputs));
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

    fn point<P: Point>(&mut self) -> Result<P, KeyError> {
        P::decode(self.take(P::BYTES)?)
    }

    pub(super) fn points<P: Point>(&mut self, count: u64) -> Result<Vec<P>, KeyError> {
        (0..count).map(|_| self.point()).collect()
    }

    pub(super) fn end(self) -> Result<(), KeyError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(KeyError::Length { got: self.rest.len() as u64, expected: 0 })
        }
    }
}
