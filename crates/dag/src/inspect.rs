//! What a single block is.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW};

use crate::codec::DecodeError;
use crate::pb::decode_pb;
use crate::unixfs::{DataType, Mtime, UnixFs};
use crate::wire::count;

/// What stands at a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file: raw block or UnixFS file.
    File,
    /// A directory, basic or HAMT.
    Directory,
    /// A symbolic link.
    Symlink,
    /// No UnixFS: dag-cbor, bare dag-pb, metadata.
    Other,
}

/// What the root block of a file, directory or symlink says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file as its root declares; 0 for everything else.
    pub file_bytes: u64,
    /// Permission bits, where written.
    pub mode: Option<u32>,
    /// Modification time, where written.
    pub mtime: Option<Mtime>,
    /// Target of a symlink.
    pub target: Option<String>,
}

/// Reads what a block is.
///
/// # Errors
/// [`DecodeError`] when dag-pb or UnixFS is malformed. A codec that is not UnixFS is [`Kind::Other`], no error.
pub fn inspect(cid: &Cid, block: &Bytes) -> Result<NodeInfo, DecodeError> {
    let mut info = NodeInfo { kind: Kind::Other, file_bytes: 0, mode: None, mtime: None, target: None };
    if cid.codec() == RAW {
        return Ok(NodeInfo { kind: Kind::File, file_bytes: count(block.len()), ..info });
    }
    if cid.codec() != DAG_PB {
        return Ok(info);
    }
    let node = decode_pb(block)?;
    let Some(data) = node.data else { return Ok(info) };
    let data = UnixFs::decode(&data)?;
    info.mode = data.mode;
    info.mtime = data.mtime;
    match data.data_type {
        DataType::File | DataType::Raw => {
            info.kind = Kind::File;
            let inline = count(data.data.as_ref().map_or(0, Bytes::len));
            let sum = data.block_sizes.iter().try_fold(inline, |sum, size| sum.checked_add(*size));
            info.file_bytes = sum.ok_or(DecodeError::Malformed("file of more than 64 bits of length"))?;
        }
        DataType::Directory | DataType::HamtShard => info.kind = Kind::Directory,
        DataType::Symlink => {
            info.kind = Kind::Symlink;
            let target = data.data.unwrap_or_default().to_vec();
            let target = String::from_utf8(target);
            info.target =
                Some(target.map_err(|_| DecodeError::Malformed("target of a symlink is not UTF-8"))?);
        }
        DataType::Metadata => {}
    }
    Ok(info)
}
