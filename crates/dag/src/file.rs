//! Bytes to chunks to a balanced tree of blocks.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW, cid_v0, cid_v1};
use rayon::prelude::*;

use crate::block::{Block, Node};
use crate::pb::encode_pb;
use crate::profile::Profile;
use crate::unixfs::{DataType, UnixFs};
use crate::wire::count;

/// Builds the blocks of one file from its bytes, pushed in order.
///
/// Blocks come out as soon as they are complete, children before parents. What is kept: less than a chunk of
/// bytes and at most `links_max` links a level, whatever the length of the file.
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    /// Bytes of the chunk that is not full yet.
    buffer: Vec<u8>,
    /// Links that have no parent yet, leaves first; every list is shorter than `links_max`.
    levels: Vec<Vec<Node>>,
}

impl FileBuilder {
    /// Starts an empty file.
    pub fn new(profile: Profile) -> Self {
        Self { profile, buffer: Vec::new(), levels: Vec::new() }
    }

    /// Appends bytes. Chunks that are complete in `bytes` are hashed in parallel, so pieces of several chunks
    /// at once are the fast way.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Block>) {
        let chunk_bytes = self.profile.chunk_bytes;
        if !self.buffer.is_empty() {
            let missing = (chunk_bytes - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.buffer.len() < chunk_bytes {
                return;
            }
            let made = leaf(&self.profile, &self.buffer);
            self.buffer.clear();
            self.add_leaf(made, out);
        }
        let chunks = bytes.chunks_exact(chunk_bytes);
        self.buffer.extend_from_slice(chunks.remainder());
        let profile = self.profile;
        if chunks.len() > 1 {
            let made: Vec<_> =
                bytes.par_chunks_exact(chunk_bytes).map(|chunk| leaf(&profile, chunk)).collect();
            for made in made {
                self.add_leaf(made, out);
            }
        } else {
            for chunk in chunks {
                self.add_leaf(leaf(&profile, chunk), out);
            }
        }
    }

    /// Ends the file and returns its root.
    pub fn finish(mut self, out: &mut Vec<Block>) -> Node {
        if !self.buffer.is_empty() || self.levels.is_empty() {
            let made = leaf(&self.profile, &self.buffer);
            self.add_leaf(made, out);
        }
        // Every leaf of a balanced tree is equally deep: what is left on a level is wrapped, even a single
        // link, as long as something stands on a higher level.
        let mut level = 0;
        loop {
            let links = core::mem::take(&mut self.levels[level]);
            let is_top = level + 1 == self.levels.len();
            match links.as_slice() {
                [root] if is_top => return *root,
                [] => {}
                links => {
                    let parent = self.parent(links, out);
                    self.add(level + 1, parent, out);
                }
            }
            level += 1;
        }
    }

    fn add_leaf(&mut self, (block, node): (Block, Node), out: &mut Vec<Block>) {
        out.push(block);
        self.add(0, node, out);
    }

    fn add(&mut self, level: usize, node: Node, out: &mut Vec<Block>) {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(node);
        if self.levels[level].len() == self.profile.links_max {
            let links = core::mem::take(&mut self.levels[level]);
            let parent = self.parent(&links, out);
            self.add(level + 1, parent, out);
        }
    }

    fn parent(&self, links: &[Node], out: &mut Vec<Block>) -> Node {
        let file_bytes = links.iter().map(|link| link.file_bytes).sum();
        let data = UnixFs {
            file_bytes: Some(file_bytes),
            block_sizes: links.iter().map(|link| link.file_bytes).collect(),
            ..UnixFs::new(DataType::File)
        };
        let bytes = encode_pb(links.iter().map(|link| ("", &link.cid, link.tsize)), &data.encode());
        let below: u64 = links.iter().map(|link| link.tsize).sum();
        let block = pb_block(&self.profile, bytes);
        let node = Node { cid: block.cid, tsize: count(block.bytes.len()) + below, file_bytes };
        out.push(block);
        node
    }
}

/// A dag-pb block with the profile's version of CID.
pub(crate) fn pb_block(profile: &Profile, bytes: Vec<u8>) -> Block {
    let cid: Cid = if profile.cid_v0 { cid_v0(&bytes) } else { cid_v1(DAG_PB, &bytes) };
    Block { cid, bytes: bytes.into() }
}

fn leaf(profile: &Profile, chunk: &[u8]) -> (Block, Node) {
    let file_bytes = count(chunk.len());
    let bytes = Bytes::copy_from_slice(chunk);
    let block = if profile.raw_leaves {
        Block { cid: cid_v1(RAW, chunk), bytes }
    } else {
        // An empty file has no data field at all.
        let data = Some(bytes).filter(|bytes| !bytes.is_empty());
        let data = UnixFs { data, file_bytes: Some(file_bytes), ..UnixFs::new(DataType::File) };
        pb_block(profile, encode_pb([], &data.encode()))
    };
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()), file_bytes };
    (block, node)
}

/// Makes a symbolic link; its target is kept as it is and never followed.
pub fn symlink(profile: &Profile, target: &str) -> (Block, Node) {
    let data = Some(Bytes::copy_from_slice(target.as_bytes()));
    let data = UnixFs { data, ..UnixFs::new(DataType::Symlink) };
    let block = pb_block(profile, encode_pb([], &data.encode()));
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()), file_bytes: 0 };
    (block, node)
}
