//! Changes to what is built already: one entry of a directory, mode and time of a root.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW};

use crate::block::{Block, Node};
use crate::codec::DecodeError;
use crate::directory::{DirectoryBuilder, DirectoryError, DirectoryNode, DirectorySize};
use crate::file::pb_block;
use crate::hamt::{ShardShape, build_below, name_hash, position, shard_of};
use crate::name::safe_name;
use crate::pb::{PbLink, decode_pb, encode_pb};
use crate::profile::Profile;
use crate::unixfs::{DataType, Metadata, UnixFs};
use crate::walk::{DriveError, WalkError};
use crate::wire::count;

/// Shards whose entries do not fit one block together, whatever they are.
const SHARDS_MAX: usize = 1 << 15;

/// Why an entry cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError<E: std::error::Error + 'static> {
    /// The directory cannot be read.
    #[error(transparent)]
    Read(DriveError<E>),
    /// It cannot be written.
    #[error(transparent)]
    Build(#[from] DirectoryError),
}

impl<E: std::error::Error + 'static> From<WalkError> for EditError<E> {
    fn from(error: WalkError) -> Self {
        Self::Read(DriveError::Walk(error))
    }
}

/// Sets (`Some`) or removes (`None`) one entry of a directory; what was not there need not be removed. The result is what
/// [`DirectoryBuilder`] makes of all entries, but of a HAMT only the shards on the entry's way are read and made, and, when
/// an entry gets smaller or goes, as many others as show that it is still too large for one block.
///
/// `profile` decides as for a builder, but a HAMT keeps its fanout. Mode and time of the directory stay.
///
/// # Errors
/// [`EditError`] by variant; names the block.
pub fn edit_directory<E: std::error::Error + 'static>(
    profile: &Profile,
    root: &Cid,
    name: &str,
    node: Option<Node>,
    get: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
    out: &mut Vec<Block>,
) -> Result<Node, EditError<E>> {
    safe_name(name).map_err(|source| DirectoryError::Name { name: name.to_owned(), source })?;
    let block = fetch(root, get)?;
    let metadata = metadata_of(root, &block)?;
    let (shape, links) = match DirectoryNode::decode(root, &block)? {
        DirectoryNode::Basic(links) => {
            let entries = links.into_iter().map(|link| (link.name, link.cid, link.tsize));
            return build(profile, metadata, entries, name, node, out);
        }
        DirectoryNode::Shard(shape, links) => (shape, links),
    };
    let fanout = profile.with_hamt_fanout(shape.fanout());
    let profile = &fanout.map_err(|_| malformed(root, "HAMT of unknown fanout"))?;
    let edit = Edit { profile, shape, hash: name_hash(name), name, node };
    let mut made = Vec::new();
    let (changed, before) = edit.shard(root, links, 0, get, &mut made)?;
    let shrinks = match (&before, &node) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(node)) => {
            before.cid.encoded_len() > node.cid.encoded_len() || before.tsize > node.tsize
        }
    };
    if shrinks && let Some(entries) = small_enough(profile, metadata, root, name, node, get)? {
        return build(profile, metadata, entries.into_iter(), name, node, out);
    }
    out.append(&mut made);
    Ok(shard_of(profile, &changed, metadata, out))
}

fn fetch<E: std::error::Error + 'static>(
    cid: &Cid,
    get: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
) -> Result<Bytes, EditError<E>> {
    get(cid).map_err(|error| EditError::Read(DriveError::Get(*cid, error)))
}

fn malformed(cid: &Cid, reason: &'static str) -> WalkError {
    WalkError::Decode { cid: *cid, source: Box::new(DecodeError::Malformed(reason)) }
}

fn metadata_of(cid: &Cid, block: &Bytes) -> Result<Metadata, WalkError> {
    let decode = |source| WalkError::Decode { cid: *cid, source: Box::new(source) };
    if cid.codec() != DAG_PB {
        return Err(WalkError::NotADirectory { cid: *cid });
    }
    let data = decode_pb(block).map_err(decode)?.data.ok_or(WalkError::NotADirectory { cid: *cid })?;
    let data = UnixFs::decode(&data).map_err(decode)?;
    Ok(Metadata { mode: data.mode, mtime: data.mtime })
}

/// An entry: name, root, bytes of its DAG.
type Named = (String, Cid, u64);

/// Builds the directory of these entries and the change whole.
fn build<E: std::error::Error + 'static>(
    profile: &Profile,
    metadata: Metadata,
    entries: impl Iterator<Item = Named>,
    name: &str,
    node: Option<Node>,
    out: &mut Vec<Block>,
) -> Result<Node, EditError<E>> {
    let mut all: BTreeMap<String, Node> =
        entries.map(|(name, cid, tsize)| (name, Node { cid, tsize, file_bytes: 0 })).collect();
    all.remove(name);
    all.extend(node.map(|node| (name.to_owned(), node)));
    let mut builder = DirectoryBuilder::new(*profile).with(metadata);
    for (name, node) in &all {
        builder.add(name, *node)?;
    }
    Ok(builder.finish(out)?)
}

/// All entries of a HAMT, if they fit one block after the change.
fn small_enough<E: std::error::Error + 'static>(
    profile: &Profile,
    metadata: Metadata,
    root: &Cid,
    name: &str,
    node: Option<Node>,
    get: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
) -> Result<Option<Vec<Named>>, EditError<E>> {
    let mut size = DirectorySize::new(profile, metadata);
    if node.is_some_and(|node| size.add(name, &node)) {
        return Ok(None);
    }
    // Shard after shard, not entry after entry: the upper ones hold most, so that few have to be read.
    let mut entries = Vec::new();
    let mut shards = VecDeque::from([*root]);
    while let Some(cid) = shards.pop_front() {
        let block = fetch(&cid, get)?;
        let DirectoryNode::Shard(shape, links) = DirectoryNode::decode(&cid, &block)? else {
            return Err(malformed(&cid, "HAMT shards of different shapes").into());
        };
        for link in links {
            let (_, rest) =
                shape.split(&link.name).ok_or(malformed(&cid, "name in a HAMT without its position"))?;
            if rest.is_empty() {
                shards.push_back(link.cid);
                // Each holds two entries or more.
                if shards.len() > SHARDS_MAX {
                    return Ok(None);
                }
                continue;
            }
            let own = Node { cid: link.cid, tsize: link.tsize, file_bytes: 0 };
            if rest != name && size.add(rest, &own) {
                return Ok(None);
            }
            entries.push((rest.to_owned(), link.cid, link.tsize));
        }
    }
    Ok(Some(entries))
}

/// A link of a shard: position, name as it is written, target.
type Link = (u64, String, Node);

/// One change on its way down a HAMT.
struct Edit<'a> {
    profile: &'a Profile,
    shape: ShardShape,
    hash: u64,
    name: &'a str,
    node: Option<Node>,
}

impl Edit<'_> {
    /// The links of a shard after the change, and the entry as it was before. Shards below are made.
    fn shard<E: std::error::Error + 'static>(
        &self,
        cid: &Cid,
        links: Vec<PbLink>,
        level: u32,
        get: &mut dyn FnMut(&Cid) -> Result<Bytes, E>,
        out: &mut Vec<Block>,
    ) -> Result<(Vec<Link>, Option<Node>), EditError<E>> {
        let at = position(self.hash, level, self.shape.width)
            .ok_or_else(|| DirectoryError::HashCollision { name: self.name.to_owned() })?;
        let mut all = Vec::with_capacity(links.len() + 1);
        for link in links {
            let (at, _) =
                self.shape.split(&link.name).ok_or(malformed(cid, "name in a HAMT without its position"))?;
            all.push((at, link.name, Node { cid: link.cid, tsize: link.tsize, file_bytes: 0 }));
        }
        if !all.is_sorted_by(|one, two| one.0 < two.0) {
            return Err(malformed(cid, "links of a HAMT out of order").into());
        }
        let place = match all.binary_search_by_key(&at, |link| link.0) {
            Ok(place) => place,
            Err(place) => {
                all.splice(place..place, self.node.map(|node| (at, self.shape.join(at, self.name), node)));
                return Ok((all, None));
            }
        };
        let (_, written, node) = all[place].clone();
        let rest = self.shape.split(&written).map_or("", |(_, rest)| rest);
        if rest == self.name {
            match self.node {
                Some(node) => all[place].2 = node,
                None => drop(all.remove(place)),
            }
            return Ok((all, Some(node)));
        }
        if !rest.is_empty() {
            // Another entry stands here: both go one level down.
            if let Some(own) = self.node {
                let both = [(rest, node), (self.name, own)];
                let below = build_below(self.profile, &both, level + 1, out)?;
                all[place] = (at, self.shape.join(at, ""), below);
            }
            return Ok((all, None));
        }
        let block = fetch(&node.cid, get)?;
        let DirectoryNode::Shard(shape, links) = DirectoryNode::decode(&node.cid, &block)? else {
            return Err(malformed(&node.cid, "HAMT shards of different shapes").into());
        };
        if shape != self.shape || links.is_empty() {
            return Err(malformed(&node.cid, "HAMT shards of different shapes").into());
        }
        let (below, before) = self.shard(&node.cid, links, level + 1, get, out)?;
        all[place] = match below.as_slice() {
            [] => return Err(malformed(&node.cid, "HAMT shard of one entry").into()),
            // A shard of one entry gives way to it.
            [(_, name, node)] if self.shape.split(name).is_some_and(|(_, rest)| !rest.is_empty()) => {
                let rest = self.shape.split(name).map_or("", |(_, rest)| rest);
                (at, self.shape.join(at, rest), *node)
            }
            below => (at, self.shape.join(at, ""), shard_of(self.profile, below, Metadata::default(), out)),
        };
        Ok((all, before))
    }
}

/// A root with other mode and time: what `chmod` and `touch` make of it. A raw block becomes a file of one block; a
/// symlink has no mode.
///
/// # Errors
/// [`DecodeError`] when the block is no UnixFS.
pub fn with_metadata(
    profile: &Profile,
    cid: &Cid,
    block: &Bytes,
    metadata: Metadata,
) -> Result<(Block, Node), DecodeError> {
    if cid.codec() == RAW {
        return Ok(crate::file::wrapped_file(profile, block.clone(), metadata));
    }
    if cid.codec() != DAG_PB {
        return Err(DecodeError::UnsupportedCodec { code: cid.codec() });
    }
    let node = decode_pb(block)?;
    let data = UnixFs::decode(&node.data.ok_or(DecodeError::Malformed("dag-pb without UnixFS"))?)?;
    let mode = metadata.mode.filter(|_| data.data_type != DataType::Symlink);
    let file_bytes = data.file_bytes.unwrap_or(0);
    let data = UnixFs { mode, mtime: metadata.mtime, ..data };
    let links = node.links.iter().map(|link| (link.name.as_str(), &link.cid, link.tsize));
    let made = pb_block(profile, encode_pb(links, &data.encode()));
    let below: u64 = node.links.iter().fold(0, |sum, link| sum.saturating_add(link.tsize));
    let tsize = below.saturating_add(count(made.bytes.len()));
    Ok((made.clone(), Node { cid: made.cid, tsize, file_bytes }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use hpips_types::content::cid_v1;
    use proptest::prelude::*;

    use super::*;

    fn leaf(number: u8) -> Node {
        Node { cid: cid_v1(RAW, &[number]), tsize: 1 + u64::from(number), file_bytes: 1 }
    }

    struct Blocks(HashMap<Cid, Bytes>);

    impl Blocks {
        fn take(&mut self, blocks: Vec<Block>) {
            self.0.extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
        }

        fn whole(&mut self, profile: &Profile, entries: &BTreeMap<String, Node>) -> Node {
            let mut builder = DirectoryBuilder::new(*profile);
            for (name, node) in entries {
                builder.add(name, *node).unwrap();
            }
            let mut out = Vec::new();
            let node = builder.finish(&mut out).unwrap();
            self.take(out);
            node
        }

        fn edit(&mut self, profile: &Profile, root: &Cid, name: &str, node: Option<Node>) -> (Node, usize) {
            let mut out = Vec::new();
            let mut reads = 0;
            let mut get = |cid: &Cid| {
                reads += 1;
                self.0.get(cid).cloned().ok_or(std::fmt::Error)
            };
            let made = edit_directory(profile, root, name, node, &mut get, &mut out).unwrap();
            self.take(out);
            (made, reads)
        }
    }

    proptest! {
        #[test]
        fn edits_make_what_building_makes(
            steps in prop::collection::vec((0u16..300, any::<u8>(), prop::bool::weighted(0.6)), 1..120),
            links in 1usize..12,
            width in 3u32..6,
        ) {
            let profile = Profile::unixfs_v1_2025().with_directory_links(links).with_hamt_fanout(1 << width).unwrap();
            let mut blocks = Blocks(HashMap::new());
            let mut entries = BTreeMap::new();
            let mut root = blocks.whole(&profile, &entries);
            for (name, content, is_set) in steps {
                let name = format!("name {name}");
                let node = is_set.then(|| leaf(content));
                entries.remove(&name);
                entries.extend(node.map(|node| (name.clone(), node)));
                root = blocks.edit(&profile, &root.cid, &name, node).0;
                prop_assert_eq!(root, blocks.whole(&profile, &entries));
            }
        }

        #[test]
        fn damaged_shards_never_panic(at in any::<prop::sample::Index>(), bit in 0u8..8, name in "[a-z]{1,3}") {
            let profile = Profile::unixfs_v1_2025().with_directory_links(1).with_hamt_fanout(8).unwrap();
            let mut blocks = Blocks(HashMap::new());
            let entries = ["a", "bb", "ccc", "d", "e", "f"].map(|name| (name.to_owned(), leaf(1)));
            let root = blocks.whole(&profile, &BTreeMap::from(entries));
            let mut bad = blocks.0[&root.cid].to_vec();
            let at = at.index(bad.len());
            bad[at] ^= 1 << bit;
            blocks.0.insert(root.cid, bad.into());
            for node in [None, Some(leaf(2))] {
                let mut get = |cid: &Cid| blocks.0.get(cid).cloned().ok_or(std::fmt::Error);
                let _ = edit_directory(&profile, &root.cid, &name, node, &mut get, &mut Vec::new());
            }
        }
    }

    #[test]
    fn a_large_directory_is_read_in_few_places() {
        let profile = Profile::unixfs_v1_2025();
        let mut blocks = Blocks(HashMap::new());
        let entries: BTreeMap<_, _> =
            (0..40_000).map(|number| (format!("file number {number}"), leaf(3))).collect();
        let root = blocks.whole(&profile, &entries);
        let (added, reads) = blocks.edit(&profile, &root.cid, "one more", Some(leaf(4)));
        assert!(reads <= 4, "{reads}");
        let (back, reads) = blocks.edit(&profile, &added.cid, "one more", None);
        assert_eq!(back, root);
        assert!(reads < 60, "{reads}");
        assert_eq!(blocks.edit(&profile, &root.cid, "nobody", None).0, root);
    }

    #[test]
    fn mode_and_time_of_a_directory_stay() {
        let metadata = Metadata { mode: Some(0o750), mtime: None };
        for links in [0, 1] {
            let profile = Profile::unixfs_v1_2025().with_directory_links(links);
            let build = |names: &[&str]| {
                let mut builder = DirectoryBuilder::new(profile).with(metadata);
                names.iter().for_each(|name| builder.add(name, leaf(1)).unwrap());
                let mut out = Vec::new();
                (builder.finish(&mut out).unwrap(), out)
            };
            let mut blocks = Blocks(HashMap::new());
            let (root, made) = build(&["a", "b"]);
            blocks.take(made);
            assert_eq!(blocks.edit(&profile, &root.cid, "c", Some(leaf(1))).0, build(&["a", "b", "c"]).0);
        }
    }

    #[test]
    fn metadata_is_what_a_builder_gives_it() {
        let metadata =
            Metadata { mode: Some(0o640), mtime: Some(crate::Mtime { seconds: 5, nanoseconds: 6 }) };
        let profile = Profile::unixfs_v1_2025();
        let content = Bytes::from_static(b"content");
        let mut out = Vec::new();
        let expected = crate::FileBuilder::whole(profile, metadata, content.clone(), &mut out);
        let raw = cid_v1(RAW, &content);
        let (block, node) = with_metadata(&profile, &raw, &content, metadata).unwrap();
        assert_eq!((node, &block), (expected, &out[0]));
        let (_, without) = with_metadata(&profile, &block.cid, &block.bytes, Metadata::default()).unwrap();
        assert_ne!(without.cid, node.cid);
        let (_, again) = with_metadata(&profile, &block.cid, &block.bytes, metadata).unwrap();
        assert_eq!(again, node);
        assert!(with_metadata(&profile, &cid_v1(0x71, b"x"), &Bytes::from_static(b"x"), metadata).is_err());
    }
}
