//! What is built is read back the same; what is hostile is refused.
#![allow(clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_PB, RAW, cid_v1};
use proptest::prelude::*;

use crate::vectors::large_directory;
use crate::*;

type Blocks = HashMap<Cid, Bytes>;

fn blocks(built: Vec<Block>) -> Blocks {
    built.into_iter().map(|block| (block.cid, block.bytes)).collect()
}

fn get(blocks: &Blocks) -> impl FnMut(&Cid) -> Result<Bytes, &'static str> {
    |cid| blocks.get(cid).cloned().ok_or("missing")
}

fn all<W: Walk>(walk: W, blocks: &Blocks) -> Vec<W::Item> {
    walk.drive(get(blocks)).collect::<Result<_, _>>().unwrap()
}

fn first_error<W: Walk>(walk: W, blocks: &Blocks) -> WalkError {
    match walk.drive(get(blocks)).find_map(Result::err) {
        Some(DriveError::Walk(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A profile with tiny chunks and few links, so that small files have deep trees.
fn tiny(raw_leaves: bool) -> Profile {
    Profile { raw_leaves, chunking: crate::Chunking::Size(7), links_max: 3, ..Profile::unixfs_v1_2025() }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

proptest! {
    #[test]
    fn any_range_of_any_file_reads_back(
        len in 0usize..400,
        raw_leaves: bool,
        cuts in prop::collection::vec(1usize..60, 0..6),
        start in 0u64..420,
        bytes in 0u64..420,
    ) {
        let content = pattern(len);
        let mut built = Vec::new();
        let mut file = FileBuilder::new(tiny(raw_leaves));
        let mut rest = &content[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            file.push(now, &mut built);
            rest = later;
        }
        file.push(rest, &mut built);
        let root = file.finish(&mut built);
        prop_assert_eq!(root.file_bytes, len as u64);
        // The root's tsize counts every link, so it is the sum over blocks when none repeats.
        let blocks = blocks(built);
        let end = start + bytes;
        let expected = &content[len.min(start as usize)..len.min(end as usize)];
        prop_assert_eq!(all(FileReader::new(root.cid, start..end), &blocks).concat(), expected);
        prop_assert_eq!(all(FileReader::new(root.cid, ..), &blocks).concat(), content);
        let info = inspect(&root.cid, &blocks[&root.cid]).unwrap();
        prop_assert_eq!((info.kind, info.file_bytes), (Kind::File, len as u64));
    }

    #[test]
    fn walkers_never_panic_on_damaged_blocks(
        len in 0usize..200,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut built = Vec::new();
        let mut file = FileBuilder::new(tiny(false));
        file.push(&pattern(len), &mut built);
        let file = file.finish(&mut built);
        let mut directory = DirectoryBuilder::new(tiny(false));
        directory.add("file", file).unwrap();
        let root = directory.finish(&mut built).unwrap();
        for (block, at, byte) in damage {
            let block = block.index(built.len());
            let mut bytes = built[block].bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            built[block].bytes = bytes.into();
        }
        let blocks = blocks(built);
        let _ = FileReader::new(file.cid, ..).drive(get(&blocks)).count();
        let _ = DirectoryReader::new(root.cid).drive(get(&blocks)).count();
        let _ = Tree::new(root.cid).drive(get(&blocks)).count();
        let _ = Resolver::new(root.cid, vec!["file".into()]).drive(get(&blocks)).count();
    }

    #[test]
    fn walkers_never_panic_on_arbitrary_blocks(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let cid = cid_v1(DAG_PB, &bytes);
        let _ = inspect(&cid, &bytes);
        let blocks = Blocks::from([(cid, bytes)]);
        let _ = Tree::new(cid).drive(get(&blocks)).count();
        let _ = FileReader::new(cid, ..).drive(get(&blocks)).count();
        let _ = DirectoryReader::new(cid).drive(get(&blocks)).count();
        let _ = Resolver::new(cid, vec!["a".into()]).drive(get(&blocks)).count();
    }
}

#[test]
fn memory_of_a_builder_does_not_grow_with_the_file() {
    let mut file = FileBuilder::new(tiny(true));
    let mut built = Vec::new();
    for _ in 0..10_000 {
        file.push(&[1; 9], &mut built);
        built.clear();
    }
    let debug = format!("{file:?}");
    assert!(debug.len() < 10_000, "{} bytes of state", debug.len());
}

#[test]
fn a_large_directory_lists_and_resolves() {
    for (profile, seed, count, name_bytes, last) in [
        (Profile::unixfs_v1_2025(), "hamt-unixfs-v1-2025", 4766, 11, 22),
        (Profile::unixfs_v0_2015(), "hamt-unixfs-v0-2015", 4096, 30, 30),
    ] {
        let mut built = Vec::new();
        let (root, mut names) = large_directory(profile, seed, count, name_bytes, last, &mut built);
        let blocks = blocks(built);
        let mut listed: Vec<String> =
            all(DirectoryReader::new(root.cid), &blocks).into_iter().map(|entry| entry.name).collect();
        listed.sort();
        names.sort();
        assert_eq!(listed, names);
        for name in names.iter().step_by(97) {
            let found = all(Resolver::new(root.cid, vec![name.clone()]), &blocks);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].name.as_deref(), Some(name.as_str()));
            assert_eq!(all(FileReader::new(found[0].cid, ..), &blocks).concat(), b"x");
        }
        let missing = first_error(Resolver::new(root.cid, vec!["no such name".into()]), &blocks);
        assert_eq!(missing, WalkError::NotFound { cid: root.cid, name: "no such name".into() });
    }
}

/// A small tree: `a/b/file`, `a/link`, `empty/`, `root-file`.
fn sample(built: &mut Vec<Block>) -> (Node, BTreeMap<String, Vec<u8>>) {
    let profile = tiny(true);
    let mut files = BTreeMap::new();
    let mut add = |path: &str, len: usize, built: &mut Vec<Block>| {
        let content = pattern(len);
        let mut file = FileBuilder::new(profile);
        file.push(&content, built);
        files.insert(path.to_owned(), content);
        file.finish(built)
    };
    let deep = add("a/b/file", 100, built);
    let shallow = add("root-file", 3, built);
    let directory = |entries: &[(&str, Node)], built: &mut Vec<Block>| {
        let mut directory = DirectoryBuilder::new(profile);
        for (name, node) in entries {
            directory.add(name, *node).unwrap();
        }
        directory.finish(built).unwrap()
    };
    let b = directory(&[("file", deep)], built);
    let (block, link) = symlink(&profile, "../root-file");
    built.push(block);
    let a = directory(&[("b", b), ("link", link)], built);
    let empty = directory(&[], built);
    (directory(&[("a", a), ("empty", empty), ("root-file", shallow)], built), files)
}

#[test]
fn a_tree_comes_back_in_order() {
    let mut built = Vec::new();
    let (root, files) = sample(&mut built);
    let blocks = blocks(built);
    let mut seen = Vec::new();
    let mut content: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut last = String::new();
    for event in all(Tree::new(root.cid), &blocks) {
        match event {
            Event::Directory { path, .. } => seen.push(format!("{path}/")),
            Event::File { path, file_bytes, .. } => {
                assert_eq!(file_bytes, files[&path].len() as u64);
                content.insert(path.clone(), Vec::new());
                last = path;
            }
            Event::Data(bytes) => content.get_mut(&last).unwrap().extend_from_slice(&bytes),
            Event::Symlink { path, target } => seen.push(format!("{path} -> {target}")),
        }
    }
    assert_eq!(seen, ["/", "a/", "a/b/", "a/link -> ../root-file", "empty/"]);
    assert_eq!(content, files);
    for (path, bytes) in files {
        let found = all(Resolver::new(root.cid, split_path(&path).unwrap()), &blocks);
        assert_eq!(all(FileReader::new(found[0].cid, ..), &blocks).concat(), bytes);
    }
    let itself = all(Resolver::new(root.cid, vec![]), &blocks);
    assert_eq!(itself, [Resolved { cid: root.cid, name: None }]);
    let through_file = first_error(Resolver::new(root.cid, split_path("root-file/x").unwrap()), &blocks);
    assert!(matches!(through_file, WalkError::NotADirectory { .. }), "{through_file:?}");
}

#[test]
fn hints_name_what_is_needed_next() {
    let mut built = Vec::new();
    let (root, _) = sample(&mut built);
    let blocks = blocks(built);
    let mut walk = Tree::new(root.cid);
    let mut hinted: Vec<Cid> = vec![root.cid];
    loop {
        match walk.step().unwrap() {
            Step::Need(cid) => {
                assert!(hinted.contains(&cid), "{cid} was not foreseen");
                walk.feed(blocks[&cid].clone()).unwrap();
                hinted.extend(walk.upcoming(16));
            }
            Step::Item(_) => {}
            Step::Done => break,
        }
    }
    assert_eq!(walk.feed(Bytes::new()), Err(WalkError::NotAsked));
}

#[test]
fn enumeration_is_depth_first_and_names_every_block_once() {
    let mut built = Vec::new();
    let (root, _) = sample(&mut built);
    let blocks = blocks(built);
    let get = |cid: &Cid| Ok::<_, EnumerateError>(blocks[cid].clone());
    let mut order = Vec::new();
    let visit = |cid: &Cid| {
        order.push(*cid);
        Ok(())
    };
    DepthFirst::new(root.cid, 1000).run(get, visit).unwrap();
    // Recursion says the same.
    fn recurse(cid: Cid, blocks: &Blocks, order: &mut Vec<Cid>) {
        if !order.contains(&cid) {
            order.push(cid);
            for child in children(&cid, &blocks[&cid]).unwrap() {
                recurse(child, blocks, order);
            }
        }
    }
    let mut expected = Vec::new();
    recurse(root.cid, &blocks, &mut expected);
    assert_eq!(order, expected);
    assert_eq!(order.len(), blocks.len());
    let limited = DepthFirst::new(root.cid, 3).run(get, |_| Ok(()));
    assert_eq!(limited, Err(EnumerateError::TooMany { max: 3 }));
    // A second root brings only what is new.
    let mut walk = DepthFirst::new(expected[1], 1000);
    while let Some(cid) = walk.next_cid() {
        walk.feed(&cid, &blocks[&cid]).unwrap();
    }
    walk.push_root(root.cid);
    let mut rest = Vec::new();
    while let Some(cid) = walk.next_cid() {
        walk.feed(&cid, &blocks[&cid]).unwrap();
        rest.push(cid);
    }
    assert!(rest.len() < order.len() && rest[0] == root.cid, "{rest:?}");
}

#[test]
fn bad_names_are_refused_on_both_sides() {
    let node = Node { cid: cid_v1(RAW, b"x"), tsize: 1, file_bytes: 1 };
    let mut directory = DirectoryBuilder::new(Profile::default());
    for bad in ["", ".", "..", "a/b", "a\0b"] {
        assert!(matches!(directory.add(bad, node), Err(DirectoryError::Name { .. })), "{bad:?}");
        let data = UnixFs::new(DataType::Directory).encode();
        let block = Bytes::from(encode_pb([(bad, &node.cid, 1)], &data));
        let cid = cid_v1(DAG_PB, &block);
        let blocks = Blocks::from([(cid, block), (node.cid, Bytes::from_static(b"x"))]);
        assert!(matches!(first_error(Tree::new(cid), &blocks), WalkError::Name { .. }), "{bad:?}");
    }
    directory.add("a", node).unwrap();
    assert_eq!(directory.add("a", node), Err(DirectoryError::Duplicate { name: "a".into() }));
}

#[test]
fn sizes_that_lie_are_refused() {
    let leaf = Bytes::from_static(b"12345");
    let leaf_cid = cid_v1(RAW, &leaf);
    for sizes in [vec![4], vec![6], vec![], vec![5, 5], vec![u64::MAX]] {
        let data = UnixFs { block_sizes: sizes.clone(), ..UnixFs::new(DataType::File) };
        let block = Bytes::from(encode_pb([("", &leaf_cid, 5)], &data.encode()));
        let cid = cid_v1(DAG_PB, &block);
        let blocks = Blocks::from([(cid, block), (leaf_cid, leaf.clone())]);
        assert!(
            matches!(first_error(FileReader::new(cid, ..), &blocks), WalkError::Size { .. }),
            "{sizes:?}"
        );
    }
}

#[test]
fn a_trie_that_repeats_its_shards_is_refused() {
    // Every shard links twice to the same child: 2^8 entries from nine blocks, if positions were not checked.
    let leaf = Bytes::from_static(b"x");
    let mut child = cid_v1(RAW, &leaf);
    let mut blocks = Blocks::from([(child, leaf)]);
    let mut names = ["00name".to_owned(), "01name".to_owned()];
    for _ in 0..8 {
        let data = UnixFs {
            data: Some(Bytes::from_static(&[3])),
            hash_type: Some(0x22),
            fanout: Some(256),
            ..UnixFs::new(DataType::HamtShard)
        };
        let links = names.iter().map(|name| (name.as_str(), &child, 1));
        let block = Bytes::from(encode_pb(links, &data.encode()));
        child = cid_v1(DAG_PB, &block);
        blocks.insert(child, block);
        names = ["00".to_owned(), "01".to_owned()];
    }
    assert!(matches!(first_error(DirectoryReader::new(child), &blocks), WalkError::Decode { .. }));
    assert!(matches!(first_error(Tree::new(child), &blocks), WalkError::Decode { .. }));
}

#[test]
fn a_missing_block_is_named() {
    let mut built = Vec::new();
    let (root, _) = sample(&mut built);
    let mut blocks = blocks(built);
    let mut cids: Vec<Cid> = blocks.keys().copied().collect();
    cids.sort();
    for cid in cids {
        let block = blocks.remove(&cid).unwrap();
        let error = Tree::new(root.cid).drive(get(&blocks)).find_map(Result::err);
        assert_eq!(error, Some(DriveError::Get(cid, "missing")));
        blocks.insert(cid, block);
    }
}
