//! Limits and full disks.

use std::path::Path;
use std::sync::Arc;

use super::{block, small};
use hpips_types::{DealId, SlotIndex};

use crate::layer::Layer;
use crate::mocks::{Fault, MemoryDisk};
use crate::{Config, PieceKey, PinKind, Store, WriteError};

fn open(disk: &MemoryDisk, bytes_max: u64) -> Store {
    let config = Config { bytes_max, ..small() };
    Store::open_on(Arc::new(disk.clone()), Path::new("/store"), config, || Ok(None)).unwrap()
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk, 1_500);
    store.put(vec![block(1, 1000)]).unwrap();
    let used = store.stat().unwrap().bytes;
    let before = disk.operations();
    match store.put(vec![block(2, 100), block(3, 1000)]) {
        Err(WriteError::Full { used: told, more, max: 1_500 }) => {
            assert_eq!(told, used);
            assert!(more > 1_100 && used + more > 1_500);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.operations(), before);
    store.put(vec![block(1, 1000), block(2, 100)]).unwrap();
    assert_eq!(store.collect(&[block(2, 100).0]).unwrap().blocks, 1);
    drop(store);
    let store = open(&disk, 4_000);
    assert_eq!(store.stat().unwrap().blocks, 1);
    // What was freed is counted: filling and emptying goes on for ever.
    for round in 0..20 {
        store.put(vec![block(100 + round, 1900)]).unwrap();
        store.retain(|_| false).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_room_is_used_without_opening_again() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk, u64::MAX);
    let first = block(1, 300);
    store.put(vec![first.clone()]).unwrap();
    disk.set_free_bytes(1 << 20);
    assert!(matches!(store.put(vec![block(2, 300)]), Err(WriteError::NoSpace { free: 1_048_576, .. })));
    store.put(vec![first.clone()]).unwrap();
    assert_eq!(store.get(&first.0).unwrap(), Some(first.1.clone()));
    disk.set_free_bytes(u64::MAX);
    store.put(vec![block(2, 300)]).unwrap();
    // The system may still say no in the middle of a batch, when others fill the disk: at every write and sync of the
    // batch and of the index.
    let mut store = store;
    let (mut number, mut before, mut inside) = (100, 0, 0);
    for at in 0..24 {
        disk.set_fault(Some(Fault::FailAfter(at)));
        let batch: Vec<_> = (0..4).map(|more| block(number + more, 900)).collect();
        number += 4;
        let done = store.put(batch.clone());
        disk.set_fault(None);
        match done {
            Ok(()) => {}
            Err(WriteError::Io { .. }) => before += 1,
            // The index does not answer any more: opening again recovers what was acknowledged.
            Err(WriteError::Index(_)) => {
                inside += 1;
                assert!(matches!(store.put(batch.clone()), Err(WriteError::Poisoned | WriteError::Index(_))));
                drop(store);
                store = open(&disk, u64::MAX);
            }
            Err(error) => panic!("{error}"),
        }
        store.put(batch.clone()).unwrap();
        for (cid, bytes) in batch.into_iter().chain([first.clone()]) {
            assert_eq!(store.get(&cid).unwrap(), Some(bytes));
        }
    }
    assert!(before > 3 && inside > 3, "{before} failures before the index and {inside} inside it");
}

/// What an operation on a full disk came to.
fn is_refused(done: Result<(), WriteError>) -> bool {
    match done {
        Ok(()) => false,
        Err(WriteError::NoSpace { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_touches_the_index_of_a_full_disk_and_making_room_goes_on_longest() {
    let disk = MemoryDisk::new(1);
    let store = open(&disk, u64::MAX);
    let (old, kept, new, lent) = (block(1, 300), block(2, 300), block(3, 300), block(4, 300));
    let path = Path::new("/home/file");
    disk.create(path).unwrap();
    disk.edit(path, |bytes| bytes.extend_from_slice(&lent.1));
    let key = PieceKey { deal: DealId::new(7), slot: SlotIndex::new(2) };
    let rows = [(lent.0, 0, 300)];
    store.put(vec![old.clone(), kept.clone()]).unwrap();
    store.pin(&kept.0, PinKind::Direct, "").unwrap();
    store.add_piece(key, path, &rows).unwrap();
    let growing: [&dyn Fn() -> Result<(), WriteError>; 5] = [
        &|| store.put(vec![new.clone()]),
        &|| store.pin(&old.0, PinKind::Direct, ""),
        &|| store.set_files_root(&old.0),
        &|| store.add_user_file(path, &rows),
        &|| store.add_piece(key, path, &rows),
    ];
    let freeing: [&dyn Fn() -> Result<(), WriteError>; 3] =
        [&|| store.delete(&old.0).map(drop), &|| store.remove_piece(key).map(drop), &|| {
            store.collect(&[]).map(drop)
        }];
    disk.set_free_bytes(1 << 20);
    let before = disk.operations();
    for (number, act) in growing.iter().chain(&freeing).enumerate() {
        assert!(is_refused(act()), "{number}");
    }
    assert_eq!(disk.operations(), before);
    assert!(store.has(&old.0).unwrap() && store.get(&lent.0).unwrap().is_some(), "reading goes on");
    disk.set_free_bytes(16 << 20);
    for (number, act) in growing.iter().enumerate() {
        assert!(is_refused(act()), "{number}");
    }
    for (number, act) in freeing.iter().enumerate() {
        assert!(!is_refused(act()), "{number}");
    }
    disk.set_free_bytes(0);
    assert!(store.unpin(&kept.0).unwrap(), "it needs no room in the index");
    disk.set_free_bytes(u64::MAX);
    store.collect(&[]).unwrap();
    assert_eq!(store.block_count().unwrap(), 0);
}
