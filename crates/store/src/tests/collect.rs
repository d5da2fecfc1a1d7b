//! Collection while others read, write, pin and hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hpips_types::Cid;

use super::{block, parent, small};
use crate::mocks::{Dice, MemoryDisk};
use crate::{Hold, PinKind, Store};

fn in_memory() -> Store {
    Store::open_on(Arc::new(MemoryDisk::new(1)), Path::new("/store"), small(), None).unwrap()
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
