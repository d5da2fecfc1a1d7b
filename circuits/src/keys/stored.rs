//! The proving key that stays in its file.
//!
//! A proof goes through each list of points once, in order: pieces are read, decoded and dropped. What is
//! needed soon again stays in the system's page cache, which gives it up when memory runs short. The file is
//! read at offsets rather than mapped: decoding copies the points anyway, a file that shrinks is then an
//! error instead of a signal, and nothing is unsafe.

use std::io;
use std::ops::Range;

use ark_bls12_381::{Bls12_381, G1Affine};
use hpips_types::NetworkParams;
use rayon::prelude::*;

use super::format::{FILE_BYTES_MIN, HASH_BYTES, HEADER_BYTES_MAX, Point, ProvingHeader, Reader};
use super::{KeyError, KeyOf, VerifyingKey};
use crate::circuit::CircuitId;

/// Points that are read and decoded at once: 6 MB of G1 and 12 MB of G2. Enough work for every thread between
/// two reads, and little beside the vectors of a proof.
pub(crate) const PIECE: usize = 1 << 16;

/// Bytes hashed at once when a file is opened.
const HASHED: usize = 4 << 20;

/// Where the bytes of a key file lie.
pub trait KeySource: Send + Sync {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// When not all of them are to be had.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A file in memory.
impl KeySource for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The lists of a proving key, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// A at the secret point for each variable, in G1.
    A,
    /// B, in G1.
    BG1,
    /// B, in G2.
    BG2,
    /// Powers of the secret point times the vanishing polynomial over delta, in G1.
    H,
    /// What each witness variable adds to C, over delta, in G1.
    L,
}

/// What makes the proofs of one circuit: little more than a verifying key in memory, the rest in its file.
#[derive(Clone, Debug)]
pub struct StoredKey<S> {
    of: KeyOf,
    pub(crate) vk: ark_groth16::VerifyingKey<Bls12_381>,
    pub(crate) beta_g1: G1Affine,
    pub(crate) delta_g1: G1Affine,
    /// Offset in the file and count of points of each list.
    lists: [(u64, usize); 5],
    source: S,
}

impl<S: KeySource> StoredKey<S> {
    /// Opens a key file for a circuit on a network: reads all of it once to check its hash, 4 MiB at a time,
    /// on the current rayon pool.
    ///
    /// # Errors
    /// [`KeyError`] by variant. Points of the lists are looked at only when a proof needs them.
    pub fn open(source: S, circuit: CircuitId, network: &NetworkParams) -> Result<Self, KeyError> {
        let bytes = source.bytes();
        if bytes < FILE_BYTES_MIN as u64 {
            return Err(KeyError::Length { got: bytes, expected: FILE_BYTES_MIN as u64 });
        }
        let end = bytes - HASH_BYTES as u64;
        check_hash(&source, end)?;
        let mut first = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX)];
        read(&source, 0, &mut first)?;
        let mut reader = Reader::checked(&first);
        let header = ProvingHeader::read(&mut reader, circuit, network)?;
        let start = (first.len() - reader.remaining()) as u64;
        header.check_length(end - start)?;
        let ProvingHeader { of, vk, beta_g1, delta_g1, counts } = header;
        let mut offset = start;
        let lists = [List::A, List::BG1, List::BG2, List::H, List::L].map(|list| {
            let count = counts[list as usize];
            let place = (offset, usize::try_from(count).unwrap_or(usize::MAX));
            offset += count * list.point_bytes();
            place
        });
        Ok(Self { of, vk, beta_g1, delta_g1, lists, source })
    }

    /// What the key belongs to.
    pub fn of(&self) -> &KeyOf {
        &self.of
    }

    /// The verifying key that is part of it.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::new(self.of, &self.vk)
    }

    /// Points of a list.
    pub(crate) fn count(&self, list: List) -> usize {
        self.lists[list as usize].1
    }

    /// Reads and decodes points of a list, on the current rayon pool.
    ///
    /// # Panics
    /// For a range that the list does not have and for the wrong group.
    pub(crate) fn points<P: Point>(&self, list: List, range: Range<usize>) -> Result<Vec<P>, KeyError> {
        let (offset, count) = self.lists[list as usize];
        assert!(range.end <= count && P::BYTES as u64 == list.point_bytes(), "points of this list");
        let mut bytes = vec![0; range.len() * P::BYTES];
        read(&self.source, offset + range.start as u64 * P::BYTES as u64, &mut bytes)?;
        bytes.par_chunks_exact(P::BYTES).map(P::decode).collect()
    }
}

impl List {
    fn point_bytes(self) -> u64 {
        let bytes = match self {
            Self::A | Self::BG1 | Self::H | Self::L => G1Affine::BYTES,
            Self::BG2 => ark_bls12_381::G2Affine::BYTES,
        };
        bytes as u64
    }
}

fn read(source: &impl KeySource, offset: u64, into: &mut [u8]) -> Result<(), KeyError> {
    source.read_at(offset, into).map_err(|error| KeyError::Read(error.kind()))
}

/// Whether the bytes before `end` have the hash that stands behind them.
fn check_hash(source: &impl KeySource, end: u64) -> Result<(), KeyError> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; HASHED];
    let mut offset = 0;
    while offset < end {
        let length = usize::try_from(end - offset).unwrap_or(HASHED).min(HASHED);
        read(source, offset, &mut piece[..length])?;
        hasher.update_rayon(&piece[..length]);
        offset += length as u64;
    }
    let mut stated = [0; HASH_BYTES];
    read(source, end, &mut stated)?;
    if *hasher.finalize().as_bytes() == stated { Ok(()) } else { Err(KeyError::Hash) }
}
