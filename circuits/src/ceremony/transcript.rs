//! What a ceremony leaves behind: one entry a contribution, each naming the hash of the one before.
//!
//! ```text
//! bytes  what
//! 24     magic in ASCII, zero-padded: HPIPS-CEREMONY
//! 4      version, 1
//! 32     BLAKE3 of the first proving key's file
//! 4      entries, n
//! n * 544
//! 32     BLAKE3 of all bytes before
//!
//! an entry, points compressed in the standard BLS12-381 encoding:
//! 32     hash of the entry before; of the first key for the first one
//! 144    delta before: G1, G2
//! 144    delta after: G1, G2
//! 32     BLAKE3 of the resulting proving key's file
//! 96     s, d s (G1)
//! 96     d r (G2), where r is the hash of the 448 bytes before
//! ```

use ark_bls12_381::{G1Affine, G1Projective, G2Affine};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use hpips_types::Blake3Hash;

use super::Secret;
use super::knowledge::challenge;
use crate::keys::ProvingKey;

/// Most entries of a transcript, 557 KB: ceremonies of the field had some hundred parties. Raising it costs
/// verifiers 13 ms an entry, measured on one core.
pub const ENTRIES_MAX: usize = 1024;

const MAGIC: &[u8; 24] = b"HPIPS-CEREMONY\0\0\0\0\0\0\0\0\0\0";
const VERSION: u32 = 1;
const HASH_BYTES: usize = 32;
const G1_BYTES: usize = 48;
const G2_BYTES: usize = 96;
const HEADER_BYTES: usize = MAGIC.len() + 4 + HASH_BYTES + 4;
const ENTRY_BYTES: usize = 2 * HASH_BYTES + 4 * G1_BYTES + 3 * G2_BYTES;

/// Why bytes are no transcript.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a transcript.
    #[error("not a transcript of a ceremony")]
    Magic,
    /// A version that this program does not read.
    #[error("transcript version {0} is not supported")]
    Version(u32),
    /// More entries than [`ENTRIES_MAX`].
    #[error("{0} entries where at most {ENTRIES_MAX} are allowed")]
    Count(u32),
    /// Shorter or longer than its count says.
    #[error("transcript has {got} bytes where {expected} belong")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes that belong there.
        expected: usize,
    },
    /// Damaged.
    #[error("transcript is damaged: its hash differs")]
    Hash,
    /// Not the canonical encoding of a point of the right subgroup.
    #[error("malformed curve point in entry {entry}")]
    Point {
        /// 0-based index of the entry.
        entry: usize,
    },
}

/// Delta in both groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) g1: G1Affine,
    pub(super) g2: G2Affine,
}

impl Delta {
    pub(super) fn of(key: &ProvingKey) -> Self {
        Self { g1: key.inner.delta_g1, g2: key.inner.vk.delta_g2 }
    }
}

/// One contribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) previous: Blake3Hash,
    pub(super) before: Delta,
    pub(super) after: Delta,
    pub(super) parameters: Blake3Hash,
    /// A point of the party's choice.
    pub(super) s: G1Affine,
    /// `s` scaled by the factor.
    pub(super) s_scaled: G1Affine,
    /// The challenge scaled by the factor.
    pub(super) r_scaled: G2Affine,
}

impl Entry {
    /// The entry of whoever made `after` from a key with `before`.
    pub(super) fn new(previous: Blake3Hash, before: Delta, after: &ProvingKey, secret: &Secret) -> Self {
        let s = G1Projective::generator() * *secret.base;
        let mut entry = Self {
            previous,
            before,
            after: Delta::of(after),
            parameters: after.hash(),
            s: s.into_affine(),
            s_scaled: (s * *secret.factor).into_affine(),
            r_scaled: G2Affine::identity(),
        };
        entry.r_scaled = (entry.challenge() * *secret.factor).into_affine();
        entry
    }

    /// Hash of the whole entry: what the next one names, and what a party publishes.
    pub fn hash(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/ceremony-entry/v1");
        hasher.update(&self.to_bytes());
        Blake3Hash::new(*hasher.finalize().as_bytes())
    }

    /// BLAKE3 of the file of the proving key that came out.
    pub fn parameters(&self) -> Blake3Hash {
        self.parameters
    }

    pub(super) fn challenge(&self) -> G2Affine {
        challenge(&self.claim())
    }

    /// Everything but the answer to the challenge, which therefore cannot be moved to another claim.
    fn claim(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        bytes.extend(self.previous.as_bytes());
        for delta in [&self.before, &self.after] {
            put(&mut bytes, &delta.g1);
            put(&mut bytes, &delta.g2);
        }
        bytes.extend(self.parameters.as_bytes());
        put(&mut bytes, &self.s);
        put(&mut bytes, &self.s_scaled);
        bytes
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.claim();
        put(&mut bytes, &self.r_scaled);
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        Ok(Self {
            previous: Blake3Hash::new(reader.array()?),
            before: Delta { g1: reader.point(G1_BYTES)?, g2: reader.point(G2_BYTES)? },
            after: Delta { g1: reader.point(G1_BYTES)?, g2: reader.point(G2_BYTES)? },
            parameters: Blake3Hash::new(reader.array()?),
            s: reader.point(G1_BYTES)?,
            s_scaled: reader.point(G1_BYTES)?,
            r_scaled: reader.point(G2_BYTES)?,
        })
    }
}

/// The contributions to one key, in order. Nothing about them is checked but their form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub(super) initial: Blake3Hash,
    pub(super) entries: Vec<Entry>,
}

impl Transcript {
    /// The empty transcript of a ceremony that starts from this key.
    pub fn new(initial: &ProvingKey) -> Self {
        Self { initial: initial.hash(), entries: Vec::new() }
    }

    /// BLAKE3 of the first key's file.
    pub fn initial(&self) -> Blake3Hash {
        self.initial
    }

    /// The contributions, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the next entry names: the hash of the last one, or of the first key.
    pub fn tip(&self) -> Blake3Hash {
        self.entries.last().map_or_else(|| self.start(), Entry::hash)
    }

    /// BLAKE3 of the file of the proving key that the last contribution left.
    pub fn parameters(&self) -> Blake3Hash {
        self.entries.last().map_or(self.initial, Entry::parameters)
    }

    /// What the first entry names.
    pub(super) fn start(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new_derive_key("hpips/circuits/ceremony-start/v1");
        hasher.update(self.initial.as_bytes());
        Blake3Hash::new(*hasher.finalize().as_bytes())
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The transcript as a file.
    ///
    /// # Panics
    /// Never: no transcript has more than [`ENTRIES_MAX`] entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.initial.as_bytes());
        let count = u32::try_from(self.entries.len()).expect("entries are bounded");
        bytes.extend(count.to_le_bytes());
        for entry in &self.entries {
            bytes.extend(entry.to_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        bytes
    }

    /// Reads a transcript's file: every transcript has one encoding. About 1.4 ms an entry.
    ///
    /// # Errors
    /// [`DecodeError`] by variant. Whether the contributions hold is for
    /// [`verify_transcript`](super::verify_transcript).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let least = HEADER_BYTES + HASH_BYTES;
        if bytes.len() < least {
            return Err(DecodeError::Length { got: bytes.len(), expected: least });
        }
        let mut reader = Reader { rest: bytes, whole: bytes.len() };
        if reader.array()? != *MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = u32::from_le_bytes(reader.array()?);
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let initial = Blake3Hash::new(reader.array()?);
        let stated = u32::from_le_bytes(reader.array()?);
        let count = usize::try_from(stated).ok().filter(|&count| count <= ENTRIES_MAX);
        let count = count.ok_or(DecodeError::Count(stated))?;
        // Checked before anything is hashed or allocated for a count that the file does not have.
        let expected = least + count * ENTRY_BYTES;
        if bytes.len() != expected {
            return Err(DecodeError::Length { got: bytes.len(), expected });
        }
        let (body, hash) = bytes.split_at(expected - HASH_BYTES);
        if blake3::hash(body).as_bytes() != hash {
            return Err(DecodeError::Hash);
        }
        let entries = (0..count)
            .map(|entry| {
                Entry::read(&mut reader).map_err(|error| match error {
                    EntryError::Cut(error) => error,
                    EntryError::Point => DecodeError::Point { entry },
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { initial, entries })
    }
}

/// Why an entry does not decode, before its index is known.
enum EntryError {
    Cut(DecodeError),
    Point,
}

impl From<DecodeError> for EntryError {
    fn from(error: DecodeError) -> Self {
        Self::Cut(error)
    }
}

/// Takes a file apart from the front; whatever is missing is an error, never a panic.
struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let missing = DecodeError::Length {
            got: self.whole,
            expected: self.whole.saturating_add(count.saturating_sub(self.rest.len())),
        };
        let (head, rest) = self.rest.split_at_checked(count).ok_or(missing)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as taken"))
    }

    fn point<P: CanonicalDeserialize + CanonicalSerialize>(&mut self, count: usize) -> Result<P, EntryError> {
        let bytes = self.take(count)?;
        let point = P::deserialize_compressed(bytes).map_err(|_| EntryError::Point)?;
        let mut canonical = Vec::with_capacity(count);
        put(&mut canonical, &point);
        if canonical == bytes { Ok(point) } else { Err(EntryError::Point) }
    }
}

fn put(bytes: &mut Vec<u8>, point: &impl CanonicalSerialize) {
    point.serialize_compressed(bytes).expect("writing to memory does not fail");
}
