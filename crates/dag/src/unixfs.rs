//! The UnixFS message inside the data of a dag-pb node (<https://specs.ipfs.tech/unixfs/>).

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::wire::{Fields, Value, packed, put_bytes, put_number};

/// What a UnixFS node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// A leaf of very old files; reads as a file.
    Raw,
    /// A directory in one block.
    Directory,
    /// A file or a part of one.
    File,
    /// Metadata of something else; unused.
    Metadata,
    /// A symbolic link; the data is its target.
    Symlink,
    /// A node of a directory spread over a hash trie.
    HamtShard,
}

impl DataType {
    const ALL: [Self; 6] =
        [Self::Raw, Self::Directory, Self::File, Self::Metadata, Self::Symlink, Self::HamtShard];

    fn number(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Directory => 1,
            Self::File => 2,
            Self::Metadata => 3,
            Self::Symlink => 4,
            Self::HamtShard => 5,
        }
    }
}

/// Modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since 1970, possibly negative.
    pub seconds: i64,
    /// Nanoseconds of the second, below 10^9.
    pub nanoseconds: u32,
}

impl Mtime {
    /// This time; `None` when the nanoseconds make a second or more.
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (nanoseconds < 1_000_000_000).then_some(Self { seconds, nanoseconds })
    }

    /// Seconds as a varint, nanoseconds as four bytes where there are any.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_number(1, self.seconds.cast_unsigned(), &mut out);
        if self.nanoseconds > 0 {
            out.push(2 << 3 | 5);
            out.extend_from_slice(&self.nanoseconds.to_le_bytes());
        }
        out
    }
}

/// What UnixFS 1.5 keeps of a file besides its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, at most `0o7777`; 0 is written as none.
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

impl Metadata {
    /// Whether nothing is to be kept.
    pub fn is_empty(&self) -> bool {
        self.mode.is_none() && self.mtime.is_none()
    }
}

/// A decoded UnixFS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixFs {
    /// What it is.
    pub data_type: DataType,
    /// File content in this node, the target of a symlink, or the bit field of a HAMT shard.
    pub data: Option<Bytes>,
    /// Bytes of the file below this node.
    pub file_bytes: Option<u64>,
    /// Bytes of the file below each link.
    pub block_sizes: Vec<u64>,
    /// Hash function of a HAMT.
    pub hash_type: Option<u64>,
    /// Children a HAMT shard can have.
    pub fanout: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

impl UnixFs {
    /// An empty message of this type.
    pub fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            data: None,
            file_bytes: None,
            block_sizes: Vec::new(),
            hash_type: None,
            fanout: None,
            mode: None,
            mtime: None,
        }
    }

    /// Encodes fields in the order of their numbers, block sizes unpacked, as Kubo does.
    pub fn encode(&self) -> Vec<u8> {
        let data = self.data.as_ref();
        let mut out = Vec::with_capacity(data.map_or(0, Bytes::len) + 5 * self.block_sizes.len() + 24);
        put_number(1, self.data_type.number(), &mut out);
        if let Some(data) = data {
            put_bytes(2, data, &mut out);
        }
        if let Some(bytes) = self.file_bytes {
            put_number(3, bytes, &mut out);
        }
        for size in &self.block_sizes {
            put_number(4, *size, &mut out);
        }
        if let Some(code) = self.hash_type {
            put_number(5, code, &mut out);
        }
        if let Some(fanout) = self.fanout {
            put_number(6, fanout, &mut out);
        }
        if let Some(mode) = self.mode {
            put_number(7, u64::from(mode), &mut out);
        }
        if let Some(mtime) = &self.mtime {
            put_bytes(8, &mtime.encode(), &mut out);
        }
        out
    }

    /// The same with this metadata.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        Self { mode: metadata.mode, mtime: metadata.mtime, ..self }
    }

    /// Decodes a message; unknown fields are skipped.
    ///
    /// # Errors
    /// [`DecodeError`] by variant. Allocates no more than eight times the input.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut data_type = None;
        let mut node = Self::new(DataType::Raw);
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Number(number)) => {
                    let known = DataType::ALL.into_iter().find(|known| known.number() == number);
                    data_type = Some(known.ok_or(DecodeError::Malformed("unknown UnixFS type"))?);
                }
                (2, Value::Bytes(at, data)) => node.data = Some(bytes.slice(at..at + data.len())),
                (3, Value::Number(bytes)) => node.file_bytes = Some(bytes),
                (4, Value::Number(size)) => node.block_sizes.push(size),
                (4, Value::Bytes(_, bytes)) => packed(bytes, |size| node.block_sizes.push(size))?,
                (5, Value::Number(code)) => node.hash_type = Some(code),
                (6, Value::Number(fanout)) => node.fanout = Some(fanout),
                // Only the permission bits mean anything; higher ones are ignored as the specification asks.
                (7, Value::Number(mode)) => {
                    node.mode = Some(u32::try_from(mode & 0o7777).expect("twelve bits"));
                }
                (8, Value::Bytes(_, bytes)) => node.mtime = decode_mtime(bytes)?,
                (1..=8, _) => return Err(DecodeError::Malformed("UnixFS field of another wire type")),
                _ => {}
            }
        }
        node.data_type = data_type.ok_or(DecodeError::Malformed("UnixFS message without a type"))?;
        Ok(node)
    }
}

/// A time that makes no sense is none: it never keeps anybody from the content.
fn decode_mtime(bytes: &[u8]) -> Result<Option<Mtime>, DecodeError> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(value)) => seconds = Some(i64::from_le_bytes(value.to_le_bytes())),
            (2, Value::Fixed32(value)) => nanoseconds = value,
            _ => {}
        }
    }
    Ok(seconds.and_then(|seconds| Mtime::new(seconds, nanoseconds)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packed_sizes_mode_and_time_are_understood() {
        let mut bytes = vec![0x08, 2, 0x18, 30, 0x22, 2, 10, 20, 0x38];
        crate::wire::put_varint(0o100_644, &mut bytes);
        bytes.extend_from_slice(&[0x42, 7, 0x08, 5, 0x15, 1, 0, 0, 0]);
        bytes.extend_from_slice(&[0x7a, 1, 0]);
        let node = UnixFs::decode(&bytes.into()).unwrap();
        assert_eq!(node.block_sizes, [10, 20]);
        assert_eq!(node.mode, Some(0o644));
        assert_eq!(node.mtime, Some(Mtime { seconds: 5, nanoseconds: 1 }));
    }

    #[test]
    fn a_negative_time_is_before_1970() {
        let mut time = vec![0x08];
        crate::wire::put_varint(u64::MAX, &mut time);
        let mut bytes = vec![0x08, 1];
        put_bytes(8, &time, &mut bytes);
        let node = UnixFs::decode(&bytes.into()).unwrap();
        assert_eq!(node.mtime, Some(Mtime { seconds: -1, nanoseconds: 0 }));
    }

    proptest! {
        #[test]
        fn messages_round_trip(
            data_type in 0usize..6,
            data in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
            file_bytes in prop::option::of(any::<u64>()),
            block_sizes in prop::collection::vec(any::<u64>(), 0..10),
            fanout in prop::option::of(any::<u64>()),
            mode in prop::option::of(0u32..0o10000),
            mtime in prop::option::of((any::<i64>(), 0u32..1_000_000_000)),
        ) {
            let node = UnixFs {
                data: data.map(Into::into),
                file_bytes,
                block_sizes,
                fanout,
                mode,
                mtime: mtime.map(|(seconds, nanoseconds)| Mtime { seconds, nanoseconds }),
                ..UnixFs::new(DataType::ALL[data_type])
            };
            prop_assert_eq!(UnixFs::decode(&node.encode().into()), Ok(node));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = UnixFs::decode(&bytes.into());
        }
    }
}
