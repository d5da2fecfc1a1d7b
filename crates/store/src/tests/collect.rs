//! Collection while others read, write, pin and hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cid::multihash::Multihash;
use hpips_types::Cid;
use hpips_types::content::{DAG_CBOR, DAG_PB, cid_v1};

use super::{block, parent, small};
use crate::lease::Root;
use crate::mocks::{Dice, MemoryDisk};
use crate::{Hold, NeededBy, PinKind, Store, WriteError};

fn in_memory() -> Store {
    on_disk(&MemoryDisk::new(1))
}

fn on_disk(disk: &MemoryDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), small(), || Ok(None)).unwrap()
}

/// Changes a byte in the middle of a block, in the first pack.
fn rot(disk: &MemoryDisk, bytes: &[u8]) {
    disk.edit(Path::new("/store/packs/00000000.pack"), |pack| {
        let at = pack.windows(bytes.len()).position(|window| window == bytes).unwrap();
        pack[at + bytes.len() / 2] ^= 1;
    });
}

/// A leaf, a node that links to it and a root that links to the node.
fn tree(number: u64) -> [(Cid, Bytes); 3] {
    let leaf = block(number, 200);
    let node = parent(&[leaf.0]);
    let root = parent(&[node.0]);
    [leaf, node, root]
}

fn count_of(store: &Store, blocks: &[(Cid, Bytes)]) -> usize {
    blocks.iter().filter(|(cid, _)| store.has(cid).unwrap()).count()
}

#[test]
fn leased_blocks_stay_until_the_lease_ends() {
    type Lease = fn(&Store, &Hold, &[(Cid, Bytes); 3]);
    let old: Lease = |_, _, _| {};
    let again: Lease = |store, _, tree| store.put(tree.to_vec()).unwrap();
    let kept: Lease = |_, hold, tree| hold.keep(&tree[2].0);
    for (name, take, expected) in [("old", old, 0), ("stored again", again, 3), ("kept", kept, 3)] {
        let store = in_memory();
        let tree = tree(1);
        store.put(tree.to_vec()).unwrap();
        // A lease from before and one from after change nothing for the one in the middle.
        let before = (name != "old").then(|| store.hold().unwrap());
        let hold = store.hold().unwrap();
        take(&store, &hold, &tree);
        let after = store.hold().unwrap();
        let new = block(99, 100);
        store.put(vec![new.clone()]).unwrap();
        for _ in 0..2 {
            store.collect(&[]).unwrap();
            assert_eq!(count_of(&store, &tree), expected, "{name}");
            assert!(store.has(&new.0).unwrap(), "{name}: new blocks are leased");
        }
        drop(before);
        drop(hold);
        store.collect(&[]).unwrap();
        assert_eq!(count_of(&store, &tree), 0, "{name}: the lease has ended");
        // Compaction may have moved it beyond where the other lease began: then it stays for one more collection.
        drop(after);
        store.collect(&[]).unwrap();
        assert_eq!(store.block_count().unwrap(), 0, "{name}");
        assert!(store.leases().is_empty());
    }
}

/// What a stopped collection says: which block, what is the matter with it, what needs it.
#[track_caller]
fn stopped(store: &Store, cid: &Cid, needed_by: NeededBy, why: &str) {
    match store.collect(&[]) {
        Err(WriteError::Unmarked { cid: told, needed_by: by, source }) => {
            assert_eq!((told, by), (*cid, needed_by));
            assert!(source.to_string().contains(why), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_branch_stops_every_collection_until_it_is_given_up() {
    let disk = MemoryDisk::new(1);
    let store = on_disk(&disk);
    let [leaf, node, root] = tree(1);
    store.put(vec![leaf.clone(), node.clone(), root.clone()]).unwrap();
    store.pin(&root.0, PinKind::Recursive, "").unwrap();
    rot(&disk, &node.1);
    let by = NeededBy::Pin(root.0);
    for _ in 0..3 {
        stopped(&store, &node.0, by, "damaged");
    }
    // A reader forgets the damaged copy; what is below stays all the same.
    store.get(&node.0).unwrap_err();
    assert!(!store.has(&node.0).unwrap());
    for _ in 0..2 {
        stopped(&store, &node.0, by, "missing");
    }
    let error = store.collect(&[]).unwrap_err().to_string();
    for part in [node.0, root.0].map(|cid| cid.to_string()) {
        assert!(error.contains(&part), "{error}");
    }
    assert!(error.contains("hpips pin rm"), "{error}");
    assert_eq!(store.get(&leaf.0).unwrap(), Some(leaf.1.clone()));
    store.put(vec![node]).unwrap();
    assert_eq!(store.collect(&[]).unwrap().blocks, 0);
    store.unpin(&root.0).unwrap();
    assert_eq!(store.collect(&[]).unwrap().blocks, 3);
}

#[test]
fn missing_parts_of_the_files_stop_nothing_and_damaged_ones_do() {
    let disk = MemoryDisk::new(1);
    let store = on_disk(&disk);
    let [leaf, node, root] = tree(1);
    store.put(vec![leaf.clone(), root.clone()]).unwrap();
    store.set_files_root(&root.0).unwrap();
    assert_eq!(store.collect(&[]).unwrap().blocks, 1, "nothing links to the leaf");
    store.put(vec![leaf.clone(), node.clone()]).unwrap();
    disk.edit(Path::new("/store/packs/00000001.pack"), |pack| {
        let at = pack.windows(node.1.len()).position(|window| window == &node.1[..]).unwrap();
        pack[at + 8] ^= 1;
    });
    for _ in 0..2 {
        stopped(&store, &node.0, NeededBy::Files(root.0), "damaged");
    }
    assert_eq!(store.get(&leaf.0).unwrap(), Some(leaf.1));
}

#[test]
fn blocks_that_are_not_understood_stop_the_collection() {
    let store = in_memory();
    let leaf = block(1, 100);
    store.put(vec![leaf.clone()]).unwrap();
    for codec in [DAG_PB, DAG_CBOR, 0x78] {
        let text = Bytes::from_static(b"\xffneither of them");
        let cid = cid_v1(codec, &text);
        store.put(vec![(cid, text)]).unwrap();
        store.pin(&cid, PinKind::Recursive, "").unwrap();
        stopped(&store, &cid, NeededBy::Pin(cid), "links");
        assert!(store.has(&leaf.0).unwrap());
        store.unpin(&cid).unwrap();
    }
    let text = Bytes::from_static(b"{}");
    let plain = cid_v1(0x0200, &text);
    store.put(vec![(plain, text)]).unwrap();
    store.pin(&plain, PinKind::Recursive, "").unwrap();
    assert_eq!(store.collect(&[]).unwrap().blocks, 2, "the leaf and what was not understood");
}

/// A link that shares the beginning of the victim's digest, under a foreign hash function or codec.
#[test]
fn no_link_hides_anothers_tree() {
    let digest = |cid: &Cid| cid.hash().digest().to_vec();
    let forgeries: [fn(&[u8]) -> Cid; 3] = [
        |digest| Cid::new_v1(DAG_CBOR, Multihash::wrap(0x1b, digest).unwrap()),
        |digest| {
            Cid::new_v1(
                DAG_CBOR - 1,
                Multihash::wrap(0x1b, &[&[digest[0] + 1], &digest[1..]].concat()).unwrap(),
            )
        },
        |digest| Cid::new_v1(DAG_CBOR, Multihash::wrap(0x12, &[&digest[..16], &[7; 16]].concat()).unwrap()),
    ];
    for forge in forgeries {
        let store = in_memory();
        let tree = (1..).map(tree).find(|[_, _, root]| digest(&root.0)[0] < 255).unwrap();
        store.put(tree.to_vec()).unwrap();
        let evil = parent(&[forge(&digest(&tree[2].0)), tree[2].0]);
        store.put(vec![evil.clone()]).unwrap();
        // Links among the files may be missing.
        store.set_files_root(&evil.0).unwrap();
        assert_eq!(store.collect(&[]).unwrap().blocks, 0);
        assert_eq!(count_of(&store, &tree), 3);
    }
}

/// What was missing while it was marked and is pinned before the sweep is walked then.
#[test]
fn what_comes_and_is_pinned_during_a_collection_is_walked() {
    let store = in_memory();
    let tree = tree(1);
    let files = parent(&[tree[2].0]);
    store.put(vec![tree[0].clone(), tree[1].clone(), files.clone()]).unwrap();
    let mut live = crate::collect::Live::default();
    live.mark(&store, vec![Root::Files(files.0)]).unwrap();
    store.put(vec![tree[2].clone()]).unwrap();
    live.mark(&store, vec![Root::Pin(tree[2].0)]).unwrap();
    for (cid, _) in &tree {
        assert!(live.is_marked(cid));
    }
}

#[test]
fn every_block_that_goes_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("repo"), small()).unwrap();
    let path = dir.path().join("file");
    let (both, lent, packed, pinned) = (block(1, 300), block(2, 300), block(3, 300), block(4, 300));
    std::fs::write(&path, [&both.1[..], &lent.1, &pinned.1].concat()).unwrap();
    store.add_user_file(&path, &[(both.0, 0, 300), (lent.0, 300, 300), (pinned.0, 600, 300)]).unwrap();
    store.put(vec![both.clone(), packed.clone()]).unwrap();
    store.pin(&pinned.0, PinKind::Direct, "").unwrap();
    let mut gone = BTreeSet::new();
    let report = store.collect_with(&[], |cid| assert!(gone.insert(*cid))).unwrap();
    assert_eq!(gone, BTreeSet::from([both.0, lent.0, packed.0]));
    assert_eq!(report.blocks, 4, "one of them lay in two places");
    assert_eq!(store.get(&pinned.0).unwrap(), Some(pinned.1));
    assert_eq!(store.block_count().unwrap(), 1);
    store.unpin(&pinned.0).unwrap();
    store.collect(&[]).unwrap();
    assert!(!store.remove_user_file(&path).unwrap(), "a file without rows is forgotten");
}

#[test]
fn trees_that_are_added_and_pinned_meanwhile_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small()).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let adders = [1u64, 2].map(|seed| {
            let store = &store;
            scope.spawn(move || {
                let mut dice = Dice(seed);
                let mut pinned = Vec::new();
                for round in 0..60 {
                    // Trees of a few shapes come again and again, so most blocks are found rather than stored.
                    let tree = tree(dice.below(20));
                    let hold = store.hold().unwrap();
                    for part in &tree {
                        store.put(vec![part.clone()]).unwrap();
                    }
                    match round % 3 {
                        0 => store.set_files_root(&tree[2].0).unwrap(),
                        _ => store.pin(&tree[2].0, PinKind::Recursive, "").unwrap(),
                    }
                    drop(hold);
                    assert_eq!(count_of(store, &tree), 3, "seed {seed}, round {round}");
                    if round % 3 == 1 {
                        pinned.push(tree);
                    }
                }
                pinned
            })
        });
        let collector = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                store.collect(&[]).unwrap();
            }
        });
        for adder in adders {
            for tree in adder.join().unwrap() {
                for (cid, bytes) in tree {
                    assert_eq!(store.get(&cid).unwrap(), Some(bytes));
                }
            }
        }
        is_done.store(true, Ordering::Relaxed);
        collector.join().unwrap();
    });
    let alive: BTreeSet<Cid> = store.pins().iter().map(|pin| pin.cid).chain(store.files_root()).collect();
    store.collect(&[]).unwrap();
    assert_eq!(store.block_count().unwrap(), 3 * alive.len() as u64);
}
