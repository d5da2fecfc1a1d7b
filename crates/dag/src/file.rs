//! Bytes to chunks to leaves to a tree of blocks.

use bytes::{Bytes, BytesMut};
use cid::Cid;
use hpips_types::content::{DAG_PB, IDENTITY, RAW, SHA2_256, cid_v0, cid_v1, cid_v1_with};
use rayon::prelude::*;

use crate::block::{Block, Node};
use crate::chunk::{Chunking, Cutter};
use crate::layout::LayoutBuilder;
use crate::pb::encode_pb;
use crate::profile::{Layout, Profile};
use crate::unixfs::{DataType, Metadata, Mtime, UnixFs};
use crate::wire::count;

/// Builds the blocks of one file from its bytes, pushed in order.
///
/// Blocks come out as soon as they are complete, children before parents. What is kept: less than a chunk of
/// bytes and at most `links_max` links a level, whatever the length of the file.
///
/// Whoever wants the leaves made elsewhere, on all cores while it reads on, uses the parts instead: a
/// [`Cutter`] finds the chunks, [`leaf`] makes a block of each on any thread, a [`LayoutBuilder`] joins them in
/// order.
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    metadata: Metadata,
    cutter: Cutter,
    /// Bytes of the chunk that is not complete yet.
    buffer: BytesMut,
    /// The first chunk, as long as it may be the only one and then carry the metadata.
    held: Option<Bytes>,
    layout: LayoutBuilder,
}

impl FileBuilder {
    /// Starts an empty file.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            metadata: Metadata::default(),
            cutter: Cutter::new(profile.chunking),
            buffer: BytesMut::new(),
            held: None,
            layout: LayoutBuilder::new(profile),
        }
    }

    /// The same with mode and modification time. Leaves are then wrapped, since a raw root has no place for them.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        if metadata.is_empty() {
            return self;
        }
        let profile = self.profile.with_wrapped_leaves();
        Self { profile, metadata, layout: LayoutBuilder::new(profile).with(metadata), ..self }
    }

    /// Builds a whole file at once: for small ones, whose only leaf costs nothing beside its hash.
    pub fn whole(profile: Profile, metadata: Metadata, bytes: Bytes, out: &mut Vec<Block>) -> Node {
        if let Chunking::Size(size) = profile.chunking
            && (1..=size).contains(&bytes.len())
            && profile.layout == Layout::Balanced
        {
            let (block, node) = single_leaf(&profile, bytes, metadata);
            out.push(block);
            return node;
        }
        let mut builder = Self::new(profile).with(metadata);
        builder.push_shared(bytes, out);
        builder.finish(out)
    }

    /// Appends bytes. Chunks that are complete in `bytes` are hashed in parallel, so pieces of several chunks
    /// at once are the fast way.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Block>) {
        self.buffer.extend_from_slice(bytes);
        let mut chunks = Vec::new();
        while let Some(length) = self.cutter.cut(&self.buffer) {
            chunks.push(self.buffer.split_to(length).freeze());
        }
        self.add_leaves(chunks, out);
    }

    /// As [`Self::push`] for bytes that may be kept: raw leaves of full chunks share their memory.
    pub fn push_shared(&mut self, mut bytes: Bytes, out: &mut Vec<Block>) {
        let Chunking::Size(size) = self.profile.chunking else { return self.push(&bytes, out) };
        if !self.buffer.is_empty() {
            let head = bytes.split_to((size - self.buffer.len()).min(bytes.len()));
            self.push(&head, out);
        }
        let mut chunks = Vec::with_capacity(bytes.len() / size);
        while bytes.len() >= size {
            chunks.push(bytes.split_to(size));
        }
        self.buffer.extend_from_slice(&bytes);
        self.add_leaves(chunks, out);
    }

    /// Whether the next chunk may turn out to be the whole file and has to carry its metadata.
    fn may_be_root(&self) -> bool {
        !self.metadata.is_empty() && self.layout.is_empty() && self.profile.layout == Layout::Balanced
    }

    fn add_leaves(&mut self, mut chunks: Vec<Bytes>, out: &mut Vec<Block>) {
        if self.may_be_root() {
            chunks.splice(0..0, self.held.take());
            if chunks.len() < 2 {
                self.held = chunks.pop();
                return;
            }
        }
        let profile = self.profile;
        let made: Vec<(Block, Node)> = if chunks.len() > 1 {
            chunks.into_par_iter().map(|chunk| leaf(&profile, chunk)).collect()
        } else {
            chunks.into_iter().map(|chunk| leaf(&profile, chunk)).collect()
        };
        for (block, node) in made {
            out.push(block);
            self.layout.add_leaf(node, out);
        }
    }

    /// Ends the file and returns its root.
    pub fn finish(mut self, out: &mut Vec<Block>) -> Node {
        let last = Some(self.buffer.split().freeze()).filter(|last| !last.is_empty());
        if self.may_be_root() && (self.held.is_none() || last.is_none()) {
            let chunk = self.held.or(last).unwrap_or_default();
            let (block, node) = single_leaf(&self.profile, chunk, self.metadata);
            out.push(block);
            return node;
        }
        self.add_leaves(last.into_iter().collect(), out);
        self.layout.finish(out)
    }
}

/// A dag-pb block with the profile's kind of CID.
pub(crate) fn pb_block(profile: &Profile, bytes: Vec<u8>) -> Block {
    let cid = match profile.hash {
        SHA2_256 if profile.cid_v0 && !is_inline(profile, &bytes) => cid_v0(&bytes),
        _ => cid_of(profile, DAG_PB, &bytes),
    };
    Block { cid, bytes: bytes.into() }
}

fn is_inline(profile: &Profile, bytes: &[u8]) -> bool {
    profile.inline_bytes_max > 0 && bytes.len() <= profile.inline_bytes_max
}

fn cid_of(profile: &Profile, codec: u64, bytes: &[u8]) -> Cid {
    let hash = if is_inline(profile, bytes) { IDENTITY } else { profile.hash };
    match hash {
        SHA2_256 => cid_v1(codec, bytes),
        hash => cid_v1_with(codec, hash, bytes).expect("a profile's hash is known and its inline limit fits"),
    }
}

/// Makes the leaf of a chunk: its block, and what its parent has to know. Pure and dear: the hash is computed here.
pub fn leaf(profile: &Profile, chunk: Bytes) -> (Block, Node) {
    if profile.raw_leaves {
        let file_bytes = count(chunk.len());
        let node = Node { cid: cid_of(profile, RAW, &chunk), tsize: file_bytes, file_bytes };
        return (Block { cid: node.cid, bytes: chunk }, node);
    }
    // Leaves of trickle files have another type, for no reason but that they always had.
    let data_type = match profile.layout {
        Layout::Balanced => DataType::File,
        Layout::Trickle => DataType::Raw,
    };
    wrapped(profile, chunk, UnixFs::new(data_type))
}

/// Makes the leaf that is a whole balanced file; with metadata it is wrapped whatever the profile says.
pub fn single_leaf(profile: &Profile, chunk: Bytes, metadata: Metadata) -> (Block, Node) {
    if metadata.is_empty() { leaf(profile, chunk) } else { wrapped_file(profile, chunk, metadata) }
}

/// A whole file in one block of dag-pb.
pub(crate) fn wrapped_file(profile: &Profile, content: Bytes, metadata: Metadata) -> (Block, Node) {
    wrapped(profile, content, UnixFs::new(DataType::File).with(metadata))
}

fn wrapped(profile: &Profile, chunk: Bytes, data: UnixFs) -> (Block, Node) {
    let file_bytes = count(chunk.len());
    // An empty file has no data field at all.
    let data =
        UnixFs { data: Some(chunk).filter(|chunk| !chunk.is_empty()), file_bytes: Some(file_bytes), ..data };
    let block = pb_block(profile, encode_pb([], &data.encode()));
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()), file_bytes };
    (block, node)
}

/// Makes a symbolic link; its target is kept as it is and never followed.
pub fn symlink(profile: &Profile, target: &str) -> (Block, Node) {
    symlink_with(profile, target, None)
}

/// As [`symlink()`], with the link's own modification time.
pub fn symlink_with(profile: &Profile, target: &str, mtime: Option<Mtime>) -> (Block, Node) {
    let data = Some(Bytes::copy_from_slice(target.as_bytes()));
    let data = UnixFs { data, mtime, ..UnixFs::new(DataType::Symlink) };
    let block = pb_block(profile, encode_pb([], &data.encode()));
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()), file_bytes: 0 };
    (block, node)
}
