//! Files read back, whole or in part.

use core::ops::{Bound, Range, RangeBounds};

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW};

use crate::pb::decode_pb;
use crate::unixfs::{DataType, UnixFs};
use crate::walk::{Step, Walk, WalkError};
use crate::wire::count;

/// Levels below the root at most; a balanced tree of links of 2^64 bytes has fewer than ten.
const DEPTH_MAX: u32 = 128;
/// Parts that may wait at once: about 35 MB. A balanced tree keeps 1024 a level.
const PARTS_MAX: usize = 1 << 18;

/// A subtree of the file.
#[derive(Clone, Copy, Debug)]
struct Part {
    cid: Cid,
    /// Where it starts in the file.
    start: u64,
    /// Bytes its parent says it has; `None` for the root.
    bytes: Option<u64>,
    depth: u32,
}

/// Reads a range of a file: needs the blocks that intersect it in order, yields its bytes in order.
///
/// A range past the end of the file yields what there is. Declared sizes are checked against the blocks read.
#[derive(Debug)]
pub struct FileReader {
    range: Range<u64>,
    /// Parts to come, the next one last.
    parts: Vec<Part>,
    wanted: Option<Part>,
    ready: Option<Bytes>,
    file_bytes: Option<u64>,
}

impl FileReader {
    /// A reader of these bytes of the file; `..` is all of it.
    pub fn new(root: Cid, range: impl RangeBounds<u64>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let root = Part { cid: root, start: 0, bytes: None, depth: 0 };
        Self { range: start..end, parts: vec![root], wanted: None, ready: None, file_bytes: None }
    }

    /// Bytes of the whole file, known once the root was fed.
    pub fn file_bytes(&self) -> Option<u64> {
        self.file_bytes
    }

    fn is_in_range(&self, part: &Part) -> bool {
        let Some(bytes) = part.bytes else { return true };
        bytes > 0 && part.start < self.range.end && part.start.saturating_add(bytes) > self.range.start
    }

    /// Keeps what of `data`, which stands at `start`, is in range.
    fn offer(&mut self, start: u64, data: Bytes) {
        let from = self.range.start.max(start);
        let to = self.range.end.min(start.saturating_add(count(data.len())));
        if from < to {
            let offset = |at: u64| usize::try_from(at - start).expect("within a block's length");
            self.ready = Some(data.slice(offset(from)..offset(to)));
        }
    }
}

impl Walk for FileReader {
    type Item = Bytes;

    fn step(&mut self) -> Result<Step<Bytes>, WalkError> {
        if let Some(data) = self.ready.take() {
            return Ok(Step::Item(data));
        }
        while self.wanted.is_none() {
            let Some(part) = self.parts.pop() else { return Ok(Step::Done) };
            if self.is_in_range(&part) {
                self.wanted = Some(part);
            }
        }
        Ok(self.wanted.map_or(Step::Done, |part| Step::Need(part.cid)))
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        let part = self.wanted.take().ok_or(WalkError::NotAsked)?;
        let cid = part.cid;
        let decode = |source| WalkError::Decode { cid, source: Box::new(source) };
        let (data, sizes, links) = match cid.codec() {
            RAW => (block, Vec::new(), Vec::new()),
            DAG_PB => {
                let node = decode_pb(&block).map_err(decode)?;
                let file = UnixFs::decode(&node.data.ok_or(WalkError::NotAFile { cid })?).map_err(decode)?;
                if !matches!(file.data_type, DataType::File | DataType::Raw) {
                    return Err(WalkError::NotAFile { cid });
                }
                if file.block_sizes.len() != node.links.len() {
                    return Err(WalkError::Size { cid });
                }
                (file.data.unwrap_or_default(), file.block_sizes, node.links)
            }
            _ => return Err(WalkError::NotAFile { cid }),
        };
        let inline = count(data.len());
        let total = sizes.iter().try_fold(inline, |sum, size| sum.checked_add(*size));
        let total = total.ok_or(WalkError::Size { cid })?;
        if part.bytes.is_some_and(|bytes| bytes != total) {
            return Err(WalkError::Size { cid });
        }
        if part.depth == 0 {
            self.file_bytes = Some(total);
        }
        if part.depth == DEPTH_MAX || self.parts.len() + links.len() > PARTS_MAX {
            return Err(WalkError::TooLarge { cid });
        }
        let mut start = part.start + inline;
        let below = self.parts.len();
        for (link, bytes) in links.iter().zip(sizes) {
            self.parts.push(Part { cid: link.cid, start, bytes: Some(bytes), depth: part.depth + 1 });
            start += bytes;
        }
        self.parts[below..].reverse();
        self.offer(part.start, data);
        Ok(())
    }

    fn upcoming(&self, count: usize) -> Vec<Cid> {
        let parts = self.parts.iter().rev().filter(|part| self.is_in_range(part));
        parts.take(count).map(|part| part.cid).collect()
    }
}
