//! Tables of the index and the encodings of their keys and values (docs/formats/store.md, section 3).

use hpips_types::Cid;
use redb::TableDefinition;

/// Where each block is: multihash, [`Kind`], container -> [`Row`].
///
/// The CID's multihash is the key, so that a block is found under every CID that names the same bytes.
pub(crate) const BLOCKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blocks-1");
/// Pack number -> how far the index covers it, state, bytes of records that are alive.
pub(crate) const PACKS: TableDefinition<'_, u64, (u64, u8, u64)> = TableDefinition::new("packs-1");
/// Deal and slot -> piece container.
pub(crate) const PIECE_KEYS: TableDefinition<'_, (u64, u16), u64> = TableDefinition::new("piece-keys-1");
/// Path of a user's file -> its container.
pub(crate) const USER_FILES: TableDefinition<'_, &[u8], u64> = TableDefinition::new("user-files-1");
/// Container of a piece or user file -> its path.
pub(crate) const FILES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("files-1");
/// Container, multihash -> nothing: the rows to remove with a piece or user file.
pub(crate) const FILE_ROWS: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("file-rows-1");
/// Name -> number: see the constants below.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta-1");

/// In [`META`]: number of different blocks.
pub(crate) const META_BLOCKS: &str = "blocks";
/// In [`META`]: the next number for a pack.
pub(crate) const META_NEXT_PACK: &str = "next-pack";
/// In [`META`]: the next number for a file in [`FILES`].
pub(crate) const META_NEXT_FILE: &str = "next-file";
/// In [`META`]: when a block was lost last, or the index was made, in nanoseconds since 1970; never twice the same.
pub(crate) const META_EPOCH: &str = "epoch";

/// In [`PACKS`]: more may be appended.
pub(crate) const PACK_OPEN: u8 = 0;
/// In [`PACKS`]: ends in a footer.
pub(crate) const PACK_FULL: u8 = 1;
/// In [`PACKS`]: nothing in it is alive and it is about to be unlinked.
pub(crate) const PACK_DEAD: u8 = 2;

/// What kind of file holds a block, in the order they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of the store's own.
    Pack,
    /// A provider's piece.
    Piece,
    /// A user's own file.
    UserFile,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Pack => 1,
            Self::Piece => 2,
            Self::UserFile => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Pack, Self::Piece, Self::UserFile].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Key of a row.
pub(crate) fn row_key(hash: &[u8], kind: Kind, container: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(hash.len() + 9);
    key.extend_from_slice(hash);
    key.push(kind.byte());
    key.extend_from_slice(&container.to_be_bytes());
    key
}

/// Bounds of the keys of all rows of a block. Multihashes say their length, so none is the beginning of another.
pub(crate) fn rows_of(hash: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let with = |byte| [hash, &[byte]].concat();
    (with(0), with(u8::MAX))
}

/// Splits a row's key; `None` when it is none of ours.
pub(crate) fn split_key(key: &[u8]) -> Option<(&[u8], Kind, u64)> {
    let (hash, rest) = key.split_at_checked(key.len().checked_sub(9)?)?;
    let (kind, container) = rest.split_first()?;
    Some((hash, Kind::of(*kind)?, u64::from_be_bytes(container.try_into().ok()?)))
}

/// Value of a row: how the block was named when it came, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Version of the CID.
    pub(crate) version: u8,
    /// Codec of the CID.
    pub(crate) codec: u64,
    /// Of the record in a pack; of the block's first byte elsewhere.
    pub(crate) offset: u64,
    /// Length of the block, bytes.
    pub(crate) bytes: u32,
}

/// Bytes of an encoded row.
const ROW_BYTES: usize = 21;

impl Row {
    pub(crate) fn new(cid: &Cid, offset: u64, bytes: u32) -> Self {
        let version = if cid.version() == cid::Version::V0 { 0 } else { 1 };
        Self { version, codec: cid.codec(), offset, bytes }
    }

    pub(crate) fn encode(&self) -> [u8; ROW_BYTES] {
        let mut out = [0; ROW_BYTES];
        out[0] = self.version;
        out[1..9].copy_from_slice(&self.codec.to_le_bytes());
        out[9..17].copy_from_slice(&self.offset.to_le_bytes());
        out[17..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ROW_BYTES] = bytes.try_into().ok()?;
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let len = u32::from_le_bytes(bytes[17..].try_into().ok()?);
        Some(Self { version: bytes[0], codec: u64_at(1)?, offset: u64_at(9)?, bytes: len })
    }

    /// The CID under which the block came.
    pub(crate) fn cid(&self, hash: &[u8]) -> Option<Cid> {
        let hash = multihash(hash)?;
        match self.version {
            0 => Cid::new_v0(hash).ok(),
            _ => Some(Cid::new_v1(self.codec, hash)),
        }
    }
}

type Multihash = cid::multihash::Multihash<64>;

fn multihash(bytes: &[u8]) -> Option<Multihash> {
    Multihash::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{DAG_PB, RAW, cid_v0, cid_v1};

    use super::*;

    #[test]
    fn keys_and_rows_round_trip() {
        for cid in [cid_v0(b"a"), cid_v1(DAG_PB, b"a"), cid_v1(RAW, b"b")] {
            let hash = cid.hash().to_bytes();
            let key = row_key(&hash, Kind::Piece, 7);
            assert_eq!(split_key(&key), Some((&hash[..], Kind::Piece, 7)));
            let (from, to) = rows_of(&hash);
            assert!(from < key && key < to);
            let row = Row::new(&cid, 1 << 40, 12);
            assert_eq!(Row::decode(&row.encode()), Some(row));
            assert_eq!(row.cid(&hash), Some(cid));
        }
        assert_eq!(split_key(b"short"), None);
        assert_eq!(Row::decode(&[0; 20]), None);
    }
}
