//! One parcel: a range of a piece together with the hashes that prove it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bao_tree::io::BaoContentItem;
use bao_tree::io::sync::{DecodeResponseIter, encode_ranges_validated};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};

use super::{Outboard, PARCEL_BYTES, Spec};

/// 16 KiB: the unit of verification.
pub(super) const GROUP: BlockSize = BlockSize::from_chunk_log(4);
/// Bytes of a group.
pub(super) const GROUP_BYTES: u64 = 16 * 1024;
/// Hashes of a parcel, bytes: fewer than two pairs a group and a path of 40 levels.
const HASHES_BYTES_MAX: u64 = 64 * (2 * PARCEL_BYTES / GROUP_BYTES + 40);
/// Longest parcel on the wire, bytes.
pub(super) const ENCODED_BYTES_MAX: u64 = PARCEL_BYTES + HASHES_BYTES_MAX;

/// The parcels of a range, cut at multiples of [`PARCEL_BYTES`]. The range begins at a multiple of the group.
pub(super) fn parcels(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let next = (at / PARCEL_BYTES + 1) * PARCEL_BYTES;
        let parcel = at..next.min(range.end);
        at = parcel.end;
        Some(parcel)
    })
}

fn chunks(range: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end))
}

/// A part of a file as bao wants to read it: at offsets of the whole.
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl bao_tree::io::sync::ReadAt for Window {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let rest = skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or(&[]);
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Reads and encodes one parcel; bytes that do not fit the outboard (a damaged file) are an error here, not a
/// lie to the peer.
pub(super) fn encode(file: &mut File, outboard: &Outboard, parcel: &Range<u64>) -> io::Result<Vec<u8>> {
    let len = usize::try_from(parcel.end - parcel.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(parcel.start))?;
    file.read_exact(&mut bytes)?;
    let mut encoded = Vec::with_capacity(len + 16 * 1024);
    let window = Window { start: parcel.start, bytes };
    encode_ranges_validated(window, outboard.tree(), &chunks(parcel), &mut encoded)
        .map_err(io::Error::other)?;
    Ok(encoded)
}

/// Verifies one parcel and returns its bytes; `None` when they are not of the piece.
pub(super) fn decode(spec: &Spec, parcel: &Range<u64>, encoded: &[u8]) -> Option<Vec<u8>> {
    let tree = BaoTree::new(spec.bytes, GROUP);
    let ranges = chunks(parcel);
    let mut rest = encoded;
    let mut bytes = Vec::with_capacity(usize::try_from(parcel.end - parcel.start).ok()?);
    let root = (*spec.hash.as_bytes()).into();
    for item in DecodeResponseIter::new(root, tree, &mut rest, &ranges) {
        if let BaoContentItem::Leaf(leaf) = item.ok()? {
            if leaf.offset != parcel.start + bytes.len() as u64 {
                return None;
            }
            bytes.extend_from_slice(&leaf.data);
        }
    }
    let whole = bytes.len() as u64 == parcel.end - parcel.start;
    (whole && rest.is_empty()).then_some(bytes)
}
