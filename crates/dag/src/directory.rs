//! Directories: built basic or as HAMT, whichever the profile asks for, and listed.

use std::collections::BTreeMap;

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::DAG_PB;

use crate::block::{Block, Node};
use crate::codec::DecodeError;
use crate::file::pb_block;
use crate::hamt::{self, ShardShape, name_hash, position};
use crate::name::{NameError, safe_name};
use crate::pb::{PbLink, decode_pb, encode_pb, link_field_len};
use crate::profile::{Estimate, Profile};
use crate::unixfs::{DataType, Metadata, UnixFs};
use crate::walk::{Step, Walk, WalkError};
use crate::wire::{bytes_field_len, count};

/// Why a directory cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The name cannot stand in a directory.
    #[error("{name:?} cannot stand in a directory")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: NameError,
    },
    /// The name is there already.
    #[error("{name:?} is in the directory already")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Another name has the same 64 bits of hash: such a directory cannot be a HAMT.
    #[error("the hash of {name:?} collides with another name's")]
    HashCollision {
        /// One of the names.
        name: String,
    },
}

/// Builds one directory from its children's roots, added in any order.
#[derive(Debug)]
pub struct DirectoryBuilder {
    profile: Profile,
    metadata: Metadata,
    entries: BTreeMap<String, Node>,
}

impl DirectoryBuilder {
    /// Starts an empty directory.
    pub fn new(profile: Profile) -> Self {
        Self { profile, metadata: Metadata::default(), entries: BTreeMap::new() }
    }

    /// The same with mode and modification time, written into its root.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Entries so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a child: a file, symlink or directory built before.
    ///
    /// # Errors
    /// [`DirectoryError::Name`] or [`DirectoryError::Duplicate`]; the directory is unchanged.
    pub fn add(&mut self, name: &str, node: Node) -> Result<(), DirectoryError> {
        safe_name(name).map_err(|source| DirectoryError::Name { name: name.to_owned(), source })?;
        if self.entries.contains_key(name) {
            return Err(DirectoryError::Duplicate { name: name.to_owned() });
        }
        self.entries.insert(name.to_owned(), node);
        Ok(())
    }

    /// Ends the directory and returns its root.
    ///
    /// # Errors
    /// [`DirectoryError::HashCollision`], in large directories only.
    pub fn finish(self, out: &mut Vec<Block>) -> Result<Node, DirectoryError> {
        let Self { profile, metadata, entries } = self;
        let data = UnixFs::new(DataType::Directory).with(metadata).encode();
        let mut size = DirectorySize::new(&profile, metadata);
        if entries.iter().any(|(name, node)| size.add(name, node)) {
            let entries = entries.iter().map(|(name, node)| (name.as_str(), *node));
            return hamt::build(&profile, entries, metadata, out);
        }
        let links = entries.iter().map(|(name, node)| (name.as_str(), &node.cid, node.tsize));
        let block = pb_block(&profile, encode_pb(links, &data));
        let below: u64 = entries.values().map(|node| node.tsize).sum();
        let node = Node { cid: block.cid, tsize: count(block.bytes.len()) + below, file_bytes: 0 };
        out.push(block);
        Ok(node)
    }
}

/// Adds up what decides whether a directory is a HAMT.
pub(crate) struct DirectorySize<'a> {
    profile: &'a Profile,
    bytes: usize,
    links: usize,
}

impl<'a> DirectorySize<'a> {
    pub(crate) fn new(profile: &'a Profile, metadata: Metadata) -> Self {
        let bytes = match profile.estimate {
            Estimate::Block => {
                let data = UnixFs::new(DataType::Directory).with(metadata).encode();
                bytes_field_len(data.len())
            }
            Estimate::Links | Estimate::Disabled => 0,
        };
        Self { profile, bytes, links: 0 }
    }

    /// Adds an entry. Returns whether the directory is too large for one block.
    pub(crate) fn add(&mut self, name: &str, node: &Node) -> bool {
        self.links += 1;
        self.bytes += match self.profile.estimate {
            Estimate::Links => name.len() + node.cid.encoded_len(),
            Estimate::Block => link_field_len(&node.cid, name, node.tsize),
            Estimate::Disabled => 0,
        };
        let has_many = self.profile.directory_links_max > 0 && self.links > self.profile.directory_links_max;
        let is_large =
            self.profile.estimate != Estimate::Disabled && self.bytes > self.profile.hamt_over_bytes;
        is_large || has_many
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as the block has it: [`safe_name`] is for those who make files of it.
    pub name: String,
    /// Its root.
    pub cid: Cid,
    /// Bytes of its DAG as the directory's author claims.
    pub tsize: u64,
}

impl From<PbLink> for Entry {
    fn from(link: PbLink) -> Self {
        Self { name: link.name, cid: link.cid, tsize: link.tsize }
    }
}

/// One directory block, understood.
pub(crate) enum DirectoryNode {
    Basic(Vec<PbLink>),
    Shard(ShardShape, Vec<PbLink>),
}

impl DirectoryNode {
    pub(crate) fn decode(cid: &Cid, block: &Bytes) -> Result<Self, WalkError> {
        let decode = |source| WalkError::Decode { cid: *cid, source: Box::new(source) };
        if cid.codec() != DAG_PB {
            return Err(WalkError::NotADirectory { cid: *cid });
        }
        let node = decode_pb(block).map_err(decode)?;
        let data = node.data.ok_or(WalkError::NotADirectory { cid: *cid })?;
        let data = UnixFs::decode(&data).map_err(decode)?;
        match data.data_type {
            DataType::Directory => Ok(Self::Basic(node.links)),
            DataType::HamtShard => {
                let shape = ShardShape::of(&data).filter(|shape| node.links.len() <= shape.fanout());
                let shape = shape.ok_or(decode(DecodeError::Malformed("HAMT shard of unknown shape")))?;
                Ok(Self::Shard(shape, node.links))
            }
            _ => Err(WalkError::NotADirectory { cid: *cid }),
        }
    }
}

/// A directory block whose links are being listed.
#[derive(Debug)]
struct Frame {
    cid: Cid,
    shape: Option<ShardShape>,
    links: std::vec::IntoIter<PbLink>,
}

/// Lists a directory, basic or HAMT: needs its blocks one after the other, yields [`Entry`]s in the order of the
/// blocks.
///
/// Every entry of a HAMT must stand where its name's hash says, so a small hostile DAG cannot unfold to a
/// listing without end.
#[derive(Debug)]
pub struct DirectoryReader {
    wanted: Option<Cid>,
    frames: Vec<Frame>,
    /// Positions that lead to the innermost open shard.
    path: Vec<u64>,
}

impl DirectoryReader {
    /// A reader of the directory with this root.
    pub fn new(root: Cid) -> Self {
        Self { wanted: Some(root), frames: Vec::new(), path: Vec::new() }
    }

    /// Roots of the entries and shards that come next, in order.
    pub(crate) fn upcoming_entries(&self, count: usize) -> Vec<Cid> {
        let links = self.frames.iter().rev().flat_map(|frame| frame.links.as_slice());
        links.take(count).map(|link| link.cid).collect()
    }

    /// Links that are decoded and still to be listed: what this reader holds in memory.
    pub(crate) fn pending(&self) -> usize {
        self.frames.iter().map(|frame| frame.links.len()).sum()
    }
}

impl Walk for DirectoryReader {
    type Item = Entry;

    fn step(&mut self) -> Result<Step<Entry>, WalkError> {
        loop {
            if let Some(cid) = self.wanted {
                return Ok(Step::Need(cid));
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(Step::Done) };
            let Some(mut link) = frame.links.next() else {
                self.frames.pop();
                self.path.pop();
                continue;
            };
            let Some(shape) = frame.shape else { return Ok(Step::Item(link.into())) };
            let malformed = |reason| WalkError::Decode {
                cid: frame.cid,
                source: Box::new(DecodeError::Malformed(reason)),
            };
            let (at, name) =
                shape.split(&link.name).ok_or(malformed("name in a HAMT without its position"))?;
            if name.is_empty() {
                self.path.push(at);
                self.wanted = Some(link.cid);
                continue;
            }
            let hash = name_hash(name);
            let places = self.path.iter().chain([&at]).zip(0..);
            if !places.into_iter().all(|(at, level)| position(hash, level, shape.width) == Some(*at)) {
                return Err(malformed("name in a HAMT at the wrong position"));
            }
            link.name = name.to_owned();
            return Ok(Step::Item(link.into()));
        }
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        let cid = self.wanted.take().ok_or(WalkError::NotAsked)?;
        let malformed = |reason| WalkError::Decode { cid, source: Box::new(DecodeError::Malformed(reason)) };
        let (shape, links) = match DirectoryNode::decode(&cid, &block)? {
            DirectoryNode::Basic(links) => (None, links),
            DirectoryNode::Shard(shape, links) => (Some(shape), links),
        };
        if let Some(parent) = self.frames.last() {
            if shape.is_none() || shape != parent.shape {
                return Err(malformed("HAMT shards of different shapes"));
            }
            // An empty shard below the root would let a chain of shared shards unfold without entries.
            if links.is_empty() {
                return Err(malformed("empty HAMT shard"));
            }
        }
        if let Some(shape) = shape {
            let level = u32::try_from(self.path.len()).expect("depth is bounded by the bits of a hash");
            position(0, level, shape.width).ok_or(malformed("HAMT deeper than its hash"))?;
        }
        self.frames.push(Frame { cid, shape, links: links.into_iter() });
        Ok(())
    }

    fn upcoming(&self, count: usize) -> Vec<Cid> {
        let shards = self.frames.iter().rev().flat_map(|frame| {
            let prefix = frame.shape.map(|shape| shape.prefix);
            let is_shard = move |link: &&PbLink| Some(link.name.len()) == prefix;
            frame.links.as_slice().iter().filter(is_shard).map(|link| link.cid)
        });
        shards.take(count).collect()
    }
}
