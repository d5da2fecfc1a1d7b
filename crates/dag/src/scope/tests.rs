use std::collections::HashMap;

use hpips_types::content::{DAG_CBOR, cid_v1};
use proptest::prelude::*;

use super::*;
use crate::{DirectoryBuilder, DriveError, FileBuilder, Node, Profile};

const MAX: usize = 1_000;

struct World {
    blocks: HashMap<Cid, Bytes>,
}

impl World {
    fn new() -> Self {
        Self { blocks: HashMap::new() }
    }

    fn keep(&mut self, blocks: Vec<Block>) {
        self.blocks.extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
    }

    fn file(&mut self, bytes: &[u8]) -> Node {
        let mut blocks = Vec::new();
        let mut file = FileBuilder::new(Profile::default());
        file.push(bytes, &mut blocks);
        let node = file.finish(&mut blocks);
        self.keep(blocks);
        node
    }

    fn directory(&mut self, entries: &[(&str, Node)]) -> Node {
        let mut blocks = Vec::new();
        let mut directory = DirectoryBuilder::new(Profile::default());
        entries.iter().for_each(|(name, node)| directory.add(name, *node).unwrap());
        let node = directory.finish(&mut blocks).unwrap();
        self.keep(blocks);
        node
    }

    fn block(&mut self, codec: u64, bytes: Vec<u8>) -> Node {
        let cid = cid_v1(codec, &bytes);
        self.blocks.insert(cid, bytes.into());
        Node { cid, tsize: 1, file_bytes: 0 }
    }

    fn walk(&self, walk: ScopeWalk) -> Result<Vec<Cid>, DriveError<&'static str>> {
        let get = |cid: &Cid| self.blocks.get(cid).cloned().ok_or("missing");
        walk.drive(get).map(|block| block.map(|block| block.cid)).collect()
    }
}

#[test]
fn each_scope_has_its_blocks_in_order() {
    let mut world = World::new();
    let chunks: Vec<Vec<u8>> = (0..3u8).map(|byte| vec![byte; 1 << 20]).collect();
    let (small, big) = (world.file(b"small"), world.file(&chunks.concat()));
    let chunks: Vec<Cid> = chunks.iter().map(|chunk| world.file(chunk).cid).collect();
    let sub = world.directory(&[("a", small), ("b", small), ("big", big)]);
    let root = world.directory(&[("sub", sub)]);
    let (r, s, a, b) = (root.cid, sub.cid, small.cid, big.cid);
    let new = |root: Node, scope| ScopeWalk::new(Some(root.cid), scope, MAX);
    let ranged = |text| new(big, Scope::Entity).with_range(EntityBytes::parse(text));
    for (walk, expected) in [
        (new(root, Scope::Block), vec![r]),
        (new(root, Scope::Entity), vec![r]),
        (new(root, Scope::All), vec![r, s, a, b, chunks[0], chunks[1], chunks[2]]),
        (new(sub, Scope::All).with_duplicates(), vec![s, a, a, b, chunks[0], chunks[1], chunks[2]]),
        (new(sub, Scope::Entity).with_path(vec![r, r]), vec![r, s]),
        (ScopeWalk::new(None, Scope::All, MAX).with_path(vec![r, s]), vec![r, s]),
        (new(big, Scope::Entity), vec![b, chunks[0], chunks[1], chunks[2]]),
        (ranged("0:0"), vec![b, chunks[0]]),
        (ranged("1048575:-1048577"), vec![b, chunks[0], chunks[1]]),
        (ranged("-1:*"), vec![b, chunks[2]]),
        (ranged("99999999:*"), vec![b]),
        (new(small, Scope::Entity), vec![a]),
    ] {
        let shown = format!("{walk:?}");
        assert_eq!(world.walk(walk).unwrap(), expected, "{shown}");
    }
}

#[test]
fn documents_identities_and_unknown_codecs() {
    let mut world = World::new();
    let leaf = world.file(b"leaf");
    let unknown = world.block(0x78, b"git".to_vec());
    // [link, identity link, link]
    let inline = Cid::new_v1(0x55, cid::multihash::Multihash::wrap(IDENTITY, b"inline").unwrap());
    let links = [leaf.cid, inline, unknown.cid].map(ipld_core::ipld::Ipld::Link).to_vec();
    let list = ipld_core::ipld::Ipld::List(links);
    let cbor = world.block(DAG_CBOR, crate::document::encode(DAG_CBOR, &list).unwrap());
    let json = crate::document::encode(hpips_types::content::DAG_JSON, &list).unwrap();
    let json = world.block(hpips_types::content::DAG_JSON, json);
    for root in [cbor, json] {
        let walk = || ScopeWalk::new(Some(root.cid), Scope::All, MAX);
        assert!(
            matches!(world.walk(walk()), Err(DriveError::Walk(WalkError::Decode { cid, .. })) if cid == unknown.cid)
        );
        assert_eq!(world.walk(walk().past_unknown_codecs()).unwrap(), [root.cid, leaf.cid, unknown.cid]);
        assert_eq!(world.walk(ScopeWalk::new(Some(root.cid), Scope::Entity, MAX)).unwrap(), [root.cid]);
    }
    assert_eq!(world.walk(ScopeWalk::new(Some(inline), Scope::All, MAX)).unwrap(), []);
}

#[test]
fn blocks_may_be_skipped_and_their_number_is_bounded() {
    let mut world = World::new();
    let (one, two) = (world.file(b"1"), world.file(b"2"));
    let sub = world.directory(&[("1", one)]);
    let root = world.directory(&[("a", sub), ("b", two)]);
    let mut walk = ScopeWalk::new(Some(root.cid), Scope::All, MAX);
    let mut found = Vec::new();
    loop {
        match walk.step().unwrap() {
            Step::Need(cid) if cid == sub.cid => walk.skip(),
            Step::Need(cid) => walk.feed(world.blocks[&cid].clone()).unwrap(),
            Step::Item(block) => found.push(block.cid),
            Step::Done => break,
        }
    }
    assert_eq!(found, [root.cid, two.cid]);
    assert_eq!(walk.feed(Bytes::new()), Err(WalkError::NotAsked));
    let bounded = world.walk(ScopeWalk::new(Some(root.cid), Scope::All, 2));
    assert!(matches!(bounded, Err(DriveError::Walk(WalkError::TooLarge { .. }))));
    // The smallest DAG without an end cannot be made, but a source may lie.
    let mut endless = ScopeWalk::new(Some(root.cid), Scope::All, MAX).with_duplicates();
    let lie = world.blocks[&root.cid].clone();
    let end = (0..10_000).find_map(|_| match endless.step() {
        Ok(Step::Need(_)) => endless.feed(lie.clone()).err(),
        _ => None,
    });
    assert!(matches!(end, Some(WalkError::TooLarge { .. })));
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "a range behind the end is empty that way")]
fn ranges_of_entities_count_from_either_end() {
    for (text, bytes, expected) in [
        ("0:*", 1026, Some(0..1026)),
        ("512:*", 1026, Some(512..1026)),
        ("512:1023", 1026, Some(512..1024)),
        ("512:-256", 1026, Some(512..771)),
        ("-5:*", 1026, Some(1021..1026)),
        ("-9999:*", 1026, Some(0..1026)),
        ("-9999:-3", 1026, Some(0..1024)),
        ("0:0", 1026, Some(0..1)),
        ("2000:*", 1026, Some(2000..1026)),
        ("0:-2000", 1026, Some(0..0)),
        ("-9223372036854775808:9223372036854775807", 5, Some(0..5)),
        ("5:2", 1026, None),
        ("-2:-5", 1026, None),
        ("5", 1026, None),
        ("*:5", 1026, None),
        ("a:b", 1026, None),
    ] {
        let range = EntityBytes::parse(text).map(|range| range.within(bytes));
        assert_eq!(range, expected, "{text}");
    }
}

proptest! {
    #[test]
    fn no_range_panics(text in "[-0-9*:]{0,24}", bytes in any::<u64>()) {
        if let Some(range) = EntityBytes::parse(&text) {
            prop_assert!(range.within(bytes).end <= bytes);
        }
    }
}
