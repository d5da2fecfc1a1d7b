//! Directories spread over a hash trie: murmur3-x64-128, first 64 bits, eight bits a level.

use crate::block::{Block, Node};
use crate::directory::DirectoryError;
use crate::file::pb_block;
use crate::pb::encode_pb;
use crate::profile::Profile;
use crate::unixfs::{DataType, Metadata, UnixFs};
use crate::wire::count;

/// Multihash code of the hash function.
pub(crate) const MURMUR3_X64_64: u64 = 0x22;

/// First 64 bits of MurmurHash3 x64 128 with seed 0.
pub(crate) fn name_hash(name: &str) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix = |value: u64| {
        let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        value ^ value >> 33
    };
    let mix1 = |word: u64| word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |word: u64| word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let word = |bytes: &[u8]| {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(whole)
    };
    let bytes = name.as_bytes();
    let (mut h1, mut h2) = (0u64, 0u64);
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // Of an absent word the mix is zero, so short tails need no case of their own.
    h2 ^= mix2(word(tail.get(8..).unwrap_or(&[])));
    h1 ^= mix1(word(&tail[..tail.len().min(8)]));
    h1 ^= count(bytes.len());
    h2 ^= count(bytes.len());
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    mix(h1).wrapping_add(mix(h2))
}

/// Position of a hash on a level, for shards of `1 << width` children; `None` past the last bit.
pub(crate) fn position(hash: u64, level: u32, width: u32) -> Option<u64> {
    let used = width.checked_mul(level.checked_add(1)?)?;
    Some(hash >> 64u32.checked_sub(used)? & ((1 << width) - 1))
}

/// Builds all shards of a directory, children before parents.
pub(crate) fn build<'a>(
    profile: &Profile,
    entries: impl Iterator<Item = (&'a str, Node)>,
    metadata: Metadata,
    out: &mut Vec<Block>,
) -> Result<Node, DirectoryError> {
    let mut hashed: Vec<(u64, &str, Node)> =
        entries.map(|(name, node)| (name_hash(name), name, node)).collect();
    // Ordered by hash, the entries of every shard stand together, in the order of its links.
    hashed.sort_unstable_by_key(|entry| entry.0);
    shard(profile, &hashed, 0, metadata, out)
}

fn shard(
    profile: &Profile,
    entries: &[(u64, &str, Node)],
    level: u32,
    metadata: Metadata,
    out: &mut Vec<Block>,
) -> Result<Node, DirectoryError> {
    let width = profile.hamt_fanout.trailing_zeros();
    if position(0, level, width).is_none() {
        return Err(DirectoryError::HashCollision { name: entries[0].1.to_owned() });
    }
    let shape = ShardShape::of_width(width);
    let index = |entry: &(u64, &str, Node)| position(entry.0, level, width).expect("checked for this level");
    let mut links = Vec::new();
    for group in entries.chunk_by(|a, b| index(a) == index(b)) {
        let at = index(&group[0]);
        links.push(match group {
            [(_, name, node)] => (at, shape.join(at, name), *node),
            _ => (at, shape.join(at, ""), shard(profile, group, level + 1, Metadata::default(), out)?),
        });
    }
    Ok(shard_of(profile, &links, metadata, out))
}

/// Makes one shard of its links in the order of their positions.
pub(crate) fn shard_of(
    profile: &Profile,
    links: &[(u64, String, Node)],
    metadata: Metadata,
    out: &mut Vec<Block>,
) -> Node {
    let mut bits = vec![0u8; profile.hamt_fanout / 8];
    let last = bits.len() - 1;
    for (at, ..) in links {
        bits[last - usize::try_from(at / 8).expect("below 128")] |= 1 << (at % 8);
    }
    let first = bits.iter().position(|byte| *byte != 0).unwrap_or(bits.len());
    let data = UnixFs {
        data: Some(bytes::Bytes::copy_from_slice(&bits[first..])),
        hash_type: Some(MURMUR3_X64_64),
        fanout: Some(count(profile.hamt_fanout)),
        ..UnixFs::new(DataType::HamtShard)
    }
    .with(metadata);
    let named = links.iter().map(|(_, name, node)| (name.as_str(), &node.cid, node.tsize));
    let block = pb_block(profile, encode_pb(named, &data.encode()));
    let below: u64 = links.iter().map(|(.., node)| node.tsize).sum();
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()) + below, file_bytes: 0 };
    out.push(block);
    node
}

/// Builds the shards of these entries from a level on, for one that takes the place of an entry.
pub(crate) fn build_below(
    profile: &Profile,
    entries: &[(&str, Node)],
    level: u32,
    out: &mut Vec<Block>,
) -> Result<Node, DirectoryError> {
    let mut hashed: Vec<_> = entries.iter().map(|(name, node)| (name_hash(name), *name, *node)).collect();
    hashed.sort_unstable_by_key(|entry| entry.0);
    shard(profile, &hashed, level, Metadata::default(), out)
}

/// How a shard that was read names its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardShape {
    /// Bits of the hash a level.
    pub(crate) width: u32,
    /// Hexadecimal digits before a name.
    pub(crate) prefix: usize,
}

impl ShardShape {
    /// The shape a shard's UnixFS message declares; `None` when it is not one we read.
    pub(crate) fn of(node: &UnixFs) -> Option<Self> {
        let fanout = node.fanout?;
        if node.hash_type != Some(MURMUR3_X64_64)
            || !fanout.is_power_of_two()
            || !(8..=1024).contains(&fanout)
        {
            return None;
        }
        Some(Self::of_width(fanout.trailing_zeros()))
    }

    /// The shape of shards with `1 << width` children, at most 1024.
    pub(crate) fn of_width(width: u32) -> Self {
        Self { width, prefix: format!("{:X}", (1u64 << width) - 1).len() }
    }

    /// The name of the link at a position; an empty rest names a shard.
    pub(crate) fn join(self, at: u64, rest: &str) -> String {
        format!("{at:0prefix$X}{rest}", prefix = self.prefix)
    }

    /// Children of a shard at most.
    pub(crate) fn fanout(self) -> usize {
        1 << self.width
    }

    /// Splits a link's name into position and rest; `None` when it is malformed.
    pub(crate) fn split(self, name: &str) -> Option<(u64, &str)> {
        let (prefix, rest) = name.split_at_checked(self.prefix)?;
        let position = u64::from_str_radix(prefix, 16).ok()?;
        Some((position, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_matches_known_answers() {
        // First words of the reference implementation's 128 bits, seed 0.
        for (name, hash) in [
            ("", 0),
            ("hello", 0xcbd8_a7b3_41bd_9b02),
            ("hello, world", 0x342f_ac62_3a5e_bc8e),
            ("The quick brown fox jumps over the lazy dog.", 0xcd99_481f_9ee9_02c9),
        ] {
            assert_eq!(name_hash(name), hash, "{name}");
        }
    }

    #[test]
    fn positions_end_with_the_bits() {
        assert_eq!(position(0x0102_0304_0506_0708, 0, 8), Some(1));
        assert_eq!(position(0x0102_0304_0506_0708, 7, 8), Some(8));
        assert_eq!(position(0, 8, 8), None);
        assert_eq!(position(u64::MAX, 5, 10), Some(1023));
        assert_eq!(position(u64::MAX, 6, 10), None);
    }
}
